//! The binary with Stripe as its payment gateway: a stand-in that others wrote, with a proxy
//! in the path that keeps idempotency keys as Stripe does and fails on demand.

mod actions;
mod chaos;
mod charges;
mod faults;
mod manual;
mod reconcile;
mod webhooks;

use a4co_tests::stripe::Localstripe;
use a4co_tests::stripe::proxy::Proxy;
use a4co_tests::{Client, Options, Order, Server, until};
use serde_json::Value;

/// Accepted by the stand-in.
const GOOD: &str = "pm_card_visa";
/// Declined by it.
const BAD: &str = "pm_card_chargeCustomerFail";
/// The beginning of a charge, as the proxy sees it.
const CHARGE: &str = "POST /v1/payment_intents";

/// A shop with ten units of one product, and all that its payments go through.
struct Shop {
    server: Server,
    client: Client,
    proxy: Proxy,
    stripe: Localstripe,
}

impl Shop {
    #[track_caller]
    fn open() -> Self {
        Self::open_with(|options| options)
    }

    #[track_caller]
    fn open_with(settings: impl FnOnce(Options) -> Options) -> Self {
        let stripe = Localstripe::start();
        let proxy = Proxy::start(stripe.port());
        let options = Options::new().with_stripe(&proxy.url());
        let server = settings(options).start();
        let client = server.client();
        client.stock("cup", 10);
        Self {
            server,
            client,
            proxy,
            stripe,
        }
    }

    /// An order of one cup, for 10.00 EUR, paid by this.
    fn cup(method: &str) -> Order {
        Order::of(&[("cup", 1)]).paid_by(method)
    }

    #[track_caller]
    fn payment(&self, order: &Value) -> Value {
        let id = order["orderId"].as_str().expect("an id");
        self.client
            .get(&format!("/api/v1/payments/order/{id}"))
            .expect(200)
            .json()
    }

    /// The payment, once it is as it should be.
    #[track_caller]
    fn payment_until(&self, order: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let payment = self.payment(order);
            if is(&payment) {
                Ok(payment)
            } else {
                Err(payment.to_string())
            }
        })
    }

    /// Fails unless nothing but this was taken from the customer, in cents.
    #[track_caller]
    fn expect_money(&self, order: &Value, taken: u64, given_back: u64) {
        let id = order["orderId"].as_str().expect("an id");
        let intents = self.stripe.intents(id);
        let captured = intents
            .iter()
            .filter(|intent| intent["status"] == "succeeded");
        let captured: u64 = captured
            .map(|intent| intent["amount"].as_u64().expect("cents"))
            .sum();
        let refunded = intents
            .iter()
            .filter(|intent| intent["latest_charge"].is_object());
        let refunded: u64 = refunded
            .flat_map(|intent| self.stripe.refunds(intent))
            .sum();
        assert_eq!((captured, refunded), (taken, given_back), "{intents:?}");
    }
}

#[track_caller]
fn expect(order: &Value, status: &str) {
    assert_eq!(order["status"], status, "{order}");
}
