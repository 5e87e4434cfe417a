//! Full and failing disks, and views that must not be trusted.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

mod common;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use a4co_core::order::OrderStatus;
use a4co_core::row::{Row, RowKey};
use a4co_store::{FaultPoint, Health, Options, OrderQuery, Pressure, Reason, StoreError, View};

use common::{answer, ended, large_order, open, options, order, order_id, product};

const WAIT: Duration = Duration::from_secs(30);

#[track_caller]
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WAIT, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Faults that can be switched on and off.
#[derive(Clone, Default)]
struct Faults(Arc<Mutex<Vec<FaultPoint>>>);

impl Faults {
    fn set(&self, points: &[FaultPoint]) {
        *self.0.lock().unwrap() = points.to_vec();
    }

    fn options(&self) -> Options {
        let faults = self.0.clone();
        Options {
            fault: Some(Arc::new(move |point| {
                if faults.lock().unwrap().contains(&point) {
                    return Err(ErrorKind::StorageFull.into());
                }
                Ok(())
            })),
            ..options()
        }
    }
}

fn publish(view: &View, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let _ = view.publish(number, ended(number, number));
    }
}

#[track_caller]
fn all_there(view: &View, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let id = order_id(number);
        assert!(view.order(id).unwrap().is_some(), "order {number}");
        assert!(
            view.reservation(id).unwrap().is_some(),
            "reservation {number}"
        );
        assert!(view.payment(id).unwrap().is_some(), "payment {number}");
    }
}

#[test]
fn a_full_disk_pauses_writing_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let free_now = free.clone();
    let options = Options {
        free_space: Arc::new(move |_| Ok(free_now.load(Ordering::SeqCst))),
        overlay_rows_max: 300,
        ..options()
    };
    let view = View::open(folder.path(), options).unwrap().view;
    publish(&view, 1..=100);
    assert!(view.wait_applied(100, WAIT));

    free.store(1000, Ordering::SeqCst);
    publish(&view, 101..=150);
    eventually("a pause", || {
        matches!(
            view.health(),
            Health::Paused {
                free_bytes: 1000,
                ..
            }
        )
    });
    assert_eq!(view.pressure(), Pressure::Normal);
    all_there(&view, 1..=150);
    assert_eq!(
        view.orders(&OrderQuery {
            limit: 100,
            ..OrderQuery::default()
        })
        .unwrap()
        .orders
        .len(),
        100
    );
    // Past the bound it says so, and keeps what it was given.
    publish(&view, 151..=200);
    assert_eq!(view.publish(201, ended(201, 201)), Pressure::High);
    all_there(&view, 1..=201);
    assert_eq!(view.applied(), 100);
    assert_eq!(view.lag(), 101);

    free.store(u64::MAX, Ordering::SeqCst);
    assert!(view.wait_applied(201, WAIT));
    eventually("writing again", || view.health() == Health::Serving);
    assert_eq!(view.pressure(), Pressure::Normal);
    all_there(&view, 1..=201);
    view.close().unwrap();
    assert_eq!(open(folder.path()).applied, 201);
}

#[test]
fn a_view_that_is_closed_behind_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        free_space: Arc::new(|_| Ok(0)),
        ..options()
    };
    let view = View::open(folder.path(), options).unwrap().view;
    publish(&view, 1..=3);
    let closed = view.close();
    assert!(matches!(
        closed,
        Err(StoreError::ClosedBehind {
            applied: 0,
            published: 3
        })
    ));
}

/// Each step that can fail, while it is done; then the disk is well again.
#[test]
fn a_failing_disk_is_reopened_and_nothing_is_missing() {
    for point in [FaultPoint::Write, FaultPoint::Flush] {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let view = View::open(folder.path(), faults.options()).unwrap().view;
        publish(&view, 1..=100);
        assert!(view.wait_applied(100, WAIT));

        faults.set(&[point, FaultPoint::Reopen]);
        publish(&view, 101..=200);
        eventually("degraded", || {
            matches!(view.health(), Health::Degraded { .. })
        });
        // sled takes nothing more, and is still read.
        all_there(&view, 1..=200);
        publish(&view, 201..=250);
        // It opens again, and fails again.
        faults.set(&[point]);
        std::thread::sleep(Duration::from_millis(30));
        all_there(&view, 201..=250);

        faults.set(&[]);
        assert!(
            view.wait_applied(250, WAIT),
            "{point:?}: {:?}",
            view.health()
        );
        eventually("serving", || view.health() == Health::Serving);
        all_there(&view, 1..=250);
        view.close().unwrap();
        let opened = open(folder.path());
        assert_eq!((opened.applied, opened.why_rebuilt), (250, None));
        all_there(&opened.view, 1..=250);
    }
}

