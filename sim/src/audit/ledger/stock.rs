//! The ledger's share that is about stock: who holds how much of what, and until when.

use std::collections::BTreeMap;

use a4co_core::decider::Recorded;
use a4co_core::ids::{OrderId, ProductId};
use a4co_core::inventory::InventoryEvent;
use a4co_core::row::Row;

use super::money::{answered, inventory_cell, recalled};
use super::{Hold, Ledger, Needs, wrong};
use crate::audit::Rows;
use crate::verdict::{Checked, Failure, safety};

impl Ledger {
    pub(super) fn on_inventory(
        &mut self,
        recorded: &Recorded<InventoryEvent>,
        sequence: u64,
        rows: &Rows,
    ) -> Checked {
        let at = recorded.at;
        let max_hold = self.settings.hold_ms.get();
        if let Some(order_id) = recorded.event.order_id() {
            let stage = self.case(order_id).stage;
            self.reach(stage, inventory_cell(&recorded.event));
        }
        match &recorded.event {
            InventoryEvent::ProductDefined { product_id, .. } => {
                let units = self.stock.entry(product_id.clone()).or_default();
                self.stock_at.insert(sequence, *units);
            }
            InventoryEvent::StockAdjusted {
                product_id,
                delta,
                reason,
            } => {
                let units = self.stock.entry(product_id.clone()).or_default();
                units.on_hand += i128::from(*delta);
                let units = *units;
                if units.on_hand < units.reserved {
                    let why = format!("{product_id}: {units:?} after an adjustment by {delta}");
                    return Err(safety("model_stock", why));
                }
                self.stock_at.insert(sequence, units);
                *self.adjusted.entry(reason.clone()).or_default() += 1;
            }
            InventoryEvent::InventoryReserved {
                order_id,
                lines,
                hold_ms,
                expires_at,
            } => {
                let wanted = self.wanted(*order_id)?;
                let taken: BTreeMap<ProductId, u64> = lines
                    .iter()
                    .map(|line| (line.product_id.clone(), line.quantity))
                    .collect();
                if taken != wanted || taken.len() != lines.len() {
                    return Err(wrong(
                        "model_stock",
                        *order_id,
                        "other units are held than ordered",
                    ));
                }
                if self.case(*order_id).hold == Hold::Active {
                    return Ok(()); // the answer again
                }
                if self.case(*order_id).hold != Hold::None {
                    let why = format!("reserved after {:?}", self.case(*order_id).hold);
                    return Err(wrong("model_stock", *order_id, why));
                }
                self.take(*order_id, &wanted)?;
                let hint = self
                    .case(*order_id)
                    .body
                    .as_ref()
                    .and_then(|body| body.hints.hold_ms);
                if hold_ms.get() != hint.map_or(max_hold, |hint| hint.get())
                    || *expires_at != at.saturating_add(*hold_ms)
                {
                    return Err(wrong(
                        "model_time",
                        *order_id,
                        "another hold than configured",
                    ));
                }
                let case = self.case(*order_id);
                case.hold = Hold::Active;
                case.was_held = true;
                case.held = wanted;
                case.hold_ms = hold_ms.get();
                case.expires_at = *expires_at;
            }
            InventoryEvent::InventoryOutOfStock {
                order_id,
                shortages,
            } => {
                let wanted = self.wanted(*order_id)?;
                if self.case(*order_id).hold == Hold::Short {
                    return Ok(());
                }
                let short: BTreeMap<ProductId, (u64, i128)> = wanted
                    .iter()
                    .filter_map(|(product_id, quantity)| {
                        let available = self.available(product_id);
                        (available < i128::from(*quantity))
                            .then(|| (product_id.clone(), (*quantity, available)))
                    })
                    .collect();
                let named: BTreeMap<ProductId, (u64, i128)> = shortages
                    .iter()
                    .map(|short| {
                        let units = (short.requested, i128::from(short.available));
                        (short.product_id.clone(), units)
                    })
                    .collect();
                if named != short || short.is_empty() {
                    let why = format!("short of {named:?}, really {short:?}");
                    return Err(wrong("model_stock", *order_id, why));
                }
                self.case(*order_id).hold = Hold::Short;
            }
            InventoryEvent::ReservationExtended {
                order_id,
                expires_at,
            } => {
                let case = self.case(*order_id);
                let is_later = case.hold == Hold::Active && *expires_at > case.expires_at;
                let hold_ms = a4co_core::time::Millis::new(case.hold_ms);
                case.expires_at = *expires_at;
                if !is_later || *expires_at != at.saturating_add(hold_ms) {
                    return Err(wrong("model_time", *order_id, "a hold extended wrongly"));
                }
            }
            InventoryEvent::InventoryCommitted { order_id, retaken } => {
                self.committed(*order_id, *retaken)?;
            }
            InventoryEvent::InventoryCommitRefused { order_id, .. } => {
                self.needs.push((*order_id, Needs::CommitAsked));
                let case = self.case(*order_id);
                case.commit_refused = true;
                if matches!(case.hold, Hold::Active | Hold::Sold) {
                    return Err(wrong(
                        "model_stock",
                        *order_id,
                        "a commit refused that could be",
                    ));
                }
            }
            InventoryEvent::InventoryReleased { order_id, .. } => {
                self.needs.push((*order_id, Needs::UndoAsked));
                if self.case(*order_id).hold == Hold::Sold {
                    return Err(wrong("model_stock", *order_id, "sold units released"));
                }
                let hold = self.case(*order_id).hold;
                self.let_go(
                    *order_id,
                    if matches!(hold, Hold::Expired | Hold::Short) {
                        hold
                    } else {
                        Hold::Gone
                    },
                );
            }
            InventoryEvent::InventoryExpired { order_id } => {
                let case = self.case(*order_id);
                if case.hold == Hold::Expired {
                    return Ok(());
                }
                if case.hold != Hold::Active || at < case.expires_at {
                    let why = format!("expired at {at} of {}, {:?}", case.expires_at, case.hold);
                    return Err(wrong("model_time", *order_id, why));
                }
                self.let_go(*order_id, Hold::Expired);
            }
            InventoryEvent::Answered(record) => answered(record, rows)?,
            InventoryEvent::Recalled(held) => recalled(&Row::Reservation(held.clone()), rows)?,
        }
        Ok(())
    }

