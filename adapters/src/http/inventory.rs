//! Products with their stock, and reservations.

use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::ids::{OrderId, ProductId, ReservationId};
use a4co_core::inventory::{InventoryCommand, Price, Product};
use a4co_core::limits::{PAGE_ROWS_MIN, PRODUCT_NAME_CHARS_MAX, REASON_CHARS_MAX, STOCK_UNITS_MAX};
use a4co_core::money::Currency;
use a4co_core::rejection::Rejection;
use a4co_core::row::Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;

use super::fields::{Findings, Object, Place};
use super::fingerprint::Canonical;
use super::headers::idempotency;
use super::problem::{Code, Problem};
use super::request::{self, Parameters, PathText};
use super::shapes::{ListShape, ProductShape, ReservationShape};
use super::{HttpState, answer};

/// Units up to which a product counts as low where the request does not say.
const LOW_STOCK_UNITS_DEFAULT: u64 = 10;
/// Products of a page that may be asked for: all there are is the default.
const PRODUCTS_MAX: u64 = 1_000_000;

/// `GET /inventory/products`
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::of(&uri)?;
    let limit = parameters.number("limit", PAGE_ROWS_MIN as u64, PRODUCTS_MAX);
    let after = parameters.take("cursor", |text| {
        ProductId::parse(text).map_err(|error| error.to_string())
    });
    parameters.end()?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    list_of(&state, limit.unwrap_or(usize::MAX), |product| {
        after
            .as_ref()
            .is_none_or(|after| product.product_id > *after)
    })
}

/// `GET /inventory/products/low-stock`
pub(super) async fn low_stock(
    State(state): State<Arc<HttpState>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::of(&uri)?;
    let threshold = parameters.number("threshold", 0, STOCK_UNITS_MAX);
    parameters.end()?;
    let threshold = threshold.unwrap_or(LOW_STOCK_UNITS_DEFAULT);
    list_of(&state, usize::MAX, |product| {
        product.available() <= threshold
    })
}

/// `GET /inventory/products/out-of-stock`
pub(super) async fn out_of_stock(
    State(state): State<Arc<HttpState>>,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::of(&uri)?.end()?;
    list_of(&state, usize::MAX, |product| product.available() == 0)
}

fn list_of(
    state: &HttpState,
    limit: usize,
    wanted: impl Fn(&Product) -> bool,
) -> Result<Response, Problem> {
    let products = state.ports()?.reads.products()?;
    let mut wanted = products.iter().filter(|product| wanted(product));
    let data: Vec<_> = wanted.by_ref().take(limit).collect();
    let next = wanted.next().and(data.last());
    let body = ListShape {
        next_cursor: next.map(|last| last.product_id.as_str().to_owned()),
        data: data
            .into_iter()
            .map(|product| ProductShape(product))
            .collect(),
    };
    answer::json(StatusCode::OK, &body)
}

/// `GET /inventory/products/{productId}`
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: PathText,
) -> Result<Response, Problem> {
    let product_id = path.parse(ProductId::parse)?;
    let product = state.ports()?.reads.product(&product_id)?;
    let product = product.ok_or(Rejection::ProductNotFound(product_id))?;
    answer::json(StatusCode::OK, &ProductShape(&product))
}

/// `PUT /inventory/products/{productId}`
pub(super) async fn define(
    State(state): State<Arc<HttpState>>,
    path: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let product_id = path.parse(ProductId::parse)?;
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    let present = state.ports()?.reads.product(&product_id)?;
    let command = parse_define(&body, product_id, present.as_deref())?;
    let reply = state.submit(Command::Inventory(command)).await?;
    let status = match present {
        Some(_) => StatusCode::OK,
        None => StatusCode::CREATED,
    };
    answer::json(status, &ProductShape(&*product(reply.result?)?))
}

