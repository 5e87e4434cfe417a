//! Clients and operators: they ask, wait, ask again under the same key, give up, and
//! remember what they were told.

mod spell;

use std::collections::BTreeMap;
use std::sync::Arc;

use a4co_core::command::{Command, Reply, RequestId};
use a4co_core::embedded::HostInput;
use a4co_core::ids::{Fingerprint, IdempotencyKey, OrderId};
use a4co_core::order::OrderStatus;
use a4co_core::rejection::Rejection;
use a4co_core::row::Answer;

use crate::audit::Asked;
use crate::coverage::Strike;
use crate::plan::{Action, Ask, Plan};
use crate::process::Process;
use crate::rng::{Rng, Stream};
use crate::trace::Node;
use crate::verdict::{Checked, liveness, safety};
use crate::world::{Event, World};
pub(crate) use spell::{NO_ORDER, Spelled, new_order_id, product_id, spell};

/// The order that is placed when all faults have ended: it has to be confirmed.
pub(crate) const PROBE: u32 = 1_000_000;

/// Something that a client wants.
#[derive(Debug)]
pub(crate) struct Intent {
    action: Action,
    attempts: u32,
    is_over: bool,
    /// The order that it was about when it was last sent.
    order_id: Option<OrderId>,
    told_ok: bool,
    /// Orders that it was told are accepted.
    accepted: Vec<OrderId>,
    spelled: Spelled,
}

/// All that they want.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    intents: Vec<Intent>,
    /// The id of each order: the last one sent, since an order without a key gets another
    /// id each time.
    order_ids: BTreeMap<u32, OrderId>,
    requests: Vec<Request>,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) intent: u32,
    pub(crate) attempt: u32,
    pub(crate) asked: Asked,
    /// What it is about was durable when it arrived.
    pub(crate) was_known: bool,
}

impl Clients {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut clients = Self::default();
        for stock in &plan.products {
            clients.add(Action {
                at_ms: 0,
                key: None,
                retries: 20,
                ask: Ask::Define {
                    product: stock.product,
                    on_hand: Some(stock.on_hand),
                },
            });
        }
        for action in &plan.actions {
            clients.add(action.clone());
        }
        clients
    }

    fn add(&mut self, action: Action) -> u32 {
        self.intents.push(Intent {
            action,
            attempts: 0,
            is_over: false,
            order_id: None,
            told_ok: false,
            accepted: Vec::new(),
            spelled: Spelled::default(),
        });
        u32::try_from(self.intents.len() - 1).unwrap_or(0)
    }

    /// When each intent is first sent.
    pub(crate) fn first_sends(&self) -> Vec<(u64, u32)> {
        let sends = (0..).zip(&self.intents);
        sends
            .map(|(number, intent)| (intent.action.at_ms, number))
            .collect()
    }

    fn get(&mut self, number: u32) -> Option<&mut Intent> {
        self.intents.get_mut(usize::try_from(number).ok()?)
    }

    /// Notes a request that is handed to the engine.
    pub(crate) fn register(
        &mut self,
        intent: u32,
        attempt: u32,
        asked: Asked,
        was_known: bool,
    ) -> RequestId {
        let request = RequestId(self.requests.len() as u64);
        self.requests.push(Request {
            intent,
            attempt,
            asked,
            was_known,
        });
        request
    }

    /// What was asked in a request.
    pub(crate) fn asked(&self, request: RequestId) -> Option<Request> {
        self.requests.get(usize::try_from(request.0).ok()?).cloned()
    }

    /// The key of an intent, and what it means as told apart under it.
    pub(crate) fn key(&mut self, intent: u32) -> Option<(IdempotencyKey, Fingerprint)> {
        let Intent {
            action,
            order_id,
            spelled,
            ..
        } = self.get(intent)?;
        let key = spelled.key(action)?;
        Some((key, spelled.fingerprint(&action.ask, *order_id)))
    }
}

