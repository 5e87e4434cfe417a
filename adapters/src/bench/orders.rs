//! The orders that the load is made of.

use std::fmt::Write as _;

use super::args::{BenchArgs, Workload};

/// Most lines of an order.
pub(super) const LINES_MAX: usize = 3;
/// Most units of a line.
const UNITS_MAX: u32 = 3;
/// Customers that order.
const CUSTOMERS: u32 = 100_000;

/// What one order asks for: products by their number from 0, with units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Basket {
    lines: [(u32, u32); LINES_MAX],
    len: usize,
}

impl Basket {
    /// Draws the next order's lines.
    pub(super) fn draw(random: &mut fastrand::Rng, args: &BenchArgs) -> Self {
        let mut basket = Self {
            lines: [(0, 0); LINES_MAX],
            len: 0,
        };
        let lines = match args.workload {
            Workload::HotOnly => 1,
            Workload::Uniform | Workload::Hot => random.usize(1..=LINES_MAX),
        };
        if args.workload != Workload::Uniform {
            basket.add(0, random);
        }
        while basket.len < lines {
            let product = random.u32(0..args.products);
            if basket.lines().all(|(other, _)| other != product) {
                basket.add(product, random);
            }
        }
        basket
    }

    fn add(&mut self, product: u32, random: &mut fastrand::Rng) {
        self.lines[self.len] = (product, random.u32(1..=UNITS_MAX));
        self.len += 1;
    }

    /// Product and units of each line.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.lines[..self.len].iter().copied()
    }

    /// The order as the API takes it.
    pub(super) fn body(&self, random: &mut fastrand::Rng, args: &BenchArgs) -> String {
        let mut body = String::with_capacity(256);
        let customer = random.u32(0..CUSTOMERS);
        // Writing to a string cannot fail.
        let _ = write!(body, r#"{{"customerId":"customer-{customer}","items":["#);
        for (at, (product, units)) in self.lines().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let prefix = &args.prefix;
            let number = product + 1;
            let _ = write!(
                body,
                r#"{comma}{{"productId":"{prefix}{number}","quantity":{units}}}"#
            );
        }
        body.push(']');
        if let Some(method) = &args.payment_method {
            let _ = write!(body, r#","paymentMethodId":"{method}""#);
        }
        body.push('}');
        body
    }
}
