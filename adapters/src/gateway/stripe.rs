//! Stripe, as a payment gateway: payment intents, refunds and webhooks.
//!
//! ```text
//! api      one request: key, guard, time-outs, metrics
//! guard    circuit breaker, bulkhead, Retry-After
//! outcome  the one table from Stripe's answers to ours
//! calls    how a charge, a query, a cancel, a refund and a capture are carried out
//! webhook  signatures, and what an event says
//! books    Stripe's books, for `a4co reconcile`
//! ```
//! What it owes the core stands at [`a4co_core::gateway`]: every call is answered once, with
//! "unknown" where nothing better is known, and two calls under one key are one.

use std::sync::Arc;

use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::OrderId;
use secrecy::SecretString;
use tokio::runtime::Handle;

use self::api::Api;
use self::calls::Calls;
use self::known::Known;
use self::metrics::StripeMetrics;
use self::webhook::Webhooks;
use super::{AnswerSink, Gateway, GatewayAnswer};
use crate::config::StripeConfig;

mod amount;
mod api;
mod books;
mod calls;
mod guard;
mod known;
mod metrics;
mod outcome;
mod refunds;
mod shapes;
mod webhook;

pub use self::books::{Booked, BooksError};
pub use self::webhook::{Notice, Report, WebhookError, parse_any};

pub use self::api::{API_VERSION, ClientError, STRIPE_URL};

/// The name under which payments show it.
pub const NAME: &str = "stripe";

/// Stripe. Cheap to clone; clones share what they know.
#[derive(Debug, Clone)]
pub struct Stripe {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    calls: Calls,
    webhooks: Webhooks,
    runtime: Handle,
}

/// Why there is no way to Stripe.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// No key, which the configuration rules out.
    #[error("stripe_secret_key is not set")]
    NoKey,
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A metric was registered twice: a bug.
    #[error("the metrics of Stripe could not be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl Stripe {
    /// A way to Stripe. Nothing is asked yet; calls run on `runtime`.
    ///
    /// # Errors
    /// [`StripeError`].
    pub fn new(
        config: &StripeConfig,
        registry: &prometheus::Registry,
        runtime: Handle,
    ) -> Result<Self, StripeError> {
        let key = config.secret_key.clone().ok_or(StripeError::NoKey)?;
        let metrics = StripeMetrics::new(registry)?;
        let webhooks = Webhooks::new(config);
        Ok(Self {
            inner: Arc::new(Inner {
                calls: Calls {
                    api: Api::new(config, key, metrics)?,
                    known: Known::default(),
                    capture: config.capture,
                },
                webhooks,
                runtime,
            }),
        })
    }

    /// What lets the shop's page take the customer through 3-D Secure.
    pub async fn client_secret(&self, order_id: OrderId, reference: &str) -> Option<SecretString> {
        let charge = self.inner.calls.client_secret(order_id, reference).await?;
        charge.client_secret
    }

    /// Reads a webhook: the header `Stripe-Signature` and the body as it came.
    ///
    /// # Errors
    /// [`WebhookError`]: it is not Stripe's, or too old, or no event.
    pub fn notice(&self, signature: Option<&str>, body: &[u8]) -> Result<Notice, WebhookError> {
        self.inner.webhooks.read(signature, body)
    }

    /// What a notice led to is durable: brought again, it is known.
    pub fn noticed(&self, notice: &Notice) {
        self.inner.webhooks.remember(&notice.event_id);
    }

    /// Counts a webhook by what came of it.
    pub fn count_webhook(&self, result: &'static str) {
        self.inner.calls.api.metrics().webhook(result);
    }

    /// Ends a charge that failed while the shop's page could still go on with it. What it
    /// comes to is "rejected", unless the page was quicker.
    pub async fn close(&self, reference: &str, code: &str) -> GatewayOutcome {
        self.inner.calls.close(reference, code).await
    }
}

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn submit(&self, calls: Vec<GatewayCall>, answers: &Arc<dyn AnswerSink>) {
        for call in calls {
            let inner = self.inner.clone();
            let owed = Owed {
                order_id: call.order_id,
                operation: call.operation,
                answers: answers.clone(),
                outcome: None,
            };
            self.inner.runtime.spawn(async move {
                let outcome = inner.carry_out(&call).await;
                owed.is(outcome);
            });
        }
    }
}

impl Inner {
    async fn carry_out(&self, call: &GatewayCall) -> GatewayOutcome {
        let calls = &self.calls;
        match call.operation {
            GatewayOperation::Charge => calls.charge(call).await,
            GatewayOperation::Query => calls.query(call).await,
            GatewayOperation::Cancel => calls.cancel(call).await,
            GatewayOperation::Refund { number } => calls.refund(call, number).await,
            GatewayOperation::Capture => calls.capture(call).await,
        }
    }
}

/// The answer to one call, which is delivered whatever becomes of its task.
struct Owed {
    order_id: OrderId,
    operation: GatewayOperation,
    answers: Arc<dyn AnswerSink>,
    outcome: Option<GatewayOutcome>,
}

impl Owed {
    /// Delivers it.
    fn is(mut self, outcome: GatewayOutcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let outcome = self.outcome.take();
        self.answers.deliver(GatewayAnswer {
            order_id: self.order_id,
            operation: Some(self.operation),
            outcome: outcome.unwrap_or_else(|| outcome::unknown("the call was broken off")),
        });
    }
}
