//! A new order: from the body of its request to the core's `NewOrder`.
//!
//! In two steps, because a retry must mean the same although the catalogue has changed
//! meanwhile: what was asked for (and its fingerprint) first, its prices after that.

use std::sync::Arc;

use a4co_core::ids::{CustomerId, Fingerprint, IdempotencyKey, PaymentMethodId, ProductId};
use a4co_core::limits::{
    METADATA_KEY_CHARS_MAX, METADATA_KEYS_MAX, METADATA_VALUE_CHARS_MAX, ORDER_LINES_MAX,
    QUANTITY_MAX, QUANTITY_MIN,
};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{MetadataValue, SandboxHints};
use a4co_core::trace::TraceContext;
use serde_json::value::RawValue;

use super::hints::hold_ms;
use crate::http::fields::{Findings, Object, Place, Value};
use crate::http::fingerprint::Canonical;
use crate::http::problem::Problem;

/// What the client asked for, before the catalogue had its say.
pub(crate) struct OrderRequest {
    pub(super) customer_id: CustomerId,
    pub(super) lines: Vec<LineRequest>,
    pub(super) total: Option<Amount>,
    pub(super) currency: Currency,
    pub(super) payment_method: Option<PaymentMethodId>,
    pub(super) metadata: Vec<(Arc<str>, MetadataValue)>,
    pub(super) hints: SandboxHints,
    /// Of the request, and no part of what it means.
    pub(super) trace: Option<TraceContext>,
}

/// One line of it.
pub(super) struct LineRequest {
    pub(super) product_id: ProductId,
    pub(super) quantity: u32,
    pub(super) price: Option<Amount>,
    /// The name under which the client sent the price.
    pub(super) price_field: &'static str,
}

/// What an unknown field is told.
const HINT: &str = "; notes of your own go into `metadata`";

impl OrderRequest {
    /// Reads a body. `sandbox` tells whether hints for the sandbox mean anything.
    pub(crate) fn parse(body: &[u8], sandbox: bool) -> Result<Self, Problem> {
        let root = Place::ROOT;
        let mut findings = Findings::default();
        let f = &mut findings;
        let mut object = Object::of_body(body)?;
        let customer_id = object.require(&root, "customerId", f);
        let customer_id = customer_id.and_then(|value| value.id(CustomerId::parse, f));
        let currency = match object.take(&root, "currency") {
            Some(value) => value.currency(f),
            None => Some(Currency::EUR),
        };
        let items = object.require(&root, "items", f);
        let lines = items.and_then(|value| lines(value, currency, f));
        let total = object.take(&root, "totalAmount");
        let total = total.and_then(|value| value.amount(currency, f));
        let payment_method = object.take(&root, "paymentMethodId");
        let payment_method = payment_method.and_then(|value| value.id(PaymentMethodId::parse, f));
        let metadata = object.take(&root, "metadata");
        let (metadata, hints) =
            metadata.map_or_else(Default::default, |value| metadata_of(value, sandbox, f));
        object.end(root, HINT, f);
        let request = customer_id.zip(lines).zip(currency);
        findings.done(request.map(|((customer_id, lines), currency)| Self {
            customer_id,
            lines,
            total,
            currency,
            payment_method,
            metadata,
            hints,
            trace: None,
        }))
    }

    /// What this request means: the same for the same fields in another order or form.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let canonical = Canonical::new("orders.create/1")
            .text(self.customer_id.as_str())
            .text(self.currency.as_str())
            .option(self.total, |to, total| to.number(total.minor()))
            .option(self.payment_method.as_ref(), |to, method| {
                to.text(method.as_str())
            })
            .count(self.lines.len());
        let canonical = self.lines.iter().fold(canonical, |to, line| {
            to.text(line.product_id.as_str())
                .number(i64::from(line.quantity))
                .option(line.price, |to, price| to.number(price.minor()))
        });
        let mut metadata: Vec<_> = self.metadata.iter().collect();
        metadata.sort_by(|(a, _), (b, _)| a.cmp(b));
        let canonical = canonical.count(metadata.len());
        let canonical = metadata.into_iter().fold(canonical, |to, (key, value)| {
            let to = to.text(key);
            match value {
                MetadataValue::Text(text) => to.text("text").text(text),
                MetadataValue::Bool(value) => to.text("bool").number(i64::from(*value)),
                MetadataValue::Number(token) => to.text("number").text(token),
            }
        });
        canonical.end()
    }

    /// The core's order, once it is priced.
    pub(super) fn into_order(
        self,
        lines: Arc<[a4co_core::order::Line]>,
        total: Amount,
        idempotency_key: Option<IdempotencyKey>,
        fingerprint: Fingerprint,
    ) -> a4co_core::order::NewOrder {
        a4co_core::order::NewOrder {
            customer_id: self.customer_id,
            lines,
            total,
            currency: self.currency,
            payment_method: self.payment_method,
            metadata: Arc::from(self.metadata),
            hints: self.hints,
            idempotency_key,
            fingerprint,
            trace: self.trace,
        }
    }
}

