//! The sandbox as the engine sees it: every outcome, every repetition, crashes between.

use a4co_core::gateway::GatewayOperation as Op;
use a4co_core::ids::{GatewayReference, PaymentMethodId};
use a4co_core::money::{Amount, Currency};
use a4co_core::order::SandboxHints;
use a4co_core::time::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::config::Rate;

mod durability;

struct Sink(UnboundedSender<GatewayAnswer>);

impl AnswerSink for Sink {
    fn deliver(&self, answer: GatewayAnswer) {
        let _ = self.0.send(answer);
    }
}

/// A sandbox over a folder, with the answers it gave.
struct Bench {
    dir: TempDir,
    config: SandboxConfig,
    recent_max: usize,
    sandbox: Sandbox,
    sink: Arc<dyn AnswerSink>,
    answers: UnboundedReceiver<GatewayAnswer>,
}

impl Bench {
    fn new(config: SandboxConfig) -> Self {
        Self::with_memory(config, 1000)
    }

    fn with_memory(config: SandboxConfig, recent_max: usize) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let sandbox = Sandbox::open_with(dir.path(), config, Handle::current(), recent_max);
        let (sender, answers) = unbounded_channel();
        Self {
            sandbox: sandbox.expect("new books"),
            dir,
            config,
            recent_max,
            sink: Arc::new(Sink(sender)),
            answers,
        }
    }

    /// As after a kill: what was to be answered is not.
    fn reopen(&mut self) {
        let (path, runtime) = (self.dir.path(), Handle::current());
        let sandbox = Sandbox::open_with(path, self.config, runtime, self.recent_max);
        self.sandbox = sandbox.expect("good books");
    }

    fn submit(&self, call: GatewayCall) {
        self.sandbox.submit(vec![call], &self.sink);
    }

    /// Submits a call and waits for its answer.
    async fn ask(&mut self, call: GatewayCall) -> GatewayOutcome {
        let (order_id, operation) = (call.order_id, call.operation);
        self.submit(call);
        let answer = loop {
            let answer = self.answers.recv().await.expect("an answer");
            // The report of a slow charge's end may come in between.
            if answer.operation.is_some() {
                break answer;
            }
        };
        assert_eq!(
            (answer.order_id, answer.operation),
            (order_id, Some(operation))
        );
        answer.outcome
    }

    /// The answer that is there without waiting.
    #[track_caller]
    fn at_once(&mut self, call: GatewayCall) -> GatewayOutcome {
        self.submit(call);
        self.answers
            .try_recv()
            .expect("answered inside submit")
            .outcome
    }

    fn books(&self, order_id: OrderId) -> OrderBooks {
        let books = SandboxBooks::read(self.dir.path())
            .expect("readable")
            .expect("there");
        books.order(order_id).expect("undamaged")
    }
}

fn order(number: u128) -> OrderId {
    OrderId::from_bytes((number << 64 | 7).to_be_bytes())
}

fn amount(minor: i64) -> Amount {
    Amount::from_minor(minor).expect("within range")
}

fn call(number: u128, operation: Op) -> GatewayCall {
    GatewayCall {
        order_id: order(number),
        operation,
        attempt: 0,
        amount: amount(2999),
        currency: Currency::EUR,
        payment_method: None,
        reference: None,
        hints: SandboxHints::default(),
        requested_at: Timestamp::UNIX_EPOCH,
    }
}

fn charge_with(number: u128, method: &str) -> GatewayCall {
    let payment_method = Some(PaymentMethodId::parse(method).expect("an id"));
    GatewayCall {
        payment_method,
        ..call(number, Op::Charge)
    }
}

fn again(call: &GatewayCall) -> GatewayCall {
    GatewayCall {
        attempt: call.attempt + 1,
        ..call.clone()
    }
}

fn refund(order: u128, number: u32, minor: i64) -> GatewayCall {
    GatewayCall {
        amount: amount(minor),
        ..call(order, Op::Refund { number })
    }
}

fn reference(text: String) -> GatewayReference {
    GatewayReference::parse(&text).expect("a reference")
}