/// Something else takes all the room before the floor is noticed.
#[test]
fn a_disk_that_is_full_to_the_last_byte_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let free_now = free.clone();
    let options = Options {
        free_space: Arc::new(move |_| Ok(free_now.load(Ordering::SeqCst))),
        ..faults.options()
    };
    let view = View::open(folder.path(), options).unwrap().view;
    publish(&view, 1..=100);
    assert!(view.wait_applied(100, WAIT));
    faults.set(&[FaultPoint::Write, FaultPoint::Flush]);
    free.store(1 << 20, Ordering::SeqCst);
    publish(&view, 101..=200);
    eventually("no writing", || view.health() != Health::Serving);
    std::thread::sleep(Duration::from_millis(30));
    all_there(&view, 1..=200);
    faults.set(&[]);
    std::thread::sleep(Duration::from_millis(30));
    all_there(&view, 1..=200);
    assert_eq!(view.applied(), 100);
    free.store(u64::MAX, Ordering::SeqCst);
    assert!(view.wait_applied(200, WAIT));
    all_there(&view, 1..=200);
}

#[test]
fn a_row_that_cannot_be_read_is_an_error_and_not_an_absence() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Faults::default();
    let view = View::open(folder.path(), faults.options()).unwrap().view;
    publish(&view, 1..=10);
    assert!(view.wait_applied(10, WAIT));
    faults.set(&[FaultPoint::Read]);
    let old = view.order(order_id(1));
    assert!(matches!(old, Err(StoreError::Degraded { .. })), "{old:?}");
    let list = view.orders(&OrderQuery {
        limit: 1,
        ..OrderQuery::default()
    });
    assert!(matches!(list, Err(StoreError::Degraded { .. })));
    // What is in memory needs no disk.
    publish(&view, 11..=20);
    all_there(&view, 11..=20);
    faults.set(&[]);
    assert!(view.wait_applied(20, WAIT));
    all_there(&view, 1..=20);
}

#[test]
fn publishing_waits_for_a_disk_that_takes_more() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        overlay_rows_max: 30,
        ..options()
    };
    let view = View::open(folder.path(), options).unwrap().view;
    for number in 1..=500 {
        assert_eq!(
            view.publish(number, ended(number, number)),
            Pressure::Normal
        );
        assert!(
            view.metrics().overlay_rows <= 66,
            "both generations are bounded"
        );
    }
    all_there(&view, 1..=500);
}

#[test]
fn what_is_known_is_not_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    let row = |status| vec![Row::Order(Box::new(order(1, 1, 1, status)))];
    let _ = view.publish(5, row(OrderStatus::Confirmed));
    let _ = view.publish(4, row(OrderStatus::Pending));
    let _ = view.publish(5, row(OrderStatus::Pending));
    let found = view.order(order_id(1)).unwrap().unwrap();
    assert_eq!(found.status, OrderStatus::Confirmed);
    assert_eq!(view.published(), 5);
    // A record that changes no row still moves on.
    let _ = view.publish(6, Vec::new());
    assert!(view.wait_applied(6, WAIT));
}

#[test]
fn the_largest_orders_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    let rows = (0..40).map(|number| Row::Order(Box::new(large_order(number, number))));
    let _ = view.publish(1, rows.collect());
    assert!(view.wait_applied(1, WAIT));
    view.close().unwrap();
    drop(view);
    let view = open(folder.path()).view;
    for number in 0..40 {
        let found = view.order(order_id(number)).unwrap();
        assert_eq!(found.as_deref(), Some(&large_order(number, number)));
    }
    let page = view
        .orders(&OrderQuery {
            limit: 100,
            ..OrderQuery::default()
        })
        .unwrap();
    assert_eq!(page.orders.len(), 40);
}

// ---- views that must not be trusted

/// Fills a view, lets something happen to its folder, and opens it again.
#[track_caller]
fn rebuilt(happens: impl FnOnce(&Path), reopened: Options, expected: impl Fn(&Reason) -> bool) {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    publish(&view, 1..=300);
    view.close().unwrap();
    drop(view);
    happens(folder.path());
    let opened = View::open(folder.path(), reopened).unwrap();
    assert_eq!(opened.applied, 0);
    let why = opened.why_rebuilt.expect("a reason");
    assert!(expected(&why), "{why:?}");
    assert!(opened.view.order(order_id(1)).unwrap().is_none());
    publish(&opened.view, 1..=10);
    assert!(opened.view.wait_applied(10, WAIT));
    all_there(&opened.view, 1..=10);
    opened.view.close().unwrap();
}

