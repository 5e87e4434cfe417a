//! A server that goes away, and comes back.

use a4co_tests::browser::{Browser, DESK};

use crate::shop;

#[test]
fn pages_that_were_left_hold_no_connection() {
    let server = shop();
    let browser = Browser::open(server.address(), DESK);
    // More than the connections that a browser opens to one server.
    for _ in 0..4 {
        for (path, text) in [("/orders", "No order fits."), ("/stock", "Burr grinder")] {
            browser.go(path);
            browser.see(text);
            browser.wait(
                "the feed",
                "return document.querySelector('#link').innerText === 'live'",
            );
        }
    }
    browser.eval("history.back()");
    browser.see("No order fits.");
    browser.wait(
        "the feed of a page that was kept",
        "return document.querySelector('#link').innerText === 'live'",
    );
    browser.close();
}

#[test]
fn without_the_feed_nothing_old_is_shown_as_if_it_were_now() {
    let server = shop();
    let options = server
        .options()
        .clone()
        .listen(&server.address().to_string());
    let mut browser = Browser::open(server.address(), DESK);
    browser.see("recovery, journal and store are well");
    server.kill();
    browser.see("reconnecting");
    browser.see("Unknown");
    let text = browser.text("main");
    assert!(!text.contains("are well"), "{text}");
    browser.picture("outage");
    browser.press("Orders");
    browser.see("The service cannot be reached. Is it running?");
    let server = options.start();
    browser.see("No order fits.");
    browser.press("Overview");
    browser.see("recovery, journal and store are well");
    // Connections that were refused.
    browser.forgive();
    assert!(server.stop().success());
    browser.forgive();
    browser.close();
}
