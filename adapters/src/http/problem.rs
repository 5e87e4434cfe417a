//! Errors as a client sees them: RFC 9457 problems, and the one table from error to status.

use std::borrow::Cow;

use a4co_core::ids::IdError;
use a4co_core::money::MoneyError;
use a4co_core::rejection::Rejection;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::ports::ReadError;
use a4co_driver::SubmitError;

/// Offending fields that one answer lists. More than any order within the limits can have.
pub(super) const ERRORS_MAX: usize = 1_000;

/// Seconds after which a client that was turned away may try again.
const RETRY_AFTER_S: u32 = 1;

/// Writes the table: each error's status, its stable code and its title.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal, $name:literal, $title:literal;)*) => {
        /// Every error that this API answers with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// The name that clients compare with.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in a few words that never change.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    /// Something about the request that no other code names.
    BadRequest = 400, "bad_request", "The request is not understood";
    /// The body is not JSON.
    MalformedJson = 400, "malformed_json", "The body is not valid JSON";
    /// An id in the path is not one.
    InvalidId = 400, "invalid_id", "An id is malformed";
    /// A query parameter is wrong.
    InvalidQuery = 400, "invalid_query", "A query parameter is wrong";
    /// The cursor was not given out here.
    InvalidCursor = 400, "invalid_cursor", "The cursor is not valid";
    /// The header is no position.
    InvalidPosition = 400, "invalid_position", "The position is malformed";
    /// The header is no key.
    InvalidIdempotencyKey = 400, "invalid_idempotency_key", "The idempotency key is malformed";
    /// Nobody knows who sent it.
    WebhookSignatureInvalid = 400, "webhook_signature_invalid", "The webhook is not signed as it must be";
    /// A page of another site tries to change something.
    CrossSiteRequest = 403, "cross_site_request", "Requests from other sites are refused";
    /// No such path.
    RouteNotFound = 404, "route_not_found", "There is nothing at this path";
    /// No such order.
    OrderNotFound = 404, "order_not_found", "There is no such order";
    /// No such product.
    ProductNotFound = 404, "product_not_found", "There is no such product";
    /// No such reservation.
    ReservationNotFound = 404, "reservation_not_found", "There is no such reservation";
    /// No such payment.
    PaymentNotFound = 404, "payment_not_found", "There is no such payment";
    /// The path exists, the method does not.
    MethodNotAllowed = 405, "method_not_allowed", "The method is not allowed here";
    /// The body came too slowly.
    RequestTimeout = 408, "request_timeout", "The request took too long to arrive";
    /// Too late to cancel.
    OrderNotCancellable = 409, "order_not_cancellable", "The order can no longer be cancelled";
    /// Nothing to nudge.
    SagaNotParked = 409, "saga_not_parked", "The order's saga is not parked";
    /// Promised stock.
    StockBelowReserved = 409, "stock_below_reserved", "The stock is reserved for orders";
    /// Nothing that could be refunded.
    PaymentNotRefundable = 409, "payment_not_refundable", "The payment cannot be refunded";
    /// No capture of it was refused.
    NothingToWriteOff = 409, "nothing_to_write_off", "There is nothing to write off";
    /// Its refunds are used up.
    TooManyRefunds = 409, "too_many_refunds", "The payment has had all its refunds";
    /// More than a body may have.
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    /// Not JSON by its own account.
    UnsupportedMediaType = 415, "unsupported_media_type", "The body must be JSON";
    /// Fields of the body are wrong.
    ValidationFailed = 422, "validation_failed", "Some fields are wrong";
    /// An order names a product that does not exist.
    OrderedProductNotFound = 422, "product_not_found", "There is no such product";
    /// The product's price, or the sum, is another.
    PriceMismatch = 422, "price_mismatch", "A price does not match";
    /// Neither the product nor the order has a price.
    PriceRequired = 422, "price_required", "A price is missing";
    /// The product is priced in another currency.
    CurrencyMismatch = 422, "currency_mismatch", "The currencies do not match";
    /// The key belongs to another request.
    IdempotencyKeyReused = 422, "idempotency_key_reused", "The idempotency key was used before";
    /// More stock than is kept.
    StockTooLarge = 422, "stock_too_large", "The stock would be too large";
    /// More than is left.
    RefundExceedsCharge = 422, "refund_exceeds_charge", "The refund is too large";
    /// A mistake of ours.
    Internal = 500, "internal_error", "Something went wrong here";
    /// Starting.
    Recovering = 503, "recovering", "The service is starting";
    /// Too much to do.
    Overloaded = 503, "overloaded", "The service is busy";
    /// Stopping.
    ShuttingDown = 503, "shutting_down", "The service is stopping";
    /// Between two leaders.
    NoLeader = 503, "no_leader", "No process leads at the moment";
    /// The engine has not answered in time.
    OutcomeUnknown = 503, "outcome_unknown", "The outcome is not known yet";
    /// What a read named is not here yet.
    PositionNotReached = 503, "position_not_reached", "This process has not seen that position yet";
    /// Reads fail.
    StoreUnavailable = 503, "store_unavailable", "The store cannot be read";
    /// No room.
    JournalFull = 507, "journal_full", "The disk is full";
}

impl Code {
    /// The error that stands for a bare status, as the router answers with.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            404 => Self::RouteNotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            413 => Self::BodyTooLarge,
            415 => Self::UnsupportedMediaType,
            422 => Self::ValidationFailed,
            503 => Self::Overloaded,
            500.. => Self::Internal,
            _ => Self::BadRequest,
        }
    }

    const fn retry_after_s(self) -> Option<u32> {
        match self {
            Self::Recovering
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::NoLeader
            | Self::PositionNotReached
            | Self::OutcomeUnknown
            | Self::StoreUnavailable => Some(RETRY_AFTER_S),
            // Somebody has to make room first.
            Self::JournalFull => Some(30),
            _ => None,
        }
    }
}

