//! Stripe's settings, and what must hold between them before a cent moves.
//!
//! Apart from the other settings because a mistake here costs somebody money: a live key
//! is taken only where it was asked for by name, and is sent to nobody but Stripe.

use a4co_core::time::Millis;
use secrecy::{ExposeSecret, SecretString};

use super::super::collect::Values;
use super::super::keys;
use super::super::value;
use super::super::{CaptureMode, Config, GatewayChoice, StripeConfig};
use super::{HOUR, MS, Reader};
use crate::gateway::stripe::STRIPE_URL;

const MIN_WAIT: Millis = Millis::new(10);
const MAX_WAIT: Millis = Millis::from_minutes(2);

pub(super) fn read(read: &mut Reader<'_>) -> StripeConfig {
    StripeConfig {
        secret_key: read.optional(&keys::STRIPE_SECRET_KEY, |text| {
            value::secret(text, &["sk_test_", "rk_test_", "sk_live_", "rk_live_"])
        }),
        webhook_secret: read.optional(&keys::STRIPE_WEBHOOK_SECRET, |text| {
            value::secret(text, &["whsec_"])
        }),
        is_live: read.value(&keys::STRIPE_LIVE, value::boolean),
        api_url: read.value(&keys::STRIPE_API_URL, value::http_url),
        capture: read.value(&keys::STRIPE_CAPTURE, value::capture_mode),
        timeout: read.duration(&keys::STRIPE_TIMEOUT, MIN_WAIT, MAX_WAIT),
        connect_timeout: read.duration(&keys::STRIPE_CONNECT_TIMEOUT, MIN_WAIT, MAX_WAIT),
        concurrency: read.size(&keys::STRIPE_CONCURRENCY, 1, 1000),
        circuit_failures: read.small(&keys::STRIPE_CIRCUIT_FAILURES, 1, 1000),
        circuit_pause: read.duration(&keys::STRIPE_CIRCUIT_PAUSE, MS, Millis::from_minutes(10)),
        webhook_tolerance: read.duration(
            &keys::STRIPE_WEBHOOK_TOLERANCE,
            Millis::from_secs(1),
            HOUR,
        ),
    }
}

/// What must hold between the settings, once Stripe is to take the money.
pub(super) fn check(read: &mut Reader<'_>, config: &Config) {
    if config.gateway != GatewayChoice::Stripe {
        return;
    }
    let stripe = &config.stripe;
    let Some(key) = &stripe.secret_key else {
        // One that is there and wrong has been told of.
        if read.values.get(&keys::STRIPE_SECRET_KEY).is_none() {
            read.refuse(
                &keys::USE_SIMULATED_PAYMENT,
                "real payments need stripe_secret_key, which is not set",
                "set STRIPE_SECRET_KEY in the environment, or use_simulated_payment to true",
            );
        }
        return;
    };
    match (is_live(key), stripe.is_live) {
        (true, false) => read.refuse(
            &keys::STRIPE_SECRET_KEY,
            "is a live key, which moves real money, and stripe_live is not true",
            "use a test key (sk_test_), or set stripe_live to true if real money is meant",
        ),
        (false, true) => read.refuse(
            &keys::STRIPE_LIVE,
            "is true, and stripe_secret_key is a test key, which moves no money",
            "use a live key (sk_live_), or remove stripe_live",
        ),
        _ => {}
    }
    let is_stripes = stripe.api_url.trim_end_matches('/') == STRIPE_URL;
    if is_live(key) && !is_stripes {
        read.refuse(
            &keys::STRIPE_API_URL,
            "is not Stripe's own address, and stripe_secret_key is a live key",
            "remove it, or use a test key",
        );
    }
}

/// What is allowed and yet deserves a line.
pub(super) fn notes(config: &Config, values: &Values) -> Vec<String> {
    let is_used = config.gateway == GatewayChoice::Stripe;
    let mut notes = Vec::new();
    if is_used {
        let stripe = &config.stripe;
        let mode = if stripe.is_live { "LIVE" } else { "test" };
        let capture = match stripe.capture {
            CaptureMode::Automatic => "captured at once",
            CaptureMode::Manual => "captured once the stock is committed",
        };
        notes.push(format!("payments: Stripe in {mode} mode, {capture}"));
        if stripe.webhook_secret.is_none() {
            notes.push(
                "stripe_webhook_secret is not set: every webhook is refused, and outcomes that are open are asked for"
                    .to_owned(),
            );
        }
        if stripe.api_url.trim_end_matches('/') != STRIPE_URL {
            notes.push(format!("Stripe's API is taken from {}", stripe.api_url));
        }
        return notes;
    }
    for key in [&keys::STRIPE_SECRET_KEY, &keys::STRIPE_WEBHOOK_SECRET] {
        if let Some(setting) = values.get(key) {
            notes.push(format!(
                "{} ({}) is not used: payments are simulated",
                key.name, setting.origin
            ));
        }
    }
    notes
}

/// Whether a key moves real money. One of neither kind does not get here.
fn is_live(key: &SecretString) -> bool {
    let key = key.expose_secret();
    key.starts_with("sk_live_") || key.starts_with("rk_live_")
}