fn succeeded(number: u128) -> GatewayOutcome {
    let reference = reference(format!("sandbox_ch_{}", order(number)));
    GatewayOutcome::Succeeded { reference }
}

fn refunded(order_number: u128, number: u32) -> GatewayOutcome {
    let reference = reference(format!("sandbox_re_{}_{number}", order(order_number)));
    GatewayOutcome::Refunded { reference }
}

fn rejected(code: &str) -> GatewayOutcome {
    GatewayOutcome::Rejected { code: code.into() }
}

#[tokio::test]
async fn a_charge_succeeds_once_however_often_it_is_asked_for() {
    let mut bench = Bench::new(SandboxConfig::default());
    let charge = call(1, Op::Charge);
    for _ in 0..2 {
        assert_eq!(bench.at_once(charge.clone()), succeeded(1));
        assert_eq!(bench.at_once(again(&charge)), succeeded(1));
        assert_eq!(bench.at_once(call(1, Op::Query)), succeeded(1));
        bench.reopen();
    }
    let books = bench.books(order(1));
    assert_eq!((books.captures, books.captured_minor), (1, 2999));
    assert_eq!(books.currency, Some(Currency::EUR));
}

#[tokio::test]
async fn each_way_to_decline_declines_for_good() {
    let mut bench = Bench::new(SandboxConfig::default());
    let hints = SandboxHints {
        decline: true,
        hold_ms: None,
    };
    let hinted = GatewayCall {
        hints,
        ..call(1, Op::Charge)
    };
    for (number, charge) in [(1, hinted), (2, charge_with(2, "pm_card_declined"))] {
        assert_eq!(bench.at_once(charge.clone()), rejected("card_declined"));
        // Another wish under the same key changes nothing.
        assert_eq!(
            bench.at_once(call(number, Op::Charge)),
            rejected("card_declined")
        );
        bench.reopen();
        assert_eq!(
            bench.at_once(call(number, Op::Charge)),
            rejected("card_declined")
        );
        assert_eq!(
            bench.at_once(call(number, Op::Query)),
            rejected("card_declined")
        );
        assert_eq!(
            bench.at_once(call(number, Op::Cancel)),
            GatewayOutcome::Cancelled
        );
        assert_eq!(bench.at_once(again(&charge)), rejected("card_declined"));
        let books = bench.books(order(number));
        assert!(books.is_declined && books.captures == 0, "{books:?}");
    }
    let unusual = bench.at_once(charge_with(3, "pm_card_visa"));
    assert_eq!(unusual, succeeded(3));
}