pub(super) fn parse_define(
    body: &[u8],
    product_id: ProductId,
    present: Option<&Product>,
) -> Result<InventoryCommand, Problem> {
    let root = Place::ROOT;
    let mut findings = Findings::default();
    let f = &mut findings;
    let mut object = Object::of_body(body)?;
    if let Some(value) = object.take(&root, "productId")
        && let Some(named) = value.id(ProductId::parse, f)
        && named != product_id
    {
        f.add(value.at(), "id_mismatch", "differs from the id in the path");
    }
    let name = object.take(&root, "name");
    let name = name.and_then(|value| value.words(PRODUCT_NAME_CHARS_MAX, "name_too_long", f));
    let present = present.and_then(|product| product.price);
    let named = object.take(&root, "currency");
    let currency = match named {
        Some(value) => value.currency(f),
        None => Some(present.map_or(Currency::EUR, |price| price.currency)),
    };
    let price = object.take(&root, "price");
    if price.is_none()
        && named.is_some()
        && currency.is_some()
        && currency != present.map(|price| price.currency)
    {
        let detail = "is required with a new currency";
        f.add(root.key("price"), Code::PriceRequired.name(), detail);
    }
    let price = price.and_then(|value| value.amount(currency, f));
    let on_hand = object.take(&root, "onHandQuantity");
    let on_hand = on_hand.and_then(|value| {
        value.whole_number(0, signed(STOCK_UNITS_MAX), "quantity_out_of_range", f)
    });
    object.end(root, "", f);
    findings.done(Some(InventoryCommand::Define {
        product_id,
        name: name.map(|name| Arc::from(name.as_ref())),
        price: price
            .zip(currency)
            .map(|(amount, currency)| Price { amount, currency }),
        on_hand: on_hand.and_then(|units| u64::try_from(units).ok()),
    }))
}

/// `POST /inventory/products/{productId}/adjustments`
pub(super) async fn adjust(
    State(state): State<Arc<HttpState>>,
    path: PathText,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let product_id = path.parse(ProductId::parse)?;
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    let (delta, reason) = parse_adjust(&body)?;
    let fingerprint = || {
        let canonical = Canonical::new("products.adjust/1").text(product_id.as_str());
        canonical.number(delta).text(&reason).end()
    };
    let command = InventoryCommand::Adjust {
        idempotency: idempotency(&headers, fingerprint)?,
        product_id,
        delta,
        reason,
    };
    let reply = state.submit(Command::Inventory(command)).await?;
    let mut response = answer::json(StatusCode::OK, &ProductShape(&*product(reply.result?)?))?;
    if reply.replayed {
        answer::replayed(&mut response);
    }
    Ok(response)
}

pub(super) fn parse_adjust(body: &[u8]) -> Result<(i64, Arc<str>), Problem> {
    let root = Place::ROOT;
    let mut findings = Findings::default();
    let f = &mut findings;
    let mut object = Object::of_body(body)?;
    let max = signed(STOCK_UNITS_MAX);
    let delta = object.require(&root, "delta", f);
    let delta = delta.and_then(|value| {
        let delta = value.whole_number(-max, max, "quantity_out_of_range", f)?;
        if delta == 0 {
            f.add(value.at(), "quantity_out_of_range", "must not be zero");
        }
        Some(delta)
    });
    let reason = object.require(&root, "reason", f);
    let reason = reason.and_then(|value| value.words(REASON_CHARS_MAX, "reason_too_long", f));
    object.end(root, "", f);
    let reason = reason.map(|reason| Arc::from(reason.as_ref()));
    findings.done(delta.zip(reason))
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

fn product(answer: Answer) -> Result<Box<Product>, Problem> {
    match answer {
        Answer::Product(product) => Ok(product),
        Answer::Order(_) | Answer::Payment(_) => Err(answer::wrong_answer()),
    }
}

/// `GET /inventory/reservations/{reservationId}`
pub(super) async fn reservation(
    State(state): State<Arc<HttpState>>,
    path: PathText,
) -> Result<Response, Problem> {
    let reservation_id = path.parse(ReservationId::parse)?;
    show_reservation(&state, reservation_id.order_id(), || {
        format!("no reservation has the id {reservation_id}")
    })
}

/// `GET /inventory/reservations/order/{orderId}`
pub(super) async fn reservation_of_order(
    State(state): State<Arc<HttpState>>,
    path: PathText,
) -> Result<Response, Problem> {
    let order_id = path.parse(OrderId::parse)?;
    show_reservation(&state, order_id, || {
        format!("order {order_id} has no reservation")
    })
}

fn show_reservation(
    state: &HttpState,
    order_id: OrderId,
    missing: impl FnOnce() -> String,
) -> Result<Response, Problem> {
    let reservation = state.ports()?.reads.reservation(order_id)?;
    match reservation.as_deref().and_then(ReservationShape::of) {
        Some(shape) => answer::json(StatusCode::OK, &shape),
        None => Err(Problem::new(Code::ReservationNotFound, missing())),
    }
}
