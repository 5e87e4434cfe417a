//! The NATS servers themselves fail: one that is killed with everything it has, and one of
//! three.

use a4co_tests::cluster::{Buyers, expect_kept, expect_verified, stock};
use a4co_tests::nats::{NatsCluster, NatsServer};
use a4co_tests::server::run;
use a4co_tests::{Server, until};

use crate::cluster::{addresses, expect_good_end, options};

#[test]
fn the_only_server_is_killed_and_comes_back() {
    let mut nats = NatsServer::start(&[]);
    let servers: Vec<Server> = (0..2).map(|_| options(&nats.url()).start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    for _ in 0..3 {
        buyers.expect_more(20);
        nats.kill();
        nats.launch();
    }
    buyers.expect_more(20);
    expect_good_end(buyers, &servers, &nats.url());
}

#[test]
fn a_cluster_of_three_loses_each_of_its_servers_once() {
    let mut nats = NatsCluster::start();
    let options = || options(&nats.urls()).flag("--nats-replicas", "3");
    let servers: Vec<Server> = (0..3).map(|_| options().start()).collect();
    stock(&servers, "cup", 1_000_000);
    let buyers = Buyers::start(4, "cup", &addresses(&servers));
    buyers.expect_more(20);
    for place in 0..3 {
        nats.kill(place);
        buyers.expect_more(20);
        nats.launch(place);
        buyers.expect_more(20);
    }
    // All at once, as when the power goes in one room.
    for place in 0..3 {
        nats.kill(place);
    }
    for place in 0..3 {
        nats.launch(place);
    }
    buyers.expect_more(20);
    println!("the slowest order took {:?}", buyers.slowest());
    expect_good_end(buyers, &servers, &nats.urls());
}

#[test]
fn without_a_quorum_nobody_is_ready_and_all_go_on_by_themselves_once_it_is_back() {
    let mut nats = NatsCluster::start();
    let options = || options(&nats.urls()).flag("--nats-replicas", "3");
    let servers: Vec<Server> = (0..2).map(|_| options().start()).collect();
    stock(&servers, "cup", 1_000_000);
    let ready = |server: &Server| {
        let answer = server.client().get("/health/ready");
        (answer.status, answer.text().to_owned())
    };
    let urls = nats.urls();
    nats.kill(1);
    nats.kill(2);
    for server in &servers {
        until("a process that is not ready", || match ready(server) {
            (503, why) if why.contains("not writable") => Ok(()),
            other => Err(format!("{other:?}")),
        });
        // What was shown can still be read.
        server.client().expect_stock("cup", 1_000_000, 0, 0);
    }
    let status = run(&["nats", "status", "--nats", &urls]);
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert_eq!(status.status.code(), Some(1), "{told}");
    assert!(
        told.contains("does not answer") || told.contains("is there a quorum?"),
        "{told}"
    );

    nats.launch(1);
    nats.launch(2);
    for server in &servers {
        until("a process that is ready", || match ready(server) {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    let buyers = Buyers::start(2, "cup", &addresses(&servers));
    buyers.expect_more(10);
    let acknowledged = buyers.stop();
    for server in &servers {
        expect_kept(&server.client(), &acknowledged, "cup");
        // Nobody asks for a lease without a pause.
        let refused = server
            .logged()
            .matches("a lease could not be written")
            .count();
        assert!(refused < 1_000, "{refused}");
    }
    expect_verified(&urls);
}
