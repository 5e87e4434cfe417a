//! What the books outlive: memory that is small, writes that fail, crashes, damage, and any
//! order of calls.

use std::fs;

use proptest::prelude::*;

use super::*;

const BOOKS: &str = "sandbox-gateway.log";

#[tokio::test]
async fn an_old_payment_is_looked_up_in_the_file() {
    let mut bench = Bench::with_memory(SandboxConfig::default(), 4);
    for number in 0..100 {
        assert_eq!(bench.at_once(call(number, Op::Charge)), succeeded(number));
    }
    // First attempts whose answers a crash has taken: all are known again.
    bench.reopen();
    for number in 0..100 {
        assert_eq!(bench.ask(call(number, Op::Charge)).await, succeeded(number));
    }
    let books = SandboxBooks::read(bench.dir.path())
        .expect("readable")
        .expect("there");
    assert_eq!(books.len(), 100);
    for _ in 0..2 {
        assert_eq!(bench.ask(refund(0, 1, 1999)).await, refunded(0, 1));
        assert_eq!(bench.ask(call(1, Op::Query)).await, succeeded(1));
        assert_eq!(bench.ask(call(2, Op::Cancel)).await, succeeded(2));
        assert_eq!(bench.ask(again(&call(3, Op::Charge))).await, succeeded(3));
        assert_eq!(
            bench.ask(call(500, Op::Query)).await,
            GatewayOutcome::NotFound
        );
        // What was refunded is not forgotten when it leaves memory once more.
        for number in 10..20 {
            bench.ask(call(number, Op::Query)).await;
        }
        assert_eq!(
            bench.ask(refund(0, 2, 1001)).await,
            rejected("refund_exceeds_charge")
        );
        bench.reopen();
    }
    assert_eq!(bench.ask(refund(0, 2, 1000)).await, refunded(0, 2));
    // Many at once: each is answered, once.
    let calls = (0..50).map(|number| call(number, Op::Query)).collect();
    bench.sandbox.submit(calls, &bench.sink);
    let mut answered = Vec::new();
    for _ in 0..50 {
        answered.push(bench.answers.recv().await.expect("an answer").order_id);
    }
    answered.sort();
    assert_eq!(answered, (0..50).map(order).collect::<Vec<_>>());
    assert!(bench.answers.try_recv().is_err());
}

#[tokio::test]
async fn what_cannot_be_written_was_not_decided() {
    let mut bench = Bench::new(SandboxConfig::default());
    bench.at_once(call(1, Op::Charge));
    bench.sandbox.inner.state().file.break_writes();
    for failing in [call(2, Op::Charge), call(3, Op::Cancel), refund(1, 1, 5)] {
        let outcome = bench.at_once(failing);
        assert!(
            matches!(outcome, GatewayOutcome::Unknown { .. }),
            "{outcome:?}"
        );
    }
    // What needs no writing goes on.
    assert_eq!(bench.at_once(call(1, Op::Query)), succeeded(1));
    assert_eq!(bench.at_once(call(2, Op::Query)), GatewayOutcome::NotFound);
    bench.sandbox.inner.state().file.mend();
    assert_eq!(bench.at_once(again(&call(2, Op::Charge))), succeeded(2));
    assert_eq!(bench.at_once(again(&refund(1, 1, 6))), refunded(1, 1));
    bench.reopen();
    assert_eq!(bench.at_once(call(3, Op::Charge)), succeeded(3));
    assert_eq!(bench.books(order(1)).refunded_minor, 6);
}

/// Cut anywhere, the books hold exactly the decisions that were written whole.
#[tokio::test]
async fn a_crash_at_any_byte_leaves_what_was_written_whole() {
    let mut bench = Bench::new(SandboxConfig::default());
    bench.at_once(call(0, Op::Charge));
    bench.at_once(call(1, Op::Cancel));
    bench.at_once(charge_with(2, "pm_card_declined"));
    bench.at_once(refund(0, 1, 1000));
    let whole = fs::read(bench.dir.path().join(BOOKS)).expect("the books");
    assert_eq!(whole.len(), 16 + 4 * 36);
    for cut in 0..=whole.len() {
        fs::write(bench.dir.path().join(BOOKS), &whole[..cut]).expect("written");
        bench.reopen();
        let records = cut.saturating_sub(16) / 36;
        let wanted = [
            if records > 0 {
                succeeded(0)
            } else {
                GatewayOutcome::NotFound
            },
            if records > 1 {
                GatewayOutcome::Cancelled
            } else {
                GatewayOutcome::NotFound
            },
            if records > 2 {
                rejected("card_declined")
            } else {
                GatewayOutcome::NotFound
            },
        ];
        for (number, wanted) in (0..).zip(wanted) {
            assert_eq!(
                bench.at_once(call(number, Op::Query)),
                wanted,
                "cut at {cut}"
            );
        }
        let refunded_minor = bench.books(order(0)).refunded_minor;
        assert_eq!(refunded_minor, if records > 3 { 1000 } else { 0 });
        // And it goes on from there.
        assert_eq!(bench.at_once(call(9, Op::Charge)), succeeded(9));
        bench.reopen();
        assert_eq!(bench.at_once(call(9, Op::Query)), succeeded(9));
    }
}

