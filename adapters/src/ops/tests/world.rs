//! An engine over a real folder, driven step by step: journal, store and books are those of
//! the product, and the gateway answers as it is told.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use a4co_core::command::{Command, Reply, RequestId};
use a4co_core::embedded::{EmbeddedHost, HostInput, HostOutput};
use a4co_core::gateway::{GatewayCall, GatewayOperation, GatewayOutcome};
use a4co_core::ids::{CustomerId, Fingerprint, GatewayReference, OrderId, ProductId};
use a4co_core::inventory::InventoryCommand;
use a4co_core::money::{Amount, Currency};
use a4co_core::order::{CreateOrder, Line, NewOrder, OrderCommand, SandboxHints};
use a4co_core::payment::PaymentCommand;
use a4co_core::record::{self, Record, Snapshot};
use a4co_core::row::{Row, RowKey};
use a4co_core::settings::Settings;
use a4co_core::time::{Millis, Timestamp};
use a4co_journal::{Journal, MIN_SEGMENT_BYTES, Options, OsDisk};
use a4co_store::View;

use crate::embedded::{journal_dir, store_dir};
use crate::gateway::sandbox::{BookEntry, SandboxBooks};
use crate::ops::{Quiet, VerifyArgs, VerifyReport, verify};

pub(super) const PRODUCT: &str = "sku-1";

pub(super) struct World<'f> {
    pub(super) folder: &'f Path,
    host: EmbeddedHost,
    journal: Journal<OsDisk>,
    pub(super) view: View,
    /// Rows of this kind are kept from the store.
    pub(super) drop_row: fn(&Row) -> bool,
    now: Timestamp,
    calls: VecDeque<GatewayCall>,
    requests: u64,
    replies: Vec<(RequestId, Reply)>,
}

impl<'f> World<'f> {
    pub(super) fn new(folder: &'f Path) -> Self {
        let settings = Settings::default();
        let options = Options {
            segment_bytes: MIN_SEGMENT_BYTES,
            ..Options::default()
        };
        let disk = OsDisk::create(journal_dir(folder)).expect("a folder");
        let (journal, found) = Journal::open(disk, options).expect("a journal");
        let store = a4co_store::Options {
            cache_bytes: 8 << 20,
            apply_every: Duration::from_millis(1),
            free_floor_bytes: 0,
            ..a4co_store::Options::default()
        };
        let view = View::open(&store_dir(folder), store).expect("a store").view;
        let mut host = EmbeddedHost::new(&settings);
        for record in journal.read_from(1).expect("readable") {
            let record = record.expect("intact");
            let decoded: Record = record::decode(&record.payload).expect("a record");
            let rows = host.replay(&decoded, true).expect("contiguous");
            view.publish(record.sequence, rows);
        }
        let now = Timestamp::from_unix_ms(1_767_225_600_000);
        host.start(now);
        let mut world = Self {
            folder,
            host,
            journal,
            view,
            drop_row: |_| false,
            now,
            calls: VecDeque::new(),
            requests: 0,
            replies: Vec::new(),
        };
        world.drive();
        if found.last_sequence == 0 {
            world.stock(1_000_000);
        }
        world
    }

    fn drive(&mut self) {
        while let Some(output) = self.host.poll_output() {
            match output {
                HostOutput::Commit(bytes) => {
                    self.journal.append(&bytes).expect("appended");
                    self.host.handle_input(self.now, HostInput::Committed);
                }
                HostOutput::Publish(mut rows) => {
                    rows.retain(|row| !(self.drop_row)(row));
                    self.view.publish(self.journal.last_sequence(), rows);
                }
                HostOutput::Reply { request, reply } => self.replies.push((request, reply)),
                HostOutput::CallGateway(call) => self.calls.push_back(call),
                HostOutput::Fetch(key) => self.fetch(key),
            }
        }
    }

    fn fetch(&mut self, key: RowKey) {
        let row = self.view.row(&key).expect("readable");
        self.host
            .handle_input(self.now, HostInput::Fetched { key, row });
    }

    fn ask(&mut self, command: Command) -> Reply {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.host
            .handle_input(self.now, HostInput::Command { request, command });
        self.drive();
        let (_, reply) = self.replies.pop().expect("a reply");
        reply
    }

    pub(super) fn stock(&mut self, on_hand: u64) {
        let reply = self.ask(Command::Inventory(InventoryCommand::Define {
            product_id: ProductId::parse(PRODUCT).expect("printable"),
            name: None,
            price: None,
            on_hand: Some(on_hand),
        }));
        reply.result.expect("accepted");
    }

    /// Places an order, whose charge is then owed.
    pub(super) fn place(&mut self, number: u64, quantity: u32) {
        let unit_price = Amount::from_minor(250).expect("in range");
        let total = unit_price.checked_mul(u64::from(quantity));
        let reply = self.ask(Command::Order(OrderCommand::Create(CreateOrder {
            order_id: order_id(number),
            may_exist: false,
            order: Arc::new(NewOrder {
                customer_id: CustomerId::parse("customer-1").expect("printable"),
                lines: Arc::from([Line {
                    product_id: ProductId::parse(PRODUCT).expect("printable"),
                    quantity,
                    unit_price,
                }]),
                total: total.expect("in range"),
                currency: Currency::EUR,
                payment_method: None,
                metadata: Arc::from([]),
                hints: SandboxHints::default(),
                idempotency_key: None,
                fingerprint: Fingerprint::of(&quantity.to_le_bytes()),
                trace: None,
            }),
        })));
        reply.result.expect("accepted");
        self.now = self.now.saturating_add(Millis::new(7));
    }

