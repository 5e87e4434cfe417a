//! The store's rows against what the replay says, row by row, without changing either.

use std::collections::BTreeSet;
use std::path::Path;

use a4co_core::ids::{OrderId, ProductId};
use a4co_core::inventory::Product;
use a4co_core::row::{AnswerRecord, Row};
use a4co_store::{Inspection, Options, Reason, StoreError};
use serde::Serialize;

use super::findings::Findings;
use super::parts::{Part, sum_of};
use super::replay::{Replay, answer_name};
use super::report::Checked;

const CHECK: &str = "store_equals_replay";

/// What there is to compare with.
pub(super) enum Store {
    /// A store that a start would go on with.
    Open(Box<Inspection>),
    /// Nothing to compare with, for this reason.
    Without(String),
}

/// Opens the store of a stopped instance.
pub(super) fn open(folder: &Path, findings: &mut Findings) -> Result<Store, StoreError> {
    let options = Options::default();
    Ok(match Inspection::open(folder, &options) {
        Ok(Ok(inspection)) => Store::Open(Box::new(inspection)),
        Ok(Err(Reason::New)) => {
            Store::Without("there is none; the next start builds it from the journal".to_owned())
        }
        Ok(Err(reason @ Reason::Damaged(_))) => {
            let subject = folder.display().to_string();
            let detail = format!("{reason}; the next start rebuilds it from the journal");
            findings.damage("store_readable", subject, detail);
            Store::Without(reason.to_string())
        }
        Ok(Err(reason)) => Store::Without(format!(
            "{reason}; the next start rebuilds it from the journal"
        )),
        Err(error @ StoreError::Locked { .. }) => Store::Without(error.to_string()),
        Err(error) => return Err(error),
    })
}

/// Compares every row; what came after the store's last applied record may be missing.
pub(super) fn compare(
    store: &Inspection,
    replay: &mut Replay,
    findings: &mut Findings,
    mut at: impl FnMut(u64),
) -> Checked {
    if store.applied() > replay.last_sequence {
        findings.difference(
            CHECK,
            "the store".to_owned(),
            format!(
                "it has applied record {}, and the journal ends with {}; the next start \
                 rebuilds it",
                store.applied(),
                replay.last_sequence
            ),
        );
    }
    let mut compare = Comparison {
        replay,
        findings,
        products: BTreeSet::new(),
        older: 0,
    };
    let mut rows = 0;
    let read = store.rows(|row| {
        compare.row(&row);
        rows += 1;
        at(rows);
    });
    if let Err(error) = read {
        let subject = "the store".to_owned();
        (compare.findings).damage("store_readable", subject, error.to_string());
    } else {
        compare.missing();
    }
    Checked::Compared {
        items: rows,
        without_history: compare.older,
    }
}

struct Comparison<'r> {
    replay: &'r mut Replay,
    findings: &'r mut Findings,
    products: BTreeSet<ProductId>,
    older: u64,
}

impl Comparison<'_> {
    fn row(&mut self, row: &Row) {
        match row {
            Row::Order(order) => self.part(order.order_id, Part::Order, &**order, || {
                format!("{} at version {}", order.saga, order.version.get())
            }),
            Row::Reservation(held) => self.part(held.order_id, Part::Reservation, &**held, || {
                format!("{:?} at version {}", held.status, held.version.get())
            }),
            Row::Payment(payment) => self.part(payment.order_id, Part::Payment, &**payment, || {
                format!("{} at version {}", payment.status(), payment.version.get())
            }),
            Row::Product(product) => self.product(product),
            Row::Answer(answer) => self.answer(answer),
            Row::InShard(..) => {}
        }
    }

    fn part<T: Serialize>(
        &mut self,
        order_id: OrderId,
        part: Part,
        row: &T,
        shown: impl FnOnce() -> String,
    ) {
        let marks = self.replay.marks.get_mut(&order_id);
        let known = marks.as_ref().and_then(|marks| marks.sum(part));
        let Some((marks, known)) = marks.zip(known) else {
            if self.replay.is_whole {
                self.differs(order_id, part, || {
                    format!("the store has {}, the journal none", shown())
                });
            } else {
                self.older += 1;
            }
            return;
        };
        marks.see(part);
        if known == sum_of(row) || self.replay.late.orders.contains(&order_id) {
            return;
        }
        let saga = marks.saga();
        self.differs(order_id, part, || {
            let saga = saga.map_or_else(String::new, |saga| format!(" of an order that is {saga}"));
            format!("the store has {}, the journal another one{saga}", shown())
        });
    }

    fn product(&mut self, product: &Product) {
        let product_id = &product.product_id;
        self.products.insert(product_id.clone());
        let products = &self.replay.host.inventory().state().products;
        let known = products.get(product_id);
        if known.is_some_and(|known| **known == *product)
            || self.replay.late.products.contains(product_id)
        {
            return;
        }
        let stock = |product: &Product| {
            format!(
                "{} on hand, {} reserved, {} sold at version {}",
                product.on_hand,
                product.reserved,
                product.sold,
                product.version.get()
            )
        };
        let ours = known.map_or_else(|| "none".to_owned(), |known| stock(known));
        self.findings.difference(
            CHECK,
            format!("product {product_id}"),
            format!("the store has {}, the journal {ours}", stock(product)),
        );
    }

    fn answer(&mut self, answer: &AnswerRecord) {
        let name = answer_name(answer.participant, &answer.key);
        let differs = match self.replay.answers.get_mut(&name) {
            Some(mark) => {
                mark.is_seen = true;
                mark.sum != sum_of(answer) && !self.replay.late.answers.contains(&name)
            }
            None if self.replay.is_whole => true,
            None => {
                self.older += 1;
                false
            }
        };
        if differs {
            self.findings.difference(
                CHECK,
                format!("{} answer under {}", answer.participant, answer.key),
                "the store has another answer than the journal".to_owned(),
            );
        }
    }

    /// What the replay has and the store has not shown.
    fn missing(&mut self) {
        let late = &self.replay.late;
        for (order_id, marks) in &self.replay.marks {
            for part in Part::ALL {
                if marks.sum(part).is_some()
                    && !marks.is_seen(part)
                    && !late.orders.contains(order_id)
                {
                    self.findings.difference(
                        CHECK,
                        subject(*order_id, part),
                        "the journal has it, the store does not".to_owned(),
                    );
                }
            }
        }
        for product_id in self.replay.host.inventory().state().products.keys() {
            if !self.products.contains(product_id) && !late.products.contains(product_id) {
                self.findings.difference(
                    CHECK,
                    format!("product {product_id}"),
                    "the journal has it, the store does not".to_owned(),
                );
            }
        }
        let answers = self.replay.answers.iter();
        let missing = answers.filter(|(name, mark)| !mark.is_seen && !late.answers.contains(*name));
        let missing = missing.count();
        if missing > 0 {
            self.findings.difference(
                CHECK,
                "kept answers".to_owned(),
                format!("{missing} that the journal has are not in the store"),
            );
        }
    }

    fn differs(&mut self, order_id: OrderId, part: Part, detail: impl FnOnce() -> String) {
        (self.findings).difference(CHECK, subject(order_id, part), detail());
    }
}

fn subject(order_id: OrderId, part: Part) -> String {
    match part {
        Part::Order => format!("order {order_id}"),
        Part::Reservation | Part::Payment => format!("{} of order {order_id}", part.name()),
    }
}
