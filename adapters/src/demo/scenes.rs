//! The scenes of the demo: what each order is about, and how it should end.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::bench::connection::{Answered, AskError, Connection, OrderSeen};

/// How long an order may take to end before its scene counts as stuck.
const ENDS_WITHIN: Duration = Duration::from_secs(90);
const POLL_EVERY: Duration = Duration::from_millis(200);

/// Everyday products that the demo orders a few of.
const EVERYDAY: [&str; 4] = [
    "coffee-beans-1kg",
    "espresso-cup",
    "filter-papers-100",
    "hand-grinder",
];

/// What an order is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Scene {
    /// A customer buys a few things.
    Sale,
    /// The card is declined.
    Declined,
    /// More is ordered than there is.
    ShortStock,
    /// The gateway times out, and turns out to have charged.
    TimeoutCharged,
    /// The gateway times out, and turns out not to have charged.
    TimeoutFailed,
    /// The customer cancels while the payment is slow.
    Cancelled,
    /// All is given back after the sale.
    Refunded,
    /// Some is given back after the sale.
    PartlyRefunded,
}

impl Scene {
    pub(super) const ALL: [Self; 8] = [
        Self::Sale,
        Self::Declined,
        Self::ShortStock,
        Self::TimeoutCharged,
        Self::TimeoutFailed,
        Self::Cancelled,
        Self::Refunded,
        Self::PartlyRefunded,
    ];

    /// The first orders show every scene once; after that a shop's mix.
    pub(super) fn nth(number: u32, random: &mut fastrand::Rng) -> Self {
        if let Some(scene) = Self::ALL.get(number as usize) {
            return *scene;
        }
        match random.u32(0..100) {
            0..55 => Self::Sale,
            55..67 => Self::Declined,
            67..75 => Self::ShortStock,
            75..82 => Self::TimeoutCharged,
            82..86 => Self::TimeoutFailed,
            86..92 => Self::Cancelled,
            92..96 => Self::Refunded,
            _ => Self::PartlyRefunded,
        }
    }

    /// For people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Sale => "sale",
            Self::Declined => "card declined",
            Self::ShortStock => "not enough stock",
            Self::TimeoutCharged => "time-out, charged after all",
            Self::TimeoutFailed => "time-out, not charged",
            Self::Cancelled => "cancelled by the customer",
            Self::Refunded => "refunded",
            Self::PartlyRefunded => "refunded in part",
        }
    }

    /// The statuses in which its order may end. Stock runs out in a long demo, so an order
    /// for what there is may find that there is none.
    fn may_end(self, status: &str) -> bool {
        match self {
            Self::ShortStock => status == "FAILED",
            Self::Declined | Self::TimeoutFailed | Self::Cancelled => {
                matches!(status, "CANCELLED" | "FAILED")
            }
            Self::Sale | Self::TimeoutCharged | Self::Refunded | Self::PartlyRefunded => {
                matches!(status, "CONFIRMED" | "FAILED" | "CANCELLED")
            }
        }
    }

    const fn extra(self) -> &'static str {
        match self {
            Self::Declined => r#","metadata":{"forcePaymentFailure":true}"#,
            Self::TimeoutCharged => r#","paymentMethodId":"pm_card_timeout""#,
            Self::TimeoutFailed => r#","paymentMethodId":"pm_card_timeout_fails""#,
            Self::Cancelled => r#","paymentMethodId":"pm_card_slow""#,
            Self::Sale | Self::ShortStock | Self::Refunded | Self::PartlyRefunded => "",
        }
    }
}

/// How an order ended.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) scene: Scene,
    pub(super) order_id: String,
    /// The order's status, or what kept it from having one.
    pub(super) status: String,
    /// What the server says about why.
    pub(super) reason: String,
    pub(super) took: Duration,
    pub(super) as_expected: bool,
}

/// One order with its scene, ready to be played.
pub(super) struct Stage {
    scene: Scene,
    random: fastrand::Rng,
}

impl Stage {
    pub(super) const fn new(scene: Scene, random: fastrand::Rng) -> Self {
        Self { scene, random }
    }