impl World<'_> {
    /// The order that an intent is about, for those who read the trace.
    fn about_intent(&mut self, number: u32, attempt: u32) {
        let seed = self.plan.knobs.seed;
        let Some(intent) = self.clients.get(number) else {
            return;
        };
        let order_id = match &intent.action.ask {
            Ask::Create { order, .. } => Some(new_order_id(seed, &intent.action, *order, attempt)),
            Ask::Cancel { order }
            | Ask::Nudge { order }
            | Ask::Refund { order, .. }
            | Ask::RetryPayment { order }
            | Ask::WriteOff { order } => {
                let order = *order;
                let meant = intent.order_id;
                meant.or_else(|| self.clients.order_ids.get(&order).copied())
            }
            Ask::Adjust { .. } | Ask::Define { .. } => None,
        };
        self.trace.add(|line| line.about.extend(order_id));
    }

    /// The command that an intent comes to when it arrives.
    fn command(&mut self, number: u32, attempt: u32) -> Option<(RequestId, Command)> {
        let (command, asked) = self.spelled(number, attempt)?;
        let was_known = self.audit.knows(&asked);
        let request = self.clients.register(number, attempt, asked, was_known);
        Some((request, command))
    }

    /// What an intent asks for when it arrives.
    pub(crate) fn spelled(&mut self, number: u32, attempt: u32) -> Option<(Command, Asked)> {
        let seed = self.plan.knobs.seed;
        let intent = self.clients.get(number)?;
        let order_id = match intent.action.ask {
            Ask::Create { order, .. } => {
                let known = intent.order_id.filter(|_| intent.action.key.is_some());
                let order_id =
                    known.unwrap_or_else(|| new_order_id(seed, &intent.action, order, attempt));
                intent.order_id = Some(order_id);
                self.clients.order_ids.insert(order, order_id);
                Some(order_id)
            }
            Ask::Cancel { order }
            | Ask::Nudge { order }
            | Ask::Refund { order, .. }
            | Ask::RetryPayment { order }
            | Ask::WriteOff { order } => Some(self.order_of(number, order)),
            Ask::Adjust { .. } | Ask::Define { .. } => None,
        };
        let Intent {
            action, spelled, ..
        } = self.clients.get(number)?;
        let (command, asked) = spell(action, number, order_id, spelled);
        self.audit.expect(&asked);
        Some((command, asked))
    }

    /// The id of an order by its number. An intent keeps the one that it first meant,
    /// since a retry under a key has to be the same request.
    fn order_of(&mut self, number: u32, order: u32) -> OrderId {
        let known = self.clients.order_ids.get(&order).copied();
        let Some(intent) = self.clients.get(number) else {
            return NO_ORDER;
        };
        *intent.order_id.get_or_insert(known.unwrap_or(NO_ORDER))
    }

    pub(crate) fn on_send(&mut self, number: u32) {
        let knobs = &self.plan.knobs;
        let is_healed = self.is_healed;
        let Some(intent) = self.clients.get(number) else {
            return;
        };
        if intent.is_over {
            return;
        }
        intent.attempts += 1;
        let attempt = intent.attempts;
        let has_key = intent.action.key.is_some();
        let node = match intent.action.ask {
            Ask::Create { .. } | Ask::Cancel { .. } => Node::Client,
            _ => Node::Operator,
        };
        let numbers = [u64::from(number), u64::from(attempt)];
        if self.trace.lines.is_some()
            && let Some(intent) = self.clients.get(number)
        {
            let action = intent.action.clone();
            self.note(node, "asks", numbers, || {
                format!("{:?} key {:?}, try {attempt}", action.ask, action.key)
            });
        } else {
            self.note(node, "asks", numbers, String::new);
        }
        if self.trace.lines.is_some() {
            self.about_intent(number, attempt);
        }
        let names = [u64::from(number), u64::from(attempt)];
        let mut rng = Rng::fork(knobs.seed, Stream::Network, &names);
        let deliver = |intent| Event::Deliver { intent, attempt };
        if is_healed || !rng.chance(knobs.request_lost) {
            self.schedule(rng.below(knobs.net_us + 1), deliver(number));
        } else {
            self.audit.ledger.strike(Strike::MessageLost);
            self.aside(Node::Net, "loses", None, || {
                format!("the request of intent {number}, try {attempt}")
            });
            if self.trace.lines.is_some() {
                self.about_intent(number, attempt);
            }
        }
        if has_key && !is_healed && rng.chance(knobs.request_twice) {
            self.schedule(rng.below(4 * knobs.net_us + 1), deliver(number));
            if self.trace.lines.is_some() {
                self.aside(Node::Net, "repeats", None, || {
                    format!("the request of intent {number}, try {attempt}, arrives twice")
                });
                self.about_intent(number, attempt);
            }
        }
        let event = Event::GiveUp {
            intent: number,
            attempt,
        };
        let timeout_ms = if is_healed {
            knobs.client_timeout_ms.max(10_000)
        } else {
            knobs.client_timeout_ms
        };
        self.schedule(timeout_ms * 1000, event);
    }

    pub(crate) fn on_deliver(&mut self, number: u32, attempt: u32) {
        if self.cluster.is_some() {
            return self.arrive(number, attempt);
        }
        if self.process.is_none() {
            let numbers = [u64::from(number), u64::from(attempt)];
            self.note(Node::Net, "refused", numbers, || "nobody is there".into());
            if self.trace.lines.is_some() {
                self.about_intent(number, attempt);
            }
            return;
        }
        if let Some((request, command)) = self.command(number, attempt) {
            self.hand_in(HostInput::Command { request, command });
        }
    }

    /// A reply leaves the engine; in a cluster, that of this process.
    pub(crate) fn on_reply(
        &mut self,
        life: Option<u32>,
        request: RequestId,
        reply: Reply,
    ) -> Checked {
        let Some(asked) = self.clients.asked(request) else {
            return Err(safety("reply_is_true", "a reply to nobody"));
        };
        let Request {
            intent,
            attempt,
            asked,
            was_known,
        } = asked;
        let was_full = |it: &Process| it.without_room.contains(&request.0);
        if self.process.as_deref().is_some_and(was_full)
            && reply.result != Err(Rejection::JournalFull)
        {
            let why = format!("{asked:?} is answered while the log has no room");
            return Err(safety("full_disk_refuses", why));
        }
        let key = self.clients.key(intent);
        self.note(
            Node::Engine,
            "replies",
            [u64::from(intent), u64::from(attempt)],
            || {
                let result = match &reply.result {
                    Ok(_) => "done".to_owned(),
                    Err(rejection) => rejection.to_string(),
                };
                format!("{asked:?}: {result}, replayed {}", reply.replayed)
            },
        );
        if let Some(order_id) = asked.order_id() {
            self.about(order_id);
        }
        let cluster = self.cluster.as_deref();
        let member = life.and_then(|life| cluster.and_then(|it| it.peek(life)));
        let shown = member.map_or(&self.store.shown, |it| &it.shown);
        self.audit
            .on_reply(&asked, was_known, key.as_ref(), &reply, shown)?;
        if matches!(asked, Asked::Report(_)) {
            self.on_report_answered(intent, &reply);
            return Ok(());
        }
        let knobs = &self.plan.knobs;
        let names = [u64::from(intent), u64::from(attempt), 1];
        let mut rng = Rng::fork(knobs.seed, Stream::Network, &names);
        if self.is_healed || !rng.chance(knobs.reply_lost) {
            let delay_us = rng.below(knobs.net_us + 1);
            if let Some(life) = life {
                self.answers_with_position(life, &reply, delay_us);
            }
            let reply = Box::new(reply);
            let told = Event::Told {
                intent,
                attempt,
                reply,
            };
            self.schedule(delay_us, told);
        } else {
            self.audit.ledger.strike(Strike::MessageLost);
            self.aside(Node::Net, "loses", asked.order_id(), || {
                format!("the reply to intent {intent}, try {attempt}")
            });
        }
        Ok(())
    }

    pub(crate) fn on_told(&mut self, number: u32, attempt: u32, reply: &Reply) {
        let again = matches!(
            reply.result,
            Err(Rejection::Overloaded | Rejection::JournalFull)
        );
        let is_ok = reply.result.is_ok();
        self.note(
            Node::Client,
            "told",
            [u64::from(number), u64::from(is_ok)],
            || {
                format!(
                    "intent {number}, try {attempt}: {}",
                    if is_ok { "done" } else { "refused" }
                )
            },
        );
        if self.trace.lines.is_some() {
            self.about_intent(number, attempt);
        }
        if let Some(intent) = self.clients.get(number) {
            let is_first = is_ok && !intent.told_ok;
            if is_first && matches!(intent.action.ask, Ask::Define { product: PROBE, .. }) {
                self.schedule(1_000, Event::Send(number + 1));
            }
        }
        if let Some(intent) = self.clients.get(number) {
            intent.told_ok |= is_ok;
            if let Ok(Answer::Order(order)) = &reply.result {
                intent.accepted.push(order.order_id);
            }
            // Trying again is what the time-out does.
            intent.is_over |= !again;
        }
        self.told_of_stock(reply);
    }

    pub(crate) fn on_give_up(&mut self, number: u32, attempt: u32) {
        let Some(intent) = self.clients.get(number) else {
            return;
        };
        let is_last = intent.attempts > intent.action.retries;
        if intent.is_over || intent.attempts != attempt || is_last {
            return;
        }
        // Without a key, asking again is asking twice: only what is the same however often
        // it is asked is sent again.
        let is_idempotent =
            intent.action.key.is_some() || !matches!(intent.action.ask, Ask::Adjust { .. });
        if is_idempotent {
            self.on_send(number);
        }
    }

    /// The number in the plan of every order that was sent, by its id as last sent.
    pub(crate) fn order_numbers(&self) -> impl Iterator<Item = (u32, OrderId)> + '_ {
        let known = &self.clients.order_ids;
        known.iter().map(|(number, order_id)| (*number, *order_id))
    }

    /// A last order, which has to be confirmed, since nothing fails any more.
    pub(crate) fn heal_clients(&mut self) {
        let probe = |ask, key| Action {
            at_ms: 0,
            key,
            retries: u32::MAX,
            ask,
        };
        let define = Ask::Define {
            product: PROBE,
            on_hand: Some(10),
        };
        let first = self.clients.add(probe(define, None));
        let delay_us = self.leaders_settle_us().max(1_000_000);
        self.schedule(delay_us, Event::Send(first));
        let create = Ask::Create {
            order: PROBE,
            lines: vec![(PROBE, 1, 100)],
            hold_ms: None,
        };
        // Sent once its product is there.
        self.clients.add(probe(create, Some(PROBE)));
    }

    /// What a client is still waiting for after all faults have ended.
    pub(crate) fn probe_is_open(&self) -> Option<String> {
        let Some(order_id) = self.clients.order_ids.get(&PROBE) else {
            return Some("the last order has not been sent".into());
        };
        match self.audit.order(*order_id) {
            Some(order) if order.saga.is_terminal() => None,
            Some(order) => Some(format!("the last order is {}", order.saga)),
            None => Some("the last order is not accepted".into()),
        }
    }

    /// Are the timers long enough for an order that nothing delays?
    fn probe_has_time(&self) -> bool {
        let slowest_ms = self.slowest_in_cluster_ms();
        self.plan.knobs.gives_orders_time(slowest_ms)
    }

    /// Everybody who was told "done" finds what was done; each key had its effect once.
    pub(crate) fn check_clients(&self) -> Checked {
        for (number, intent) in (0..).zip(&self.clients.intents) {
            for order_id in &intent.accepted {
                let Some(order) = self.audit.order(*order_id) else {
                    let why = format!("order {order_id} was acknowledged and is gone");
                    return Err(safety("acknowledged_is_found", why));
                };
                let is_probe = matches!(intent.action.ask, Ask::Create { order: PROBE, .. });
                if is_probe && self.probe_has_time() && order.status != OrderStatus::Confirmed {
                    let why = format!("an order without any fault is {}", order.status);
                    return Err(liveness("healthy_order_completes", why));
                }
            }
            let (Ask::Adjust { .. }, is_keyed) = (&intent.action.ask, intent.action.key.is_some())
            else {
                continue;
            };
            let same = |other: &&Intent| is_keyed && other.action.key == intent.action.key;
            if self.clients.intents.iter().filter(same).count() > 1 {
                continue; // its answer may be that of another request
            }
            let reason: Arc<str> = Arc::from(format!("intent {number}"));
            let times = self
                .audit
                .ledger
                .adjusted
                .get(&reason)
                .copied()
                .unwrap_or(0);
            let delta = matches!(intent.action.ask, Ask::Adjust { delta, .. } if delta != 0);
            // Without a key it is sent once, and a process that refuses it has not done it.
            let at_most_once = is_keyed || self.cluster.is_some();
            if (at_most_once && times > 1) || (intent.told_ok && times == 0 && delta) {
                let why = format!("intent {number} changed stock {times} times");
                return Err(safety("same_key_same_answer", why));
            }
        }
        Ok(())
    }
}