fn lines(
    value: Value<'_, '_>,
    currency: Option<Currency>,
    f: &mut Findings,
) -> Option<Vec<LineRequest>> {
    let at = value.at();
    let items = value.array(f)?;
    if items.is_empty() {
        f.add(at, "no_items", "must have at least one item");
        return None;
    }
    if items.len() > ORDER_LINES_MAX {
        let detail = format!(
            "has {} items, at most {ORDER_LINES_MAX} are allowed",
            items.len()
        );
        f.add(at, "too_many_items", detail);
    }
    let items = items.into_iter().take(ORDER_LINES_MAX).enumerate();
    // Each line is read although one before it is wrong.
    let lines: Vec<_> = items
        .map(|(index, raw)| line(raw, at.index(index), currency, f))
        .collect();
    lines.into_iter().collect()
}

fn line(
    raw: &RawValue,
    at: Place<'_>,
    currency: Option<Currency>,
    f: &mut Findings,
) -> Option<LineRequest> {
    let mut object = Value::new(raw, at).object(f)?;
    let product_id = object.require(&at, "productId", f);
    let product_id = product_id.and_then(|value| value.id(ProductId::parse, f));
    let quantity = object.require(&at, "quantity", f);
    let quantity = quantity.and_then(|value| {
        let (min, max) = (i64::from(QUANTITY_MIN), i64::from(QUANTITY_MAX));
        value.whole_number(min, max, "quantity_out_of_range", f)
    });
    let (price, unit_price) = (object.take(&at, "price"), object.take(&at, "unitPrice"));
    let price_field = if price.is_none() && unit_price.is_some() {
        "unitPrice"
    } else {
        "price"
    };
    let price = price.and_then(|value| value.amount(currency, f));
    let other = unit_price.and_then(|value| value.amount(currency, f));
    if let (Some(price), Some(other)) = (price, other)
        && price != other
    {
        let detail = "is another name of `price`, and the two differ";
        f.add(at.key("unitPrice"), "conflicting_price", detail);
    }
    object.end(at, "", f);
    Some(LineRequest {
        product_id: product_id?,
        quantity: quantity.and_then(|quantity| u32::try_from(quantity).ok())?,
        price: price.or(other),
        price_field,
    })
}

type Metadata = Vec<(Arc<str>, MetadataValue)>;

fn metadata_of(value: Value<'_, '_>, sandbox: bool, f: &mut Findings) -> (Metadata, SandboxHints) {
    let mut hints = SandboxHints::default();
    let Some(object) = value.object(f) else {
        return Default::default();
    };
    let at = value.at();
    let fields = object.rest(at, f);
    if fields.len() > METADATA_KEYS_MAX {
        let detail = format!(
            "has {} keys, at most {METADATA_KEYS_MAX} are allowed",
            fields.len()
        );
        f.add(at, "too_many_metadata_keys", detail);
    }
    let mut metadata = Vec::with_capacity(fields.len().min(METADATA_KEYS_MAX));
    for (key, raw) in fields.into_iter().take(METADATA_KEYS_MAX) {
        let value = Value::new(raw, at.key(&key));
        let Some(scalar) = scalar(&key, value, f) else {
            continue;
        };
        if sandbox {
            read_hint(&key, &scalar, value, &mut hints, f);
        }
        metadata.push((Arc::from(key.as_ref()), scalar));
    }
    (metadata, hints)
}

fn scalar(key: &str, value: Value<'_, '_>, f: &mut Findings) -> Option<MetadataValue> {
    let length = key.chars().count();
    if !(1..=METADATA_KEY_CHARS_MAX).contains(&length) {
        let detail =
            format!("the key has {length} characters, 1 to {METADATA_KEY_CHARS_MAX} are allowed");
        f.add(value.at(), "metadata_key_length", detail);
        return None;
    }
    let token = value.json();
    let (scalar, length) = match token.as_bytes().first() {
        Some(b'"') => {
            let text = value.text(f)?;
            let length = text.chars().count();
            (MetadataValue::Text(Arc::from(text.as_ref())), length)
        }
        Some(b't' | b'f') => (MetadataValue::Bool(token == "true"), 0),
        Some(b'{' | b'[' | b'n') | None => {
            let detail = "must be a string, a number or a boolean";
            f.add(value.at(), "wrong_type", detail);
            return None;
        }
        Some(_) => (MetadataValue::Number(Arc::from(token)), token.len()),
    };
    if length > METADATA_VALUE_CHARS_MAX {
        let detail =
            format!("has {length} characters, at most {METADATA_VALUE_CHARS_MAX} are allowed");
        f.add(value.at(), "metadata_value_too_long", detail);
        return None;
    }
    Some(scalar)
}

fn read_hint(
    key: &str,
    scalar: &MetadataValue,
    value: Value<'_, '_>,
    hints: &mut SandboxHints,
    f: &mut Findings,
) {
    match (key, scalar) {
        ("forcePaymentFailure", MetadataValue::Bool(decline)) => hints.decline = *decline,
        ("forcePaymentFailure", _) => {
            f.add(value.at(), "wrong_type", "must be true or false");
        }
        ("reservationTtlMinutes", MetadataValue::Number(token)) => match hold_ms(token) {
            Some(hold_ms) => hints.hold_ms = Some(hold_ms),
            None => f.add(
                value.at(),
                "reservation_ttl_out_of_range",
                "must be above zero and at most a year, in minutes",
            ),
        },
        ("reservationTtlMinutes", _) => {
            f.add(value.at(), "wrong_type", "must be a number of minutes");
        }
        _ => {}
    }
}
