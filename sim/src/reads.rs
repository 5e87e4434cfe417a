//! Clients that read stock, and whether what they read is linearizable: whether there is one
//! order of all changes and all reads in which each read gives what was so at one moment
//! between its asking and its answer.
//!
//! The log is the order of the changes. So a read has to give a state that the log has, none
//! that is older than what anybody had been told before the read was asked (the answer to a
//! change, or another read), and none that is not durable when the answer arrives.
//!
//! Of the embedded host: a process of a cluster shows what it has heard of, and has a contract
//! of its own (`cluster/reads.rs`). Reads change nothing and are no events of a run: its digest does not know of them.

use std::collections::BTreeMap;

use a4co_core::command::Reply;
use a4co_core::ids::ProductId;
use a4co_core::inventory::Product;
use a4co_core::row::{Answer, Row, RowKey};

use crate::clients::product_id;
use crate::cluster::reads::Step;
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::verdict::{Checked, safety};
use crate::world::{Event, World};

/// What a read gives: the version, and units on hand, reserved and sold.
pub(crate) type Seen = (u64, [u64; 3]);

/// What readers may see of a product.
pub(crate) fn seen(product: &Product) -> Seen {
    let units = [product.on_hand, product.reserved, product.sold];
    (product.version.get(), units)
}

/// A step of a read.
#[derive(Debug)]
pub(crate) enum Read {
    /// A client asks for this product.
    Ask(ProductId),
    /// What was asked under this number arrives.
    Arrive(u64),
    /// The answer arrives; `None`: there is no such product.
    Answer(u64, Option<Seen>),
    /// A step of a read at a process of a cluster.
    InCluster(Step),
}

/// A read on its way.
#[derive(Debug)]
struct Open {
    product_id: ProductId,
    asked_us: u64,
    /// The newest version that anybody had been told of when it was asked.
    at_least: u64,
}

/// All reads of a run.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    asked: u64,
    open: BTreeMap<u64, Open>,
    /// The newest version of each product that anybody has been told of.
    told: BTreeMap<ProductId, u64>,
}

impl Reads {
    fn tell(&mut self, product_id: &ProductId, version: u64) {
        let told = self.told.entry(product_id.clone()).or_default();
        *told = version.max(*told);
    }
}

impl World<'_> {
    /// Chance of the reads: the same whatever else is in the plan.
    pub(crate) fn read_chance(&self, names: &[u64]) -> Rng {
        Rng::fork(self.plan.knobs.seed, Stream::Reads, names)
    }

    /// Reads at any moment.
    pub(crate) fn schedule_reads(&mut self) {
        if self.cluster.is_some() {
            return self.schedule_reads_in_cluster();
        }
        let mut rng = self.read_chance(&[]);
        for _ in 0..rng.pick(&[0, 4, 30]) {
            let products = self.plan.products.len() as u64;
            let at = usize::try_from(rng.below(products)).unwrap_or(0);
            let at_us = rng.below(1_000 * self.plan.knobs.heal_at_ms);
            if let Some(stock) = self.plan.products.get(at) {
                let read = Read::Ask(product_id(stock.product));
                self.schedule(at_us, Event::Read(read));
            }
        }
    }

    /// Somebody was told that a product was changed, and may look at it.
    pub(crate) fn told_of_stock(&mut self, reply: &Reply) {
        let Ok(Answer::Product(product)) = &reply.result else {
            return;
        };
        if self.cluster.is_some() {
            return;
        }
        let version = product.version.get();
        self.reads.tell(&product.product_id, version);
        if self.read_chance(&[1, version]).chance(500) {
            let read = Read::Ask(product.product_id.clone());
            self.schedule(0, Event::Read(read));
        }
    }

    pub(crate) fn on_read(&mut self, read: Read) -> Checked {
        match read {
            Read::Ask(product_id) => {
                self.reads.asked += 1;
                let id = self.reads.asked;
                let at_least = self.reads.told.get(&product_id).copied();
                let open = Open {
                    product_id,
                    asked_us: self.now_us,
                    at_least: at_least.unwrap_or(0),
                };
                self.reads.open.insert(id, open);
                let delay_us = self.read_chance(&[2, id]).below(self.plan.knobs.net_us + 1);
                self.schedule(delay_us, Event::Read(Read::Arrive(id)));
                Ok(())
            }
            Read::Arrive(id) => {
                self.on_read_arrives(id);
                Ok(())
            }
            Read::Answer(id, seen) => self.on_read_answered(id, seen),
            Read::InCluster(step) => self.on_read_in_cluster(step),
        }
    }

    fn on_read_arrives(&mut self, id: u64) {
        // Where nobody is, nobody answers.
        if self.process.is_none() {
            self.reads.open.remove(&id);
            return;
        }
        let Some(open) = self.reads.open.get(&id) else {
            return;
        };
        let key = RowKey::Product(open.product_id.clone());
        let seen = match self.store.read(&key).map(AsRef::as_ref) {
            Some(Row::Product(product)) => Some(seen(product)),
            _ => None,
        };
        let delay_us = self.read_chance(&[3, id]).below(self.plan.knobs.net_us + 1);
        self.schedule(delay_us, Event::Read(Read::Answer(id, seen)));
    }

    fn on_read_answered(&mut self, id: u64, seen: Option<Seen>) -> Checked {
        let Some(open) = self.reads.open.remove(&id) else {
            return Ok(());
        };
        let Open {
            product_id,
            asked_us,
            at_least,
        } = open;
        self.aside(Node::Client, "reads", None, || {
            format!("{product_id}, asked at {asked_us} us: {}", words(seen))
        });
        let version = seen.map_or(0, |seen| seen.0);
        let is_durable = match seen {
            None => true,
            Some((version, units)) => {
                let history = self.audit.stock_history.get(&product_id);
                history.and_then(|history| history.get(&version)) == Some(&units)
            }
        };
        if version < at_least || !is_durable {
            let history = self.audit.stock_history.get(&product_id);
            let newest = history.and_then(|history| history.last_key_value());
            let newest = newest.map(|(version, units)| (*version, *units));
            let why = format!(
                "{product_id} was read as {}; when that was asked, at {asked_us} us, version \
                 {at_least} had been told of; now durable: {}",
                words(seen),
                words(newest)
            );
            return Err(safety("read_is_linearizable", why));
        }
        self.reads.tell(&product_id, version);
        Ok(())
    }
}

/// What a read gave, in words.
pub(crate) fn words(seen: Option<Seen>) -> String {
    match seen {
        None => "not there".into(),
        Some((version, [on_hand, reserved, sold])) => {
            format!("version {version}: {on_hand} on hand, {reserved} reserved, {sold} sold")
        }
    }
}
