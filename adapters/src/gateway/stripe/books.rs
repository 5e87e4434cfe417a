//! Stripe's books: what it took and gave back for each of our orders.
//!
//! Apart from the calls because nothing here changes anything: it is for `a4co reconcile`.

use std::time::Duration;

use a4co_core::ids::OrderId;
use a4co_core::money::Currency;
use tokio::runtime::Handle;

use super::amount::from_stripe;
use super::api::{Endpoint, Form, Trouble};
use super::outcome::Verdict;
use super::shapes::{Intent, LatestCharge};
use super::{Stripe, StripeError};
use crate::config::StripeConfig;

/// Tries of the whole list, since Stripe may ask for a pause within it.
const TRIES: u32 = 3;

/// Wait between them.
const BETWEEN_TRIES: Duration = Duration::from_secs(2);

/// What a gateway has for one charge. Amounts in minor units of the currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Booked {
    /// Whose payment, where the gateway says so.
    pub order_id: Option<OrderId>,
    /// The gateway's name for the charge.
    pub reference: String,
    /// Of the amounts; `None` for one that is not known here.
    pub currency: Option<Currency>,
    /// Taken from the customer.
    pub captured_minor: i64,
    /// Set aside and not taken.
    pub authorised_minor: i64,
    /// Given back, or on its way back.
    pub refunded_minor: i64,
}

/// Why there are no books.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// Stripe does not tell.
    #[error("Stripe's books cannot be read: {0}")]
    Unread(String),
}

impl Stripe {
    /// A way to Stripe for reading alone, with metrics of its own that nobody looks at.
    ///
    /// # Errors
    /// [`StripeError`].
    pub fn reader(config: &StripeConfig, runtime: Handle) -> Result<Self, StripeError> {
        Self::new(config, &prometheus::Registry::new(), runtime)
    }

    /// Everything that was begun at or after `from` and before `to`, in seconds since 1970.
    ///
    /// # Errors
    /// [`BooksError`].
    pub async fn books(&self, from: u64, to: u64) -> Result<Vec<Booked>, BooksError> {
        let expand = || -> Form { vec![("expand[]".to_owned(), "data.latest_charge".to_owned())] };
        let mut tries = 0;
        loop {
            tries += 1;
            let mut books = Vec::new();
            let calls = &self.inner.calls;
            let read = calls.each_intent(from, Some(to), usize::MAX, expand(), |intent| {
                books.push(booked(&intent));
            });
            match read.await {
                Ok(_) => return Ok(books),
                Err(trouble) if trouble.verdict() == Verdict::Unknown && tries < TRIES => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(trouble) => return Err(BooksError::Unread(trouble.to_string())),
            }
        }
    }

    /// One charge, by Stripe's name for it; `None` where there is none.
    ///
    /// # Errors
    /// [`BooksError`].
    pub async fn booked(&self, reference: &str) -> Result<Option<Booked>, BooksError> {
        let path = format!("/v1/payment_intents/{reference}");
        let query = vec![("expand[]".to_owned(), "latest_charge".to_owned())];
        let read: Result<Intent, Trouble> = self
            .inner
            .calls
            .api
            .get(Endpoint::Retrieve, &path, &query)
            .await;
        match read {
            Ok(intent) => Ok(Some(booked(&intent))),
            Err(trouble) if trouble.verdict() == Verdict::NotFound => Ok(None),
            Err(trouble) => Err(BooksError::Unread(trouble.to_string())),
        }
    }
}

fn booked(intent: &Intent) -> Booked {
    let currency = Currency::parse(&intent.currency).ok();
    // What is no whole number of minor units is shown as it stands: it differs all the same.
    let minor = |number| {
        let converted = currency.and_then(|currency| from_stripe(number, currency));
        converted.unwrap_or(number)
    };
    let refunded = match &intent.latest_charge {
        Some(LatestCharge::Whole(charge)) => charge.amount_refunded,
        _ => 0,
    };
    let when = |status: &str, amount: i64| if intent.status == status { amount } else { 0 };
    Booked {
        order_id: intent.order(),
        reference: intent.id.clone(),
        currency,
        captured_minor: minor(when(
            "succeeded",
            intent.amount_received.unwrap_or(intent.amount),
        )),
        authorised_minor: minor(when("requires_capture", intent.amount)),
        refunded_minor: minor(refunded),
    }
}
