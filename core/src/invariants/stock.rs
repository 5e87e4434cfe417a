//! What holds of stock, in units, and of the holds on it.

use alloc::collections::BTreeMap;
use alloc::format;

use super::{OrderView, Phase, Verdict};
use crate::ids::ProductId;
use crate::inventory::{Product, Reservation, ReservationStatus};

/// Units of one product in reservations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StockSum {
    /// In holds that are active.
    pub held: u128,
    /// In reservations that were committed.
    pub committed: u128,
}

/// Units of every product in reservations, summed up one reservation at a time.
#[derive(Debug, Clone, Default)]
pub struct StockSums(BTreeMap<ProductId, StockSum>);

impl StockSums {
    /// Adds a reservation, once.
    pub fn add(&mut self, reservation: &Reservation) {
        for line in reservation.lines.iter() {
            let quantity = u128::from(line.quantity);
            let sum = self.0.entry(line.product_id.clone()).or_default();
            match reservation.status {
                ReservationStatus::Active => sum.held += quantity,
                ReservationStatus::Confirmed => sum.committed += quantity,
                ReservationStatus::Released
                | ReservationStatus::Expired
                | ReservationStatus::OutOfStock => {}
            }
        }
    }

    /// The sum of one product.
    #[must_use]
    pub fn of(&self, product_id: &ProductId) -> StockSum {
        self.0.get(product_id).copied().unwrap_or_default()
    }
}

/// Units of this product that nobody can account for: on hand + sold − received. Zero
/// unless something is wrong; above zero when units appeared, below when they vanished.
#[must_use]
pub fn leaked_units(product: &Product) -> i128 {
    i128::from(product.on_hand) + i128::from(product.sold) - i128::from(product.received)
}

/// On hand + sold − received = 0, and what is reserved or sold is so for somebody: the
/// reserved units are exactly those of the active holds, the sold ones exactly those of
/// the committed reservations.
///
/// Without it a hold that is released twice, or never, shows up only at the next
/// stocktaking: units that nobody may buy, or that two have bought.
///
/// # Errors
/// What does not add up. With rows missing (`is_complete` is `false`), the committed
/// reservations at hand are some of all, so at most (`>`, not `!=`) as many as are sold.
pub fn stock_conserved(product: &Product, sum: StockSum, is_complete: bool) -> Verdict {
    let Product {
        on_hand,
        reserved,
        sold,
        received,
        ..
    } = product;
    let leaked = leaked_units(product);
    if leaked != 0 {
        return Err(format!(
            "{on_hand} on hand + {sold} sold - {received} received = {leaked}, not 0"
        ));
    }
    let StockSum { held, committed } = sum;
    if u128::from(*reserved) != held {
        return Err(format!(
            "{reserved} units are reserved, active holds have {held}"
        ));
    }
    let sold_by_nobody = is_complete && u128::from(*sold) != committed;
    if sold_by_nobody || committed > u128::from(*sold) {
        return Err(format!(
            "{sold} units are sold, committed reservations have {committed}"
        ));
    }
    Ok(())
}

/// No more is reserved than is on hand.
///
/// Without it two orders are promised the same unit, and one of them is paid for nothing.
/// Reserved may equal on hand (`>` fails, not `>=`): the last unit can be sold.
///
/// # Errors
/// Both numbers.
pub fn never_oversold(product: &Product) -> Verdict {
    let (reserved, on_hand) = (product.reserved, product.on_hand);
    if reserved > on_hand {
        return Err(format!("{reserved} units reserved, {on_hand} on hand"));
    }
    Ok(())
}

/// Once its timer has been served, a hold that has come to its end is no hold.
///
/// Without it an order that nobody finishes keeps its stock for good. A hold may be late
/// until then: a process that was down cannot serve a timer. At `expires_at` itself it is
/// over (`>=`, not `>`), which is when its timer asks to be served.
///
/// # Errors
/// When it ended, and what time it is.
pub fn no_hold_outlives_its_end(view: &OrderView<'_>, phase: Phase) -> Verdict {
    let Some(now) = phase.served_until() else {
        return Ok(());
    };
    let mut held = view.reservations();
    match held.find(|held| held.status == ReservationStatus::Active && now >= held.expires_at) {
        Some(held) => Err(format!(
            "stock is held at {now}, the hold ended at {}",
            held.expires_at
        )),
        None => Ok(()),
    }
}
