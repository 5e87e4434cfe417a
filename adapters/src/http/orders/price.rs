//! What the catalogue says to a request: each line's price, and the sum.

use std::sync::Arc;

use a4co_core::ids::{Fingerprint, IdempotencyKey};
use a4co_core::inventory::Price;
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{Line, NewOrder};

use super::create::{LineRequest, OrderRequest};
use crate::http::fields::{Findings, Place};
use crate::http::ports::ReadModel;
use crate::http::problem::{Code, Problem, money_code};

/// Prices an order: a product that has a price sets it, else the request has to.
///
/// # Errors
/// [`Code::OrderedProductNotFound`], [`Code::CurrencyMismatch`], [`Code::PriceRequired`],
/// [`Code::PriceMismatch`] or [`Code::ValidationFailed`]: the first of these that applies,
/// with the findings of all.
pub(super) fn price(
    request: OrderRequest,
    reads: &dyn ReadModel,
    key: Option<IdempotencyKey>,
    fingerprint: Fingerprint,
) -> Result<NewOrder, Problem> {
    let mut pricing = Pricing::default();
    let (root, currency) = (Place::ROOT, request.currency);
    let items = root.key("items");
    let mut lines = Vec::with_capacity(request.lines.len());
    for (index, line) in request.lines.iter().enumerate() {
        let at = items.index(index);
        let Some(product) = reads.product(&line.product_id)? else {
            let detail = format!("no product has the id {}", line.product_id);
            pricing.wrong(Code::OrderedProductNotFound, at.key("productId"), detail);
            continue;
        };
        if let Some(unit_price) = pricing.unit_price(line, product.price, currency, at) {
            lines.push(Line {
                product_id: product.product_id.clone(),
                quantity: line.quantity,
                unit_price,
            });
        }
    }
    let total = pricing.total(&lines, &request);
    match (pricing.first, total) {
        (None, Some(total)) => Ok(request.into_order(Arc::from(lines), total, key, fingerprint)),
        (code, _) => {
            let code = code.unwrap_or(Code::ValidationFailed);
            Err(pricing.findings.into_problem(code))
        }
    }
}

/// Findings, and the most telling code among them.
#[derive(Default)]
struct Pricing {
    findings: Findings,
    first: Option<Code>,
}

impl Pricing {
    fn wrong(&mut self, code: Code, at: Place<'_>, detail: impl Into<String>) {
        self.findings.add(at, code.name(), detail);
        let rank = |code: &Code| match code {
            Code::OrderedProductNotFound => 0,
            Code::CurrencyMismatch => 1,
            Code::PriceRequired => 2,
            _ => 3,
        };
        let known = self.first.get_or_insert(code);
        if rank(&code) < rank(known) {
            *known = code;
        }
    }

    fn unit_price(
        &mut self,
        line: &LineRequest,
        price: Option<Price>,
        currency: Currency,
        at: Place<'_>,
    ) -> Option<Amount> {
        let field = at.key(line.price_field);
        match (price, line.price) {
            (Some(price), _) if price.currency != currency => {
                let detail = format!(
                    "{} is priced in {}, the order is in {currency}",
                    line.product_id, price.currency
                );
                self.wrong(Code::CurrencyMismatch, Place::ROOT.key("currency"), detail);
                None
            }
            (Some(price), Some(asked)) if asked != price.amount => {
                let detail = format!(
                    "{} costs {} {currency}, not {}",
                    line.product_id,
                    currency.format_amount(price.amount),
                    currency.format_amount(asked)
                );
                self.wrong(Code::PriceMismatch, field, detail);
                None
            }
            (Some(price), _) => Some(price.amount),
            (None, Some(asked)) => Some(asked),
            (None, None) => {
                let detail = format!(
                    "{} has no price, so the order must name one",
                    line.product_id
                );
                self.wrong(Code::PriceRequired, field, detail);
                None
            }
        }
    }

    fn total(&mut self, lines: &[Line], request: &OrderRequest) -> Option<Amount> {
        if self.first.is_some() {
            // A sum over some of the lines says nothing about the total.
            return None;
        }
        let root = Place::ROOT;
        let totals: Result<Vec<_>, _> = lines
            .iter()
            .map(|line| line.unit_price.checked_mul(u64::from(line.quantity)))
            .collect();
        let total = match totals.and_then(Amount::sum) {
            Ok(total) => total,
            Err(error) => {
                let detail = format!("the sum of the items: {error}");
                self.findings
                    .add(root.key("items"), money_code(&error), detail);
                return None;
            }
        };
        let currency = request.currency;
        if let Some(asked) = request.total
            && asked != total
        {
            let detail = format!(
                "the items come to {} {currency}, not {}",
                currency.format_amount(total),
                currency.format_amount(asked)
            );
            self.wrong(Code::PriceMismatch, root.key("totalAmount"), detail);
        }
        Some(total)
    }
}