    pub(super) fn cancel(&mut self, number: u64) {
        let reply = self.ask(Command::Order(OrderCommand::Cancel {
            order_id: order_id(number),
            reason: Arc::from("changed my mind"),
            idempotency: None,
        }));
        reply.result.expect("accepted");
    }

    pub(super) fn refund(&mut self, number: u64, minor: i64) {
        let reply = self.ask(Command::Payment(PaymentCommand::Refund {
            order_id: order_id(number),
            amount: Some(Amount::from_minor(minor).expect("in range")),
            idempotency: None,
        }));
        reply.result.expect("accepted");
    }

    /// The gateway does what is owed, one call at a time, and writes it into its books.
    pub(super) fn serve(&mut self) {
        while let Some(call) = self.calls.pop_front() {
            let outcome = self.decide(&call);
            self.answer(&call, outcome);
        }
    }

    /// The gateway charges, and its answer is lost.
    pub(super) fn serve_and_lose_the_answer(&mut self) {
        let call = self.calls.pop_front().expect("a call");
        let _ = self.decide(&call);
        let detail = Arc::from("timed out");
        self.answer(&call, GatewayOutcome::Unknown { detail });
    }

    pub(super) fn decline(&mut self) {
        let call = self.calls.pop_front().expect("a call");
        let code = Arc::from("card_declined");
        self.answer(&call, GatewayOutcome::Rejected { code });
    }

    fn decide(&mut self, call: &GatewayCall) -> GatewayOutcome {
        let GatewayCall {
            order_id,
            amount,
            currency,
            ..
        } = *call;
        let reference = GatewayReference::parse("ref_1").expect("printable");
        let (entry, outcome) = match call.operation {
            GatewayOperation::Charge | GatewayOperation::Query | GatewayOperation::Capture => (
                BookEntry::Charged {
                    order_id,
                    amount,
                    currency,
                },
                GatewayOutcome::Succeeded { reference },
            ),
            GatewayOperation::Cancel => {
                (BookEntry::Cancelled { order_id }, GatewayOutcome::Cancelled)
            }
            GatewayOperation::Refund { number } => (
                BookEntry::Refunded {
                    order_id,
                    number,
                    amount,
                },
                GatewayOutcome::Refunded { reference },
            ),
        };
        SandboxBooks::add_entries(self.folder, &[entry]);
        outcome
    }

    fn answer(&mut self, call: &GatewayCall, outcome: GatewayOutcome) {
        let input = HostInput::Gateway {
            order_id: call.order_id,
            operation: Some(call.operation),
            outcome,
        };
        self.host.handle_input(self.now, input);
        self.drive();
    }

    /// One of everything: confirmed, refunded in part, short, declined, cancelled, and
    /// one whose payment is in an unknown state.
    pub(super) fn mixture(&mut self) {
        for number in 0..20 {
            self.place(number, 2);
            self.serve();
        }
        self.refund(3, 100);
        self.serve();
        self.place(30, 900_000_000);
        self.place(31, 1);
        self.decline();
        self.place(32, 1);
        self.cancel(32);
        self.serve();
        self.place(33, 1);
        self.serve_and_lose_the_answer();
    }

    pub(super) fn state(&self) -> Snapshot {
        self.host.snapshot().expect("nothing is in flight")
    }

    pub(super) fn snapshot(&self) {
        self.write_snapshot(&self.state());
    }

    pub(super) fn write_snapshot(&self, state: &Snapshot) {
        let writer = self.journal.snapshot_writer();
        let position = self.journal.position();
        writer
            .write(position, &record::encode(state))
            .expect("written");
    }

    /// Lets history before the newest snapshot go.
    pub(super) fn retain(&self) {
        let last = self.journal.last_sequence();
        self.journal
            .retain(a4co_journal::Keep::From(last + 1))
            .expect("retained");
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.journal.last_sequence()
    }

    /// Appends a record that the host never decided.
    pub(super) fn append_raw(&mut self, payload: &[u8]) {
        self.journal.append(payload).expect("appended");
    }

    /// An orderly end.
    pub(super) fn stop(self) {
        self.view.close().expect("applied");
    }
}

pub(super) fn order_id(number: u64) -> OrderId {
    OrderId::from_bytes((u128::from(number) + 1).to_be_bytes())
}

pub(super) fn check(folder: &Path) -> VerifyReport {
    let args = VerifyArgs {
        data_dir: folder.to_owned(),
        url: None,
    };
    verify(&args, &Quiet).expect("a data folder")
}

/// What was found, as people see it.
pub(super) fn found(report: &VerifyReport) -> String {
    let listed = report.findings.listed.iter();
    let listed: Vec<_> = listed.map(ToString::to_string).collect();
    listed.join("\n")
}

/// The state that a folder's journal replays to.
pub(super) fn replayed(folder: &Path) -> Snapshot {
    let disk = OsDisk::open_existing(journal_dir(folder)).expect("a folder");
    let reader = a4co_journal::Reader::open(disk).expect("readable");
    let mut host = EmbeddedHost::new(&Settings::default());
    for record in reader.read_from(1).expect("readable") {
        let record: Record = record::decode(&record.expect("intact").payload).expect("a record");
        host.replay(&record, false).expect("contiguous");
    }
    host.snapshot().expect("a state")
}
