//! Payments in JSON: a payment, its refunds, and what its customer has to do.
//!
//! Apart from the other shapes because here is the one secret that an answer carries.

use a4co_core::ids::{OrderId, PaymentId, RefundId};
use a4co_core::money::Currency;
use a4co_core::payment::{Payment, PaymentPhase, Refund, RefundOrigin, RefundStatus};
use serde::{Serialize, Serializer};

use super::{At, Each, Money};

/// A payment with its refunds.
pub(in crate::http) struct PaymentShape<'p> {
    /// The payment.
    pub(in crate::http) payment: &'p Payment,
    /// The gateway's name.
    pub(in crate::http) gateway: &'static str,
    /// The refund that this answer is about.
    pub(in crate::http) refund: Option<u32>,
    /// Lets the shop's page go on where the customer has to do something.
    pub(in crate::http) client_secret: Option<&'p str>,
}

impl Serialize for PaymentShape<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct PaymentBody<'p, R: Serialize> {
            payment_id: PaymentId,
            order_id: OrderId,
            status: &'static str,
            amount: Money,
            currency: Currency,
            gateway: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            gateway_reference: Option<&'p str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            gateway_state: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_action: Option<NextAction<'p>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            payment_method_id: Option<&'p str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            failure_reason: Option<String>,
            refunded_amount: Money,
            #[serde(skip_serializing_if = "Option::is_none")]
            refund_id: Option<RefundId>,
            refunds: R,
            parked: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            attempts: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_retry_at: Option<At>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_error: Option<&'p str>,
            deadline_at: At,
            created_at: At,
            updated_at: At,
            version: u64,
        }
        let payment = self.payment;
        let payment_id = payment.order_id.payment_id();
        let refund = |(number, refund)| refund_body(payment, number, refund);
        // Once nothing is owed to the gateway, its tries are history.
        let owed = (!payment.is_settled()).then_some(());
        PaymentBody {
            payment_id,
            order_id: payment.order_id,
            status: payment.status().name(),
            amount: Money(payment.amount, payment.currency),
            currency: payment.currency,
            gateway: self.gateway,
            gateway_reference: payment.reference.as_ref().map(AsRef::as_ref),
            gateway_state: gateway_state(payment),
            next_action: payment.awaits_customer().then_some(NextAction {
                r#type: "authenticate",
                client_secret: self.client_secret,
                expires_at: At(payment.deadline_at),
            }),
            payment_method_id: payment.payment_method.as_ref().map(AsRef::as_ref),
            failure_reason: payment.failure.as_ref().map(ToString::to_string),
            refunded_amount: Money(payment.refunded(), payment.currency),
            refund_id: self.refund.map(|number| RefundId::new(payment_id, number)),
            refunds: Each(|| (1..).zip(&payment.refunds).map(refund)),
            parked: payment.parked,
            attempts: owed
                .filter(|()| !payment.waits_for_a_person())
                .map(|()| payment.attempts),
            next_retry_at: owed
                .filter(|_| payment.attempts > 0)
                .map(|_| At(payment.due_at)),
            last_error: owed.and(payment.last_detail.as_deref()),
            deadline_at: At(payment.deadline_at),
            created_at: At(payment.created_at),
            updated_at: At(payment.updated_at),
            version: payment.version.get(),
        }
        .serialize(serializer)
    }
}

/// What the customer has to do, at the shop's page, before the payment can go on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NextAction<'p> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'p str>,
    expires_at: At,
}

/// What PROCESSING stands for, where it is more than a charge under way, and FAILED, where
/// that comes after the order was confirmed.
fn gateway_state(payment: &Payment) -> Option<&'static str> {
    match payment.phase {
        PaymentPhase::Charging if payment.awaits_customer() => Some("requires_action"),
        PaymentPhase::Cancelling => Some("cancelling"),
        PaymentPhase::Authorised => Some("authorised"),
        PaymentPhase::Capturing => Some("capturing"),
        PaymentPhase::CaptureFailed => Some("capture_failed"),
        _ => None,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundBody<'p> {
    refund_id: RefundId,
    status: &'static str,
    amount: Money,
    origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway_reference: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'p str>,
    requested_at: At,
}

fn refund_body<'p>(payment: &Payment, number: u32, refund: &'p Refund) -> RefundBody<'p> {
    let (status, gateway_reference, failure_reason) = match &refund.status {
        RefundStatus::Pending => ("PENDING", None, None),
        RefundStatus::Succeeded(reference) => ("SUCCEEDED", Some(reference.as_str()), None),
        RefundStatus::Failed(code) => ("FAILED", None, Some(code.as_ref())),
    };
    RefundBody {
        refund_id: RefundId::new(payment.order_id.payment_id(), number),
        status,
        amount: Money(refund.amount, payment.currency),
        origin: match refund.origin {
            RefundOrigin::Compensation => "COMPENSATION",
            RefundOrigin::Operator => "REQUESTED",
        },
        gateway_reference,
        failure_reason,
        requested_at: At(refund.requested_at),
    }
}
