//! Answer bodies: how orders, products, reservations and payments look in JSON.
//!
//! Written straight from the domain's own types, without a tree in between. Amounts are
//! number tokens with exactly the digits of their currency, so `29.90` stays `29.90`.

mod live;
mod payments;

use std::borrow::Cow;
use std::cell::Cell;

use a4co_core::ids::{OrderId, PaymentId, ProductId, ReservationId};
use a4co_core::inventory::{HeldLine, Product, Reservation};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{HistoryEntry, Line, MetadataValue, Order, Shortage, Step};
use a4co_core::time::Timestamp;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

pub(super) use self::live::{Changes, Hello, Overview, SampleShape};
pub(super) use self::payments::PaymentShape;

/// An amount in major units.
struct Money(Amount, Currency);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.1.digits() == 0 {
            return serializer.serialize_i64(self.0.minor());
        }
        number_token(self.1.format_amount(self.0), serializer)
    }
}

/// Writes a text that is a JSON number as that number, digit by digit.
fn number_token<S: Serializer>(token: String, serializer: S) -> Result<S::Ok, S::Error> {
    let raw = RawValue::from_string(token).map_err(serde::ser::Error::custom)?;
    raw.serialize(serializer)
}

/// A time as RFC 3339 in UTC, with milliseconds.
struct At(Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = time_text(self.0);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Bytes of `2026-01-02T03:04:`, which the times of one minute share.
const MINUTE_BYTES: usize = 17;

/// What `Display` writes. An order shows seven times and more, nearly always of one minute,
/// so the calendar is asked once a minute and not once a time.
fn time_text(time: Timestamp) -> [u8; 24] {
    thread_local! {
        static LAST: Cell<Option<(u64, [u8; 24])>> = const { Cell::new(None) };
    }
    let ms = time.unix_ms();
    let minute = ms / 60_000;
    let known = LAST.get().filter(|(known, _)| *known == minute);
    let (_, mut text) = known.unwrap_or_else(|| {
        let mut text = [0; 24];
        // Always 24 characters, up to the year 9999 and past it.
        text.copy_from_slice(time.to_string().as_bytes());
        LAST.set(Some((minute, text)));
        (minute, text)
    });
    let mut rest = usize::try_from(ms % 60_000).unwrap_or_default();
    // From the right: three digits of milliseconds, the point, two of seconds.
    for at in [22, 21, 20, MINUTE_BYTES + 1, MINUTE_BYTES] {
        text[at] = b"0123456789"[rest % 10];
        rest /= 10;
    }
    text
}

/// A sequence that is made while it is written.
struct Each<F>(F);

impl<F, I> Serialize for Each<F>
where
    F: Fn() -> I,
    I: Iterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

// ---- orders

/// An order with its saga.
pub(super) struct OrderShape<'o> {
    order: &'o Order,
    version: Option<u64>,
}

impl<'o> OrderShape<'o> {
    /// The order as it is.
    pub(super) const fn present(order: &'o Order) -> Self {
        Self {
            order,
            version: Some(order.version.get()),
        }
    }

    /// The order as it was created: without a version, since the same request must be
    /// answered by the same bytes later.
    pub(super) const fn created(order: &'o Order) -> Self {
        Self {
            order,
            version: None,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderBody<'o> {
    order_id: OrderId,
    customer_id: &'o str,
    status: &'static str,
    saga_state: &'static str,
    items: Lines<'o>,
    total_amount: Money,
    currency: Currency,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_method_id: Option<&'o str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata<'o>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_id: Option<ReservationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_id: Option<PaymentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancellation_reason: Option<String>,
    #[serde(
        skip_serializing_if = "<[Shortage]>::is_empty",
        serialize_with = "shortages"
    )]
    shortages: &'o [Shortage],
    parked: bool,
    created_at: At,
    updated_at: At,
    deadline_at: At,
    history: History<'o>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

impl Serialize for OrderShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let order = self.order;
        let asked = &order.order;
        // Payment is asked for in the same event that notes the reservation.
        let reserved = order.payment_requested.then_some(order.order_id);
        OrderBody {
            order_id: order.order_id,
            customer_id: asked.customer_id.as_str(),
            status: order.status.name(),
            saga_state: order.saga.name(),
            items: Lines(&asked.lines, asked.currency),
            total_amount: Money(asked.total, asked.currency),
            currency: asked.currency,
            payment_method_id: asked.payment_method.as_ref().map(AsRef::as_ref),
            metadata: Some(Metadata(&asked.metadata)).filter(|metadata| !metadata.0.is_empty()),
            reservation_id: reserved.map(OrderId::reservation_id),
            payment_id: reserved.map(OrderId::payment_id),
            failure_reason: failure_reason(order),
            cancellation_reason: order.cancel_reason.as_ref().map(ToString::to_string),
            shortages: &order.shortages,
            parked: order.parked,
            created_at: At(order.created_at),
            updated_at: At(order.updated_at),
            deadline_at: At(order.deadline_at),
            history: History(order),
            version: self.version,
        }
        .serialize(serializer)
    }
}

