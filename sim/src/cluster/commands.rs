//! Commands on their way: they arrive at any process and reach the leader by forwarding,
//! which loses some and delivers some twice; or they are refused, and the client asks again.

use a4co_core::command::{Command, RequestId};
use a4co_core::ids::OrderId;
use a4co_core::replicated::{HostId, Refusal};
use a4co_core::row::RowKey;

use super::{ClusterEvent, Item, Member};
use crate::audit::{Asked, Rows};
use crate::trace::Node;
use crate::verdict::{Checked, safety};
use crate::world::World;

/// From one process to the next this often at most; then the client is told to come again.
const HOPS_MAX: u32 = 4;

/// A command with whose it is.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    pub(super) intent: u32,
    pub(super) attempt: u32,
    pub(super) command: Command,
    pub(super) asked: Asked,
    /// Twice comes to the same as once.
    pub(super) may_come_twice: bool,
    pub(super) hops: u32,
}

/// Whether readers of these rows see what is asked about.
fn shows(shown: &Rows, asked: &Asked) -> bool {
    shown.contains_key(&match asked {
        Asked::Create(order_id, _) | Asked::Cancel(order_id) | Asked::Nudge(order_id) => {
            RowKey::Order(*order_id)
        }
        Asked::Refund(order_id)
        | Asked::Report(order_id)
        | Asked::RetryPayment(order_id)
        | Asked::WriteOff(order_id) => RowKey::Payment(*order_id),
        Asked::Product(product_id) => RowKey::Product(product_id.clone()),
    })
}

