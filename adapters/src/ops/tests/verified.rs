//! `verify`: what is sound passes, and each thing that is not is named.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use a4co_core::money::{Amount, Currency};
use a4co_core::row::Row;

use super::world::{PRODUCT, World, check, found, order_id};
use crate::embedded::{journal_dir, store_dir};
use crate::gateway::sandbox::{BookEntry, SandboxBooks};
use crate::ops::{Checked, Quiet, VerifyArgs, VerifyError, verify};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// One of the journal's files, by how its name begins.
fn file(folder: &Path, prefix: &str) -> PathBuf {
    let entries = fs::read_dir(journal_dir(folder)).expect("a folder");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let has_prefix = |path: &&PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy();
        name.starts_with(prefix)
    };
    paths.iter().find(has_prefix).expect("such a file").clone()
}

#[test]
fn a_sound_folder_passes_and_is_counted() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    world.snapshot();
    world.place(40, 1);
    world.serve();
    world.stop();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report}");
    assert!(!report.is_running);
    assert_eq!(report.contents.orders_total(), 25);
    assert_eq!(report.contents.orders["CONFIRMED"], 21);
    assert_eq!(report.contents.orders["FAILED"], 1);
    assert_eq!(report.contents.orders["CANCELLED"], 2);
    assert_eq!(report.contents.payments["PROCESSING"], 1);
    assert_eq!(report.contents.stock.products, 1);
    assert_eq!(
        (report.contents.stock.sold, report.contents.stock.reserved),
        (41, 1)
    );
    let euro = report.contents.money["EUR"];
    assert_eq!(euro.confirmed_orders_minor, 41 * 250);
    // The cancelled one had been charged by then, and got everything back.
    assert_eq!(euro.refunded_minor, 100 + 250);
    assert_eq!(euro.captured_minor, 42 * 250);
    assert_eq!(report.journal.snapshots.len(), 1);
    assert_eq!(report.journal.snapshots[0].equals_replay, Some(true));
    assert!(matches!(
        report.store,
        Checked::Compared {
            without_history: 0,
            ..
        }
    ));
    assert!(matches!(
        report.gateway_books,
        Checked::Compared { items: 23, .. }
    ));
    let shown = report.to_string();
    assert!(shown.contains("Nothing is wrong"), "{shown}");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["findings"]["total"], 0);
    assert_eq!(json["store"]["outcome"], "compared");
}

#[test]
fn what_was_let_go_is_not_missed() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    world.snapshot();
    world.retain();
    world.refund(5, 50);
    world.serve();
    world.place(50, 1);
    world.serve();
    world.stop();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report}");
    assert!(report.journal.base_sequence > 0);
    // The one that was under way in the base, the new one, and none that had ended.
    assert_eq!(report.contents.orders_total(), 2, "{report}");
}

#[test]
fn a_running_instance_is_checked_but_for_its_store() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    let report = check(dir.path());
    assert!(report.is_clean(), "{report}");
    assert!(report.is_running);
    let shown = report.to_string();
    assert!(
        shown.contains("store           not checked: the instance is running"),
        "{shown}"
    );
}

#[test]
fn a_running_instance_is_asked_where_it_answers() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.place(1, 2);
    world.serve();
    let (id, product) = (order_id(1), PRODUCT);
    for (saga, expected) in [("COMPLETED", ""), ("FAILED", "shows FAILED")] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let orders = format!(
            r#"{{"data":[{{"orderId":"{id}","sagaState":"{saga}","other":1}}],"nextCursor":null}}"#
        );
        let products = format!(
            r#"{{"data":[{{"productId":"{product}","onHandQuantity":999998,"reservedQuantity":0,"soldQuantity":2}}],"nextCursor":null}}"#
        );
        let answers = std::thread::spawn(move || {
            for body in [orders, products] {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).expect("a request");
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
                .expect("answered");
            }
        });
        let args = VerifyArgs {
            data_dir: dir.path().to_owned(),
            url: Some(url),
        };
        let report = verify(&args, &Quiet).expect("a data folder");
        answers.join().expect("asked twice");
        assert!(matches!(report.store, Checked::Compared { items: 1, .. }));
        assert_eq!(report.is_clean(), expected.is_empty(), "{report}");
        assert!(found(&report).contains(expected), "{report}");
    }
}

#[test]
fn an_address_where_nobody_answers_is_said() {
    let dir = folder();
    let _world = World::new(dir.path());
    let args = VerifyArgs {
        data_dir: dir.path().to_owned(),
        url: Some("http://127.0.0.1:9".to_owned()),
    };
    let report = verify(&args, &Quiet).expect("a data folder");
    let Checked::NotChecked { why } = report.store else {
        panic!("{report}")
    };
    assert!(why.contains("check --url"), "{why}");
}

#[test]
fn a_flipped_byte_is_found_with_its_place() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    world.stop();
    let path = file(dir.path(), "segment-");
    let mut bytes = fs::read(&path).expect("a segment");
    bytes[4096 + 300] ^= 1;
    fs::write(&path, bytes).expect("written");
    let report = check(dir.path());
    assert!(report.findings.has_damage(), "{report}");
    let found = found(&report);
    assert!(found.contains("journal_intact: segment-"), "{found}");
    assert!(found.contains("at byte"), "{found}");
    let Checked::NotChecked { why } = &report.store else {
        panic!("{report}")
    };
    assert!(why.contains("could not be replayed"), "{why}");
}

