//! A shop to test against: the router, the real loop and deciders, a log in memory, and a
//! gateway that does as the payment method says.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use a4co_core::embedded::EmbeddedHost;
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{GatewayReference, OrderId, ProductId};
use a4co_core::inventory::{Product, Reservation};
use a4co_core::order::Order;
use a4co_core::payment::Payment;
use a4co_core::record::Snapshot;
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use a4co_driver::Driver;
use a4co_driver::ports::{
    AnswerSink, Clock, Gateway, GatewayAnswer, Log, LogError, Observer, RowSink, Rows,
};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::http::{
    HttpSettings, HttpState, OrderPage, OrderQuery, Ports, ReadError, ReadModel, Readiness, router,
};

/// 2026-01-02T03:04:05.000Z, when every shop opens. With a paused clock it stays so.
const OPENS_AT: Timestamp = Timestamp::from_unix_ms(1_767_323_045_000);

/// A running shop.
pub(super) struct Shop {
    pub(super) router: Router,
    pub(super) readiness: Arc<Readiness>,
    pub(super) gateway: Arc<ScriptedGateway>,
    pub(super) disk: Disk,
}

/// What a request was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// One field of the body.
    #[track_caller]
    pub(super) fn field(&self, name: &str) -> Value {
        self.json()[name].clone()
    }

    /// One header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Checks the status, and goes on.
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks that it is a problem of this status and code, well formed.
    #[track_caller]
    pub(super) fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let body = self.json();
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:a4co:problem:{code}"));
        for text in ["title", "detail"] {
            let text = body[text].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{self:?}");
        }
        self
    }

    /// The findings as `pointer code`, in their order.
    #[track_caller]
    pub(super) fn findings(&self) -> Vec<String> {
        let errors = self.field("errors");
        let errors = errors.as_array().cloned().unwrap_or_default();
        let show = |error: &Value| {
            let at = error["pointer"].as_str().or(error["parameter"].as_str());
            assert!(
                error["detail"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
            format!(
                "{} {}",
                at.unwrap_or("?"),
                error["code"].as_str().unwrap_or("?")
            )
        };
        errors.iter().map(show).collect()
    }
}

impl Shop {
    /// A shop with `sku-1` (29.90 EUR, 10 on hand), `sku-2` (5.00 EUR, 1 on hand) and
    /// `sku-free`, which has no price (10 on hand).
    pub(super) async fn open() -> Self {
        Self::open_with(HttpSettings::default()).await
    }

    pub(super) async fn open_with(settings: HttpSettings) -> Self {
        let shop = Self::closed(settings);
        shop.readiness.set_ready();
        shop.put(
            "products/sku-1",
            r#"{"name":"Mug","price":29.90,"onHandQuantity":10}"#,
        )
        .await
        .is(201);
        shop.put("products/sku-2", r#"{"price":5,"onHandQuantity":1}"#)
            .await
            .is(201);
        shop.put("products/sku-free", r#"{"onHandQuantity":10}"#)
            .await
            .is(201);
        shop
    }

    /// A shop that is still recovering.
    pub(super) fn closed(settings: HttpSettings) -> Self {
        let readiness = Arc::<Readiness>::default();
        let registry = prometheus::Registry::new();
        let state = HttpState::new(settings, readiness.clone(), registry);
        let state = Arc::new(state.expect("a fresh registry"));
        let disk = Disk::default();
        let gateway = Arc::<ScriptedGateway>::default();
        let host = EmbeddedHost::new(&Settings::default());
        let clock = TestClock(tokio::time::Instant::now());
        let (driver, reach) = Driver::new(
            host,
            disk.clone(),
            disk.clone(),
            clock,
            Nobody,
            gateway.clone(),
            1_024,
        );
        let stop = reach.stop;
        tokio::spawn(async move {
            let _open = stop;
            driver
                .run()
                .await
                .map(|_| ())
                .expect("the log does not fail");
        });
        state.attach(Ports {
            engine: Arc::new(reach.handle),
            reads: Arc::new(disk.clone()),
            watches: reach.watches,
            positions: None,
            cluster: None,
            dead_letters: None,
            parked_payments: crate::metrics::ParkedPayments::default(),
        });
        Self {
            router: router(state),
            readiness,
            gateway,
            disk,
        }
    }

    /// The same shop after its engine has ended.
    pub(super) fn stopped(&self) -> Self {
        let registry = prometheus::Registry::new();
        let state = HttpState::new(HttpSettings::default(), self.readiness.clone(), registry);
        let state = Arc::new(state.expect("a fresh registry"));
        let (queue, _) = tokio::sync::mpsc::channel(1);
        state.attach(Ports {
            engine: Arc::new(a4co_driver::EngineHandle::new(queue)),
            reads: Arc::new(self.disk.clone()),
            watches: a4co_driver::Watches::default(),
            positions: None,
            cluster: None,
            dead_letters: None,
            parked_payments: crate::metrics::ParkedPayments::default(),
        });
        Self {
            router: router(state),
            readiness: self.readiness.clone(),
            gateway: self.gateway.clone(),
            disk: self.disk.clone(),
        }
    }

    /// Sends a request as it is.
    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await;
        let (head, body) = response.expect("the router never fails").into_parts();
        let body = body
            .collect()
            .await
            .expect("bodies are in memory")
            .to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(body.to_vec()).expect("answers are UTF-8"),
        }
    }

    /// Sends JSON with headers to a path below the API's prefix.
    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/api/v1/{path}")
        };
        let mut request = Request::builder().method(method).uri(path);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Body::from(body.to_owned());
        self.send(request.body(body).expect("a valid request"))
            .await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub(super) async fn post(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[], body).await
    }

    /// Posts under an idempotency key.
    pub(super) async fn post_as(&self, key: &str, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[("idempotency-key", key)], body)
            .await
    }

    /// Posts and waits for the end.
    pub(super) async fn post_and_wait(&self, path: &str, body: &str) -> Answer {
        self.call("POST", path, &[("prefer", "wait=10")], body)
            .await
    }

    /// Puts below `inventory/`.
    pub(super) async fn put(&self, path: &str, body: &str) -> Answer {
        self.call("PUT", &format!("inventory/{path}"), &[], body)
            .await
    }

    /// The id of a new order with this payment method, and whatever it came to in a while.
    pub(super) async fn order(&self, method: &str) -> Value {
        let body = format!(
            r#"{{"customerId":"c","items":[{{"productId":"sku-1","quantity":1}}],"paymentMethodId":"{method}"}}"#
        );
        let headers = [("prefer", "wait=1")];
        self.call("POST", "orders", &headers, &body)
            .await
            .is(201)
            .json()
    }
}

