//! Clients that read stock at the processes of a cluster, and whether what they read keeps
//! the contract that a process gives which may be behind the others.
//!
//! ```text
//! Every answer names a position: how far the process that gave it has shown each journal.
//!  - what is read was a state of the journal, whoever gives it;
//!  - a read that names a position sees at least what those saw who were given it, at
//!    whichever process: it waits until the process is that far, and then for so long only;
//!  - a process never gives an older state than it has given before.
//! ```
//! A client here remembers the newest position that it was given, by the answer to a change
//! or to another read, and names it or does not. The production code of the waiting is the
//! adapters'; what it rests on, the order in which rows are shown, is the host's.
//!
//! As in the embedded host, reads are no events of a run.

use std::collections::BTreeMap;

use a4co_core::command::Reply;
use a4co_core::ids::ProductId;
use a4co_core::replicated::StreamSequence;
use a4co_core::row::{Answer, Row, RowKey};

use crate::clients::product_id;
use crate::reads::{Read, Seen, seen, words};
use crate::scoreboard::reads_without_waiting;
use crate::trace::Node;
use crate::verdict::{Checked, safety};
use crate::world::{Event, World};

/// Clients that read.
const SESSIONS: usize = 3;
/// A read waits so long for its position.
const WAIT_US: u64 = 5_000_000;
/// It looks so often whether the process is that far.
const LOOK_US: u64 = 20_000;

/// How far each journal is shown, by [`a4co_core::shards::JournalId::index`].
type Position = Vec<StreamSequence>;

/// A step of a read.
#[derive(Debug)]
pub(crate) enum Step {
    /// A client asks.
    Ask {
        session: usize,
        product_id: ProductId,
    },
    /// What was asked under this number is at a process, for the first time or still.
    Waits(u64),
    /// A client is given a position, with the version of a product that it stands for.
    Told {
        session: usize,
        position: Position,
        product_id: ProductId,
        version: u64,
    },
}

/// What one client has been told.
#[derive(Debug, Default)]
struct Session {
    position: Position,
    /// The newest version of each product that the position stands for.
    versions: BTreeMap<ProductId, u64>,
}

/// A read on its way.
#[derive(Debug)]
struct Open {
    session: usize,
    product_id: ProductId,
    /// The position that it names, and the version that it stands for.
    names: Option<(Position, u64)>,
    /// The process that it waits at, and until when.
    at: Option<(u32, u64)>,
}

/// All reads of a run.
#[derive(Debug, Default)]
pub(super) struct Reads {
    asked: u64,
    open: BTreeMap<u64, Open>,
    sessions: [Session; SESSIONS],
    /// The newest version of each product that each process has given.
    given: BTreeMap<(u32, ProductId), u64>,
}

fn reaches(shown: &[StreamSequence], wanted: &[StreamSequence]) -> bool {
    shown
        .iter()
        .zip(wanted)
        .all(|(shown, wanted)| shown >= wanted)
}

