//! The operations: one line of the table a method of a route.

use a4co_core::limits::{PAGE_ROWS_MAX, PAGE_ROWS_MIN, PREFER_WAIT_MS_MAX, STOCK_UNITS_MAX};
use a4co_core::order::{OrderStatus, SagaState};
use serde_json::{Map, Value, json};

use super::schemas::of;
use crate::http::outer::Route;
use crate::http::problem::Code;
use crate::http::trace::is_told;

/// One operation.
pub(super) struct Operation {
    pub(super) route: Route,
    /// In lower case, as the document has it.
    pub(super) method: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    /// Query parameters and headers, by their names among [`parameters`].
    takes: &'static [&'static str],
    body: Body,
    /// Status and schema of each answer that is no problem.
    answers: &'static [(u16, &'static str)],
    /// What it may refuse with, beside what everything may.
    codes: &'static [Code],
}

enum Body {
    None,
    Optional(&'static str),
    Required(&'static str),
}

/// What any operation on the engine may refuse with.
const ENGINE: &[Code] = &[
    Code::BadRequest,
    Code::Internal,
    Code::Recovering,
    Code::InvalidPosition,
    Code::PositionNotReached,
    Code::Overloaded,
    Code::ShuttingDown,
    Code::StoreUnavailable,
];
/// What any command may refuse with, on top.
const COMMAND: &[Code] = &[
    Code::InvalidIdempotencyKey,
    Code::MalformedJson,
    Code::CrossSiteRequest,
    Code::RequestTimeout,
    Code::BodyTooLarge,
    Code::UnsupportedMediaType,
    Code::ValidationFailed,
    Code::IdempotencyKeyReused,
    Code::OutcomeUnknown,
    Code::NoLeader,
    Code::JournalFull,
];
/// What the payment gateway sends, at either of its two paths.
const fn webhook(route: Route, id: &'static str) -> Operation {
    Operation {
        route,
        method: "post",
        id,
        tag: "payments",
        summary: "A signed event of the payment gateway, answered once what it led to is durable",
        takes: &["StripeSignature"],
        body: Body::Required("WebhookEvent"),
        answers: &[(200, "WebhookReceived")],
        codes: &[Code::WebhookSignatureInvalid],
    }
}

const POST_AND_WAIT: &[&str] = &["IdempotencyKey", "Prefer"];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        route: Route::Orders,
        method: "post",
        id: "createOrder",
        tag: "orders",
        summary: "Place an order",
        takes: POST_AND_WAIT,
        body: Body::Required("NewOrder"),
        answers: &[(201, "Order")],
        codes: &[
            Code::OrderedProductNotFound,
            Code::PriceMismatch,
            Code::PriceRequired,
            Code::CurrencyMismatch,
        ],
    },
    Operation {
        route: Route::Orders,
        method: "get",
        id: "listOrders",
        tag: "orders",
        summary: "Orders, newest first",
        takes: &[
            "status",
            "customerId",
            "createdFrom",
            "createdTo",
            "limit",
            "cursor",
        ],
        body: Body::None,
        answers: &[(200, "OrderList")],
        codes: &[Code::InvalidQuery, Code::InvalidCursor],
    },
    Operation {
        route: Route::Order,
        method: "get",
        id: "getOrder",
        tag: "orders",
        summary: "An order with its saga",
        takes: &["orderId"],
        body: Body::None,
        answers: &[(200, "Order")],
        codes: &[Code::InvalidId, Code::OrderNotFound],
    },
    Operation {
        route: Route::OrderCancel,
        method: "post",
        id: "cancelOrder",
        tag: "orders",
        summary: "Cancel an order: what was done for it is undone",
        takes: &["orderId", "IdempotencyKey", "Prefer"],
        body: Body::Optional("Cancellation"),
        answers: &[(200, "Order")],
        codes: &[
            Code::InvalidId,
            Code::OrderNotFound,
            Code::OrderNotCancellable,
        ],
    },
    Operation {
        route: Route::OrderRetry,
        method: "post",
        id: "retryOrder",
        tag: "orders",
        summary: "Nudge a saga, or its payment, that is parked",
        takes: &["orderId", "IdempotencyKey", "Prefer"],
        body: Body::Optional("Nothing"),
        answers: &[(200, "Order")],
        codes: &[Code::InvalidId, Code::OrderNotFound, Code::SagaNotParked],
    },
    Operation {
        route: Route::Products,
        method: "get",
        id: "listProducts",
        tag: "inventory",
        summary: "All products, by id",
        takes: &["productLimit", "productCursor"],
        body: Body::None,
        answers: &[(200, "ProductList")],
        codes: &[Code::InvalidQuery],
    },
    Operation {
        route: Route::ProductsLow,
        method: "get",
        id: "listLowStock",
        tag: "inventory",
        summary: "Products with little left to sell",
        takes: &["threshold"],
        body: Body::None,
        answers: &[(200, "ProductList")],
        codes: &[Code::InvalidQuery],
    },
    Operation {
        route: Route::ProductsOut,
        method: "get",
        id: "listOutOfStock",
        tag: "inventory",
        summary: "Products with nothing left to sell",
        takes: &[],
        body: Body::None,
        answers: &[(200, "ProductList")],
        codes: &[Code::InvalidQuery],
    },
    Operation {
        route: Route::Product,
        method: "get",
        id: "getProduct",
        tag: "inventory",
        summary: "A product with its stock",
        takes: &["productId"],
        body: Body::None,
        answers: &[(200, "Product")],
        codes: &[Code::InvalidId, Code::ProductNotFound],
    },
    Operation {
        route: Route::Product,
        method: "put",
        id: "defineProduct",
        tag: "inventory",
        summary: "Create a product, or describe it anew",
        takes: &["productId"],
        body: Body::Required("ProductDefinition"),
        answers: &[(200, "Product"), (201, "Product")],
        codes: &[
            Code::InvalidId,
            Code::StockBelowReserved,
            Code::StockTooLarge,
        ],
    },
    Operation {
        route: Route::ProductAdjustments,
        method: "post",
        id: "adjustStock",
        tag: "inventory",
        summary: "Receive stock, or write it off",
        takes: &["productId", "IdempotencyKey"],
        body: Body::Required("Adjustment"),
        answers: &[(200, "Product")],
        codes: &[
            Code::InvalidId,
            Code::ProductNotFound,
            Code::StockBelowReserved,
            Code::StockTooLarge,
        ],
    },
    Operation {
        route: Route::Reservation,
        method: "get",
        id: "getReservation",
        tag: "inventory",
        summary: "What is held for an order",
        takes: &["reservationId"],
        body: Body::None,
        answers: &[(200, "Reservation")],
        codes: &[Code::InvalidId, Code::ReservationNotFound],
    },
    Operation {
        route: Route::ReservationOfOrder,
        method: "get",
        id: "getReservationOfOrder",
        tag: "inventory",
        summary: "What is held for an order, by the order's id",
        takes: &["orderId"],
        body: Body::None,
        answers: &[(200, "Reservation")],
        codes: &[Code::InvalidId, Code::ReservationNotFound],
    },
    Operation {
        route: Route::Payment,
        method: "get",
        id: "getPayment",
        tag: "payments",
        summary: "A payment with its refunds",
        takes: &["paymentId"],
        body: Body::None,
        answers: &[(200, "Payment")],
        codes: &[Code::InvalidId, Code::PaymentNotFound],
    },
    Operation {
        route: Route::PaymentsParked,
        method: "get",
        id: "listParkedPayments",
        tag: "payments",
        summary: "The payments that wait for an operator",
        takes: &[],
        body: Body::None,
        answers: &[(200, "ParkedPayments")],
        codes: &[],
    },
    Operation {
        route: Route::PaymentOfOrder,
        method: "get",
        id: "getPaymentOfOrder",
        tag: "payments",
        summary: "An order's payment",
        takes: &["orderId"],
        body: Body::None,
        answers: &[(200, "Payment")],
        codes: &[Code::InvalidId, Code::PaymentNotFound],
    },
    Operation {
        route: Route::PaymentRefund,
        method: "post",
        id: "refundPayment",
        tag: "payments",
        summary: "Refund a confirmed order's payment, all of it or `amount`",
        takes: &["paymentId", "IdempotencyKey", "Prefer"],
        body: Body::Optional("RefundRequest"),
        answers: &[(200, "Payment")],
        codes: &[
            Code::InvalidId,
            Code::PaymentNotFound,
            Code::PaymentNotRefundable,
            Code::TooManyRefunds,
            Code::CurrencyMismatch,
            Code::RefundExceedsCharge,
        ],
    },
    Operation {
        route: Route::PaymentWriteOff,
        method: "post",
        id: "writeOffPayment",
        tag: "payments",
        summary: "Say that a payment whose capture was refused has been seen to",
        takes: &["paymentId", "IdempotencyKey"],
        body: Body::Optional("Nothing"),
        answers: &[(200, "Payment")],
        codes: &[
            Code::InvalidId,
            Code::PaymentNotFound,
            Code::NothingToWriteOff,
        ],
    },
    webhook(Route::PaymentWebhook, "takePaymentWebhook"),
    webhook(Route::StripeWebhook, "takeStripeWebhook"),
    Operation {
        route: Route::Events,
        method: "get",
        id: "watchEvents",
        tag: "orders",
        summary: "What happens, as server-sent events: an overview each second, changed orders",
        takes: &[],
        body: Body::None,
        answers: &[(200, "")],
        codes: &[],
    },
    Operation {
        route: Route::Cluster,
        method: "get",
        id: "getCluster",
        tag: "cluster",
        summary: "Which processes there are, and who leads what",
        takes: &[],
        body: Body::None,
        answers: &[(200, "Cluster")],
        codes: &[],
    },
    process(
        Route::Health,
        "health",
        "How the process is",
        &[(200, "Health")],
    ),
    process(
        Route::HealthLive,
        "live",
        "Is the process there",
        &[(200, "Health")],
    ),
    process(
        Route::HealthReady,
        "ready",
        "May work be sent to it",
        &[(200, "Health"), (503, "Health")],
    ),
    process(
        Route::Metrics,
        "metrics",
        "Metrics for Prometheus",
        &[(200, "")],
    ),
    process(Route::OpenApi, "openapi", "This description", &[(200, "")]),
];

