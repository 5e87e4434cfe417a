//! `a4co verify --nats`: what it sees in journals that are not what they should be. The
//! journals are written by hand, by the core's own encoder.

use std::sync::Arc;

use a4co_core::decider::Recorded;
use a4co_core::ids::{OrderId, ParticipantId, ProductId, Sequence};
use a4co_core::inventory::{InventoryEvent, ReleaseReason};
use a4co_core::record::{self, Cursors, Frame};
use a4co_core::replicated::{AppendId, Content, Entry, Epoch, HostId};
use a4co_core::time::Timestamp;
use a4co_tests::Options;
use a4co_tests::cluster::{Buyers, stock};
use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use serde_json::Value;

/// The inventory journal, in the making.
struct Inventory {
    nats: NatsServer,
    previous: AppendId,
    last: u64,
}

impl Inventory {
    fn new() -> Self {
        let nats = NatsServer::start(&[]);
        let setup = run(&["nats", "setup", "--nats", &nats.url()]);
        assert!(setup.status.success());
        Self {
            nats,
            previous: AppendId::default(),
            last: 0,
        }
    }

    fn append(&mut self, host: u8, epoch: u64, content: Content<InventoryEvent>) {
        let append_id = AppendId {
            host: HostId::from_bytes([host; 16]),
            number: self.last + 100,
        };
        let entry = Entry {
            journal: ParticipantId::Inventory.into(),
            append_id,
            previous: self.previous,
            epoch: Epoch::new(epoch),
            content,
        };
        let payload = record::encode(&entry);
        self.nats.publish("a4co.journal.inventory", &payload);
        self.previous = append_id;
    }

    fn claim(&mut self, host: u8, epoch: u64) {
        self.append(host, epoch, Content::Claim);
    }

    /// Events of which the last had read the order journal up to here.
    fn frame(&mut self, host: u8, epoch: u64, read: u64, events: Vec<InventoryEvent>) {
        let mut cursors = Cursors::default();
        cursors.set(ParticipantId::Order, Sequence::new(read));
        let recorded = |event| Recorded {
            at: Timestamp::from_unix_ms(1_767_225_600_000),
            event,
        };
        let after = Sequence::new(self.last);
        self.last += events.len() as u64;
        let frame = Frame {
            after,
            cursors,
            events: events.into_iter().map(recorded).collect(),
        };
        self.append(host, epoch, Content::Frame(Arc::new(frame)));
    }

    /// How the check ends, and what it says.
    fn check(&self) -> (Option<i32>, Value) {
        let checked = run(&["--json", "verify", "--nats", &self.nats.url()]);
        let report = serde_json::from_slice(&checked.stdout);
        (checked.status.code(), report.expect("one JSON object"))
    }

    /// The one thing that is found.
    #[track_caller]
    fn expect_finding(&self, check: &str, subject: &str, last_message: u64) -> String {
        let (code, report) = self.check();
        let found = &report["findings"]["listed"];
        assert_eq!(
            (code, found[0]["check"].as_str()),
            (Some(1), Some(check)),
            "{found}"
        );
        assert_eq!(found[0]["subject"], subject, "{found}");
        assert_eq!(
            report["journals"][1]["lastMessage"], last_message,
            "{report}"
        );
        found[0]["detail"].as_str().expect("a detail").to_owned()
    }
}

fn received(units: i64) -> InventoryEvent {
    InventoryEvent::StockAdjusted {
        product_id: ProductId::parse("cup").expect("an id"),
        delta: units,
        reason: Arc::from("delivery"),
    }
}

fn defined() -> InventoryEvent {
    InventoryEvent::ProductDefined {
        product_id: ProductId::parse("cup").expect("an id"),
        name: None,
        price: None,
    }
}

#[test]
fn journals_that_are_in_order_are_clean_and_their_ends_are_named() {
    let mut inventory = Inventory::new();
    let (code, report) = inventory.check();
    assert_eq!(code, Some(0), "{report}");
    inventory.claim(1, 1);
    inventory.frame(1, 1, 0, vec![defined(), received(5)]);
    inventory.claim(2, 2);
    inventory.frame(2, 2, 0, vec![received(3)]);
    let (code, report) = inventory.check();
    assert_eq!(code, Some(0), "{report}");
    let journal = &report["journals"][1];
    assert_eq!(journal["lastMessage"], 4);
    assert_eq!(journal["lastEvent"], 3);
    assert_eq!(journal["epoch"], 2);
    assert_eq!(journal["leader"], "02".repeat(16));
    assert_eq!(report["stock"]["onHand"], 8);

    let url = inventory.nats.url();
    let shown = run(&["verify", "--nats", &url]);
    let shown = String::from_utf8(shown.stdout).expect("text");
    assert!(
        shown.contains("A4CO_JOURNAL_INVENTORY to message 4, event 3"),
        "{shown}"
    );
    assert!(
        shown.ends_with("Nothing is wrong with what was checked.\n"),
        "{shown}"
    );
    let url_too = run(&["verify", "--nats", &url, "--url", "http://127.0.0.1:1"]);
    assert_eq!(url_too.status.code(), Some(2));
}