#[tokio::test]
async fn damage_before_the_end_is_refused_and_at_the_end_removed() {
    let mut bench = Bench::new(SandboxConfig::default());
    (0..3)
        .for_each(|number| assert_eq!(bench.at_once(call(number, Op::Charge)), succeeded(number)));
    let path = bench.dir.path().join(BOOKS);
    let whole = fs::read(&path).expect("the books");
    let mut damaged = whole.clone();
    damaged[16 + 36 + 20] ^= 1;
    fs::write(&path, &damaged).expect("written");
    let opened = Sandbox::open(bench.dir.path(), bench.config, Handle::current());
    let error = opened.expect_err("damaged");
    assert!(
        matches!(error, SandboxError::Damaged { offset: 52, .. }),
        "{error}"
    );
    assert_eq!(
        fs::read(&path).expect("the books"),
        damaged,
        "left as they were"
    );

    damaged = whole;
    damaged[16 + 72 + 20] ^= 1;
    fs::write(&path, &damaged).expect("written");
    bench.reopen();
    assert_eq!(bench.at_once(call(1, Op::Query)), succeeded(1));
    assert_eq!(bench.at_once(call(2, Op::Query)), GatewayOutcome::NotFound);
}

#[derive(Debug, Clone)]
enum Step {
    Ask {
        number: u128,
        operation: Op,
        attempt: u32,
        minor: i64,
        method: usize,
    },
    Reopen,
}

fn steps() -> impl Strategy<Value = Step> {
    let operation = prop_oneof![
        Just(Op::Charge),
        Just(Op::Query),
        Just(Op::Cancel),
        (1u32..4).prop_map(|number| Op::Refund { number }),
    ];
    let ask = (0u128..6, operation, 1u32..3, 1i64..3000, 0usize..5);
    prop_oneof![
        9 => ask.prop_map(|(number, operation, attempt, minor, method)| {
            Step::Ask { number, operation, attempt, minor, method }
        }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is asked, in whatever order, with crashes between and memory for two.
    #[test]
    fn money_is_safe_in_any_order(steps in prop::collection::vec(steps(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let config = SandboxConfig {
                success_rate: Rate::from_parts_per_million(500_000),
                slow: Duration::ZERO,
                timeout: Duration::ZERO,
                ..SandboxConfig::default()
            };
            let methods = [
                "pm_card_visa", "pm_card_declined", "pm_card_timeout", "pm_card_timeout_fails", "pm_card_slow",
            ];
            let mut bench = Bench::with_memory(config, 2);
            let mut ends = std::collections::HashMap::new();
            for step in steps {
                let Step::Ask { number, operation, attempt, minor, method } = step else {
                    bench.reopen();
                    continue;
                };
                let is_refund = matches!(operation, Op::Refund { .. });
                let call = GatewayCall {
                    attempt,
                    operation,
                    amount: if is_refund { amount(minor) } else { amount(2999) },
                    ..charge_with(number, methods[method])
                };
                let outcome = bench.ask(call).await;
                // The end of a charge never changes.
                if matches!(outcome, GatewayOutcome::Succeeded { .. } | GatewayOutcome::Cancelled) {
                    let end = ends.entry(number).or_insert_with(|| outcome.clone());
                    assert_eq!(*end, outcome);
                }
                let books = bench.books(order(number));
                assert!(books.captures <= 1);
                assert!(books.refunded_minor <= books.captured_minor);
                let ended = [books.captures == 1, books.is_declined, books.is_cancelled];
                assert!(ended.iter().filter(|end| **end).count() <= 1, "{books:?}");
            }
        });
    }
}