/// The log and the rows, both in memory.
#[derive(Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Rowed>>);

#[derive(Default)]
struct Rowed {
    sequence: u64,
    full: bool,
    broken: bool,
    panics: bool,
    rows: BTreeMap<RowKey, Row>,
}

impl Disk {
    fn with<T>(&self, f: impl FnOnce(&mut Rowed) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_full(&self, full: bool) {
        self.with(|disk| disk.full = full);
    }

    /// From now on no read succeeds.
    pub(super) fn set_broken(&self, broken: bool) {
        self.with(|disk| disk.broken = broken);
    }

    /// From now on every read panics.
    pub(super) fn set_panics(&self) {
        self.with(|disk| disk.panics = true);
    }

    fn read(&self, key: &RowKey) -> Result<Option<Row>, ReadError> {
        self.with(|disk| {
            assert!(!disk.panics, "boom");
            if disk.broken {
                return Err(ReadError::Unavailable("secret/path/of/the/disk".to_owned()));
            }
            Ok(disk.rows.get(key).cloned())
        })
    }
}

impl Log for Disk {
    fn append(&mut self, _: &[u8]) -> Result<u64, LogError> {
        self.with(|disk| {
            if disk.full {
                return Err(LogError::Full("no room".to_owned()));
            }
            disk.sequence += 1;
            Ok(disk.sequence)
        })
    }

    fn has_room(&self, _: usize) -> bool {
        self.with(|disk| !disk.full)
    }

    fn wants_snapshot(&self) -> bool {
        false
    }

    fn snapshot(&mut self, _: &Snapshot) {}
}

impl Rows for Disk {
    fn publish(&mut self, _: u64, rows: Vec<Row>) {
        self.with(|disk| {
            disk.rows
                .extend(rows.into_iter().map(|row| (row.key(), row)))
        });
    }

    fn fetch(&self, keys: Vec<RowKey>, sink: &Arc<dyn RowSink>) {
        for key in keys {
            let row = self.with(|disk| disk.rows.get(&key).cloned());
            sink.fetched(key, row);
        }
    }
}

impl ReadModel for Disk {
    fn order(&self, order_id: OrderId) -> Result<Option<Arc<Order>>, ReadError> {
        Ok(match self.read(&RowKey::Order(order_id))? {
            Some(Row::Order(order)) => Some(Arc::from(order)),
            _ => None,
        })
    }

    fn reservation(&self, order_id: OrderId) -> Result<Option<Arc<Reservation>>, ReadError> {
        Ok(match self.read(&RowKey::Reservation(order_id))? {
            Some(Row::Reservation(reservation)) => Some(Arc::from(reservation)),
            _ => None,
        })
    }

    fn payment(&self, order_id: OrderId) -> Result<Option<Arc<Payment>>, ReadError> {
        Ok(match self.read(&RowKey::Payment(order_id))? {
            Some(Row::Payment(payment)) => Some(Arc::from(payment)),
            _ => None,
        })
    }

