//! How a refund is carried out at Stripe. Apart from the charge's calls because it has keys of
//! its own, of which several may stand for one refund.
//!
//! ```text
//! the first try    under `a4co:{order}:refund:{n}`
//! from the second  look at what was made: one that is done or under way is the answer
//! all have failed  said once, so that whoever asked may take it for the end; asked for again
//!                  after that it is wanted all the same, and made under `…:{n}:{k+1}`
//! a kept 500       and nothing was made: under the next key at once
//! ```

use a4co_core::gateway::{GatewayCall, GatewayOutcome};

use super::amount::to_stripe;
use super::api::{Endpoint, Trouble};
use super::calls::{Calls, PAGE, form};
use super::outcome::{Verdict, of_refund, rejected, unknown};
use super::shapes::{Metadata, ORDER_ID, Page, REFUND, REFUND_KEY, Refund};

/// Keys under which one refund is asked for, each only when the one before has failed for
/// good and left nothing.
const REFUND_KEYS_MAX: u32 = 4;

/// What there is of one refund.
enum Made {
    Nothing,
    /// It is done, or under way.
    Standing(Refund),
    /// Stripe or the bank has refused what was made; the last one, and its key's number.
    Failed(Refund, u32),
}

impl Calls {
    pub(super) async fn refund(&self, call: &GatewayCall, number: u32) -> GatewayOutcome {
        let Some(reference) = self.reference(call) else {
            return unknown("a refund of a charge whose name is not known");
        };
        let Some(amount) = to_stripe(call.amount, call.currency) else {
            return rejected("amount_not_refundable");
        };
        let order = call.order_id.to_string();
        let mut nth = 1;
        if call.attempt > 0 {
            match self.find_refund(&reference, &order, number).await {
                Ok(Made::Nothing) => {}
                Ok(Made::Standing(refund)) => return of_refund(&refund),
                Ok(Made::Failed(refund, _)) if self.known.is_first_told(&refund.id) => {
                    return of_refund(&refund);
                }
                Ok(Made::Failed(_, last)) => nth = last.saturating_add(1),
                Err(trouble) => return unknown(&trouble.to_string()),
            }
        }
        for nth in nth..nth.saturating_add(REFUND_KEYS_MAX) {
            let mut key = format!("a4co:{order}:refund:{number}");
            let mut form = form(&[
                ("payment_intent", reference.clone()),
                ("amount", amount.to_string()),
                (&format!("metadata[{ORDER_ID}]"), order.clone()),
                (&format!("metadata[{REFUND}]"), number.to_string()),
            ]);
            if nth > 1 {
                key = format!("{key}:{nth}");
                form.push((format!("metadata[{REFUND_KEY}]"), nth.to_string()));
            }
            let made: Result<Refund, Trouble> = self
                .api
                .post(Endpoint::Refund, "/v1/refunds", &form, Some(&key))
                .await;
            let trouble = match made {
                Ok(refund) => {
                    if refund.has_failed() {
                        self.known.is_first_told(&refund.id);
                    }
                    return of_refund(&refund);
                }
                Err(trouble) => trouble,
            };
            match trouble.verdict() {
                Verdict::Declined
                | Verdict::Refused
                | Verdict::NotFound
                | Verdict::Moved
                | Verdict::Expired => {
                    return rejected(trouble.error().map_or("refused", |error| error.reason()));
                }
                Verdict::Unknown if trouble.is_replayed_failure() => {}
                Verdict::Authenticate | Verdict::KeyUsed | Verdict::Unknown => {
                    return unknown(&trouble.to_string());
                }
            }
            // What was asked under this key has failed and come to its end, and Stripe says
            // so for a day. If it left nothing, another key is the same refund.
            match self.find_refund(&reference, &order, number).await {
                Ok(Made::Standing(refund)) => return of_refund(&refund),
                Ok(Made::Nothing | Made::Failed(..)) => {}
                Err(trouble) => return unknown(&trouble.to_string()),
            }
        }
        unknown("Stripe has failed under every key of this refund")
    }

    /// Shows every refund of a charge.
    pub(super) async fn refunds(&self, reference: &str) -> Result<Vec<Refund>, Trouble> {
        let query = form(&[
            ("payment_intent", reference.to_owned()),
            ("limit", PAGE.to_string()),
        ]);
        let page: Page<Refund> = self
            .api
            .get(Endpoint::Refunds, "/v1/refunds", &query)
            .await?;
        Ok(page.data)
    }

    async fn find_refund(
        &self,
        reference: &str,
        order: &str,
        number: u32,
    ) -> Result<Made, Trouble> {
        // A payment has a hundred refunds at most, so that they are one page.
        let refunds = self.refunds(reference).await?;
        let ours = refunds.into_iter().filter(|refund| {
            refund.metadata.as_ref().is_some_and(|ours| {
                ours.order_id.as_deref() == Some(order) && ours.refund_number() == Some(number)
            })
        });
        let mut made = Made::Nothing;
        for refund in ours {
            let nth = refund.metadata.as_ref().map_or(1, Metadata::refund_key);
            made = match made {
                _ if !refund.has_failed() => return Ok(Made::Standing(refund)),
                Made::Failed(_, last) if last >= nth => made,
                _ => Made::Failed(refund, nth),
            };
        }
        Ok(made)
    }
}