#[test]
fn another_boot_means_another_view() {
    let boot = tempfile::NamedTempFile::new().unwrap();
    fs::write(boot.path(), "another-boot\n").unwrap();
    let reopened = Options {
        boot_id_path: boot.path().to_owned(),
        ..options()
    };
    rebuilt(|_| {}, reopened, |why| *why == Reason::OtherBoot);
}

#[test]
fn a_view_without_its_note_is_not_opened() {
    rebuilt(
        |it| fs::remove_file(it.join("about")).unwrap(),
        options(),
        |why| *why == Reason::Format,
    );
    rebuilt(
        |it| fs::write(it.join("about"), "layout 99\nboot 1\n").unwrap(),
        options(),
        |why| *why == Reason::Format,
    );
}

#[test]
fn a_damaged_view_is_rebuilt() {
    let damage = |bytes: &[u8]| {
        let bytes = bytes.to_vec();
        move |it: &Path| {
            fs::write(it.join("sled/conf"), bytes).unwrap();
        }
    };
    rebuilt(damage(b"this is not a configuration"), options(), |why| {
        matches!(why, Reason::Damaged(_))
    });
}

#[test]
fn an_unfinished_snapshot_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    publish(&view, 1..=300);
    view.close().unwrap();
    drop(view);
    fs::write(
        folder.path().join("sled/snap.0000000000000FFF.generating"),
        b"half",
    )
    .unwrap();
    let opened = open(folder.path());
    assert_eq!((opened.applied, opened.why_rebuilt), (300, None));
    all_there(&opened.view, 1..=300);
}

#[test]
fn a_view_past_the_log_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    publish(&view, 1..=10);
    let _ = view.publish(11, vec![Row::Product(Box::new(product(1, 1)))]);
    view.close().unwrap();
    drop(view);
    let opened = open(folder.path());
    assert_eq!(opened.applied, 11);
    assert_eq!(opened.view.discard_if_beyond(11).unwrap(), None);
    assert_eq!(opened.view.products().len(), 1);
    let why = opened.view.discard_if_beyond(9).unwrap();
    assert_eq!(
        why,
        Some(Reason::BeyondLog {
            applied: 11,
            log_end: 9
        })
    );
    assert_eq!((opened.view.applied(), opened.view.published()), (0, 0));
    assert_eq!(opened.view.products().len(), 0);
    assert!(opened.view.order(order_id(1)).unwrap().is_none());
    publish(&opened.view, 1..=9);
    assert!(opened.view.wait_applied(9, WAIT));
    all_there(&opened.view, 1..=9);
}

#[test]
fn the_second_on_one_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = View::open(folder.path(), options());
    assert!(
        matches!(second, Err(StoreError::Locked { .. })),
        "{second:?}"
    );
    drop(first);
    assert_eq!(open(folder.path()).why_rebuilt, None);
}

#[test]
fn rows_are_read_while_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let (view, done) = (&view, &done);
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let published = view.published();
                    // Newest first, without a gap: everything published before the call.
                    let status = (reader == 1).then_some(OrderStatus::Confirmed);
                    let query = OrderQuery {
                        status,
                        limit: 20,
                        ..OrderQuery::default()
                    };
                    let page = view.orders(&query).unwrap();
                    let newest = page.orders.first().map_or(0, |order| {
                        order.created_at.unix_ms() - common::at(0).unix_ms()
                    });
                    assert!(
                        newest >= published,
                        "{newest} is listed, {published} was published"
                    );
                    for pair in page.orders.windows(2) {
                        let gap = pair[0].created_at.unix_ms() - pair[1].created_at.unix_ms();
                        assert_eq!(gap, 1);
                    }
                    if published > 0 {
                        let key = RowKey::Payment(order_id(published));
                        assert!(view.row(&key).unwrap().is_some(), "{published}");
                    }
                }
            });
        }
        publish(&view, 1..=5000);
        done.store(true, Ordering::SeqCst);
    });
}

#[test]
fn an_answer_is_kept_a_day_whatever_is_pruned() {
    let folder = tempfile::tempdir().unwrap();
    let view = open(folder.path()).view;
    let hour = 3_600_000;
    let rows = vec![
        Row::Answer(Box::new(answer(0, 0))),
        Row::Answer(Box::new(answer(1, 3 * hour))),
    ];
    let keys: Vec<_> = rows.iter().map(Row::key).collect();
    let _ = view.publish(1, rows);
    assert!(view.wait_applied(1, WAIT));
    let now = common::at(25 * hour);
    let pruned = view.prune(now, now, 100).unwrap();
    assert_eq!((pruned.answers, pruned.more), (1, false));
    assert!(view.row(&keys[0]).unwrap().is_none());
    assert!(view.row(&keys[1]).unwrap().is_some());
}
