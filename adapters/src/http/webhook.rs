//! `POST /payments/webhook` and `POST /webhooks/stripe`: what the gateway reports by itself.
//!
//! A webhook is answered with 200 only once what it led to is durable, and with an error
//! otherwise: Stripe brings it again, for days. One that tells nothing new, or nothing that
//! is of matter here, is answered at once.

use std::sync::Arc;

use a4co_core::command::Command;
use a4co_core::gateway::GatewayOutcome;
use a4co_core::payment::{Payment, PaymentCommand, RefundStatus};
use a4co_core::rejection::Rejection;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tracing::Instrument as _;

use super::problem::{Code, Problem};
use super::{HttpState, answer, request};
use crate::gateway::stripe::{Report, Stripe, WebhookError};

#[derive(Serialize)]
struct Received {
    received: bool,
    result: &'static str,
}

/// Takes a webhook.
pub(super) async fn take(
    State(state): State<Arc<HttpState>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = request::body(&headers, body, state.settings.body_timeout).await?;
    let Some(stripe) = state.stripe() else {
        return Err(refused(WebhookError::NoSecret));
    };
    let signature = headers.get("stripe-signature");
    let signature = signature.and_then(|value| value.to_str().ok());
    let notice = match stripe.notice(signature, &body) {
        Ok(notice) => notice,
        Err(error) => {
            stripe.count_webhook("refused");
            tracing::warn!(%error, "a webhook was refused");
            return Err(refused(error));
        }
    };
    let result = match &notice.report {
        _ if notice.is_repeated => "repeated",
        None => "ignored",
        Some(report) => {
            let span = tracing::info_span!("order", order_id = %report.order_id);
            let told = tell(&state, stripe, report.clone());
            match told.instrument(span).await {
                Ok(result) => result,
                Err(problem) => {
                    stripe.count_webhook("failed");
                    return Err(problem);
                }
            }
        }
    };
    stripe.noticed(&notice);
    stripe.count_webhook(result);
    let received = Received {
        received: true,
        result,
    };
    answer::json(StatusCode::OK, &received)
}

async fn tell(state: &HttpState, stripe: &Stripe, report: Report) -> Result<&'static str, Problem> {
    let order_id = report.order_id;
    let has_returned = match (report.refund, &report.outcome) {
        (Some(number), GatewayOutcome::Rejected { code }) => {
            let payment = state.ports()?.reads.payment(order_id)?;
            let was_done = payment.is_some_and(|payment| is_done(&payment, number));
            if was_done {
                // What has ended stays as it ended; that it is not so any more is for a person.
                tracing::warn!(number, %code, "a refund that was done has come back");
            }
            was_done
        }
        _ => false,
    };
    let outcome = match (report.outcome, report.intent) {
        // The shop's page has what it takes to go on with this charge, so it is ended first.
        (GatewayOutcome::Rejected { code }, Some(intent)) => {
            let payment = state.ports()?.reads.payment(order_id)?;
            if payment.is_some_and(|payment| payment.awaits_customer()) {
                stripe.close(&intent, &code).await
            } else {
                GatewayOutcome::Rejected { code }
            }
        }
        (outcome, _) => outcome,
    };
    let command = PaymentCommand::Report {
        order_id,
        refund: report.refund,
        outcome,
    };
    // Held back until it is durable, as every reply is.
    match state.submit(Command::Payment(command)).await?.result {
        Ok(_) if has_returned => Ok("refund_returned"),
        Ok(_) => Ok("applied"),
        Err(Rejection::PaymentNotFound(_)) => {
            tracing::warn!("a webhook is about a payment that is not known here");
            Ok("unknown_payment")
        }
        Err(rejection) => Err(rejection.into()),
    }
}

fn is_done(payment: &Payment, number: u32) -> bool {
    let index = usize::try_from(number)
        .ok()
        .and_then(|it| it.checked_sub(1));
    let refund = index.and_then(|index| payment.refunds.get(index));
    refund.is_some_and(|refund| matches!(refund.status, RefundStatus::Succeeded(_)))
}

fn refused(error: WebhookError) -> Problem {
    let code = match error {
        WebhookError::NotAnEvent => Code::BadRequest,
        _ => Code::WebhookSignatureInvalid,
    };
    Problem::new(code, error.to_string())
}
