//! The ledger's share that is about stock: who holds how much of what, and until when.

use std::collections::BTreeMap;

use a4co_core::decider::Recorded;
use a4co_core::ids::{OrderId, ProductId};
use a4co_core::inventory::InventoryEvent;
use a4co_core::row::Row;
use a4co_core::shards::Shard;

use super::money::{answered, inventory_cell, recalled};
use super::{Hold, Ledger, Needs, wrong};
use crate::audit::Rows;
use crate::verdict::{Checked, Failure, safety};

impl Ledger {
    pub(super) fn on_inventory(
        &mut self,
        shard: Shard,
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
                self.stock_at.insert((shard.id, sequence), *units);
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
                self.stock_at.insert((shard.id, sequence), units);
                *self.adjusted.entry(reason.clone()).or_default() += 1;
            }
            InventoryEvent::InventoryReserved {
                order_id,
                lines,
                hold_ms,
                expires_at,
            } => {
                let wanted = self.wanted(*order_id, shard)?;
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
                if self.part(*order_id, shard).hold == Hold::Active {
                    return Ok(()); // the answer again
                }
                if self.part(*order_id, shard).hold != Hold::None {
                    let why = format!("reserved after {:?}", self.part(*order_id, shard).hold);
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
                let part = self.part(*order_id, shard);
                part.hold = Hold::Active;
                part.was_held = true;
                part.held = wanted;
                part.hold_ms = hold_ms.get();
                part.expires_at = *expires_at;
            }
            InventoryEvent::InventoryOutOfStock {
                order_id,
                shortages,
            } => {
                let wanted = self.wanted(*order_id, shard)?;
                if self.part(*order_id, shard).hold == Hold::Short {
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
                self.part(*order_id, shard).hold = Hold::Short;
            }
            InventoryEvent::ReservationExtended {
                order_id,
                expires_at,
            } => {
                let case = self.part(*order_id, shard);
                let is_later = case.hold == Hold::Active && *expires_at > case.expires_at;
                let hold_ms = a4co_core::time::Millis::new(case.hold_ms);
                case.expires_at = *expires_at;
                if !is_later || *expires_at != at.saturating_add(hold_ms) {
                    return Err(wrong("model_time", *order_id, "a hold extended wrongly"));
                }
            }
            InventoryEvent::InventoryCommitted { order_id, retaken } => {
                self.committed(*order_id, shard, *retaken)?;
            }
            InventoryEvent::InventoryCommitRefused { order_id, .. } => {
                self.needs.push((*order_id, Needs::CommitAsked));
                let part = self.part(*order_id, shard);
                part.commit_refused = true;
                if part.has() {
                    return Err(wrong(
                        "model_stock",
                        *order_id,
                        "a commit refused that could be",
                    ));
                }
            }
            InventoryEvent::InventoryReleased { order_id, .. } => {
                self.needs.push((*order_id, Needs::UndoAsked));
                if self.part(*order_id, shard).hold == Hold::Sold {
                    return Err(wrong("model_stock", *order_id, "sold units released"));
                }
                let hold = self.part(*order_id, shard).hold;
                self.let_go(
                    *order_id,
                    shard,
                    if matches!(hold, Hold::Expired | Hold::Short) {
                        hold
                    } else {
                        Hold::Gone
                    },
                );
            }
            InventoryEvent::InventoryExpired { order_id } => {
                let case = self.part(*order_id, shard);
                if case.hold == Hold::Expired {
                    return Ok(());
                }
                if case.hold != Hold::Active || at < case.expires_at {
                    let why = format!("expired at {at} of {}, {:?}", case.expires_at, case.hold);
                    return Err(wrong("model_time", *order_id, why));
                }
                self.let_go(*order_id, shard, Hold::Expired);
            }
            InventoryEvent::Returned { order_id, .. } => {
                self.needs.push((*order_id, Needs::CommitRefused));
                self.take_back(*order_id, shard)?;
            }
            InventoryEvent::Answered(record) => answered(shard, record, rows)?,
            InventoryEvent::Recalled(held) => {
                let row = Row::Reservation(held.clone());
                recalled(&row.of_shard(shard), rows)?;
            }
        }
        Ok(())
    }

    /// Sold units are on hand again.
    fn take_back(&mut self, order_id: OrderId, shard: Shard) -> Checked {
        let part = self.part(order_id, shard);
        if part.hold != Hold::Sold {
            let why = format!("taken back from {:?}", part.hold);
            return Err(wrong("model_stock", order_id, why));
        }
        part.hold = Hold::Gone;
        for (product_id, quantity) in part.held.clone() {
            let units = self.stock.entry(product_id).or_default();
            units.on_hand += i128::from(quantity);
            units.sold -= i128::from(quantity);
        }
        Ok(())
    }

    fn committed(&mut self, order_id: OrderId, shard: Shard, retaken: bool) -> Checked {
        self.needs.push((order_id, Needs::CommitAsked));
        let hold = self.part(order_id, shard).hold;
        match (hold, retaken) {
            (Hold::Sold, _) => return Ok(()),
            (Hold::Active, false) | (Hold::Expired, true) => {}
            _ => {
                let why = format!("committed from {hold:?}, retaken: {retaken}");
                return Err(wrong("model_stock", order_id, why));
            }
        }
        let held = self.part(order_id, shard).held.clone();
        if retaken {
            self.take(order_id, &held)?;
        }
        self.part(order_id, shard).hold = Hold::Sold;
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

    fn let_go(&mut self, order_id: OrderId, shard: Shard, to: Hold) {
        let case = self.part(order_id, shard);
        if case.hold == Hold::Active {
            let held = case.held.clone();
            for (product_id, quantity) in held {
                let units = self.stock.entry(product_id).or_default();
                units.reserved -= i128::from(quantity);
            }
        }
        self.part(order_id, shard).hold = to;
    }

    /// What of the order lies in this shard.
    fn wanted(
        &mut self,
        order_id: OrderId,
        shard: Shard,
    ) -> Result<BTreeMap<ProductId, u64>, Failure> {
        let Some(body) = &self.case(order_id).body else {
            return Err(wrong("model_stock", order_id, "stock for an unknown order"));
        };
        let mut wanted = BTreeMap::new();
        for line in body.lines.iter() {
            if shard.count.of_product(&line.product_id) == shard.id {
                *wanted.entry(line.product_id.clone()).or_default() += u64::from(line.quantity);
            }
        }
        Ok(wanted)
    }
}