const fn process(
    route: Route,
    id: &'static str,
    summary: &'static str,
    answers: &'static [(u16, &'static str)],
) -> Operation {
    Operation {
        route,
        method: "get",
        id,
        tag: "process",
        summary,
        takes: &[],
        body: Body::None,
        answers,
        codes: &[],
    }
}

impl Operation {
    /// As the document has it.
    pub(super) fn document(&self) -> Value {
        let of_any: &[&str] = match self.tag {
            "process" => &[],
            _ if is_told(self.route) => &["Position", "Traceparent"],
            _ => &["Position"],
        };
        let takes = self.takes.iter().chain(of_any);
        let parameters: Vec<_> = takes.map(|name| parameter(name)).collect();
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "parameters": parameters,
            "responses": self.responses(),
        });
        let body = match self.body {
            Body::None => None,
            Body::Optional(schema) => Some((schema, false)),
            Body::Required(schema) => Some((schema, true)),
        };
        if let Some((schema, required)) = body {
            operation["requestBody"] = json!({
                "required": required,
                "content": { "application/json": { "schema": of(schema) } },
            });
        }
        operation
    }

    fn responses(&self) -> Map<String, Value> {
        let mut responses = Map::new();
        for (status, schema) in self.answers {
            responses.insert(status.to_string(), self.answer(*status, schema));
        }
        for (status, codes) in self.problems() {
            let names: Vec<_> = codes
                .iter()
                .map(|code| format!("`{}`", code.name()))
                .collect();
            let mut refused = json!({
                "description": names.join(", "),
                "content": { "application/problem+json": { "schema": of("Problem") } },
            });
            if status == 503 {
                refused["headers"] = json!({ "Retry-After": header("RetryAfter") });
            }
            // What is ready and what is not share a shape, so a 503 may be described already.
            responses.entry(status.to_string()).or_insert(refused);
        }
        responses
    }

    fn answer(&self, status: u16, schema: &str) -> Value {
        let content = match self.route {
            Route::Events => json!({ "text/event-stream": { "schema": { "type": "string" } } }),
            Route::Metrics => json!({ "text/plain": { "schema": { "type": "string" } } }),
            Route::OpenApi => json!({
                "application/vnd.oai.openapi+json": { "schema": { "type": "object" } },
            }),
            _ => json!({ "application/json": { "schema": of(schema) } }),
        };
        let mut headers = Map::new();
        if self.takes.contains(&"IdempotencyKey") {
            headers.insert(
                "Idempotency-Replayed".to_owned(),
                header("IdempotencyReplayed"),
            );
        }
        if self.takes.contains(&"Prefer") {
            headers.insert("Preference-Applied".to_owned(), header("PreferenceApplied"));
        }
        if self.tag != "process" {
            headers.insert("A4CO-Position".to_owned(), header("Position"));
        }
        if status == 201 && self.method == "post" {
            headers.insert("Location".to_owned(), header("Location"));
        }
        json!({ "description": self.summary, "content": content, "headers": headers })
    }

    /// Everything that it may refuse with, by status.
    fn problems(&self) -> Vec<(u16, Vec<Code>)> {
        if self.tag == "process" {
            return Vec::new();
        }
        let command: &[Code] = if self.method == "get" { &[] } else { COMMAND };
        let mut by_status = std::collections::BTreeMap::<u16, Vec<Code>>::new();
        for code in self.codes.iter().chain(command).chain(ENGINE) {
            by_status.entry(code.status()).or_default().push(*code);
        }
        by_status.into_iter().collect()
    }
}

