//! What an action comes to as a command: ids, bodies and fingerprints, made once for all
//! tries of it.

use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::decider::Idempotency;
use a4co_core::ids::{CustomerId, Fingerprint, IdempotencyKey, OrderId, ProductId};
use a4co_core::inventory::InventoryCommand;
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{CreateOrder, Line, NewOrder, OrderCommand, SandboxHints};
use a4co_core::payment::PaymentCommand;
use a4co_core::time::Millis;

use crate::audit::Asked;
use crate::plan::{Action, Ask};
use crate::rng::{Rng, Stream};

/// The product of this number.
pub(crate) fn product_id(product: u32) -> ProductId {
    #[expect(clippy::expect_used, reason = "printable and short")]
    ProductId::parse(&format!("sku-{product}")).expect("a valid id")
}

/// The key that a client gives, as the engine knows it.
pub(crate) fn key_of(action: &Action) -> Option<IdempotencyKey> {
    let key = action.key?;
    IdempotencyKey::parse(&format!("key-{key}")).ok()
}

/// Of what a request means; an order's number alone does not say which order was meant.
fn fingerprint(ask: &Ask, order_id: Option<OrderId>) -> Fingerprint {
    Fingerprint::of(format!("{ask:?} {order_id:?}").as_bytes())
}

/// What is the same in every try of an action, once it has been made.
#[derive(Debug, Default)]
pub(crate) struct Spelled {
    key: Option<IdempotencyKey>,
    body: Option<Arc<NewOrder>>,
    fingerprint: Option<(Option<OrderId>, Fingerprint)>,
}

impl Spelled {
    /// The key of the action, if it has one.
    pub(crate) fn key(&mut self, action: &Action) -> Option<IdempotencyKey> {
        if self.key.is_none() {
            self.key = key_of(action);
        }
        self.key.clone()
    }

    /// What the action means, as told apart under a key.
    pub(crate) fn fingerprint(&mut self, ask: &Ask, order_id: Option<OrderId>) -> Fingerprint {
        match self.fingerprint {
            Some((known, fingerprint)) if known == order_id => fingerprint,
            _ => {
                let fingerprint = fingerprint(ask, order_id);
                self.fingerprint = Some((order_id, fingerprint));
                fingerprint
            }
        }
    }
}

fn body(action: &Action, lines: &[(u32, u32, i64)], hold_ms: Option<u64>) -> NewOrder {
    let lines: Arc<[Line]> = lines
        .iter()
        .map(|(product, quantity, price)| Line {
            product_id: product_id(*product),
            quantity: *quantity,
            unit_price: Amount::from_minor(*price).unwrap_or_default(),
        })
        .collect();
    let total = lines
        .iter()
        .map(|line| line.unit_price.minor() * i64::from(line.quantity))
        .sum();
    #[expect(clippy::expect_used, reason = "printable and short")]
    let customer_id = CustomerId::parse("customer").expect("a valid id");
    NewOrder {
        customer_id,
        total: Amount::from_minor(total).unwrap_or_default(),
        currency: Currency::EUR,
        payment_method: None,
        metadata: Arc::from([]),
        hints: SandboxHints {
            decline: false,
            hold_ms: hold_ms.map(Millis::new),
        },
        idempotency_key: key_of(action),
        fingerprint: Fingerprint::of(format!("{lines:?} {hold_ms:?}").as_bytes()),
        lines,
        trace: None,
    }
}

/// The id under which an order is placed: of its key, or a new one each time.
pub(crate) fn new_order_id(seed: u64, action: &Action, order: u32, attempt: u32) -> OrderId {
    if let Some(key) = key_of(action) {
        return OrderId::from_idempotency_key(&key);
    }
    let names = [u64::from(order), u64::from(attempt)];
    let mut ids = Rng::fork(seed, Stream::Ids, &names);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&ids.next_u64().to_be_bytes());
    bytes[8..].copy_from_slice(&ids.next_u64().to_be_bytes());
    OrderId::from_bytes(bytes)
}

/// The command that an action comes to, about the order that it is about, if any.
pub(crate) fn spell(
    action: &Action,
    number: u32,
    order_id: Option<OrderId>,
    spelled: &mut Spelled,
) -> (Command, Asked) {
    let key = spelled.key(action);
    // A creation is told apart by its body.
    let is_create = matches!(action.ask, Ask::Create { .. });
    let told_apart = key.clone().filter(|_| !is_create);
    let idempotency = told_apart.map(|key| Idempotency {
        key,
        fingerprint: spelled.fingerprint(&action.ask, order_id),
    });
    let order_id = order_id.unwrap_or(NO_ORDER);
    match action.ask {
        Ask::Create {
            ref lines, hold_ms, ..
        } => {
            let body = spelled
                .body
                .get_or_insert_with(|| Arc::new(body(action, lines, hold_ms)))
                .clone();
            let create = CreateOrder {
                order_id,
                may_exist: key.is_some(),
                order: body.clone(),
            };
            (
                Command::Order(OrderCommand::Create(create)),
                Asked::Create(order_id, body),
            )
        }
        Ask::Cancel { .. } => {
            let cancel = OrderCommand::Cancel {
                order_id,
                reason: Arc::from("changed my mind"),
                idempotency,
            };
            (Command::Order(cancel), Asked::Cancel(order_id))
        }
        Ask::Nudge { .. } => {
            let retry = OrderCommand::Retry {
                order_id,
                idempotency,
            };
            (Command::Order(retry), Asked::Nudge(order_id))
        }
        Ask::Refund { amount, .. } => {
            let refund = PaymentCommand::Refund {
                order_id,
                amount: amount.and_then(|amount| Amount::from_minor(amount).ok()),
                idempotency,
            };
            (Command::Payment(refund), Asked::Refund(order_id))
        }
        Ask::RetryPayment { .. } => {
            let retry = PaymentCommand::Retry {
                order_id,
                idempotency,
            };
            (Command::Payment(retry), Asked::RetryPayment(order_id))
        }
        Ask::WriteOff { .. } => {
            let write_off = PaymentCommand::WriteOff {
                order_id,
                idempotency,
            };
            (Command::Payment(write_off), Asked::WriteOff(order_id))
        }
        Ask::Adjust { product, delta } => {
            let product_id = product_id(product);
            let adjust = InventoryCommand::Adjust {
                product_id: product_id.clone(),
                delta,
                reason: Arc::from(format!("intent {number}")),
                idempotency,
            };
            (Command::Inventory(adjust), Asked::Product(product_id))
        }
        Ask::Define { product, on_hand } => {
            let product_id = product_id(product);
            let define = InventoryCommand::Define {
                product_id: product_id.clone(),
                name: None,
                price: None,
                on_hand,
            };
            (Command::Inventory(define), Asked::Product(product_id))
        }
    }
}

/// What is named where no order is known.
pub(crate) const NO_ORDER: OrderId = OrderId::from_bytes([0; 16]);
