//! The console of a process whose journals are on NATS: who leads, and orders as ever.

use a4co_tests::browser::{Browser, DESK};
use a4co_tests::cluster::expect_to_lead;
use a4co_tests::nats::NatsServer;
use a4co_tests::{Options, Order, shop as sales};

#[test]
fn a_cluster_shows_its_leaders_and_a_follower_shows_what_the_leader_decides() {
    let nats = NatsServer::start(&[]);
    let options = || {
        Options::new()
            .flag("--nats", &nats.url())
            .flag("--lease", "2s")
    };
    let first = options().start();
    let client = first.client();
    expect_to_lead(&first, &["order", "inventory", "payment"]);
    let second = options().start();
    client.stock("espresso-cup", 20);

    // The one that follows.
    let browser = Browser::open(second.address(), DESK);
    browser.press("Cluster");
    browser.see(&first.address().to_string());
    browser.see(&second.address().to_string());
    browser.picture("cluster-of-two");
    browser.press("Stock");
    browser.see("espresso-cup");
    let order = client.order(&Order::of(&[("espresso-cup", 2)]));
    browser.press("Orders");
    browser.wait(
        "the order that the other process decided",
        &format!(
            "return document.querySelector(\"[data-order='{}']\")?.innerText.includes('Confirmed')",
            sales::id(&order)
        ),
    );
    browser.press("Parked");
    browser.see("No consumer of the public events has given up on a message.");

    // Whoever is left leads, and the page says so without being loaded again.
    browser.press("Cluster");
    first.kill();
    browser.wait(
        "the second to lead all three",
        "return document.querySelectorAll('main .badge.good').length >= 3 && [...document.querySelectorAll('main tr')].filter((it) => it.innerText.includes('(this one)') && /leads/i.test(it.innerText)).length === 3",
    );
    let mut browser = browser;
    // While nobody led, some answers were refusals.
    browser.forgive();
    browser.close();
}
