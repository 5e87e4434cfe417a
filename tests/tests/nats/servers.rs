//! The NATS servers themselves fail: one that is killed with everything it has, and one of
//! three.

use std::collections::BTreeMap;

use a4co_tests::Server;
use a4co_tests::cluster::{Buyers, expect_kept, expect_verified, stock};
use a4co_tests::nats::{NatsCluster, NatsServer};

use crate::cluster::{addresses, expect_all_to_agree, options};

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
    let acknowledged = buyers.stop();
    for server in &servers {
        expect_kept(&server.client(), &acknowledged, "cup");
    }
    let received = BTreeMap::from([("cup".to_owned(), 1_000_000)]);
    expect_all_to_agree(&servers, &received);
    expect_verified(&nats.url());
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
    let acknowledged = buyers.stop();
    for server in &servers {
        expect_kept(&server.client(), &acknowledged, "cup");
    }
    let received = BTreeMap::from([("cup".to_owned(), 1_000_000)]);
    expect_all_to_agree(&servers, &received);
    expect_verified(&nats.urls());
}