    fn committed(&mut self, order_id: OrderId, retaken: bool) -> Checked {
        self.needs.push((order_id, Needs::CommitAsked));
        let hold = self.case(order_id).hold;
        match (hold, retaken) {
            (Hold::Sold, _) => return Ok(()),
            (Hold::Active, false) | (Hold::Expired, true) => {}
            _ => {
                let why = format!("committed from {hold:?}, retaken: {retaken}");
                return Err(wrong("model_stock", order_id, why));
            }
        }
        let held = self.case(order_id).held.clone();
        if retaken {
            self.take(order_id, &held)?;
        }
        self.case(order_id).hold = Hold::Sold;
        for (product_id, quantity) in held {
            let units = self.stock.entry(product_id).or_default();
            units.on_hand -= i128::from(quantity);
            units.reserved -= i128::from(quantity);
            units.sold += i128::from(quantity);
        }
        Ok(())
    }

    fn available(&self, product_id: &ProductId) -> i128 {
        self.stock
            .get(product_id)
            .map_or(0, |units| units.on_hand - units.reserved)
    }

    fn take(&mut self, order_id: OrderId, wanted: &BTreeMap<ProductId, u64>) -> Checked {
        for (product_id, quantity) in wanted {
            if self.available(product_id) < i128::from(*quantity) {
                let why = format!(
                    "{quantity} of {product_id} held, {} available",
                    self.available(product_id)
                );
                return Err(wrong("model_stock", order_id, why));
            }
            let units = self.stock.entry(product_id.clone()).or_default();
            units.reserved += i128::from(*quantity);
        }
        Ok(())
    }

    fn let_go(&mut self, order_id: OrderId, to: Hold) {
        let case = self.case(order_id);
        if case.hold == Hold::Active {
            let held = case.held.clone();
            for (product_id, quantity) in held {
                let units = self.stock.entry(product_id).or_default();
                units.reserved -= i128::from(quantity);
            }
        }
        self.case(order_id).hold = to;
    }

    fn wanted(&mut self, order_id: OrderId) -> Result<BTreeMap<ProductId, u64>, Failure> {
        let Some(body) = &self.case(order_id).body else {
            return Err(wrong("model_stock", order_id, "stock for an unknown order"));
        };
        let mut wanted = BTreeMap::new();
        for line in body.lines.iter() {
            *wanted.entry(line.product_id.clone()).or_default() += u64::from(line.quantity);
        }
        Ok(wanted)
    }
}
