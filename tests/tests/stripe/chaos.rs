//! Many orders at once on a very bad day, then a good one: whatever failed on the way, each
//! customer paid once for what is sold and nothing for what is not, and both books say so.

use std::time::Duration;

use a4co_tests::stripe::KEY;
use a4co_tests::stripe::proxy::Fault;
use a4co_tests::stripe::shapes;
use a4co_tests::{Options, until};
use serde_json::json;

use super::{BAD, GOOD, Shop};

const ORDERS: usize = 30;

/// Faults that the seed chooses from, for requests to any endpoint.
fn fault(chance: &mut fastrand::Rng) -> Fault {
    match chance.u32(..9) {
        0 => Fault::SilentBefore,
        1 => Fault::SilentAfter,
        2 => Fault::CutBefore,
        3 => Fault::CutAfter,
        4 => Fault::CutWithin,
        5 => Fault::Instead(500, vec![], shapes::error("api_error")),
        6 => Fault::Kept(500, shapes::error("api_error")),
        7 => Fault::Instead(
            429,
            vec![("Retry-After", "1")],
            shapes::error("rate_limit_error"),
        ),
        _ => Fault::Instead(409, vec![], shapes::error("idempotency_error")),
    }
}

fn bad_day(options: Options) -> Options {
    options
        .flag("--stripe-timeout", "400ms")
        .flag("--payment-timeout", "4s")
        .flag("--saga-timeout", "20s")
        .flag("--park-after-attempts", "1000")
        .flag("--parked-retry", "500ms")
        .flag("--stripe-circuit-failures", "5")
        .flag("--stripe-circuit-pause", "200ms")
}

fn survives(seed: u64, capture: &str) -> u64 {
    let mut chance = fastrand::Rng::with_seed(seed);
    let shop = Shop::open_with(|options| bad_day(options).flag("--stripe-capture", capture));
    shop.client.stock("cup", 1000);
    for _ in 0..ORDERS / 2 {
        let what = [
            "POST /v1/payment_intents",
            "GET /v1/payment_intents",
            "POST /v1/refunds",
        ];
        let what = what[chance.usize(..what.len())];
        shop.proxy
            .fail(what, fault(&mut chance), 1 + chance.usize(..2));
    }
    let mut orders = Vec::new();
    for number in 0..ORDERS {
        let method = if chance.u32(..5) == 0 { BAD } else { GOOD };
        let order = shop.client.place(&Shop::cup(method));
        let id = order["orderId"].as_str().expect("an id").to_owned();
        if number % 4 == 0 {
            let path = format!("/api/v1/orders/{id}/cancel");
            // Refused where it was quicker.
            let _ = shop
                .client
                .post(&path, &json!({ "reason": "changed my mind" }));
        }
        orders.push(id);
        std::thread::sleep(Duration::from_millis(chance.u64(..60)));
    }
    // Until the faults are used up or the good day comes, whichever is sooner.
    let _ = shop.client.ended(&orders[0]);
    shop.proxy.heal();
    let mut sold = 0;
    for id in &orders {
        let order = until("the end of an order", || {
            let order = shop.client.look(id);
            match order["sagaState"].as_str() {
                Some("COMPLETED" | "FAILED" | "COMPENSATED") => Ok(order),
                _ => Err(format!("seed {seed}: {}", shop.payment(&order))),
            }
        });
        let is_confirmed = order["status"] == "CONFIRMED";
        sold += u64::from(is_confirmed);
        let payment = shop.payment_until(&order, "a payment that is settled", |payment| {
            payment["status"] != "PROCESSING"
                && payment["refunds"].as_array().is_none_or(|refunds| {
                    refunds.iter().all(|refund| refund["status"] != "PENDING")
                })
        });
        let intents = shop.stripe.intents(id);
        let taken: Vec<_> = intents
            .iter()
            .filter(|it| it["status"] == "succeeded")
            .collect();
        let back: u64 = taken
            .iter()
            .flat_map(|intent| shop.stripe.refunds(intent))
            .sum();
        let kept = 1000 * taken.len() as u64 - back;
        let should = if is_confirmed { 1000 } else { 0 };
        assert_eq!(kept, should, "seed {seed}: {order}\n{payment}\n{intents:?}");
        assert!(taken.len() <= 1, "seed {seed}: {intents:?}");
        let held = intents
            .iter()
            .filter(|it| it["status"] == "requires_capture")
            .count();
        assert_eq!(held, 0, "seed {seed}: {intents:?}");
    }
    shop.client.expect_stock("cup", 1000 - sold, 0, sold);
    // Both books, once more, by the tool that is for that.
    let (server, stripe) = (
        format!("http://{}", shop.server.address()),
        shop.proxy.url(),
    );
    let arguments = [
        "reconcile",
        "--url",
        &server,
        "--stripe-api-url",
        &stripe,
        "--use-simulated-payment",
        "false",
    ];
    until("books that are the same", || {
        let output = a4co_tests::server::run_with(&arguments, &[("STRIPE_SECRET_KEY", KEY)]);
        match output.status.code() {
            Some(0) => Ok(()),
            _ => Err(format!("seed {seed}: {output:?}")),
        }
    });
    let metrics = shop.client.get("/metrics").expect(200).text();
    for line in ["order_money_unaccounted_minor 0", "stock_leaked_units 0"] {
        assert!(metrics.contains(line), "seed {seed}: {line}");
    }
    sold
}

/// `CHAOS_SEEDS=N` runs so many.
fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("CHAOS_SEEDS").ok();
    0..wanted.and_then(|text| text.parse().ok()).unwrap_or(1)
}

#[test]
fn automatic_capture_survives_a_bad_day() {
    let sold: u64 = seeds().map(|seed| survives(seed, "automatic")).sum();
    assert!(sold > 0, "nothing was sold, so nothing was tested");
}

#[test]
fn manual_capture_survives_a_bad_day() {
    let sold: u64 = seeds().map(|seed| survives(seed, "manual")).sum();
    assert!(sold > 0, "nothing was sold, so nothing was tested");
}
