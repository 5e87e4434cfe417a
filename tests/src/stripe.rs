//! A stand-in for Stripe that others wrote (`localstripe`), and ways to speak to it.
//!
//! It knows payment intents, refunds and webhooks, and neither idempotency keys nor a bad
//! day: the [`proxy`] in between adds both.

pub mod proxy;
pub mod shapes;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ring::hmac;
use serde_json::{Value, json};

use crate::{Answer, Client, Options, until};

/// The version that `./test` installs.
const VERSION: &str = "1.15.10";

/// The key that tests use: for test mode, and of nobody's account.
pub const KEY: &str = "sk_test_a4co";

/// The secret that tests sign webhooks with.
pub const WEBHOOK_SECRET: &str = "whsec_a4co";

/// Where `localstripe` is installed: `A4CO_LOCALSTRIPE`, or where `./test` puts it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python() -> PathBuf {
    let installed =
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/localstripe/bin/python");
    let path = std::env::var_os("A4CO_LOCALSTRIPE").map_or_else(installed, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is not there: `./test stripe` installs localstripe {VERSION}, or name a Python that has it in A4CO_LOCALSTRIPE",
        path.display()
    );
    path
}

/// A running `localstripe`, without a memory of earlier runs.
#[derive(Debug)]
pub struct Localstripe {
    child: Child,
    port: u16,
    log: tempfile::NamedTempFile,
}

impl Localstripe {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        let free = TcpListener::bind("[::]:0").expect("a free port");
        let port = free.local_addr().expect("its address").port();
        drop(free);
        let log = tempfile::NamedTempFile::new().expect("a file for the log");
        let file = || {
            File::options()
                .append(true)
                .open(log.path())
                .expect("the log")
        };
        let child = Command::new(python())
            .args([
                "-m",
                "localstripe",
                "--from-scratch",
                "--port",
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(file())
            .stderr(file())
            .spawn()
            .expect("localstripe can be started");
        let mut stripe = Self { child, port, log };
        until("localstripe", || {
            if let Ok(Some(status)) = stripe.child.try_wait() {
                panic!("localstripe ended with {status}: {}", stripe.logged());
            }
            stripe.client().try_get("/js.stripe.com/v3/").map(drop)
        });
        stripe
    }

    /// What it logged.
    #[must_use]
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn client(&self) -> Client {
        Client::new(([127, 0, 0, 1], self.port).into())
    }

    /// `GET` with the secret key.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let client = self.client();
        let asked = client.ask("GET", path);
        asked
            .header("authorization", &format!("Bearer {KEY}"))
            .send()
            .expect(200)
            .json()
    }

    /// `POST` with the secret key.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let client = self.client();
        let asked = client.ask("POST", path);
        asked
            .header("authorization", &format!("Bearer {KEY}"))
            .json(body)
            .send()
    }

    /// Sends its webhooks to this address, signed.
    ///
    /// # Panics
    /// When it refuses.
    #[track_caller]
    pub fn send_webhooks_to(&self, url: &str) {
        let hook = json!({ "url": url, "secret": WEBHOOK_SECRET });
        let client = self.client();
        let _ = client.post("/_config/webhooks/a4co", &hook).expect(200);
    }

    /// A card with this number.
    ///
    /// # Panics
    /// When it refuses.
    #[must_use]
    #[track_caller]
    pub fn card(&self, number: &str) -> String {
        let card = json!({
            "type": "card",
            "card": { "number": number, "exp_month": "12", "exp_year": "2040", "cvc": "123" },
        });
        let made = self.post("/v1/payment_methods", &card).expect(200).json();
        made["id"].as_str().expect("an id").to_owned()
    }

    /// The intents of an order.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn intents(&self, order_id: &str) -> Vec<Value> {
        let all = self.get("/v1/payment_intents?limit=100");
        let all = all["data"].as_array().expect("a list").iter();
        let ours = all.filter(|intent| intent["metadata"]["order_id"] == order_id);
        ours.cloned().collect()
    }

    /// The one intent of an order.
    ///
    /// # Panics
    /// When there is another number of them.
    #[must_use]
    #[track_caller]
    pub fn intent(&self, order_id: &str) -> Value {
        let mut intents = self.intents(order_id);
        assert_eq!(intents.len(), 1, "{intents:?}");
        intents.pop().expect("one")
    }

    /// What was given back of an intent: the amount of each refund.
    ///
    /// # Panics
    /// Without an answer.
    #[must_use]
    #[track_caller]
    pub fn refunds(&self, intent: &Value) -> Vec<u64> {
        let id = intent["id"].as_str().expect("an id");
        let all = self.get(&format!("/v1/refunds?payment_intent={id}&limit=100"));
        let all = all["data"].as_array().expect("a list").iter();
        all.map(|refund| refund["amount"].as_u64().expect("an amount"))
            .collect()
    }

    /// The customer does what the bank asks for, or fails to.
    ///
    /// # Panics
    /// Without an answer.
    #[track_caller]
    pub fn authenticate(&self, intent: &str, client_secret: &str, success: bool) -> Answer {
        let body = json!({ "client_secret": client_secret, "success": success });
        self.post(
            &format!("/v1/payment_intents/{intent}/_authenticate"),
            &body,
        )
    }
}

impl Drop for Localstripe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Options {
    /// A server that takes its money through Stripe, which is at this address.
    #[must_use]
    pub fn with_stripe(self, url: &str) -> Self {
        self.env("STRIPE_SECRET_KEY", KEY)
            .env("STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET)
            .flag("--use-simulated-payment", "false")
            .flag("--stripe-api-url", url)
            .flag("--retry-first", "50ms")
            .flag("--retry-cap", "500ms")
    }
}

/// The header `Stripe-Signature` of a body, as of this time in seconds since 1970.
#[must_use]
pub fn signature(secret: &str, time_s: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[time_s.to_string().as_bytes(), b".", body].concat());
    let hex: String = tag
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={time_s},v1={hex}")
}

/// Now, in seconds since 1970.
///
/// # Panics
/// Before 1970.
#[must_use]
pub fn now_s() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "what a test signs has to be of the real time"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// Brings a webhook, well signed.
#[must_use]
#[track_caller]
pub fn webhook(client: &Client, event: &Value) -> Answer {
    let body = event.to_string().into_bytes();
    let signature = signature(WEBHOOK_SECRET, now_s(), &body);
    let asked = client.ask("POST", "/api/v1/payments/webhook");
    asked
        .header("stripe-signature", &signature)
        .bytes("application/json", body)
        .send()
}
