//! What the tests do with a shop: stock products, place orders, follow them to their end.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::until;

/// An order in the making.
#[derive(Debug, Clone)]
pub struct Order {
    body: Value,
}

/// How an order ended: its JSON.
pub type Outcome = Value;

impl Order {
    /// An order of these lines: product and quantity.
    #[must_use]
    pub fn of(lines: &[(&str, u64)]) -> Self {
        let items: Vec<Value> = lines
            .iter()
            .map(|(product, quantity)| json!({ "productId": product, "quantity": quantity }))
            .collect();
        Self {
            body: json!({ "customerId": "customer-1", "items": items }),
        }
    }

    /// With this payment method.
    #[must_use]
    pub fn paid_by(self, method: &str) -> Self {
        self.with("paymentMethodId", json!(method))
    }

    /// With this field.
    #[must_use]
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.body[field] = value;
        self
    }

    /// With this entry of metadata.
    #[must_use]
    pub fn noted(mut self, key: &str, value: Value) -> Self {
        self.body["metadata"][key] = value;
        self
    }

    /// As the API takes it.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }
}

/// The id in an order's JSON.
///
/// # Panics
/// When there is none.
#[must_use]
#[track_caller]
pub fn id(order: &Value) -> &str {
    order["orderId"].as_str().expect("an order's id")
}

impl Client {
    /// Makes a product with this stock, at 10.00 EUR.
    ///
    /// # Panics
    /// When that is refused.
    #[track_caller]
    pub fn stock(&self, product: &str, units: u64) {
        let body = json!({ "name": product, "price": 10, "onHandQuantity": units });
        let answer = self.put(&format!("/api/v1/inventory/products/{product}"), &body);
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }

    /// The product.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn product(&self, product: &str) -> Value {
        self.get(&format!("/api/v1/inventory/products/{product}"))
            .expect(200)
            .json()
    }

    /// Fails unless the product's units are these.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn expect_stock(&self, product: &str, on_hand: u64, reserved: u64, sold: u64) {
        let stock = self.product(product);
        let units = |field: &str| stock[field].as_u64().expect("units");
        let present = [
            units("onHandQuantity"),
            units("availableQuantity"),
            units("reservedQuantity"),
            units("soldQuantity"),
        ];
        assert_eq!(
            present,
            [on_hand, on_hand - reserved, reserved, sold],
            "on hand, available, reserved, sold of {product}"
        );
    }

    /// Places an order without waiting for its end; the answer must be 201.
    ///
    /// # Panics
    /// When it is refused.
    #[must_use]
    #[track_caller]
    pub fn place(&self, order: &Order) -> Value {
        self.post("/api/v1/orders", order.body()).expect(201).json()
    }

    /// Places an order and follows it to its end.
    ///
    /// # Panics
    /// When it is refused, or does not end.
    #[must_use]
    #[track_caller]
    pub fn order(&self, order: &Order) -> Outcome {
        let placed = self
            .ask("POST", "/api/v1/orders")
            .wait(30)
            .json(order.body());
        let placed = placed.send().expect(201).json();
        self.ended(id(&placed))
    }

    /// The order as it is.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    #[track_caller]
    pub fn look(&self, order_id: &str) -> Value {
        self.get(&format!("/api/v1/orders/{order_id}"))
            .expect(200)
            .json()
    }

    /// The order once its saga has ended.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn ended(&self, order_id: &str) -> Outcome {
        self.in_saga_state(order_id, &["COMPLETED", "FAILED", "COMPENSATED"])
    }

    /// The order once its saga is in one of these states.
    ///
    /// # Panics
    /// When it does not get there.
    #[must_use]
    #[track_caller]
    pub fn in_saga_state(&self, order_id: &str, states: &[&str]) -> Value {
        until("an order on its way", || {
            let order = self.look(order_id);
            match order["sagaState"].as_str() {
                Some(state) if states.contains(&state) => Ok(order),
                _ => Err(format!("it should be in {states:?}, and is {order}")),
            }
        })
    }

    /// Cancels an order.
    #[must_use]
    #[track_caller]
    pub fn cancel(&self, order_id: &str, reason: &str) -> Answer {
        let path = format!("/api/v1/orders/{order_id}/cancel");
        self.post(&path, &json!({ "reason": reason }))
    }

    /// The order's payment, or the answer that there is none.
    #[must_use]
    #[track_caller]
    pub fn payment(&self, order_id: &str) -> Answer {
        self.get(&format!("/api/v1/payments/order/{order_id}"))
    }

    /// The order's reservation, or the answer that there is none.
    #[must_use]
    #[track_caller]
    pub fn reservation(&self, order_id: &str) -> Answer {
        self.get(&format!("/api/v1/inventory/reservations/order/{order_id}"))
    }

    /// Asks for a refund of an order's payment.
    #[must_use]
    #[track_caller]
    pub fn refund(&self, order_id: &str, body: &Value) -> Answer {
        let payment = self.payment(order_id).expect(200).json();
        let payment_id = payment["paymentId"].as_str().expect("a payment's id");
        self.post(&format!("/api/v1/payments/{payment_id}/refund"), body)
    }

    /// All orders of this query, page by page, newest first.
    ///
    /// # Panics
    /// When the list does not come to an end.
    #[must_use]
    #[track_caller]
    pub fn all_orders(&self, query: &str) -> Vec<Value> {
        let mut orders = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.get(&format!("/api/v1/orders?limit=100&{query}{cursor}"));
            let page = page.expect(200).json();
            orders.extend(
                page["data"]
                    .as_array()
                    .expect("a page's rows")
                    .iter()
                    .cloned(),
            );
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return orders,
            }
            assert!(orders.len() < 1_000_000, "a list without an end");
        }
    }
}

/// Fails unless the order ended with this status and this state of its saga.
///
/// # Panics
/// When it did not.
#[track_caller]
pub fn expect_end(order: &Value, status: &str, saga: &str) {
    assert_eq!(
        (order["status"].as_str(), order["sagaState"].as_str()),
        (Some(status), Some(saga)),
        "{order}"
    );
}

/// The states that the order's history went through.
#[must_use]
pub fn history(order: &Value) -> Vec<&str> {
    let entries = order["history"].as_array().map_or(&[][..], Vec::as_slice);
    entries
        .iter()
        .filter_map(|entry| entry["state"].as_str())
        .collect()
}
