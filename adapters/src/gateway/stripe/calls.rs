//! How each call of the core is carried out at Stripe.
//!
//! ```text
//! charge    create under `a4co:{order}:charge`, confirmed at once, off the session; from
//!           the second try on, look among the latest first
//! query     look at the intent; where its name is not known, the charge again, which
//!           under its key says what it said before
//! cancel    cancel the intent, by name; one whose name is not known is looked for, and one
//!           that does not exist is made unconfirmed under the charge's own key, so that a
//!           charge still on its way finds its key used, and charges nothing
//! refund    see `refunds.rs`
//! capture   capture the intent, by name
//! ```
//! Stripe keeps an idempotency key for a day. Past that a charge is looked for before it is
//! made again, and so is one whose key keeps an answer of no use (a stored 500).

use std::time::Duration;

use a4co_core::gateway::{GatewayCall, GatewayOutcome};
use a4co_core::ids::OrderId;
use a4co_core::time::Timestamp;
use a4co_driver::ports::Clock as _;

use super::amount::to_stripe;
use super::api::{Api, Endpoint, Form, Trouble};
use super::known::{Charge, Known};
use super::outcome::{
    Verdict, of_capture_refused, of_intent, rejected, unknown, wants_authentication,
};
use super::shapes::{Intent, ORDER_ID, Page};
use crate::config::CaptureMode;
use crate::embedded::MonotonicClock;

/// Age from which a key may be gone: an hour less than Stripe promises.
const KEY_KEPT: Duration = Duration::from_secs(23 * 60 * 60);

/// Age of a payment from which Stripe's list has whatever was made for it, by a wide margin.
const LISTED_AFTER: Duration = Duration::from_secs(30);

/// How far before a payment's beginning its charge is looked for: Stripe's clock is another.
const CLOCKS_APART_S: u64 = 10 * 60;

/// Objects of one page, the most that Stripe gives.
pub(super) const PAGE: usize = 100;

/// Pages that are looked at before a charge is repeated under its key: the latest come first.
const PAGES_RECENT: usize = 2;

/// Age up to which a payment's first try is the first one: a process that was killed between
/// the call and its answer is not back sooner.
const SURELY_FIRST: Duration = Duration::from_secs(1);

/// Pages that are searched for one charge. Past this its outcome stays unknown.
const PAGES_MAX: usize = 50;

/// Carries calls out.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) api: Api,
    pub(super) known: Known,
    pub(super) capture: CaptureMode,
}

type Answer = Result<Intent, Trouble>;

impl Calls {
    pub(super) async fn charge(&self, call: &GatewayCall) -> GatewayOutcome {
        if is_key_gone(call) {
            match self.find(call, PAGES_MAX).await {
                Ok(Some(intent)) => return self.seen(call.order_id, &intent),
                Ok(None) => {}
                Err(trouble) => return unknown(&trouble.to_string()),
            }
        } else if call.attempt > 0 || age(call) > SURELY_FIRST {
            // The key alone keeps it from being charged twice. But where it is there to be
            // seen, there is no need to lean on that.
            if let Ok(Some(intent)) = self.find(call, PAGES_RECENT).await {
                return self.of_query(call, &intent).await;
            }
        }
        self.create(call).await
    }

    pub(super) async fn query(&self, call: &GatewayCall) -> GatewayOutcome {
        let Some(reference) = self.reference(call) else {
            return if is_key_gone(call) {
                match self.find(call, PAGES_MAX).await {
                    Ok(Some(intent)) => self.of_query(call, &intent).await,
                    Ok(None) => GatewayOutcome::NotFound,
                    Err(trouble) => unknown(&trouble.to_string()),
                }
            } else {
                self.charge(call).await
            };
        };
        match self.retrieve(&reference).await {
            Ok(intent) => self.of_query(call, &intent).await,
            Err(trouble) if trouble.verdict() == Verdict::NotFound => GatewayOutcome::NotFound,
            Err(trouble) => unknown(&trouble.to_string()),
        }
    }

    /// What a charge that was looked at means. The page may have its client secret, with which
    /// one that failed can be tried with another card: ended, it cannot.
    async fn of_query(&self, call: &GatewayCall, intent: &Intent) -> GatewayOutcome {
        match self.seen(call.order_id, intent) {
            GatewayOutcome::Rejected { code } => self.close(&intent.id, &code).await,
            outcome => outcome,
        }
    }