#[test]
fn a_message_that_is_no_entry_is_named() {
    let mut inventory = Inventory::new();
    inventory.claim(1, 1);
    inventory.nats.publish("a4co.journal.inventory", b"hello");
    inventory.frame(1, 1, 0, vec![defined()]);
    let subject = "message 2 of A4CO_JOURNAL_INVENTORY";
    let detail = inventory.expect_finding("entry_decodable", subject, 1);
    assert!(detail.contains("is no entry of this journal"), "{detail}");
}

#[test]
fn an_entry_of_another_journal_is_named() {
    let mut inventory = Inventory::new();
    inventory.claim(1, 1);
    let foreign = Entry::<InventoryEvent> {
        journal: ParticipantId::Payment.into(),
        append_id: AppendId::default(),
        previous: inventory.previous,
        epoch: Epoch::new(2),
        content: Content::Claim,
    };
    let payload = record::encode(&foreign);
    inventory.nats.publish("a4co.journal.inventory", &payload);
    let subject = "message 2 of A4CO_JOURNAL_INVENTORY";
    let detail = inventory.expect_finding("entry_decodable", subject, 1);
    assert!(
        detail.contains("it belongs to the payment journal"),
        "{detail}"
    );
}

#[test]
fn a_leader_that_was_superseded_is_named() {
    let mut inventory = Inventory::new();
    inventory.claim(1, 1);
    inventory.frame(1, 1, 0, vec![defined()]);
    inventory.claim(2, 2);
    inventory.frame(1, 1, 0, vec![received(1)]);
    let subject = "message 4 of A4CO_JOURNAL_INVENTORY";
    inventory.expect_finding("one_committer", subject, 3);
}

#[test]
fn a_stream_that_lost_its_end_and_went_on_is_named() {
    let mut inventory = Inventory::new();
    inventory.claim(1, 1);
    let before = inventory.previous;
    inventory.frame(1, 1, 0, vec![defined()]);
    let lost = inventory.previous;
    assert_ne!(before, lost);
    inventory.previous = AppendId {
        number: lost.number + 50,
        ..lost
    };
    inventory.frame(1, 1, 0, vec![received(1)]);
    let subject = "message 3 of A4CO_JOURNAL_INVENTORY";
    inventory.expect_finding("journal_intact", subject, 2);
}

#[test]
fn a_frame_that_skips_events_is_named() {
    let mut inventory = Inventory::new();
    inventory.claim(1, 1);
    inventory.frame(1, 1, 0, vec![defined()]);
    inventory.last += 1;
    inventory.frame(1, 1, 0, vec![received(1)]);
    let subject = "message 3 of A4CO_JOURNAL_INVENTORY";
    inventory.expect_finding("journal_contiguous", subject, 2);
}

#[test]
fn an_effect_whose_cause_is_lost_is_named() {
    let mut inventory = Inventory::new();
    inventory.claim(1, 1);
    inventory.frame(1, 1, 0, vec![defined()]);
    let order_id = OrderId::from_bytes([9; 16]);
    let released = InventoryEvent::InventoryReleased {
        order_id,
        reason: ReleaseReason::NeverHeld,
    };
    inventory.frame(1, 1, 7, vec![released]);
    let subject = "event 7 of the order journal";
    let detail = inventory.expect_finding("journal_contiguous", subject, 3);
    assert!(
        detail.contains("the inventory journal has read it"),
        "{detail}"
    );
    assert!(
        detail.contains("acknowledged messages are lost"),
        "{detail}"
    );
}

#[test]
fn a_cluster_that_runs_is_clean_at_every_look_also_when_a_leader_is_killed() {
    let nats = NatsServer::start(&[]);
    let url = nats.url();
    let options = || {
        let options = Options::new().flag("--nats", &url);
        options
            .flag("--lease", "2s")
            .flag("--sandbox-jitter", "5ms")
    };
    let servers = [options().start(), options().start()];
    stock(&servers, "cup", 1_000_000);
    let addresses = [servers[0].address(), servers[1].address()];
    let [first, _second] = servers;
    let buyers = Buyers::start(4, "cup", &addresses);
    buyers.expect_more(20);
    let look = || {
        let looked = run(&["--json", "verify", "--nats", &url]);
        let report: Value = serde_json::from_slice(&looked.stdout).expect("one JSON object");
        assert_eq!(looked.status.code(), Some(0), "{report}");
        report["events"]["order"].as_u64().expect("a count")
    };
    let mut events = 0;
    for _ in 0..4 {
        let more = look();
        assert!(more >= events);
        events = more;
        buyers.expect_more(10);
    }
    first.kill();
    buyers.find(&addresses[1..]);
    assert!(look() >= events);
    buyers.expect_more(10);
    assert!(look() > events);
    let acknowledged = buyers.stop();
    let report = run(&["--json", "verify", "--nats", &url]);
    let report: Value = serde_json::from_slice(&report.stdout).expect("one JSON object");
    let orders = report["orders"].as_object().expect("counts");
    let orders: u64 = orders.values().filter_map(Value::as_u64).sum();
    assert_eq!(orders, acknowledged.len() as u64, "{report}");
    assert!(
        report["journals"][0]["claims"].as_u64() >= Some(2),
        "{report}"
    );
}