impl World<'_> {
    fn read_step(&mut self, delay_us: u64, step: Step) {
        self.schedule(delay_us, Event::Read(Read::InCluster(step)));
    }

    /// Reads at any moment.
    pub(crate) fn schedule_reads_in_cluster(&mut self) {
        let mut rng = self.read_chance(&[4]);
        for _ in 0..rng.pick(&[0, 10, 60]) {
            let products = self.plan.products.len() as u64;
            let at = usize::try_from(rng.below(products)).unwrap_or(0);
            let at_us = rng.below(1_000 * self.plan.knobs.heal_at_ms);
            let session = usize::try_from(rng.below(SESSIONS as u64)).unwrap_or(0);
            if let Some(stock) = self.plan.products.get(at) {
                let product_id = product_id(stock.product);
                self.read_step(
                    at_us,
                    Step::Ask {
                        session,
                        product_id,
                    },
                );
            }
        }
    }

    /// A process answers a change of stock: with its position, which its client is given
    /// with the answer.
    pub(crate) fn answers_with_position(&mut self, life: u32, reply: &Reply, delay_us: u64) {
        let Ok(Answer::Product(product)) = &reply.result else {
            return;
        };
        let version = product.version.get();
        let mut rng = self.read_chance(&[5, version]);
        let session = usize::try_from(rng.below(SESSIONS as u64)).unwrap_or(0);
        let shown_at = self.cluster().peek(life).map(|it| it.shown_at.clone());
        let Some(position) = shown_at else {
            return;
        };
        let product_id = product.product_id.clone();
        let told = Step::Told {
            session,
            position,
            product_id: product_id.clone(),
            version,
        };
        self.read_step(delay_us, told);
        if rng.chance(600) {
            self.read_step(
                delay_us,
                Step::Ask {
                    session,
                    product_id,
                },
            );
        }
    }

    pub(crate) fn on_read_in_cluster(&mut self, step: Step) -> Checked {
        match step {
            Step::Ask {
                session,
                product_id,
            } => {
                self.begin_read(session, product_id);
                Ok(())
            }
            Step::Waits(id) => self.on_read_waits(id),
            Step::Told {
                session,
                position,
                product_id,
                version,
            } => {
                let session = &mut self.cluster().reads.sessions[session];
                session
                    .position
                    .resize(position.len(), StreamSequence::NONE);
                for (known, told) in session.position.iter_mut().zip(position) {
                    *known = (*known).max(told);
                }
                let known = session.versions.entry(product_id).or_default();
                *known = version.max(*known);
                Ok(())
            }
        }
    }

    fn begin_read(&mut self, session: usize, product_id: ProductId) {
        let reads = &mut self.cluster().reads;
        reads.asked += 1;
        let id = reads.asked;
        let mut rng = self.read_chance(&[6, id]);
        let delay_us = rng.below(self.plan.knobs.net_us + 1);
        let reads = &mut self.cluster().reads;
        let known = &reads.sessions[session];
        let version = known.versions.get(&product_id).copied().unwrap_or(0);
        let names = rng.chance(700).then(|| (known.position.clone(), version));
        let open = Open {
            session,
            product_id,
            names,
            at: None,
        };
        reads.open.insert(id, open);
        self.read_step(delay_us, Step::Waits(id));
    }

    /// A read is at a process: it is answered, or waits, or has waited for too long.
    fn on_read_waits(&mut self, id: u64) -> Checked {
        let now_us = self.now_us;
        let mut rng = self.read_chance(&[7, id]);
        let cluster = self.cluster();
        let any = usize::try_from(rng.below(cluster.machines.len() as u64)).unwrap_or(0);
        let Some(mut open) = cluster.reads.open.remove(&id) else {
            return Ok(());
        };
        // What is damaged may be less than what it was; such a run ends with the alarm.
        if cluster.is_damaged() {
            return Ok(());
        }
        let (life, until_us) = match open.at {
            Some(at) => at,
            None => match &cluster.machines[any].member {
                Some(member) => (member.life, now_us + WAIT_US),
                None => return Ok(()),
            },
        };
        open.at = Some((life, until_us));
        // Where nobody is any more, nobody answers.
        let Some(machine) = cluster.machine_of(life) else {
            return Ok(());
        };
        let is_paused = cluster.machines[machine].is_paused(now_us);
        let Some(member) = cluster.peek(life) else {
            return Ok(());
        };
        let is_there = |(wanted, _): &(Position, u64)| reaches(&member.shown_at, wanted);
        let waits = !open.names.as_ref().is_none_or(is_there) && !reads_without_waiting();
        if waits && now_us >= until_us && !is_paused {
            return Ok(()); // the client is told that the process is behind
        }
        if is_paused || waits {
            cluster.reads.open.insert(id, open);
            self.read_step(LOOK_US, Step::Waits(id));
            return Ok(());
        }
        let key = RowKey::Product(open.product_id.clone());
        let found = match member.shown.get(&key).map(AsRef::as_ref) {
            Some(Row::Product(product)) => Some(seen(product)),
            _ => None,
        };
        let position = member.shown_at.clone();
        self.is_at(life);
        self.judge_read(life, &open, found)?;
        let delay_us = rng.below(self.plan.knobs.net_us + 1);
        let told = Step::Told {
            session: open.session,
            position,
            product_id: open.product_id,
            version: found.map_or(0, |seen| seen.0),
        };
        self.read_step(delay_us, told);
        Ok(())
    }

    fn judge_read(&mut self, life: u32, open: &Open, found: Option<Seen>) -> Checked {
        let product_id = &open.product_id;
        let version = found.map_or(0, |seen| seen.0);
        let told = format!("process {life}, {product_id}: {}", words(found));
        self.aside(Node::Client, "reads", None, || told.clone());
        let history = self.audit.stock_history.get(product_id);
        let is_state = found.is_none_or(|(version, units)| {
            history.and_then(|history| history.get(&version)) == Some(&units)
        });
        if !is_state {
            let why = format!("{told}, which no durable message of the journal says");
            return Err(safety("read_is_a_state", why));
        }
        if let Some((position, at_least)) = &open.names
            && version < *at_least
        {
            let position: Vec<String> = position.iter().map(|at| at.get().to_string()).collect();
            let why = format!(
                "{told}; the read named {}, which was given with version {at_least}",
                position.join(".")
            );
            return Err(safety("read_sees_its_position", why));
        }
        let given = &mut self.cluster().reads.given;
        let before = given.entry((life, product_id.clone())).or_default();
        if version < *before {
            let why = format!("{told}; it has given version {before} before");
            return Err(safety("reads_never_go_back", why));
        }
        *before = version;
        Ok(())
    }

    /// Once everything has ended, every process is as far as any client was ever told.
    pub(super) fn positions_are_reached(&self) -> Checked {
        let Some(cluster) = self.cluster.as_deref() else {
            return Ok(());
        };
        for member in cluster.members() {
            for session in &cluster.reads.sessions {
                if !reaches(&member.shown_at, &session.position) {
                    let why = format!(
                        "process {} shows {:?}, a client was given {:?}",
                        member.life, member.shown_at, session.position
                    );
                    return Err(crate::verdict::liveness("position_is_reached", why));
                }
            }
        }
        Ok(())
    }
}
