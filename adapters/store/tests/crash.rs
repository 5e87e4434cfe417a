//! A process that is killed at a random moment: what the view says is applied is there.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use a4co_core::inventory::ReservationStatus;
use a4co_core::order::OrderStatus;
use a4co_core::row::{Row, RowKey};
use a4co_store::{OrderQuery, View};

use common::{open, options, order, order_id, payment, reservation};

/// Set in the process that is to be killed.
const FOLDER_VARIABLE: &str = "A4CO_STORE_TEST_FOLDER";
/// A sequence publishes the order of its number as active, and ends the one so far before.
const ENDS_AFTER: u64 = 50;

/// What is published under a sequence.
fn rows(sequence: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut push = |number: u64, status, held| {
        rows.push(Row::Order(Box::new(order(
            number,
            number,
            number % 5,
            status,
        ))));
        rows.push(Row::Reservation(Box::new(reservation(
            number, number, held,
        ))));
        rows.push(Row::Payment(Box::new(payment(number, number, 1))));
    };
    push(
        sequence,
        OrderStatus::InventoryReserved,
        ReservationStatus::Active,
    );
    if let Some(ended @ 1..) = sequence.checked_sub(ENDS_AFTER) {
        push(ended, OrderStatus::Confirmed, ReservationStatus::Confirmed);
    }
    rows
}

/// Publishes without end. Does nothing when it is run as a test.
#[test]
fn publishes_until_it_is_killed() {
    let Ok(folder) = std::env::var(FOLDER_VARIABLE) else {
        return;
    };
    let opened = View::open(Path::new(&folder), options()).unwrap();
    println!("\nopened {}", opened.applied);
    for sequence in opened.applied + 1.. {
        let _ = opened.view.publish(sequence, rows(sequence));
        if sequence % 256 == 0 {
            println!("applied {}", opened.view.applied());
        }
    }
}

#[track_caller]
fn check(view: &View, applied: u64) {
    for number in 1..=applied {
        let status = match view.order(order_id(number)).unwrap() {
            Some(order) => order.status,
            None => panic!("order {number} of {applied} is lost"),
        };
        // It may be further: what was written after `applied` may be there.
        if number + ENDS_AFTER <= applied {
            assert_eq!(
                status,
                OrderStatus::Confirmed,
                "order {number} of {applied}"
            );
        }
        for key in [
            RowKey::Reservation(order_id(number)),
            RowKey::Payment(order_id(number)),
        ] {
            assert!(view.row(&key).unwrap().is_some(), "{key:?} of {number}");
        }
    }
}

/// Every list gives each order once, under its one status.
#[track_caller]
fn check_lists(view: &View, last: u64) {
    let list = |status| {
        let mut query = OrderQuery {
            status,
            limit: 100,
            ..OrderQuery::default()
        };
        let mut numbers = Vec::new();
        loop {
            let page = view.orders(&query).unwrap();
            numbers.extend(page.orders.iter().map(|order| order.created_at));
            query.cursor = page.next;
            if query.cursor.is_none() {
                return numbers;
            }
        }
    };
    let all = list(None);
    assert_eq!(u64::try_from(all.len()).unwrap(), last);
    assert!(all.is_sorted_by(|newer, older| newer > older));
    let active = list(Some(OrderStatus::InventoryReserved));
    let ended = list(Some(OrderStatus::Confirmed));
    assert_eq!([active, ended].concat(), all);
}

#[test]
fn what_is_applied_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for round in 0..5_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["publishes_until_it_is_killed", "--exact", "--nocapture"])
            .env(FOLDER_VARIABLE, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("opened ") {
            line.clear();
            assert!(
                output.read_line(&mut line).unwrap() > 0,
                "the child has ended"
            );
        }
        std::thread::sleep(Duration::from_millis(40 + round * 73 % 190));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in output.lines().map_while(Result::ok) {
            if let Some(applied) = line.strip_prefix("applied ") {
                seen = applied.parse().unwrap_or(seen);
            }
        }

        let opened = open(folder.path());
        assert_eq!(opened.why_rebuilt, None, "round {round}");
        let applied = opened.applied;
        assert!(applied >= seen, "applied {applied}, and {seen} was seen");
        seen = applied;
        check(&opened.view, applied);
        // The rest comes from the log: more than was ever published.
        let last = applied + 500;
        for sequence in applied + 1..=last {
            let _ = opened.view.publish(sequence, rows(sequence));
        }
        // Orders that were already there beyond it are all published again by the child.
        if round == 4 {
            assert!(opened.view.wait_applied(last, Duration::from_secs(60)));
            check(&opened.view, last);
        }
        if round < 4 {
            drop(opened);
        }
    }
}

#[test]
fn a_generation_that_was_written_in_part_is_written_again() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use a4co_store::FaultPoint;

    // Every number of writes after which the process may end.
    for writes in (0..120).step_by(7) {
        let folder = tempfile::tempdir().unwrap();
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let mut options = options();
        let fault = left.clone();
        options.fault = Some(Arc::new(move |point| {
            let fails = match point {
                FaultPoint::Write => fault.fetch_sub(1, Ordering::SeqCst) <= 0,
                FaultPoint::Reopen => true,
                _ => false,
            };
            if fails {
                Err(std::io::ErrorKind::Other.into())
            } else {
                Ok(())
            }
        }));
        let view = View::open(folder.path(), options).unwrap().view;
        for sequence in 1..=120 {
            let _ = view.publish(sequence, rows(sequence));
        }
        assert!(view.wait_applied(120, Duration::from_secs(60)));
        left.store(writes, Ordering::SeqCst);
        for sequence in 121..=240 {
            let _ = view.publish(sequence, rows(sequence));
        }
        let _ = view.wait_applied(240, Duration::from_millis(20));
        let _ = view.close();
        drop(view);

        let opened = open(folder.path());
        assert_eq!(opened.why_rebuilt, None);
        check(&opened.view, opened.applied);
        for sequence in opened.applied + 1..=240 {
            let _ = opened.view.publish(sequence, rows(sequence));
        }
        check_lists(&opened.view, 240);
        assert!(opened.view.wait_applied(240, Duration::from_secs(60)));
        check(&opened.view, 240);
        check_lists(&opened.view, 240);
    }
}