#[tokio::test]
async fn the_success_rate_decides_by_the_order_and_never_changes_its_mind() {
    let rate = |parts| SandboxConfig {
        success_rate: Rate::from_parts_per_million(parts),
        ..SandboxConfig::default()
    };
    let mut none = Bench::new(rate(0));
    assert_eq!(none.at_once(call(1, Op::Charge)), rejected("card_declined"));
    let (mut one, mut other) = (Bench::new(rate(500_000)), Bench::new(rate(500_000)));
    let mut successes = 0;
    for number in 0..1000 {
        let outcome = one.at_once(call(number, Op::Charge));
        assert_eq!(outcome, other.at_once(call(number, Op::Charge)));
        successes += u32::from(outcome == succeeded(number));
    }
    assert!((400..600).contains(&successes), "{successes}");
    // A declined charge stays declined when the rate is raised.
    none.config.success_rate = Rate::ALL;
    none.reopen();
    assert_eq!(none.at_once(call(1, Op::Charge)), rejected("card_declined"));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_unknown_and_what_happened_is_found_later() {
    let mut bench = Bench::new(SandboxConfig::default());
    for (number, method, found) in [
        (1, "pm_card_timeout", succeeded(1)),
        (2, "pm_card_timeout_fails", rejected("card_declined")),
    ] {
        let charge = charge_with(number, method);
        let start = tokio::time::Instant::now();
        let first = bench.ask(charge.clone()).await;
        assert!(matches!(first, GatewayOutcome::Unknown { .. }), "{first:?}");
        assert!(start.elapsed() >= Duration::from_secs(1));
        assert_eq!(bench.ask(again(&charge)).await, found);
        assert_eq!(bench.ask(call(number, Op::Query)).await, found);
        bench.reopen();
        assert_eq!(bench.ask(call(number, Op::Query)).await, found);
    }
    // A cancel that is too late finds the charge.
    let charge = charge_with(3, "pm_card_timeout");
    bench.ask(charge).await;
    assert_eq!(bench.ask(call(3, Op::Cancel)).await, succeeded(3));
    assert_eq!(bench.books(order(3)).captures, 1);
}

#[tokio::test(start_paused = true)]
async fn undos_that_fail_at_first_are_done_by_the_ninth_try() {
    let mut bench = Bench::new(SandboxConfig::default());
    bench.ask(charge_with(1, "pm_card_undo_fails")).await;
    let undo = GatewayCall {
        operation: Op::Cancel,
        ..charge_with(1, "pm_card_undo_fails")
    };
    for _ in 0..8 {
        let failed = bench.at_once(undo.clone());
        assert!(
            matches!(failed, GatewayOutcome::Unknown { .. }),
            "{failed:?}"
        );
    }
    assert_eq!(bench.at_once(undo), GatewayOutcome::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_slow_charge_is_pending_until_it_succeeds() {
    let mut bench = Bench::new(SandboxConfig::default());
    let charge = charge_with(1, "pm_card_slow");
    let start = tokio::time::Instant::now();
    assert_eq!(bench.at_once(charge.clone()), GatewayOutcome::Pending);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bench.at_once(call(1, Op::Query)), GatewayOutcome::Pending);
    assert_eq!(bench.at_once(again(&charge)), GatewayOutcome::Pending);
    assert_eq!(bench.books(order(1)), OrderBooks::default());
    let report = bench.answers.recv().await.expect("a report");
    assert_eq!((report.operation, report.outcome), (None, succeeded(1)));
    assert!(start.elapsed() >= Duration::from_secs(3));
    assert_eq!(bench.at_once(call(1, Op::Query)), succeeded(1));
    assert_eq!(bench.books(order(1)).captures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_during_a_slow_charge_comes_in_time() {
    let mut bench = Bench::new(SandboxConfig::default());
    let slow = charge_with(1, "pm_card_slow");
    assert_eq!(bench.at_once(slow), GatewayOutcome::Pending);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        bench.at_once(call(1, Op::Cancel)),
        GatewayOutcome::Cancelled
    );
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(bench.answers.try_recv().is_err(), "nothing to report");
    let books = bench.books(order(1));
    assert!(books.is_cancelled && books.captures == 0, "{books:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_charge_that_a_crash_ends_was_never_made() {
    let mut bench = Bench::new(SandboxConfig::default());
    let slow = charge_with(1, "pm_card_slow");
    assert_eq!(bench.at_once(slow), GatewayOutcome::Pending);
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.reopen();
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(
        bench.answers.try_recv().is_err(),
        "nobody is left to answer"
    );
    assert_eq!(bench.at_once(call(1, Op::Query)), GatewayOutcome::NotFound);
}

#[tokio::test]
async fn a_cancel_before_the_charge_forbids_it_for_ever() {
    let mut bench = Bench::new(SandboxConfig::default());
    assert_eq!(bench.at_once(call(1, Op::Query)), GatewayOutcome::NotFound);
    assert_eq!(
        bench.at_once(call(1, Op::Cancel)),
        GatewayOutcome::Cancelled
    );
    for _ in 0..2 {
        for operation in [Op::Charge, Op::Query, Op::Cancel] {
            assert_eq!(bench.at_once(call(1, operation)), GatewayOutcome::Cancelled);
        }
        assert_eq!(
            bench.at_once(refund(1, 1, 1)),
            rejected("charge_not_captured")
        );
        bench.reopen();
    }
    let books = bench.books(order(1));
    assert!(books.is_cancelled && books.captures == 0, "{books:?}");
}

#[tokio::test]
async fn refunds_are_counted_by_number_and_never_exceed_the_charge() {
    let mut bench = Bench::new(SandboxConfig::default());
    assert_eq!(bench.at_once(refund(1, 1, 1)), rejected("charge_not_found"));
    assert_eq!(bench.at_once(call(1, Op::Charge)), succeeded(1));
    let dollars = GatewayCall {
        currency: Currency::USD,
        ..refund(1, 1, 1)
    };
    assert_eq!(bench.at_once(dollars), rejected("currency_mismatch"));
    for _ in 0..2 {
        assert_eq!(bench.at_once(refund(1, 1, 1000)), refunded(1, 1));
        assert_eq!(
            bench.at_once(refund(1, 1, 999)),
            rejected("idempotency_key_reused")
        );
        assert_eq!(
            bench.at_once(refund(1, 2, 2000)),
            rejected("refund_exceeds_charge")
        );
        assert_eq!(bench.at_once(refund(1, 3, 1999)), refunded(1, 3));
        assert_eq!(
            bench.at_once(refund(1, 4, 1)),
            rejected("refund_exceeds_charge")
        );
        assert_eq!(bench.at_once(refund(1, 4, 0)), rejected("amount_too_small"));
        bench.reopen();
    }
    let books = bench.books(order(1));
    assert_eq!((books.captured_minor, books.refunded_minor), (2999, 2999));
    assert_eq!((books.captures, books.refunds), (1, 2));
}

#[tokio::test]
async fn a_key_used_for_another_amount_decides_nothing() {
    let mut bench = Bench::new(SandboxConfig::default());
    bench.at_once(call(1, Op::Charge));
    let other = GatewayCall {
        amount: amount(1),
        ..call(1, Op::Charge)
    };
    let outcome = bench.at_once(other);
    assert!(
        matches!(outcome, GatewayOutcome::Unknown { .. }),
        "{outcome:?}"
    );
    assert_eq!(bench.books(order(1)).captured_minor, 2999);
    let nothing = GatewayCall {
        amount: Amount::ZERO,
        ..call(2, Op::Charge)
    };
    assert_eq!(bench.at_once(nothing), rejected("amount_too_small"));
}

#[tokio::test(start_paused = true)]
async fn answers_take_the_latency_and_a_share_of_the_jitter_that_is_the_orders_own() {
    let config = SandboxConfig {
        latency: Duration::from_millis(50),
        jitter: Duration::from_millis(20),
        ..SandboxConfig::default()
    };
    let mut times = Vec::new();
    for _ in 0..2 {
        let mut bench = Bench::new(config);
        for number in 0..20 {
            let start = tokio::time::Instant::now();
            assert_eq!(bench.ask(call(number, Op::Charge)).await, succeeded(number));
            times.push(start.elapsed().as_millis());
        }
        // It was charged at once, whatever became of the answer.
        bench.submit(call(99, Op::Charge));
        bench.reopen();
        assert_eq!(bench.books(order(99)).captures, 1);
    }
    let (first, second) = times.split_at(20);
    assert_eq!(first, second);
    assert!(first.iter().all(|ms| (50..=72).contains(ms)), "{first:?}");
    assert!(first.iter().any(|ms| *ms != first[0]));
}

#[tokio::test]
async fn an_answer_may_lead_to_the_next_call_at_once() {
    struct Chain(Arc<Sandbox>, UnboundedSender<GatewayAnswer>);
    impl AnswerSink for Chain {
        fn deliver(&self, answer: GatewayAnswer) {
            if answer.operation == Some(Op::Charge) {
                let next: Arc<dyn AnswerSink> = Arc::new(Sink(self.1.clone()));
                self.0.submit(vec![call(1, Op::Query)], &next);
            }
            let _ = self.1.send(answer);
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    let sandbox = Sandbox::open(dir.path(), SandboxConfig::default(), Handle::current());
    let sandbox = Arc::new(sandbox.expect("new books"));
    let (sender, mut answers) = unbounded_channel();
    let chain: Arc<dyn AnswerSink> = Arc::new(Chain(sandbox.clone(), sender));
    sandbox.submit(vec![call(1, Op::Charge)], &chain);
    assert_eq!(
        answers.try_recv().expect("the query's").operation,
        Some(Op::Query)
    );
    assert_eq!(
        answers.try_recv().expect("the charge's").operation,
        Some(Op::Charge)
    );
    sandbox.sync().expect("a disk that works");
}