#[test]
fn a_damaged_snapshot_is_found() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    world.snapshot();
    world.stop();
    let path = file(dir.path(), "snapshot-");
    let mut bytes = fs::read(&path).expect("a snapshot");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).expect("written");
    let report = check(dir.path());
    assert!(found(&report).contains("snapshot_intact"), "{report}");
}

#[test]
fn a_snapshot_of_another_state_is_found() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    let mut state = world.state();
    let product = state.inventory.state.products.values_mut().next();
    product.expect("a product").on_hand += 1;
    world.write_snapshot(&state);
    world.stop();
    let report = check(dir.path());
    let found = found(&report);
    assert!(
        found.contains("replay_equals_state: snapshot at"),
        "{found}"
    );
    assert!(found.contains("inventory state"), "{found}");
    assert_eq!(report.journal.snapshots[0].equals_replay, Some(false));
}

#[test]
fn a_record_that_does_not_continue_the_journals_is_found() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    let first = world.last_sequence() + 1;
    let payload = a4co_core::record::encode(&a4co_core::record::Record {
        order: frame(),
        inventory: frame(),
        payment: frame(),
    });
    world.append_raw(&payload);
    world.append_raw(b"not a record");
    world.stop();
    let found = found(&check(dir.path()));
    assert!(
        found.contains(&format!("journal_contiguous: record {first}")),
        "{found}"
    );
}

fn frame<E>() -> a4co_core::record::Frame<E> {
    a4co_core::record::Frame {
        after: a4co_core::ids::Sequence::new(7),
        cursors: a4co_core::record::Cursors::default(),
        events: Vec::new(),
    }
}

#[test]
fn a_row_that_is_missing_in_the_store_is_found() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.drop_row = |row| matches!(row, Row::Payment(payment) if payment.order_id == order_id(4));
    world.mixture();
    world.stop();
    let report = check(dir.path());
    assert_eq!(report.findings.total, 1, "{report}");
    let missing = format!("store_equals_replay: payment of order {}", order_id(4));
    assert!(found(&report).starts_with(&missing), "{report}");
}

#[test]
fn a_row_that_the_store_has_in_an_older_state_is_found() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.drop_row = |row| match row {
        Row::Order(order) => order.order_id == order_id(4) && order.saga.is_terminal(),
        Row::Product(product) => product.sold == 40,
        _ => false,
    };
    world.mixture();
    world.stop();
    let report = check(dir.path());
    let found = found(&report);
    assert!(found.contains("PAYMENT_PROCESSING at version"), "{found}");
    assert!(found.contains("an order that is COMPLETED"), "{found}");
}

#[test]
fn a_store_that_is_behind_is_no_difference() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    world.stop();
    // Another instance that ends without having written the rows of what it appended.
    let mut world = World::new(dir.path());
    world.view.close().expect("applied");
    world.place(60, 1);
    world.serve();
    drop(world);
    let report = check(dir.path());
    assert!(report.is_clean(), "{report}");
    assert!(matches!(report.store, Checked::Compared { .. }), "{report}");
}

#[test]
fn without_a_store_it_is_said_and_none_is_made() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.mixture();
    world.stop();
    fs::remove_dir_all(store_dir(dir.path())).expect("removed");
    let report = check(dir.path());
    assert!(report.is_clean(), "{report}");
    assert!(report.to_string().contains("not checked: there is none"));
    assert!(!store_dir(dir.path()).exists());
}

#[test]
fn books_that_say_otherwise_are_found() {
    let amount = Amount::from_minor(500).expect("in range");
    let charged = |number| BookEntry::Charged {
        order_id: order_id(number),
        amount,
        currency: Currency::EUR,
    };
    let refunded = |number| BookEntry::Refunded {
        order_id: order_id(number),
        number: 1,
        amount,
    };
    for (entry, expected) in [
        (charged(2), "charged_at_most_once"),
        (refunded(2), "500 captured and 0 refunded"),
        (charged(31), "0 captured and 0 refunded"),
        (charged(999), "0 captured and 0 refunded"),
        (refunded(33), "the gateway refunded 500"),
    ] {
        let dir = folder();
        let mut world = World::new(dir.path());
        world.mixture();
        world.stop();
        SandboxBooks::add_entries(dir.path(), &[entry]);
        let report = check(dir.path());
        assert_eq!(report.findings.total, 1, "{entry:?}: {report}");
        assert!(found(&report).contains(expected), "{entry:?}: {report}");
    }
}

#[test]
fn books_that_lack_a_charge_are_found() {
    let dir = folder();
    let mut world = World::new(dir.path());
    world.place(1, 1);
    world.serve();
    world.stop();
    let books = SandboxBooks::read(dir.path())
        .expect("readable")
        .expect("there");
    let other = folder();
    books
        .copy_to(other.path(), |entry| entry.order_id() != order_id(1))
        .expect("copied");
    for entry in fs::read_dir(other.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("copied");
    }
    let report = check(dir.path());
    assert!(found(&report).contains("do not know the order"), "{report}");
}

#[test]
fn a_folder_without_a_journal_is_refused_with_a_sentence() {
    let dir = folder();
    let args = VerifyArgs {
        data_dir: dir.path().to_owned(),
        url: None,
    };
    let error = verify(&args, &Quiet).expect_err("no journal");
    assert!(matches!(error, VerifyError::NoJournal { .. }));
    assert!(error.to_string().contains("--data-dir"), "{error}");
}