fn failure_reason(order: &Order) -> Option<String> {
    if order.shortages.is_empty() {
        return None;
    }
    let short: Vec<String> = order.shortages.iter().map(ToString::to_string).collect();
    Some(format!("insufficient stock: {}", short.join("; ")))
}

fn shortages<S: Serializer>(shortages: &[Shortage], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Short<'o> {
        product_id: &'o str,
        requested: u64,
        available: u64,
    }
    serializer.collect_seq(shortages.iter().map(|short| Short {
        product_id: short.product_id.as_str(),
        requested: short.requested,
        available: short.available,
    }))
}

struct Lines<'o>(&'o [Line], Currency);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct LineBody<'o> {
            product_id: &'o str,
            quantity: u32,
            price: Money,
            line_total: Money,
        }
        serializer.collect_seq(self.0.iter().map(|line| {
            // The sum of all lines is in range, and no price is below zero.
            let line_total = line.unit_price.checked_mul(u64::from(line.quantity));
            LineBody {
                product_id: line.product_id.as_str(),
                quantity: line.quantity,
                price: Money(line.unit_price, self.1),
                line_total: Money(line_total.unwrap_or_default(), self.1),
            }
        }))
    }
}

struct Metadata<'o>(&'o [(std::sync::Arc<str>, MetadataValue)]);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Scalar<'o>(&'o MetadataValue);
        impl Serialize for Scalar<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.0 {
                    MetadataValue::Text(text) => serializer.serialize_str(text),
                    MetadataValue::Bool(value) => serializer.serialize_bool(*value),
                    MetadataValue::Number(token) => number_token(token.to_string(), serializer),
                }
            }
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key.as_ref(), &Scalar(value))?;
        }
        map.end()
    }
}

struct History<'o>(&'o Order);

impl Serialize for History<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'o> {
            at: At,
            state: &'static str,
            step: &'static str,
            detail: Cow<'o, str>,
            sequence: u64,
        }
        let order = self.0;
        let mut entries = serializer.serialize_seq(Some(order.history.len()))?;
        for entry in &order.history {
            entries.serialize_element(&Entry {
                at: At(entry.at),
                state: entry.saga.name(),
                step: step_name(entry.step),
                detail: step_detail(order, entry),
                sequence: entry.sequence.get(),
            })?;
        }
        entries.end()
    }
}

/// The stable name of a step.
const fn step_name(step: Step) -> &'static str {
    match step {
        Step::Created => "CREATED",
        Step::InventoryReserved => "INVENTORY_RESERVED",
        Step::PaymentRequested => "PAYMENT_REQUESTED",
        Step::PaymentSucceeded => "PAYMENT_SUCCEEDED",
        Step::Confirmed => "CONFIRMED",
        Step::OutOfStock => "OUT_OF_STOCK",
        Step::CompensationRequested => "COMPENSATION_REQUESTED",
        Step::StockUndone => "STOCK_UNDONE",
        Step::PaymentUndone => "PAYMENT_UNDONE",
        Step::Parked => "PARKED",
        Step::RetryRequested => "RETRY_REQUESTED",
        Step::Cancelled => "CANCELLED",
    }
}