    fn product(&self, product_id: &ProductId) -> Result<Option<Arc<Product>>, ReadError> {
        Ok(match self.read(&RowKey::Product(product_id.clone()))? {
            Some(Row::Product(product)) => Some(Arc::from(product)),
            _ => None,
        })
    }

    fn products(&self) -> Result<Vec<Arc<Product>>, ReadError> {
        let rows = self.with(|disk| disk.rows.clone());
        let product = |row| match row {
            Row::Product(product) => Some(Arc::from(product)),
            _ => None,
        };
        Ok(rows.into_values().filter_map(product).collect())
    }

    /// The cursor is the last id of the page before. Filters as the trait says.
    fn orders(&self, query: &OrderQuery) -> Result<OrderPage, ReadError> {
        let cursor = query.cursor.as_deref().map(OrderId::parse).transpose();
        let cursor = cursor.map_err(|_| ReadError::BadCursor)?;
        let rows = self.with(|disk| disk.rows.clone());
        let order = |row| match row {
            Row::Order(order) => Some(Arc::<Order>::from(order)),
            _ => None,
        };
        let mut orders: Vec<_> = rows.into_values().rev().filter_map(order).collect();
        orders.retain(|order| {
            cursor.is_none_or(|cursor| order.order_id < cursor)
                && query.status.is_none_or(|status| order.status == status)
                && (query.customer_id.as_ref()).is_none_or(|id| order.order.customer_id == *id)
                && query
                    .created_from
                    .is_none_or(|from| order.created_at >= from)
                && query.created_to.is_none_or(|to| order.created_at <= to)
        });
        let more = orders.len() > query.limit;
        orders.truncate(query.limit);
        let next = orders
            .last()
            .filter(|_| more)
            .map(|order| order.order_id.to_string());
        Ok(OrderPage { orders, next })
    }
}

struct TestClock(tokio::time::Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let passed = u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX);
        OPENS_AT.saturating_add(Millis::new(passed))
    }

    fn sleep(&self, length: Millis) -> impl Future<Output = ()> {
        tokio::time::sleep(Duration::from_millis(length.get()))
    }
}

struct Nobody;

impl Observer for Nobody {
    fn committed(&mut self, _: u64, _: usize, _: &[Row]) {}
    fn room(&mut self, _: bool) {}
}

/// Charges succeed, but `pm_card_declined` (and a hint) is declined, `pm_slow` takes two
/// seconds and `pm_silent` never comes to an end. Refunds do as they are told.
#[derive(Default)]
pub(super) struct ScriptedGateway {
    refund_delay: Mutex<Duration>,
    refuses_refunds: Mutex<bool>,
}

impl ScriptedGateway {
    pub(super) fn set_refund_delay(&self, delay: Duration) {
        *self.refund_delay.lock().expect("nothing panics here") = delay;
    }

    pub(super) fn refuse_refunds(&self) {
        *self.refuses_refunds.lock().expect("nothing panics here") = true;
    }

    fn answer(&self, call: &GatewayCall) -> (Duration, GatewayOutcome) {
        let reference = |text: &str| GatewayReference::parse(text).expect("a valid reference");
        let declined = || GatewayOutcome::Rejected {
            code: Arc::from("card_declined"),
        };
        let succeeded = GatewayOutcome::Succeeded {
            reference: reference("ch_1"),
        };
        let method = call.payment_method.as_ref().map(AsRef::<str>::as_ref);
        let delay = *self.refund_delay.lock().expect("nothing panics here");
        let refuses = *self.refuses_refunds.lock().expect("nothing panics here");
        match (call.operation, method) {
            (GatewayOperation::Refund { .. }, _) if refuses => (delay, declined()),
            (GatewayOperation::Refund { number }, _) => {
                let reference = reference(&format!("re_{number}"));
                (delay, GatewayOutcome::Refunded { reference })
            }
            (GatewayOperation::Cancel, _) => (Duration::ZERO, GatewayOutcome::Cancelled),
            (_, Some("pm_silent")) => (Duration::from_millis(1), GatewayOutcome::Pending),
            (_, Some("pm_card_declined")) => (Duration::ZERO, declined()),
            _ if call.hints.decline => (Duration::ZERO, declined()),
            (_, Some("pm_slow")) => (Duration::from_secs(2), succeeded),
            _ => (Duration::ZERO, succeeded),
        }
    }
}

impl Gateway for ScriptedGateway {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>) {
        for call in calls {
            let (delay, outcome) = self.answer(&call);
            let answer = GatewayAnswer {
                order_id: call.order_id,
                operation: Some(call.operation),
                outcome,
            };
            if delay.is_zero() {
                answers.deliver(answer);
                continue;
            }
            let answers = answers.clone();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                answers.deliver(answer);
            });
        }
    }
}
