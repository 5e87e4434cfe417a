//! `kill -9` under load, again and again: what was acknowledged is there and ends, what was
//! asked for with a key happens once, and all books agree.
//!
//! The moments are drawn from a seed, which is printed and can be given in
//! `A4CO_CRASH_SEED`; `A4CO_CRASH_ROUNDS` asks for more rounds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use a4co_tests::{Client, Options, Order, Server, books, shop};
use serde_json::{Value, json};

const ROUNDS: u64 = 22;
const CLIENTS: u64 = 4;
/// Requests of one client in one round at most, so that the last audit stays short.
const REQUESTS_MAX: u64 = 60;
const PRODUCTS: [&str; 3] = ["cup", "pot", "rare"];

/// A request with its key, which may be sent again until its answer is known.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    key: String,
    body: Value,
    /// Units that it adds to a product.
    receives: Option<(&'static str, u64)>,
}

/// What came of one client's requests.
#[derive(Debug, Default)]
struct Seen {
    answered: Vec<(Request, Value)>,
    unanswered: Vec<Request>,
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
}

#[test]
fn nothing_acknowledged_is_lost_and_all_books_agree() {
    let seed = from_environment("A4CO_CRASH_SEED", 7);
    let rounds = from_environment("A4CO_CRASH_ROUNDS", ROUNDS);
    println!("A4CO_CRASH_SEED={seed} A4CO_CRASH_ROUNDS={rounds}");
    let mut random = fastrand::Rng::with_seed(seed);
    let options = Options::new()
        .flag("--sandbox-timeout", "60ms")
        .flag("--sandbox-slow", "150ms")
        .flag("--sandbox-jitter", "5ms")
        .flag("--retry-first", "20ms")
        .flag("--snapshot-every-mib", "1");
    let mut shop = Shop::open(&options);
    let mut server = Some(shop.server.take().expect("a server"));
    for round in 0..rounds {
        let running = server.take().expect("a server");
        let seen = load_and_kill(running, round, &mut random);
        shop.note(seen);
        if round % 4 == 3 {
            // Killed again while it recovers, or soon after.
            options.start_and_kill(Duration::from_millis(random.u64(0..250)));
        }
        let again = options.start();
        shop.send_again(&again.client());
        shop.expect_acknowledged(&again.client());
        server = Some(again);
    }
    let server = server.expect("a server");
    let account = books::expect_to_agree(&server.client(), &shop.received);
    println!(
        "{rounds} kills, {} orders acknowledged, {} requests sent again, {:?}",
        shop.acknowledged.len(),
        shop.sent_again,
        account.by_status
    );
    let known = account.by_status.values().sum::<u64>();
    assert_eq!(
        known,
        shop.acknowledged.len() as u64,
        "orders nobody asked for"
    );
    for needed in ["CONFIRMED", "CANCELLED", "FAILED"] {
        assert!(
            account.by_status.contains_key(needed),
            "no order was {needed}"
        );
    }
    assert!(server.stop().success());
    books::expect_verified(&options);
}

/// What the clients of the shop know to be so.
struct Shop {
    server: Option<Server>,
    received: BTreeMap<String, u64>,
    acknowledged: Vec<String>,
    /// Acknowledged since the last look.
    fresh: Vec<String>,
    unanswered: Vec<Request>,
    sent_again: usize,
}

impl Shop {
    fn open(options: &Options) -> Self {
        let server = options.start();
        let client = server.client();
        let mut received = BTreeMap::new();
        for (product, units) in PRODUCTS.into_iter().zip([100_000, 100_000, 40]) {
            client.stock(product, units);
            received.insert(product.to_owned(), units);
        }
        Self {
            server: Some(server),
            received,
            acknowledged: Vec::new(),
            fresh: Vec::new(),
            unanswered: Vec::new(),
            sent_again: 0,
        }
    }

    fn note(&mut self, seen: Vec<Seen>) {
        for Seen {
            answered,
            unanswered,
        } in seen
        {
            for (request, answer) in answered {
                self.done(&request, &answer);
            }
            self.unanswered.extend(unanswered);
        }
    }

    fn done(&mut self, request: &Request, answer: &Value) {
        match request.receives {
            Some((product, units)) => {
                *self.received.get_mut(product).expect("a known product") += units;
            }
            None => self.fresh.push(shop::id(answer).to_owned()),
        }
    }

