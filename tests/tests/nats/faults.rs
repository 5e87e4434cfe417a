//! Journals that are not what they were: nobody goes on as if nothing had happened.

use a4co_tests::cluster::{readiness, stock};
use a4co_tests::nats::NatsServer;
use a4co_tests::{Order, Server, until};

use crate::cluster::options;

fn expect_halted(server: &Server, participant: &str, reason: &str) {
    let client = server.client();
    until("a participant that has stopped", || {
        let metrics = client.get("/metrics").expect(200);
        let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
        metrics
            .contains(&format!(
                "participant_halted{{participant=\"{participant}\"}} 1"
            ))
            .then_some(())
            .ok_or_else(|| "it goes on".to_owned())
    });
    until("a process that says so", || {
        let (status, said) = readiness(&client);
        (status == 503)
            .then_some(())
            .ok_or_else(|| said.to_string())
    });
    assert!(server.logged().contains(reason), "{}", server.logged());
    let refused = client.post("/api/v1/orders", Order::of(&[("cup", 1)]).body());
    assert_eq!(refused.status, 503, "{refused:?}");
    // What was shown before can still be read.
    assert_eq!(client.product("cup")["productId"], "cup");
}

#[test]
fn a_foreign_message_in_a_journal_stops_every_process() {
    let nats = NatsServer::start(&[]);
    let servers = [options(&nats.url()).start(), options(&nats.url()).start()];
    stock(&servers, "cup", 10);
    let _ = servers[1].client().order(&Order::of(&[("cup", 1)]));
    nats.publish("a4co.journal.order", b"{\"hello\": \"there\"}");
    for server in &servers {
        expect_halted(server, "order", "is no entry of this journal");
    }
}

#[test]
fn a_stream_that_was_made_anew_is_refused() {
    let nats = NatsServer::start(&[]);
    let server = options(&nats.url()).start();
    server.client().stock("cup", 10);
    let _ = server.client().order(&Order::of(&[("cup", 1)]));
    nats.publish("$JS.API.STREAM.DELETE.A4CO_JOURNAL_ORDER", b"");
    expect_halted(&server, "order", "but");

    let options = server.options().clone();
    server.kill();
    let (status, said) = options.start_and_fail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("stream A4CO_JOURNAL_ORDER is missing"),
        "{said}"
    );
    let made = a4co_tests::server::run(&["nats", "setup", "--nats", &nats.url()]);
    assert!(made.status.success());
    let (status, said) = options.start_and_fail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("these are other journals"), "{said}");
}

#[test]
fn a_folder_of_an_embedded_engine_is_refused() {
    let nats = NatsServer::start(&[]);
    let embedded = Server::start();
    let folder = embedded.options().clone();
    assert!(embedded.stop().success());
    let (status, said) = folder.flag("--nats", &nats.url()).start_and_fail();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("holds an embedded journal"), "{said}");
}