    pub(super) async fn cancel(&self, call: &GatewayCall) -> GatewayOutcome {
        if let Some(reference) = self.reference(call) {
            return self.cancel_intent(&reference).await;
        }
        match self.find(call, PAGES_MAX).await {
            Ok(Some(intent)) => {
                self.seen(call.order_id, &intent);
                self.cancel_intent(&intent.id).await
            }
            Ok(None) => self.forestall(call).await,
            Err(trouble) => unknown(&trouble.to_string()),
        }
    }

    pub(super) async fn capture(&self, call: &GatewayCall) -> GatewayOutcome {
        let Some(reference) = self.reference(call) else {
            return unknown("a capture of a charge whose name is not known");
        };
        let path = format!("/v1/payment_intents/{reference}/capture");
        // No key: a second capture finds the first, and a stored failure would stay.
        let taken: Answer = self
            .api
            .post(Endpoint::Capture, &path, &Form::new(), None)
            .await;
        match taken {
            Ok(intent) => {
                of_capture_refused(&intent, Verdict::Moved).unwrap_or_else(|| of_intent(&intent))
            }
            Err(trouble) if trouble.verdict() == Verdict::Unknown => unknown(&trouble.to_string()),
            Err(trouble) => match self.retrieve(&reference).await {
                Ok(intent) => of_capture_refused(&intent, trouble.verdict())
                    .unwrap_or_else(|| unknown(&trouble.to_string())),
                Err(other) => unknown(&other.to_string()),
            },
        }
    }

    /// The charge that failed is ended for good, so that nobody can go on with it.
    pub(super) async fn close(&self, reference: &str, code: &str) -> GatewayOutcome {
        match self.cancel_intent(reference).await {
            GatewayOutcome::Cancelled => rejected(code),
            outcome => outcome,
        }
    }

    /// What lets the shop's page go on with a charge; `None` where Stripe does not say.
    pub(super) async fn client_secret(&self, order_id: OrderId, reference: &str) -> Option<Charge> {
        let known = self.known.get(order_id);
        if let Some(known) = known.filter(|it| it.client_secret.is_some()) {
            return Some(known);
        }
        let intent = self.retrieve(reference).await.ok()?;
        self.seen(order_id, &intent);
        self.known.get(order_id)
    }

    async fn create(&self, call: &GatewayCall) -> GatewayOutcome {
        let form = match self.charge_form(call, true) {
            Ok(form) => form,
            Err(code) => return rejected(code),
        };
        let trouble = match self.post_charge(call, &form).await {
            Ok(intent) => return self.seen(call.order_id, &intent),
            Err(trouble) => trouble,
        };
        let error = trouble.error();
        if let Some(intent) = error.and_then(|error| error.payment_intent.as_deref()) {
            self.seen(call.order_id, intent);
        }
        match trouble.verdict() {
            Verdict::Declined
            | Verdict::Refused
            | Verdict::NotFound
            | Verdict::Moved
            | Verdict::Expired => rejected(error.map_or("refused", |error| error.reason())),
            Verdict::Authenticate => {
                match error.and_then(|error| error.payment_intent.as_deref()) {
                    Some(intent) => match of_intent(intent) {
                        GatewayOutcome::Rejected { code } => rejected(&code),
                        outcome => outcome,
                    },
                    None => rejected("authentication_required"),
                }
            }
            Verdict::KeyUsed => self.found_or(call, &trouble).await,
            Verdict::Unknown if trouble.is_kept_failure() => self.found_or(call, &trouble).await,
            Verdict::Unknown => unknown(&trouble.to_string()),
        }
    }

    /// The key gives no answer of use any more, so what was made under it is looked for.
    async fn found_or(&self, call: &GatewayCall, trouble: &Trouble) -> GatewayOutcome {
        match self.find(call, PAGES_MAX).await {
            Ok(Some(intent)) => self.seen(call.order_id, &intent),
            Ok(None) | Err(_) => unknown(&trouble.to_string()),
        }
    }

    /// Uses up the charge's key, so that a charge that is still on its way does nothing.
    async fn forestall(&self, call: &GatewayCall) -> GatewayOutcome {
        let Ok(form) = self.charge_form(call, false) else {
            return GatewayOutcome::Cancelled; // it was never sent
        };
        let trouble = match self.post_charge(call, &form).await {
            Ok(intent) => return self.cancel_intent(&intent.id).await,
            Err(trouble) => trouble,
        };
        match trouble.verdict() {
            Verdict::KeyUsed => self.undo_arrived(call).await,
            // What is refused unconfirmed is refused confirmed, too.
            Verdict::Declined | Verdict::Refused | Verdict::NotFound => {
                rejected(trouble.error().map_or("refused", |error| error.reason()))
            }
            // This very request has failed under the key, and used it up in doing so.
            Verdict::Unknown if trouble.is_replayed_failure() => {
                self.undo_listed(call, &trouble).await
            }
            Verdict::Authenticate | Verdict::Moved | Verdict::Expired | Verdict::Unknown => {
                unknown(&trouble.to_string())
            }
        }
    }

