//! The list of orders: its filters, and its pages.

use std::sync::Arc;

use a4co_core::ids::{CustomerId, ProductId};
use a4co_core::limits::{PAGE_ROWS_MAX, PAGE_ROWS_MIN};
use a4co_core::order::{OrderStatus, SagaState};
use a4co_core::time::Timestamp;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;

use crate::http::ports::OrderQuery;
use crate::http::problem::{Code, Problem};
use crate::http::request::Parameters;
use crate::http::shapes::{ListShape, OrderShape};
use crate::http::{HttpState, answer};

/// Rows of a page where the request does not say.
const PAGE_ROWS_DEFAULT: usize = 20;

/// Characters of `2026-01-31`.
const DAY_CHARS: usize = 10;

/// `GET /orders`
pub(in crate::http) async fn list(
    State(state): State<Arc<HttpState>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query = parse(&uri)?;
    let reads = state.ports()?.reads.clone();
    // A page may have to be fetched from the disk, order by order.
    let page = tokio::task::spawn_blocking(move || reads.orders(&query)).await;
    let page = page.map_err(|_| Problem::new(Code::Internal, "the list could not be read"))??;
    let body = ListShape {
        data: page
            .orders
            .iter()
            .map(|order| OrderShape::present(order))
            .collect(),
        next_cursor: page.next,
    };
    answer::json(StatusCode::OK, &body)
}

fn parse(uri: &Uri) -> Result<OrderQuery, Problem> {
    let mut parameters = Parameters::of(uri)?;
    let limit = parameters.number("limit", PAGE_ROWS_MIN as u64, PAGE_ROWS_MAX as u64);
    let query = OrderQuery {
        status: parameters.take("status", |text| {
            named(text, &OrderStatus::ALL, OrderStatus::name)
        }),
        customer_id: parameters.take("customerId", |text| {
            CustomerId::parse(text).map_err(|error| error.to_string())
        }),
        saga: parameters.take("sagaState", |text| {
            named(text, &SagaState::ALL, SagaState::name)
        }),
        parked: parameters.take("parked", |text| {
            named(
                text,
                &[true, false],
                |parked| {
                    if parked { "true" } else { "false" }
                },
            )
        }),
        product_id: parameters.take("productId", |text| {
            ProductId::parse(text).map_err(|error| error.to_string())
        }),
        created_from: parameters.take("createdFrom", time),
        created_to: parameters.take("createdTo", time),
        limit: limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(PAGE_ROWS_DEFAULT),
        cursor: parameters.take("cursor", |text| Ok(text.to_owned())),
    };
    parameters.end()?;
    Ok(query)
}

/// The one of these that has this name.
fn named<T: Copy>(text: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let known = all.iter().copied().find(|one| name(*one) == text);
    known.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// A time as RFC 3339, or a day, which begins at midnight UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // The parser would also take a time without a zone, and forget the time.
        let day = Some(text).filter(|text| text.len() == DAY_CHARS)?;
        let day = day.parse::<jiff::civil::Date>().ok()?;
        jiff::tz::TimeZone::UTC
            .to_timestamp(day.at(0, 0, 0, 0))
            .ok()
    });
    // Nothing was created before 1970, so an earlier bound is the same as that one.
    instant
        .map(|instant| u64::try_from(instant.as_millisecond()).unwrap_or(0))
        .map(Timestamp::from_unix_ms)
        .ok_or_else(|| {
            "must be a time like 2026-01-31T12:00:00Z, or a day like 2026-01-31".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_instants_or_days() {
        let ms = |text| time(text).ok().map(Timestamp::unix_ms);
        assert_eq!(ms("1970-01-01T00:00:01Z"), Some(1_000));
        assert_eq!(ms("1970-01-01T01:00:01.5+01:00"), Some(1_500));
        assert_eq!(ms("1970-01-02"), Some(86_400_000));
        assert_eq!(ms("1960-01-01T00:00:00Z"), Some(0));
        for bad in ["", "yesterday", "2026-13-01", "1970-01-01T00:00:01", "12"] {
            assert_eq!(ms(bad), None, "{bad}");
        }
    }
}
