//! The process: how it starts, how it ends, and what it says when it cannot start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};

use a4co_tests::shop::{self, expect_end};
use a4co_tests::{Options, Order, Server, until};

#[test]
fn sigterm_answers_what_waits_ends_with_zero_and_goes_on_after_a_restart() {
    let options = Options::new().flag("--sandbox-slow", "1h");
    let mut server = options.start();
    let client = server.client();
    client.stock("cup", 10);
    let slow = Order::of(&[("cup", 1)]).paid_by("pm_card_slow");
    let waiting = std::thread::spawn({
        let client = server.client();
        move || {
            let ask = client.ask("POST", "/api/v1/orders").wait(30);
            ask.json(slow.body()).send()
        }
    });
    let order_id = until("the order that waits", || {
        let orders = client.all_orders("");
        let order = orders.first().ok_or("not there yet")?;
        Ok(shop::id(order).to_owned())
    });
    let _ = client.in_saga_state(&order_id, &["PAYMENT_PROCESSING"]);
    server.terminate();
    let answer = waiting.join().expect("the client").expect(201);
    assert_eq!(shop::id(&answer.json()), order_id);
    assert_eq!(answer.json()["sagaState"], "PAYMENT_PROCESSING");
    let status = server.wait();
    assert_eq!(status.code(), Some(0), "{}", server.logged());

    // The gateway of the next process charges at once.
    let server = options.clone().flag("--sandbox-slow", "0ms").start();
    let client = server.client();
    expect_end(&client.ended(&order_id), "CONFIRMED", "COMPLETED");
    client.expect_stock("cup", 9, 0, 1);
}

#[test]
fn sigterm_under_load_loses_no_answer_that_was_given() {
    let mut server = Server::start();
    let options = server.options().clone();
    server.client().stock("cup", 100_000);
    let over = AtomicBool::new(false);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (client, over) = (server.client(), &over);
                scope.spawn(move || {
                    let order = Order::of(&[("cup", 1)]);
                    let mut acknowledged = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let ask = client.ask("POST", "/api/v1/orders").json(order.body());
                        match ask.try_send() {
                            Ok(answer) if answer.status == 201 => {
                                acknowledged.push(shop::id(&answer.json()).to_owned());
                            }
                            Ok(answer) => {
                                answer.expect_problem(503, "shutting_down");
                            }
                            // The door is closed.
                            Err(_) => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let client = server.client();
        until(
            "some load",
            || match client.product("cup")["soldQuantity"].as_u64() {
                Some(sold) if sold >= 50 => Ok(()),
                sold => Err(format!("{sold:?} sold")),
            },
        );
        server.terminate();
        let status = server.wait();
        over.store(true, Ordering::Relaxed);
        assert_eq!(status.code(), Some(0), "{}", server.logged());
        let clients = clients.into_iter();
        clients
            .flat_map(|client| client.join().expect("a client"))
            .collect()
    });
    let server = options.start();
    let client = server.client();
    for order_id in &acknowledged {
        let order = client.ended(order_id);
        expect_end(&order, "CONFIRMED", "COMPLETED");
    }
    let sold = client.all_orders("status=CONFIRMED").len() as u64;
    assert!(sold >= acknowledged.len() as u64);
    client.expect_stock("cup", 100_000 - sold, 0, sold);
}

#[test]
fn two_processes_never_share_a_data_folder() {
    let server = Server::start();
    let client = server.client();
    client.stock("cup", 10);
    let (status, said) = server.options().start_and_fail();
    assert!(!status.success(), "{status}: {said}");
    assert!(said.contains("in use"), "{said}");
    let folder = server.options().data_dir().to_string_lossy().into_owned();
    assert!(said.contains(&folder), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    // The first one has not noticed.
    let order = client.order(&Order::of(&[("cup", 1)]));
    expect_end(&order, "CONFIRMED", "COMPLETED");
    let server = server.restart();
    server.client().expect_stock("cup", 9, 0, 1);
}

#[test]
fn a_port_that_is_taken_is_told_in_a_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let (status, said) = Options::new().listen(&address).start_and_fail();
    assert!(!status.success(), "{status}: {said}");
    assert!(
        said.contains(&address) && said.contains("already in use"),
        "{said}"
    );
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_name() {
    let options = Options::new()
        .flag("--hold", "1m")
        .flag("--saga-timeout", "5m");
    let (status, said) = options.start_and_fail();
    assert!(!status.success(), "{status}: {said}");
    for named in ["hold", "1m", "saga_timeout", "5m"] {
        assert!(said.contains(named), "{named}: {said}");
    }
    assert!(
        !options.data_dir().exists(),
        "a refused start leaves nothing behind"
    );
}

#[test]
fn health_says_what_there_is_to_say() {
    let server = Server::start();
    let client = server.client();
    for path in ["/health", "/health/live", "/health/ready"] {
        let health = client.get(path).expect(200).json();
        assert_eq!(health["status"], "ok", "{path}");
        assert_eq!(health["service"], "a4co");
        assert!(health["checks"].is_object());
    }
    let metrics = client.get("/metrics").expect(200).text();
    for name in [
        "http_requests_total",
        "saga_started_total",
        "saga_active_count",
    ] {
        assert!(
            metrics.contains(name),
            "{name}:
{metrics}"
        );
    }
}