    /// Nothing is under way under the charge's key any more, and nothing will be. What was
    /// made, if anything was, is in Stripe's list.
    async fn undo_listed(&self, call: &GatewayCall, trouble: &Trouble) -> GatewayOutcome {
        match self.find(call, PAGES_MAX).await {
            Ok(Some(intent)) => self.cancel_intent(&intent.id).await,
            Ok(None) if age(call) >= LISTED_AFTER => GatewayOutcome::Cancelled,
            Ok(None) | Err(_) => unknown(&trouble.to_string()),
        }
    }

    /// The charge did arrive after all. Asked again under its key, it says under which name.
    async fn undo_arrived(&self, call: &GatewayCall) -> GatewayOutcome {
        let Ok(form) = self.charge_form(call, true) else {
            return GatewayOutcome::Cancelled; // it was never sent
        };
        let trouble = match self.post_charge(call, &form).await {
            Ok(intent) => {
                self.seen(call.order_id, &intent);
                return self.cancel_intent(&intent.id).await;
            }
            Err(trouble) => trouble,
        };
        match trouble.verdict() {
            Verdict::Declined
            | Verdict::Refused
            | Verdict::NotFound
            | Verdict::Moved
            | Verdict::Expired => {
                rejected(trouble.error().map_or("refused", |error| error.reason()))
            }
            Verdict::Authenticate => {
                let error = trouble.error();
                match error.and_then(|error| error.payment_intent.as_deref()) {
                    Some(intent) => self.cancel_intent(&intent.id).await,
                    None => rejected("authentication_required"),
                }
            }
            // Under this key Stripe has failed, and will say so each time.
            _ if trouble.is_kept_failure() => self.undo_listed(call, &trouble).await,
            Verdict::KeyUsed | Verdict::Unknown => unknown(&trouble.to_string()),
        }
    }

    async fn cancel_intent(&self, reference: &str) -> GatewayOutcome {
        let path = format!("/v1/payment_intents/{reference}/cancel");
        // No key: what is cancelled stays so, and a stored failure would stay, too.
        let cancelled: Answer = self
            .api
            .post(Endpoint::Cancel, &path, &Form::new(), None)
            .await;
        match cancelled {
            Ok(intent) => of_intent(&intent),
            Err(trouble) if trouble.verdict() == Verdict::Unknown => unknown(&trouble.to_string()),
            // Too late, or done before: its state says which.
            Err(trouble) => match self.retrieve(reference).await {
                Ok(intent) => match of_intent(&intent) {
                    done @ (GatewayOutcome::Succeeded { .. }
                    | GatewayOutcome::Cancelled
                    | GatewayOutcome::Pending) => done,
                    _ => unknown(&trouble.to_string()),
                },
                Err(other) => unknown(&other.to_string()),
            },
        }
    }

    async fn post_charge(&self, call: &GatewayCall, form: &Form) -> Answer {
        let key = format!("a4co:{}:charge", call.order_id);
        self.api
            .post(Endpoint::Create, "/v1/payment_intents", form, Some(&key))
            .await
    }

    async fn retrieve(&self, reference: &str) -> Answer {
        let path = format!("/v1/payment_intents/{reference}");
        self.api.get(Endpoint::Retrieve, &path, &Form::new()).await
    }