    /// Places the order, does what the scene asks for, and follows the order to its end.
    pub(super) async fn play(mut self, mut connection: Connection) -> Result<Outcome, AskError> {
        let began = Instant::now();
        let scene = self.scene;
        let wait = scene != Scene::Cancelled;
        let placed = connection.post("/api/v1/orders", self.body(), wait).await?;
        if !placed.status.is_success() {
            return Ok(Outcome {
                scene,
                order_id: String::new(),
                status: placed.status.as_u16().to_string(),
                reason: placed.text(),
                took: began.elapsed(),
                as_expected: false,
            });
        }
        let order_id = placed.order()?.order_id.to_owned();
        let path = format!("/api/v1/orders/{order_id}");
        if scene == Scene::Cancelled {
            let reason = r#"{"reason":"changed my mind"}"#.to_owned();
            connection
                .post(&format!("{path}/cancel"), reason, true)
                .await?;
        }
        let Some(ended) = ended(&mut connection, &path, began).await? else {
            return Ok(Outcome {
                scene,
                order_id,
                status: "STUCK".to_owned(),
                reason: format!("not ended after {} s", ENDS_WITHIN.as_secs()),
                took: began.elapsed(),
                as_expected: false,
            });
        };
        let order = ended.order()?;
        let mut as_expected = scene.may_end(order.status);
        let mut reason = reason(&ended);
        if order.status == "CONFIRMED"
            && let Some(refund) = self.refund()
        {
            let (refunded, told) = give_back(&mut connection, &order, refund).await?;
            as_expected &= refunded;
            reason = told;
        }
        Ok(Outcome {
            scene,
            status: order.status.to_owned(),
            order_id,
            reason,
            took: began.elapsed(),
            as_expected,
        })
    }

    fn body(&mut self) -> String {
        let customer = self.random.u32(1..=40);
        let mut items = Vec::new();
        if self.scene == Scene::ShortStock {
            items.push(item("espresso-machine", 400));
            items.push(item("kettle-gooseneck", 900));
        }
        let mut products = EVERYDAY;
        self.random.shuffle(&mut products);
        let lines = self.random.usize(1..=3);
        items.extend(
            products
                .iter()
                .take(lines)
                .map(|product| item(product, self.random.u32(1..=3))),
        );
        format!(
            r#"{{"customerId":"demo-{customer}","items":[{}]{}}}"#,
            items.join(","),
            self.scene.extra()
        )
    }

    /// The body of the refund that the scene asks for.
    const fn refund(&self) -> Option<&'static str> {
        match self.scene {
            Scene::Refunded => Some("{}"),
            Scene::PartlyRefunded => Some(r#"{"amount":2.50}"#),
            _ => None,
        }
    }
}

fn item(product: &str, quantity: u32) -> String {
    format!(r#"{{"productId":"{product}","quantity":{quantity}}}"#)
}

/// The order once its saga has ended.
async fn ended(
    connection: &mut Connection,
    path: &str,
    began: Instant,
) -> Result<Option<Answered>, AskError> {
    loop {
        let answer = connection.get(path).await?;
        if answer.order()?.is_final() {
            return Ok(Some(answer));
        }
        if began.elapsed() > ENDS_WITHIN {
            return Ok(None);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

fn reason(answer: &Answered) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Reasons {
        failure_reason: Option<String>,
        cancellation_reason: Option<String>,
    }
    let reasons = answer.json::<Reasons>();
    let reason = reasons.map(|reasons| reasons.failure_reason.or(reasons.cancellation_reason));
    reason.ok().flatten().unwrap_or_default()
}

/// Whether the refund went through, and a word about it.
async fn give_back(
    connection: &mut Connection,
    order: &OrderSeen<'_>,
    body: &str,
) -> Result<(bool, String), AskError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Payment<'a> {
        payment_id: &'a str,
    }
    let path = format!("/api/v1/payments/order/{}", order.order_id);
    let payment = connection.get(&path).await?;
    let payment_id = payment.json::<Payment<'_>>()?.payment_id.to_owned();
    let path = format!("/api/v1/payments/{payment_id}/refund");
    let answer = connection.post(&path, body.to_owned(), true).await?;
    if !answer.status.is_success() {
        return Ok((false, answer.text()));
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Refunded<'a> {
        #[serde(borrow)]
        refunded_amount: &'a serde_json::value::RawValue,
        currency: &'a str,
    }
    let refunded = answer.json::<Refunded<'_>>()?;
    let told = format!(
        "{} {} given back",
        refunded.refunded_amount, refunded.currency
    );
    Ok((true, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scene_is_played_and_its_order_is_json() {
        let mut random = fastrand::Rng::with_seed(7);
        for (number, scene) in (0..).zip(Scene::ALL) {
            assert_eq!(Scene::nth(number, &mut random), scene);
            let body = Stage::new(scene, random.fork()).body();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(
                body["items"]
                    .as_array()
                    .is_some_and(|items| !items.is_empty())
            );
        }
    }
}