impl World<'_> {
    /// A client's request arrives at one of the processes.
    pub(crate) fn arrive(&mut self, intent: u32, attempt: u32) {
        let Some((command, asked)) = self.spelled(intent, attempt) else {
            return;
        };
        let has_key = self.clients.key(intent).is_some();
        let may_come_twice = has_key
            || matches!(asked, Asked::Cancel(_) | Asked::Nudge(_))
            || is_definition(&command);
        let names = [6, u64::from(intent), u64::from(attempt), self.stats.events];
        let mut rng = self.chance(&names);
        let machines = self.cluster().machines.len() as u64;
        let machine = usize::try_from(rng.below(machines)).unwrap_or(0);
        let Some(life) = self.cluster().machines[machine]
            .member
            .as_ref()
            .map(|it| it.life)
        else {
            let numbers = [u64::from(intent), u64::from(attempt)];
            self.note(Node::Net, "refused", numbers, || {
                format!("nobody is there on machine {machine}")
            });
            return;
        };
        let carried = Carried {
            intent,
            attempt,
            command,
            asked,
            may_come_twice,
            hops: 0,
        };
        self.put_before(life, Item::Command(Box::new(carried)));
    }

    /// A report of the gateway arrives at one of the processes, as a request does.
    /// Whether anybody is there.
    pub(crate) fn report_arrives(
        &mut self,
        (number, tries): (u32, u32),
        order_id: OrderId,
        command: Command,
    ) -> bool {
        let names = [16, u64::from(number), u64::from(tries), self.stats.events];
        let mut rng = self.chance(&names);
        let machines = &self.cluster().machines;
        let machine = usize::try_from(rng.below(machines.len() as u64)).unwrap_or(0);
        let Some(life) = machines[machine].member.as_ref().map(|it| it.life) else {
            return false;
        };
        self.trace.machine = Some(machine);
        let carried = Carried {
            intent: number,
            attempt: tries,
            command,
            asked: Asked::Report(order_id),
            may_come_twice: true,
            hops: 0,
        };
        self.put_before(life, Item::Command(Box::new(carried)));
        true
    }

    /// The host is given a command.
    pub(super) fn hand_command(&mut self, life: u32, carried: Carried) {
        let now_us = self.now_us;
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let was_known = shows(&member.shown, &carried.asked);
        let asked = carried.asked.clone();
        let request = self
            .clients
            .register(carried.intent, carried.attempt, asked, was_known);
        let Some(member) = self.cluster().member(life) else {
            return;
        };
        let command = carried.command.clone();
        member.commands.insert(request.0, carried);
        let now = member.now(now_us);
        member.host.handle_input(
            now,
            a4co_core::replicated::ReplicaInput::Command { request, command },
        );
    }

    /// The command has been answered: exactly once, by the process that was asked.
    pub(super) fn settle_command(
        &mut self,
        life: u32,
        request: RequestId,
    ) -> Result<Carried, crate::verdict::Failure> {
        let known = self
            .cluster()
            .member(life)
            .and_then(|member: &mut Member| member.commands.remove(&request.0));
        known.ok_or_else(|| {
            let why = format!("process {life} answers request {} again", request.0);
            safety("answered_once", why)
        })
    }

    pub(super) fn on_refused(
        &mut self,
        life: u32,
        request: RequestId,
        refusal: Refusal,
    ) -> Checked {
        let carried = self.settle_command(life, request)?;
        let numbers = [u64::from(carried.intent), u64::from(carried.attempt)];
        self.note(Node::Engine, "refuses", numbers, || {
            format!("process {life}: {:?}: {refusal}", carried.asked)
        });
        let own = self.cluster().peek(life).map(|it| it.host_id);
        match refusal {
            Refusal::NotLeader { leader: Some(to) } if own != Some(to) => {
                self.forward(life, Some(to), carried);
            }
            // It was not done, and never will be: it may be asked again, of anybody.
            Refusal::NotLeader { .. } => self.forward(life, None, carried),
            Refusal::OutcomeUnknown => {}
        }
        Ok(())
    }

    fn forward(&mut self, life: u32, to: Option<HostId>, mut carried: Carried) {
        carried.hops += 1;
        if carried.hops > HOPS_MAX {
            return;
        }
        let (now_us, is_healed) = (self.now_us, self.is_healed);
        let mut rng = self.chance(&[7, u64::from(life), self.stats.events]);
        let cluster = self.cluster();
        let Some(machine) = cluster.machine_of(life) else {
            return;
        };
        let is_cut = cluster.machines[machine].cut_to_until_us > now_us;
        let knobs = &cluster.knobs;
        // Where nobody is known to lead, somebody may be before long.
        let wait_us = u64::from(to.is_none()) * rng.below(knobs.lease_ttl_ms * 1_000);
        let delay_us = wait_us + rng.below(knobs.forward_us + 1);
        let again_us = rng.below(8 * knobs.forward_us + 1);
        let is_lost = is_cut || (!is_healed && rng.chance(knobs.forward_lost));
        let is_twice = carried.may_come_twice && !is_healed && rng.chance(knobs.forward_twice);
        let (intent, attempt) = (carried.intent, carried.attempt);
        let forwarded = |carried: &Carried| ClusterEvent::Forwarded {
            to,
            carried: Box::new(carried.clone()),
        };
        if is_twice {
            self.in_cluster(delay_us + again_us, forwarded(&carried));
        }
        if is_lost {
            self.aside(Node::Net, "loses", None, || {
                format!("the forwarded request of intent {intent}, try {attempt}")
            });
        } else {
            self.in_cluster(delay_us, forwarded(&carried));
        }
    }

    pub(super) fn on_forwarded(&mut self, to: Option<HostId>, carried: Carried) {
        let now_us = self.now_us;
        let mut rng = self.chance(&[13, u64::from(carried.intent), self.stats.events]);
        let machines = &self.cluster().machines;
        let any = usize::try_from(rng.below(machines.len() as u64)).unwrap_or(0);
        let found = machines.iter().enumerate().find_map(|(number, machine)| {
            let member = machine.member.as_ref()?;
            let hears = machine.cut_from_until_us <= now_us;
            let is_meant = to.map_or(number == any, |to| member.host_id == to);
            (is_meant && hears).then_some(member.life)
        });
        if let Some(life) = found {
            self.put_before(life, Item::Command(Box::new(carried)));
        }
    }
}

/// A product described is the same when it is described twice.
const fn is_definition(command: &Command) -> bool {
    use a4co_core::inventory::InventoryCommand;
    matches!(command, Command::Inventory(InventoryCommand::Define { .. }))
}
