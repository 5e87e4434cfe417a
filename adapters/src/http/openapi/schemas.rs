//! The shapes of bodies, as JSON Schema 2020-12.

use a4co_core::limits::{
    AMOUNT_MINOR_MAX, ID_CHARS_MAX, ID_CHARS_MIN, METADATA_KEY_CHARS_MAX, METADATA_KEYS_MAX,
    METADATA_VALUE_CHARS_MAX, ORDER_LINES_MAX, PRODUCT_NAME_CHARS_MAX, QUANTITY_MAX, QUANTITY_MIN,
    REASON_CHARS_MAX, STOCK_UNITS_MAX,
};
use a4co_core::order::{OrderStatus, SagaState};
use serde_json::{Map, Value, json};

use crate::http::payments::PARKED_SHOWN_MAX;
use crate::http::problem::Code;

/// Every schema, by its name.
pub(super) fn all() -> Map<String, Value> {
    let entries = [
        ("Id", id()),
        ("OrderId", json!({ "type": "string", "format": "uuid" })),
        ("ReservationId", prefixed("res")),
        ("PaymentId", prefixed("pay")),
        (
            "Time",
            json!({
                "type": "string", "format": "date-time",
                "description": "RFC 3339, in UTC, with milliseconds.",
            }),
        ),
        ("Money", money(AMOUNT_MINOR_MAX)),
        (
            "Currency",
            json!({
                "type": "string", "pattern": "^[A-Z]{3}$", "example": "EUR",
                "description": "ISO 4217.",
            }),
        ),
        ("NewOrder", new_order()),
        ("NewItem", new_item()),
        ("Metadata", metadata()),
        ("Order", order()),
        ("Item", item()),
        (
            "HistoryEntry",
            object(
                json!({
                    "at": of("Time"),
                    "state": saga_state(),
                    "step": { "type": "string", "description": "What happened, by a stable name." },
                    "sequence": {
                        "type": "integer", "minimum": 0,
                        "description": "The event's position in the order journal.",
                    },
                    "detail": { "type": "string" },
                }),
                &["at", "state", "step", "sequence", "detail"],
            ),
        ),
        (
            "Shortage",
            object(
                json!({
                    "productId": of("Id"),
                    "requested": units(),
                    "available": units(),
                }),
                &["productId", "requested", "available"],
            ),
        ),
        ("OrderList", list("Order")),
        (
            "Cancellation",
            closed(json!({ "reason": text(REASON_CHARS_MAX) }), &[]),
        ),
        ("Nothing", closed(json!({}), &[])),
        ("ProductDefinition", product_definition()),
        ("Adjustment", adjustment()),
        ("Product", product()),
        ("ProductList", list("Product")),
        ("Reservation", reservation()),
        (
            "RefundRequest",
            closed(
                json!({
                    "amount": of("Money"),
                    "currency": of("Currency"),
                }),
                &[],
            ),
        ),
        ("Payment", payment()),
        (
            "ParkedPayments",
            object(
                json!({
                    "data": { "type": "array", "items": of("Payment"), "maxItems": PARKED_SHOWN_MAX },
                    "count": {
                        "type": "integer", "minimum": 0,
                        "description": "How many there are; `data` has the first of them.",
                    },
                }),
                &["data", "count"],
            ),
        ),
        (
            "WebhookEvent",
            json!({
                "type": "object",
                "description": "An event as Stripe writes it.",
                "required": ["id", "type", "data"],
                "properties": {
                    "id": { "type": "string" },
                    "type": { "type": "string", "example": "payment_intent.succeeded" },
                    "livemode": { "type": "boolean" },
                    "data": {
                        "type": "object",
                        "required": ["object"],
                        "properties": { "object": { "type": "object" } },
                    },
                },
            }),
        ),
        (
            "WebhookReceived",
            object(
                json!({
                    "received": { "const": true },
                    "result": {
                        "type": "string",
                        "enum": ["applied", "repeated", "ignored", "unknown_payment", "refund_returned"],
                    },
                }),
                &["received", "result"],
            ),
        ),
        ("Refund", refund()),
        ("Cluster", cluster()),
        ("Health", health()),
        ("Problem", problem()),
    ];
    entries
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn cluster() -> Value {
    let journal = object(
        json!({
            "participant": { "enum": ["order", "inventory", "payment"] },
            "leads": { "type": "boolean", "description": "It decides and appends." },
            "mayLead": { "type": "boolean" },
            "epoch": { "type": "integer", "minimum": 0 },
            "shown": {
                "type": "integer", "minimum": 0,
                "description": "The last message of the journal that its readers see.",
            },
            "halted": { "type": "string", "description": "Why its participant has stopped." },
        }),
        &["participant", "leads", "mayLead", "epoch", "shown"],
    );
    let member = object(
        json!({
            "host": { "type": "string", "description": "This start of the process." },
            "listen": { "type": "string" },
            "version": { "type": "string" },
            "journals": { "type": "array", "items": journal },
        }),
        &["host", "listen", "version", "journals"],
    );
    object(
        json!({
            "mode": { "enum": ["embedded", "nats"] },
            "host": { "type": "string", "description": "The process that answers." },
            "members": { "type": "array", "items": member },
            "deadLetters": {
                "type": ["integer", "null"], "minimum": 0,
                "description": "Messages that consumers of the public events gave up on and that are still kept; null until they were counted, left out without NATS.",
            },
        }),
        &["mode", "members"],
    )
}

/// A reference to a schema.
pub(super) fn of(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// An answer's object: fields may be added to it later.
fn object(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A request's object: an unknown field is refused, and `null` stands for one left out.
fn closed(mut properties: Value, required: &[&str]) -> Value {
    if let Some(fields) = properties.as_object_mut() {
        for (name, field) in fields {
            if !required.contains(&name.as_str()) {
                *field = json!({ "anyOf": [field.take(), { "type": "null" }] });
            }
        }
    }
    let mut schema = object(properties, required);
    schema["additionalProperties"] = json!(false);
    schema
}

fn list(of_what: &str) -> Value {
    object(
        json!({
            "data": { "type": "array", "items": of(of_what) },
            "nextCursor": {
                "type": ["string", "null"],
                "description": "Leads to the next page; null at the end.",
            },
        }),
        &["data", "nextCursor"],
    )
}

fn id() -> Value {
    json!({
        "type": "string", "minLength": ID_CHARS_MIN, "maxLength": ID_CHARS_MAX,
        "pattern": format!("^[!-~]([ -~]{{0,{}}}[!-~])?$", ID_CHARS_MAX - 2),
        "description": "Printable ASCII, without a space at either end.",
    })
}

/// The id of what belongs to one order: a prefix and the order's id.
fn prefixed(prefix: &str) -> Value {
    let hex = |digits: u8| format!("[0-9a-f]{{{digits}}}");
    let uuid = [8, 4, 4, 4, 12].map(hex).join("-");
    json!({ "type": "string", "pattern": format!("^{prefix}_{uuid}$") })
}

/// An amount whose most is given in minor units of a currency with two digits.
fn money(minor_max: i64) -> Value {
    json!({
        "type": "number", "minimum": 0, "maximum": minor_max / 100, "example": 29.90,
        "description": "Major units, with at most the currency's number of digits (ISO 4217).",
    })
}

fn text(chars_max: usize) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": chars_max, "pattern": "\\S" })
}

fn units() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": STOCK_UNITS_MAX })
}

fn quantity() -> Value {
    json!({ "type": "integer", "minimum": QUANTITY_MIN, "maximum": QUANTITY_MAX })
}

fn saga_state() -> Value {
    json!({ "type": "string", "enum": SagaState::ALL.map(SagaState::name) })
}

fn new_order() -> Value {
    let mut schema = closed(
        json!({
            "customerId": of("Id"),
            "items": {
                "type": "array", "minItems": 1, "maxItems": ORDER_LINES_MAX, "items": of("NewItem"),
            },
            "totalAmount": of("Money"),
            "currency": of("Currency"),
            "paymentMethodId": of("Id"),
            "metadata": of("Metadata"),
        }),
        &["customerId", "items"],
    );
    schema["example"] = json!({
        "customerId": "ada",
        "items": [{ "productId": "espresso-cup", "quantity": 2 }],
    });
    schema
}

fn new_item() -> Value {
    closed(
        json!({
            "productId": of("Id"),
            "quantity": quantity(),
            "price": of("Money"),
            "unitPrice": {
                "allOf": [of("Money")],
                "description": "Another name of `price`.",
            },
        }),
        &["productId", "quantity"],
    )
}

fn metadata() -> Value {
    json!({
        "type": "object",
        "maxProperties": METADATA_KEYS_MAX,
        "propertyNames": { "minLength": 1, "maxLength": METADATA_KEY_CHARS_MAX },
        "additionalProperties": {
            "type": ["string", "number", "boolean"],
            "maxLength": METADATA_VALUE_CHARS_MAX,
        },
        "properties": {
            "forcePaymentFailure": {
                "type": "boolean",
                "description": "In sandbox mode: the payment is declined.",
            },
            "reservationTtlMinutes": {
                "type": "number", "exclusiveMinimum": 0, "maximum": 527_040,
                "description": "In sandbox mode: the stock is held for this long only.",
            },
        },
    })
}

fn order() -> Value {
    object(
        json!({
            "orderId": of("OrderId"),
            "customerId": of("Id"),
            "status": { "type": "string", "enum": OrderStatus::ALL.map(OrderStatus::name) },
            "sagaState": saga_state(),
            "items": { "type": "array", "items": of("Item") },
            "totalAmount": of("Money"),
            "currency": of("Currency"),
            "paymentMethodId": of("Id"),
            "metadata": of("Metadata"),
            "reservationId": of("ReservationId"),
            "paymentId": of("PaymentId"),
            "failureReason": { "type": "string" },
            "cancellationReason": { "type": "string" },
            "shortages": { "type": "array", "items": of("Shortage") },
            "parked": {
                "type": "boolean",
                "description": "An undo keeps failing and waits for an operator.",
            },
            "createdAt": of("Time"),
            "updatedAt": of("Time"),
            "deadlineAt": of("Time"),
            "history": { "type": "array", "items": of("HistoryEntry") },
            "version": {
                "type": "integer", "minimum": 0,
                "description": "Grows with every change of the order.",
            },
        }),
        &[
            "orderId",
            "customerId",
            "status",
            "sagaState",
            "items",
            "totalAmount",
            "currency",
            "parked",
            "createdAt",
            "updatedAt",
            "history",
        ],
    )
}

fn item() -> Value {
    object(
        json!({
            "productId": of("Id"),
            "quantity": quantity(),
            "price": of("Money"),
            "lineTotal": of("Money"),
        }),
        &["productId", "quantity", "price", "lineTotal"],
    )
}

fn product_definition() -> Value {
    let mut schema = closed(
        json!({
            "productId": { "allOf": [of("Id")], "description": "If given, the id of the path." },
            "name": text(PRODUCT_NAME_CHARS_MAX),
            "price": of("Money"),
            "currency": of("Currency"),
            "onHandQuantity": units(),
        }),
        &[],
    );
    schema["dependentRequired"] = json!({ "currency": ["price"] });
    schema["example"] = json!({ "name": "Espresso cup", "price": 9.50, "onHandQuantity": 40 });
    schema
}

fn adjustment() -> Value {
    let mut schema = closed(
        json!({
            "delta": {
                "type": "integer", "not": { "const": 0 },
                "minimum": -(i128::from(STOCK_UNITS_MAX)), "maximum": STOCK_UNITS_MAX,
            },
            "reason": text(REASON_CHARS_MAX),
        }),
        &["delta", "reason"],
    );
    schema["example"] = json!({ "delta": 12, "reason": "delivery 4711" });
    schema
}

fn product() -> Value {
    object(
        json!({
            "productId": of("Id"),
            "name": { "type": "string" },
            "price": of("Money"),
            "currency": of("Currency"),
            "onHandQuantity": units(),
            "availableQuantity": units(),
            "reservedQuantity": units(),
            "soldQuantity": { "type": "integer", "minimum": 0 },
        }),
        &[
            "productId",
            "onHandQuantity",
            "availableQuantity",
            "reservedQuantity",
            "soldQuantity",
        ],
    )
}

fn reservation() -> Value {
    object(
        json!({
            "reservationId": of("ReservationId"),
            "orderId": of("OrderId"),
            "status": { "type": "string", "enum": ["ACTIVE", "CONFIRMED", "RELEASED", "EXPIRED"] },
            "items": {
                "type": "array",
                "items": object(json!({
                    "productId": of("Id"),
                    "quantity": { "type": "integer", "minimum": 1 },
                }), &["productId", "quantity"]),
            },
            "createdAt": of("Time"),
            "expiresAt": of("Time"),
            "releasedAt": of("Time"),
            "releaseReason": { "type": "string" },
            "version": { "type": "integer", "minimum": 0 },
        }),
        &[
            "reservationId",
            "orderId",
            "status",
            "items",
            "createdAt",
            "expiresAt",
        ],
    )
}

fn payment() -> Value {
    object(
        json!({
            "paymentId": of("PaymentId"),
            "orderId": of("OrderId"),
            "status": {
                "type": "string",
                "enum": ["PENDING", "PROCESSING", "SUCCEEDED", "FAILED", "CANCELLED", "REFUNDED"],
            },
            "amount": of("Money"),
            "currency": of("Currency"),
            "gateway": { "type": "string" },
            "gatewayReference": { "type": "string" },
            "gatewayState": {
                "type": "string",
                "enum": ["requires_action", "authorised", "capturing", "cancelling", "capture_failed"],
                "description": "What PROCESSING stands for, where it is more than a charge under way; and FAILED, where the order is confirmed and the gateway did not give what it had set aside.",
            },
            "nextAction": object(
                json!({
                    "type": { "const": "authenticate" },
                    "clientSecret": {
                        "type": "string",
                        "description": "For the shop's page, and for the customer alone.",
                    },
                    "expiresAt": of("Time"),
                }),
                &["type", "expiresAt"],
            ),
            "paymentMethodId": of("Id"),
            "failureReason": { "type": "string" },
            "refundedAmount": of("Money"),
            "refundId": { "type": "string", "description": "The refund that was asked for." },
            "refunds": { "type": "array", "items": of("Refund") },
            "attempts": {
                "type": "integer", "minimum": 0,
                "description": "Tries of the gateway call that is owed.",
            },
            "nextRetryAt": of("Time"),
            "lastError": { "type": "string" },
            "deadlineAt": of("Time"),
            "version": { "type": "integer", "minimum": 0 },
            "parked": { "type": "boolean" },
            "createdAt": of("Time"),
            "updatedAt": of("Time"),
        }),
        &[
            "paymentId",
            "orderId",
            "status",
            "amount",
            "currency",
            "gateway",
            "refundedAmount",
            "refunds",
            "parked",
            "createdAt",
            "updatedAt",
        ],
    )
}

fn refund() -> Value {
    object(
        json!({
            "refundId": { "type": "string" },
            "status": { "type": "string", "enum": ["PENDING", "SUCCEEDED", "FAILED"] },
            "amount": of("Money"),
            "origin": { "type": "string", "enum": ["COMPENSATION", "REQUESTED"] },
            "gatewayReference": { "type": "string" },
            "failureReason": { "type": "string" },
            "requestedAt": of("Time"),
        }),
        &["refundId", "status", "amount", "origin", "requestedAt"],
    )
}

fn health() -> Value {
    object(
        json!({
            "status": {
                "type": "string",
                "enum": ["ok", "degraded", "recovering", "unavailable", "stopping"],
            },
            "service": { "const": "a4co" },
            "checks": {
                "type": "object", "additionalProperties": { "type": "string" },
            },
        }),
        &["status", "service", "checks"],
    )
}

fn problem() -> Value {
    let mut codes: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
    codes.sort_unstable();
    codes.dedup();
    object(
        json!({
            "type": { "type": "string", "format": "uri" },
            "title": { "type": "string" },
            "status": { "type": "integer", "minimum": 400, "maximum": 599 },
            "code": { "type": "string", "enum": codes, "description": "Compare this one." },
            "detail": { "type": "string", "description": "A sentence for people." },
            "errors": {
                "type": "array",
                "items": object(json!({
                    "pointer": { "type": "string", "description": "JSON pointer into the body." },
                    "parameter": { "type": "string", "description": "Query parameter." },
                    "code": { "type": "string" },
                    "detail": { "type": "string" },
                }), &["code", "detail"]),
            },
            "errorsOmitted": { "type": "integer", "minimum": 1 },
        }),
        &["type", "title", "status", "code", "detail"],
    )
}
