//! What the gateway reports by itself (webhooks): lost, late, twice, out of order, before the
//! answer of the call that they are about; sent again until somebody has answered.
//!
//! A report is a command, as over HTTP, whose answer says that what it led to is durable; or
//! the word of a gateway within the process, which nobody answers. The seed chooses.

use a4co_core::command::{Command, Reply};
use a4co_core::embedded::HostInput;
use a4co_core::gateway::GatewayOutcome;
use a4co_core::ids::OrderId;
use a4co_core::payment::PaymentCommand;
use a4co_core::rejection::Rejection;

use crate::audit::Asked;
use crate::gateway::{order_number, outcome_number};
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::world::{Event, World};

/// A report that nobody heard is sent again after this long.
const AGAIN_US: u64 = 3_000_000;
/// So often at most, unless it must be heard.
const TRIES: u32 = 3;
/// Requests with numbers from here on are not those of clients.
const NUMBERS_FROM: u32 = 1 << 31;

/// A report.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) order_id: OrderId,
    refund: Option<u32>,
    outcome: Box<GatewayOutcome>,
    /// It is sent until the engine's durable books show it.
    must: bool,
    is_command: bool,
    is_heard: bool,
    tries: u32,
}

impl Report {
    /// As a webhook says it.
    fn command(&self) -> Command {
        Command::Payment(PaymentCommand::Report {
            order_id: self.order_id,
            refund: self.refund,
            outcome: (*self.outcome).clone(),
        })
    }
}

impl World<'_> {
    /// A report leaves the gateway for the first time.
    pub(crate) fn begin_report(
        &mut self,
        order_id: OrderId,
        refund: Option<u32>,
        outcome: Box<GatewayOutcome>,
        must: bool,
    ) {
        self.add_report(order_id, refund, outcome, must, 0);
    }

    /// The same charge is reported once more, and not again.
    pub(crate) fn report_once(&mut self, order_id: OrderId, outcome: Box<GatewayOutcome>) {
        self.add_report(order_id, None, outcome, false, TRIES);
    }

    fn add_report(
        &mut self,
        order_id: OrderId,
        refund: Option<u32>,
        outcome: Box<GatewayOutcome>,
        must: bool,
        tries: u32,
    ) {
        let number = u32::try_from(self.reports.len()).unwrap_or(u32::MAX);
        let knobs = &self.plan.knobs;
        let names = [order_number(order_id), outcome_number(&outcome), 1, 1];
        let mut fate = Rng::fork(knobs.seed, Stream::Webhook, &names);
        let is_command = refund.is_some() || fate.chance(knobs.report_as_command);
        self.reports.push(Report {
            order_id,
            refund,
            outcome,
            must,
            is_command,
            is_heard: false,
            tries,
        });
        self.on_report(number);
    }

    fn report(&self, number: u32) -> Option<&Report> {
        self.reports.get(usize::try_from(number).ok()?)
    }

    fn report_mut(&mut self, number: u32) -> Option<&mut Report> {
        self.reports.get_mut(usize::try_from(number).ok()?)
    }

    /// A report arrives, for the first time or again.
    pub(crate) fn on_report(&mut self, number: u32) {
        let Some(report) = self.report(number) else {
            return;
        };
        let order_id = report.order_id;
        if report.is_command && self.is_done(report) {
            return;
        }
        let is_heard = if report.is_command {
            self.send_report(number)
        } else {
            self.say_report(number)
        };
        let Some(report) = self.report(number) else {
            return;
        };
        let (refund, outcome) = (report.refund, report.outcome.clone());
        let code = outcome_number(&outcome);
        self.note(
            Node::Gateway,
            "reports",
            [order_number(order_id), code],
            || {
                let about = refund.map_or(String::new(), |number| format!("refund {number} of "));
                format!("{about}order {order_id}: {outcome:?}, heard: {is_heard}")
            },
        );
        self.about(order_id);
        let Some(report) = self.report_mut(number) else {
            return;
        };
        report.tries = report.tries.saturating_add(1);
        // That a command was heard, its answer tells.
        report.is_heard |= is_heard && !report.is_command;
        let tries = report.tries;
        let is_done = self
            .report(number)
            .is_none_or(|report| self.is_done(report));
        let must = self.report(number).is_some_and(|report| report.must);
        if !is_done && (must || tries <= TRIES) {
            self.schedule(AGAIN_US, Event::Report(number));
        }
    }

    fn is_done(&self, report: &Report) -> bool {
        if report.must {
            let payment = self.audit.payment(report.order_id);
            payment.is_some_and(|payment| !payment.captured.is_zero())
        } else {
            report.is_heard
        }
    }

    /// As the word of a gateway within the process. Whether anybody is there.
    fn say_report(&mut self, number: u32) -> bool {
        let Some(report) = self.report(number) else {
            return false;
        };
        let (order_id, outcome) = (report.order_id, (*report.outcome).clone());
        if self.cluster.is_some() {
            let hears = self.who_hears(order_id);
            if let Some(life) = hears {
                self.report_to(life, order_id, &outcome);
            }
            return hears.is_some();
        }
        if self.process.is_none() {
            return false;
        }
        self.hand_in(HostInput::Gateway {
            order_id,
            operation: None,
            outcome,
        });
        true
    }

    /// As a command. Whether anybody is there.
    fn send_report(&mut self, number: u32) -> bool {
        let Some(report) = self.report(number) else {
            return false;
        };
        let (order_id, tries, command) = (report.order_id, report.tries, report.command());
        let intent = NUMBERS_FROM + number;
        if self.cluster.is_some() {
            return self.report_arrives((intent, tries), order_id, command);
        }
        if self.process.is_none() {
            return false;
        }
        let asked = Asked::Report(order_id);
        let was_known = self.audit.knows(&asked);
        let request = self.clients.register(intent, tries, asked, was_known);
        self.hand_in(HostInput::Command { request, command });
        true
    }

    /// A report is answered. One about a payment that is not known is over as well, as it
    /// is over HTTP: what asks for the charge finds out.
    pub(crate) fn on_report_answered(&mut self, intent: u32, reply: &Reply) {
        let is_heard = matches!(reply.result, Ok(_) | Err(Rejection::PaymentNotFound(_)));
        if let Some(report) = self.report_mut(intent.wrapping_sub(NUMBERS_FROM)) {
            report.is_heard |= is_heard;
        }
    }
}