    /// The same bytes for the same call: another body under one key is an error.
    fn charge_form(&self, call: &GatewayCall, confirmed: bool) -> Result<Form, &'static str> {
        let amount = to_stripe(call.amount, call.currency).ok_or("amount_not_chargeable")?;
        let method = call.payment_method.as_ref().map(AsRef::<str>::as_ref);
        let method = method.ok_or("payment_method_missing")?;
        let mut form = form(&[
            ("amount", amount.to_string()),
            ("currency", call.currency.as_str().to_ascii_lowercase()),
            ("payment_method_types[]", "card".to_owned()),
        ]);
        // A card that a customer has stored goes with its customer.
        let (customer, method) = match method.split_once('/') {
            Some((customer, method)) if customer.starts_with("cus_") => (Some(customer), method),
            _ => (None, method),
        };
        if let Some(customer) = customer {
            form.push(("customer".to_owned(), customer.to_owned()));
        }
        form.push(("payment_method".to_owned(), method.to_owned()));
        if confirmed {
            form.push(("confirm".to_owned(), "true".to_owned()));
            form.push(("off_session".to_owned(), "true".to_owned()));
        }
        let capture = match self.capture {
            CaptureMode::Automatic => "automatic",
            CaptureMode::Manual => "manual",
        };
        form.push(("capture_method".to_owned(), capture.to_owned()));
        let order = call.order_id.to_string();
        form.push((format!("metadata[{ORDER_ID}]"), order));
        Ok(form)
    }

    /// Looks through what was made since the payment began. Where there are several, which
    /// only a lost tombstone explains, the one that matters most.
    async fn find(&self, call: &GatewayCall, pages_max: usize) -> Result<Option<Intent>, Trouble> {
        let from = (call.requested_at.unix_ms() / 1000).saturating_sub(CLOCKS_APART_S);
        let mut found: Option<Intent> = None;
        let is_through = self
            .each_intent(from, None, pages_max, Form::new(), |intent| {
                let is_ours = intent.order() == Some(call.order_id);
                if is_ours && found.as_ref().is_none_or(|it| weight(&intent) > weight(it)) {
                    found = Some(intent);
                }
            })
            .await?;
        if found.is_none() && !is_through {
            let why = "too many charges to look through".to_owned();
            return Err(Trouble::Silence(why));
        }
        Ok(found)
    }

    /// Shows every intent made from `from` on and before `to`, in seconds since 1970. `false`
    /// when there are more than so many pages.
    pub(super) async fn each_intent(
        &self,
        from: u64,
        to: Option<u64>,
        pages_max: usize,
        expand: Form,
        mut show: impl FnMut(Intent),
    ) -> Result<bool, Trouble> {
        let mut filter = vec![("created[gte]".to_owned(), from.to_string())];
        filter.extend(to.map(|to| ("created[lt]".to_owned(), to.to_string())));
        let mut after: Option<String> = None;
        for _ in 0..pages_max {
            let mut query = form(&[("limit", PAGE.to_string())]);
            query.extend(
                after
                    .iter()
                    .map(|id| ("starting_after".to_owned(), id.clone())),
            );
            query.extend(filter.iter().cloned());
            query.extend(expand.iter().cloned());
            let page: Result<Page<Intent>, Trouble> = self
                .api
                .get(Endpoint::List, "/v1/payment_intents", &query)
                .await;
            let page = match page {
                // A stand-in for Stripe that does not know the filter: read all of it.
                Err(trouble) if trouble.verdict() == Verdict::Refused && !filter.is_empty() => {
                    filter.clear();
                    continue;
                }
                page => page?,
            };
            after = page.data.last().map(|intent| intent.id.clone());
            let has_more = page.has_more && after.is_some();
            for intent in page.data {
                if intent.created >= from && to.is_none_or(|to| intent.created < to) {
                    show(intent);
                }
            }
            if !has_more {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn reference(&self, call: &GatewayCall) -> Option<String> {
        let told = call.reference.as_ref().map(ToString::to_string);
        told.or_else(|| Some(self.known.get(call.order_id)?.reference))
    }

    /// Remembers an intent, and says what it means.
    pub(super) fn seen(&self, order_id: OrderId, intent: &Intent) -> GatewayOutcome {
        let before = self.known.get(order_id);
        let client_secret = intent.client_secret.clone().map(Into::into);
        let charge = Charge {
            reference: intent.id.clone(),
            client_secret: client_secret.or_else(|| {
                let before = before.filter(|before| before.reference == intent.id)?;
                before.client_secret
            }),
        };
        self.known.remember(order_id, charge);
        of_intent(intent)
    }
}

/// Which of several intents of one order says what became of it.
fn weight(intent: &Intent) -> u8 {
    match intent.status.as_str() {
        "succeeded" => 5,
        "requires_capture" => 4,
        "processing" => 3,
        "canceled" => 0,
        _ if intent
            .last_payment_error
            .as_ref()
            .is_some_and(wants_authentication) =>
        {
            2
        }
        "requires_action" => 2,
        _ => 1,
    }
}

fn is_key_gone(call: &GatewayCall) -> bool {
    age(call) >= KEY_KEPT
}

/// Since the payment began.
fn age(call: &GatewayCall) -> Duration {
    let now = MonotonicClock::not_before(Timestamp::UNIX_EPOCH).now();
    Duration::from_millis(now.saturating_since(call.requested_at).get())
}

pub(super) fn form(pairs: &[(&str, String)]) -> Form {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}