    /// Whatever had no answer is asked for again, under its key.
    #[track_caller]
    fn send_again(&mut self, client: &Client) {
        for request in std::mem::take(&mut self.unanswered) {
            self.sent_again += 1;
            let ask = client.ask("POST", &request.path).key(&request.key);
            let answer = ask.json(&request.body).send();
            assert!(
                matches!(answer.status, 200 | 201),
                "{request:?}: {answer:?}"
            );
            self.done(&request, &answer.json());
        }
    }

    /// Everything that was acknowledged is there, and ends.
    #[track_caller]
    fn expect_acknowledged(&mut self, client: &Client) {
        for order_id in &self.fresh {
            let _ = client.ended(order_id);
        }
        self.acknowledged.append(&mut self.fresh);
    }
}

/// Loads the server, and kills it at some moment.
fn load_and_kill(server: Server, round: u64, random: &mut fastrand::Rng) -> Vec<Seen> {
    let over = AtomicBool::new(false);
    let answers = AtomicU64::new(0);
    // Some rounds end early, some late: by how many answers were given and a little longer.
    let kill_after = random.u64(1..CLIENTS * REQUESTS_MAX * 3 / 4);
    let and_then = Duration::from_micros(random.u64(0..20_000));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let client = server.client();
                let random = random.fork();
                let (over, answers) = (&over, &answers);
                let name = format!("{round}-{number}");
                scope.spawn(move || customer(&client, &name, random, over, answers))
            })
            .collect();
        a4co_tests::until("some answers", || {
            let given = answers.load(Ordering::Relaxed);
            (given >= kill_after)
                .then_some(())
                .ok_or_else(|| format!("{given} answers"))
        });
        std::thread::sleep(and_then);
        server.kill();
        over.store(true, Ordering::Relaxed);
        let clients = clients.into_iter();
        clients
            .map(|client| client.join().expect("a client"))
            .collect()
    })
}

/// One client, until the server is gone.
fn customer(
    client: &Client,
    name: &str,
    mut random: fastrand::Rng,
    over: &AtomicBool,
    answers: &AtomicU64,
) -> Seen {
    let mut seen = Seen::default();
    for number in 0..REQUESTS_MAX {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let request = draw(format!("{name}-{number}"), &mut random);
        let ask = client.ask("POST", &request.path).key(&request.key);
        match ask.json(&request.body).try_send() {
            Ok(answer) if matches!(answer.status, 200 | 201) => {
                answers.fetch_add(1, Ordering::Relaxed);
                let answer = answer.json();
                if request.receives.is_none() {
                    follow_up(client, &answer, &mut random);
                }
                seen.answered.push((request, answer));
            }
            Ok(answer) => panic!("{request:?}: {answer:?}"),
            Err(_) => {
                seen.unanswered.push(request);
                break;
            }
        }
    }
    seen
}

fn draw(key: String, random: &mut fastrand::Rng) -> Request {
    if random.u32(0..20) == 0 {
        let units = random.u64(1..10);
        return Request {
            path: "/api/v1/inventory/products/rare/adjustments".to_owned(),
            body: json!({ "delta": units, "reason": format!("delivery {key}") }),
            key,
            receives: Some(("rare", units)),
        };
    }
    let product = PRODUCTS[random.usize(0..PRODUCTS.len())];
    let mut lines = vec![(product, random.u64(1..4))];
    if product != "cup" && random.bool() {
        lines.push(("cup", 1));
    }
    let order = Order::of(&lines).with("customerId", json!(key));
    let order = match random.u32(0..10) {
        0 => order.paid_by("pm_card_declined"),
        1 => order.paid_by("pm_card_timeout"),
        2 => order.paid_by("pm_card_timeout_fails"),
        3 => order.paid_by("pm_card_slow"),
        4 => order
            .paid_by("pm_card_slow")
            .noted("reservationTtlMinutes", json!(0.001)),
        _ => order,
    };
    Request {
        path: "/api/v1/orders".to_owned(),
        key,
        body: order.body().clone(),
        receives: None,
    }
}

/// Now and then a cancel or a refund, whose own answers do not matter here: the books tell
/// whether they were half done.
fn follow_up(client: &Client, order: &Value, random: &mut fastrand::Rng) {
    let order_id = shop::id(order);
    match random.u32(0..10) {
        0 => {
            let path = format!("/api/v1/orders/{order_id}/cancel");
            let _ = client.ask("POST", &path).try_send();
        }
        1 => {
            let path = format!("/api/v1/payments/pay_{order_id}/refund");
            let refund = client.ask("POST", &path);
            let _ = refund.json(&json!({ "amount": 0.5 })).wait(0).try_send();
        }
        _ => {}
    }
}