/// What a step was, in a sentence for the shopkeeper.
fn step_detail<'o>(order: &'o Order, entry: &HistoryEntry) -> Cow<'o, str> {
    Cow::Borrowed(match entry.step {
        Step::Created => "order accepted, stock asked for",
        Step::InventoryReserved => "all items are reserved",
        Step::PaymentRequested => "payment asked for",
        Step::PaymentSucceeded => "payment received, the sale of the stock asked for",
        Step::Confirmed => "the stock is sold, the order is complete",
        Step::OutOfStock => {
            let reason = failure_reason(order).unwrap_or_else(|| "insufficient stock".to_owned());
            return Cow::Owned(reason);
        }
        Step::CompensationRequested => {
            return match &order.cancel_reason {
                Some(reason) => Cow::Owned(format!("being undone: {reason}")),
                None => Cow::Borrowed("being undone"),
            };
        }
        Step::StockUndone => "nothing is reserved any more",
        Step::PaymentUndone => "nothing is charged, or all of it was given back",
        Step::Parked => "a step keeps failing; it is tried again slowly, or on retry",
        Step::RetryRequested => "an operator asked for another try",
        Step::Cancelled => "everything is undone",
    })
}

// ---- products

/// A product with its stock.
pub(super) struct ProductShape<'p>(pub(super) &'p Product);

impl Serialize for ProductShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ProductBody<'p> {
            product_id: &'p ProductId,
            #[serde(skip_serializing_if = "Option::is_none")]
            name: Option<&'p str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            price: Option<Money>,
            #[serde(skip_serializing_if = "Option::is_none")]
            currency: Option<Currency>,
            on_hand_quantity: u64,
            available_quantity: u64,
            reserved_quantity: u64,
            sold_quantity: u64,
        }
        let product = self.0;
        ProductBody {
            product_id: &product.product_id,
            name: product.name.as_deref(),
            price: product
                .price
                .map(|price| Money(price.amount, price.currency)),
            currency: product.price.map(|price| price.currency),
            on_hand_quantity: product.on_hand,
            available_quantity: product.available(),
            reserved_quantity: product.reserved,
            sold_quantity: product.sold,
        }
        .serialize(serializer)
    }
}

// ---- reservations

/// A reservation.
pub(super) struct ReservationShape<'r> {
    reservation: &'r Reservation,
    status: &'static str,
}

impl<'r> ReservationShape<'r> {
    /// `None` for what was refused and so never was a reservation.
    pub(super) fn of(reservation: &'r Reservation) -> Option<Self> {
        let status = reservation.status.name()?;
        Some(Self {
            reservation,
            status,
        })
    }
}

impl Serialize for ReservationShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Item<'r> {
            product_id: &'r str,
            quantity: u64,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ReservationBody<I: Serialize> {
            reservation_id: ReservationId,
            order_id: OrderId,
            status: &'static str,
            items: I,
            created_at: At,
            expires_at: At,
            #[serde(skip_serializing_if = "Option::is_none")]
            released_at: Option<At>,
            #[serde(skip_serializing_if = "Option::is_none")]
            release_reason: Option<String>,
            version: u64,
        }
        fn item(line: &HeldLine) -> Item<'_> {
            Item {
                product_id: line.product_id.as_str(),
                quantity: line.quantity,
            }
        }
        let held = self.reservation;
        let expired = held.status == a4co_core::inventory::ReservationStatus::Expired;
        let expired = expired.then(|| "the hold came to its end".to_owned());
        let reason = held.release_reason.as_ref().map(ToString::to_string);
        ReservationBody {
            reservation_id: held.order_id.reservation_id(),
            order_id: held.order_id,
            status: self.status,
            items: Each(|| held.lines.iter().map(item)),
            created_at: At(held.created_at),
            expires_at: At(held.expires_at),
            released_at: held.released_at.map(At),
            release_reason: reason.or(expired),
            version: held.version.get(),
        }
        .serialize(serializer)
    }
}

// ---- lists

/// A list, or one page of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListShape<T: Serialize> {
    /// The rows.
    pub(super) data: Vec<T>,
    /// Leads to the next page; `null` when there is none.
    pub(super) next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_written_as_display_writes_them(ms in any::<u64>(), step in 0..120_000_u64) {
            for ms in [ms, ms.saturating_add(step), ms >> 22, (ms >> 22) + step] {
                let time = Timestamp::from_unix_ms(ms);
                let text = time_text(time);
                prop_assert_eq!(text.to_vec(), time.to_string().into_bytes());
            }
        }
    }
}