/// One offending field, parameter or header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Name of a query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Stable name of what is wrong.
    pub code: &'static str,
    /// What is wrong, for people.
    pub detail: String,
}

/// An error answer. Nothing has changed, except where its code says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    omitted: usize,
}

impl Problem {
    /// An error with a sentence about this very case.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            omitted: 0,
        }
    }

    /// An error about fields. `omitted` more are not listed.
    pub fn of_fields(code: Code, errors: Vec<FieldError>, omitted: usize) -> Self {
        let detail = match errors.as_slice() {
            [only] if omitted == 0 => match (&only.pointer, &only.parameter) {
                (Some(at), _) if !at.is_empty() => format!("{at}: {}", only.detail),
                (_, Some(at)) => format!("{at}: {}", only.detail),
                _ => only.detail.clone(),
            },
            all => format!(
                "{} fields are wrong; `errors` names each",
                all.len() + omitted
            ),
        };
        Self {
            code,
            detail: detail.into(),
            errors,
            omitted,
        }
    }

    /// The engine took a command and has not answered it: what it comes to is open.
    pub(super) fn outcome_unknown() -> Self {
        let detail = "the engine has not answered in time; the request may still be carried out, so look before you send it again, or send it with the same Idempotency-Key";
        Self::new(Code::OutcomeUnknown, detail)
    }

    /// The error's code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    fn body(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Shown<'p> {
            r#type: String,
            title: &'static str,
            status: u16,
            code: &'static str,
            detail: &'p str,
            #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
            errors: &'p [FieldError],
            #[serde(skip_serializing_if = "Option::is_none")]
            errors_omitted: Option<usize>,
        }
        let shown = Shown {
            r#type: format!("urn:a4co:problem:{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status(),
            code: self.code.name(),
            detail: &self.detail,
            errors: &self.errors,
            errors_omitted: Some(self.omitted).filter(|omitted| *omitted > 0),
        };
        // Strings and numbers always have a JSON form.
        serde_json::to_vec(&shown).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.code.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let code = match &rejection {
            Rejection::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Rejection::OrderNotFound(_) => Code::OrderNotFound,
            Rejection::OrderNotCancellable { .. } => Code::OrderNotCancellable,
            Rejection::SagaNotParked(_) | Rejection::PaymentNotParked(_) => Code::SagaNotParked,
            Rejection::ProductNotFound(_) => Code::ProductNotFound,
            Rejection::StockBelowReserved { .. } => Code::StockBelowReserved,
            Rejection::StockTooLarge { .. } => Code::StockTooLarge,
            Rejection::PaymentNotFound(_) => Code::PaymentNotFound,
            Rejection::PaymentNotRefundable(_) => Code::PaymentNotRefundable,
            Rejection::RefundExceedsCharge { .. } => Code::RefundExceedsCharge,
            Rejection::TooManyRefunds { .. } => Code::TooManyRefunds,
            Rejection::NothingToWriteOff(_) => Code::NothingToWriteOff,
            Rejection::Overloaded => Code::Overloaded,
            Rejection::JournalFull => Code::JournalFull,
        };
        Self::new(code, rejection.to_string())
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::QueueFull => Self::new(
                Code::Overloaded,
                "the engine's queue is full; try again shortly",
            ),
            SubmitError::Stopped => Self::new(
                Code::ShuttingDown,
                "the engine is stopping; whether the request was taken is not known, so send it again with the same Idempotency-Key",
            ),
            SubmitError::NoLeader => Self::new(
                Code::NoLeader,
                "no process of the cluster decides on this at the moment, and nothing was changed; try again shortly",
            ),
            SubmitError::OutcomeUnknown => Self::outcome_unknown(),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::BadCursor => Self::new(
                Code::InvalidCursor,
                "the cursor is not one that this service gave out; start again without it",
            ),
            ReadError::Unavailable(reason) => {
                // What the store says is for the operator, not for the client.
                tracing::error!(%reason, "a read failed");
                Self::new(Code::StoreUnavailable, "the store cannot be read right now")
            }
        }
    }
}

/// An id that came in the path.
impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::new(Code::InvalidId, error.to_string())
    }
}

/// The stable name of what is wrong with an amount.
pub(super) const fn money_code(error: &MoneyError) -> &'static str {
    match error {
        MoneyError::UnknownCurrency => "unknown_currency",
        MoneyError::NotANumber { .. } => "wrong_type",
        MoneyError::TooManyDigits { .. } => "too_many_digits",
        MoneyError::OutOfRange => "amount_out_of_range",
        MoneyError::CurrencyMismatch { .. } => "currency_mismatch",
    }
}

/// The stable name of what is wrong with an id in a body.
pub(super) const fn id_code(error: &IdError) -> &'static str {
    match error {
        IdError::Empty { .. } => "id_empty",
        IdError::TooLong { .. } => "id_too_long",
        IdError::BadCharacter { .. } => "id_bad_character",
        IdError::OuterSpace { .. } => "id_outer_space",
        IdError::WrongPrefix { .. }
        | IdError::NotAUuid { .. }
        | IdError::BadNumber { .. }
        | IdError::UnknownParticipant
        | IdError::NotAFingerprint => "invalid_id",
    }
}