fn parameter(name: &str) -> Value {
    json!({ "$ref": format!("#/components/parameters/{name}") })
}

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

/// Every parameter, by its name.
pub(super) fn parameters() -> Value {
    let wait_s_max = PREFER_WAIT_MS_MAX / 1000;
    json!({
        "orderId": in_path("orderId", "OrderId"),
        "productId": in_path("productId", "Id"),
        "reservationId": in_path("reservationId", "ReservationId"),
        "paymentId": in_path("paymentId", "PaymentId"),
        "status": in_query("status", json!({
            "type": "string", "enum": OrderStatus::ALL.map(OrderStatus::name),
        })),
        "sagaState": in_query("sagaState", json!({
            "type": "string", "enum": SagaState::ALL.map(SagaState::name),
        })),
        "parked": in_query("parked", json!({ "type": "string", "enum": ["true", "false"] })),
        "ofProduct": in_query("productId", or_empty("Id")),
        "customerId": in_query("customerId", or_empty("Id")),
        "createdFrom": in_query("createdFrom", json!({
            "anyOf": [{ "type": "string", "format": "date-time" },
                { "type": "string", "format": "date" }, { "const": "" }],
            "description": "Inclusive. A day begins at midnight UTC.",
        })),
        "createdTo": in_query("createdTo", json!({
            "anyOf": [{ "type": "string", "format": "date-time" },
                { "type": "string", "format": "date" }, { "const": "" }],
            "description": "Exclusive.",
        })),
        "limit": in_query("limit", json!({
            "type": "integer", "minimum": PAGE_ROWS_MIN, "maximum": PAGE_ROWS_MAX, "default": 20,
        })),
        "cursor": in_query("cursor", json!({
            "type": "string", "description": "`nextCursor` of the page before.",
        })),
        "productLimit": in_query("limit", json!({
            "type": "integer", "minimum": 1, "maximum": 1_000_000,
            "description": "All of them where it is not given.",
        })),
        "productCursor": in_query("cursor", or_empty("Id")),
        "threshold": in_query("threshold", json!({
            "type": "integer", "minimum": 0, "maximum": STOCK_UNITS_MAX, "default": 10,
            "description": "Available units, at most.",
        })),
        "IdempotencyKey": {
            "name": "Idempotency-Key", "in": "header", "schema": of("Id"),
            "description": "Names this request, so that it may be sent again.",
        },
        "Position": {
            "name": "A4CO-Position", "in": "header",
            "schema": { "type": "string", "example": "17.12.9" },
            "description": "In a cluster: wait until this process shows what another answered with this position.",
        },
        "Traceparent": {
            "name": "traceparent", "in": "header",
            "schema": {
                "type": "string",
                "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            },
            "description": "W3C Trace Context: the trace that the request belongs to, and an order that it places. One that cannot be read is as none; tracestate is not read.",
        },
        "StripeSignature": {
            "name": "Stripe-Signature", "in": "header",
            "schema": { "type": "string", "example": "t=1800000000,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd" },
            "description": "The time, and HMAC-SHA256 of time and body under the endpoint's secret.",
        },
        "Prefer": {
            "name": "Prefer", "in": "header",
            "schema": { "type": "string", "example": "wait=10" },
            "description": format!(
                "`wait=N` waits for the end, at most N seconds and at most {wait_s_max}.",
            ),
        },
    })
}

fn in_path(name: &str, schema: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": of(schema) })
}

fn in_query(name: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "schema": schema })
}

/// A parameter without a value counts as one left out.
fn or_empty(schema: &str) -> Value {
    json!({ "anyOf": [of(schema), { "const": "" }] })
}

/// Every header of an answer, by its name.
pub(super) fn headers() -> Value {
    json!({
        "IdempotencyReplayed": {
            "schema": { "const": "true" },
            "description": "The request had been answered before; this is that answer.",
        },
        "Position": {
            "schema": { "type": "string" },
            "description": "In a cluster: names what this answer shows, for a read at another process.",
        },
        "PreferenceApplied": {
            "schema": { "type": "string" },
            "description": "The wait that was granted.",
        },
        "Location": {
            "schema": { "type": "string", "format": "uri-reference" },
            "description": "Where the order is.",
        },
        "RetryAfter": {
            "schema": { "type": "integer", "minimum": 1 },
            "description": "Seconds.",
        },
    })
}
