//! Orders: placed with the form, followed, cancelled, refunded, and nudged when parked.

use a4co_tests::browser::{Browser, DESK, keys};
use a4co_tests::{Client, Order, shop as sales};

use crate::{endless_shop, shop};

/// The id of the order whose page is shown.
fn shown(browser: &Browser) -> String {
    browser.wait(
        "an order's page",
        "return /^.orders.[0-9a-f-]{36}$/.test(location.pathname)",
    );
    browser.path().replace("/orders/", "")
}

#[track_caller]
fn wait_for_badge(browser: &Browser, words: &str) {
    let script = format!("return document.querySelector('h1 .badge')?.innerText === '{words}'");
    browser.wait(&format!("the order to be {words}"), &script);
}

/// Waits until the timeline's steps are these, in this order, whatever is owed after them.
#[track_caller]
fn wait_for_steps(browser: &Browser, steps: &[&str]) {
    let script = "return [...document.querySelectorAll('.timeline li:not(.wait) b')].map((it) => it.innerText).join(', ')";
    a4co_tests::until("the timeline", || {
        let said = browser.eval(script);
        let wanted = steps.join(", ");
        if said == wanted.as_str() {
            Ok(())
        } else {
            Err(format!("{said} instead of {wanted}"))
        }
    });
}

fn slow_order(client: &Client, method: &str) -> String {
    let order = client.place(&Order::of(&[("espresso-cup", 2)]).paid_by(method));
    sales::id(&order).to_owned()
}

#[test]
fn each_outcome_is_placed_with_the_form_and_its_steps_are_shown() {
    let server = shop();
    let browser = Browser::open(server.address(), DESK);
    // Apart from the one that would be parked, which has a test of its own.
    let paid = [
        "Created",
        "Inventory reserved",
        "Payment requested",
        "Payment succeeded",
        "Confirmed",
    ];
    let declined = [
        "Created",
        "Inventory reserved",
        "Payment requested",
        "Compensation requested",
        "Reservation released",
        "Stock undone",
        "Cancelled",
    ];
    for (outcome, status, steps) in [
        ("success", "Confirmed", &paid[..]),
        ("declined", "Cancelled", &declined),
        ("timeout", "Confirmed", &paid),
        ("timeout-fails", "Cancelled", &declined),
        ("slow", "Confirmed", &paid),
        ("out-of-stock", "Failed", &["Created", "Out of stock"]),
        ("short-hold", "Confirmed", &paid),
        ("cancel", "Cancelled", &[]),
    ] {
        browser.press("Test order");
        browser.click(&format!("[data-outcome={outcome}]"));
        let order_id = shown(&browser);
        wait_for_badge(&browser, status);
        println!("{outcome}: {order_id}");
        if !steps.is_empty() {
            wait_for_steps(&browser, steps);
        }
        assert_eq!(browser.text("code"), order_id);
    }
    // The last one was cancelled while it was charged: both undos are told.
    for step in [
        "Compensation requested",
        "Reservation released",
        "Payment undone",
    ] {
        browser.see(step);
    }
    assert!(server.client().all_orders("").len() == 8);
    browser.close();
}

#[test]
fn an_order_is_followed_to_its_end_without_a_reload() {
    let server = endless_shop();
    let client = server.client();
    let browser = Browser::open(server.address(), DESK);
    browser.go("/orders");
    browser.see("No order fits.");
    browser.eval("window.stays = true");
    let order_id = slow_order(&client, "pm_card_slow");
    let row = format!("[data-order='{order_id}']");
    browser.wait(
        "the row of a new order",
        &format!("return !!document.querySelector(\"{row}\")"),
    );
    browser.click(&format!("{row} a"));
    browser.see("Time-out of the saga");
    let _ = client.cancel(&order_id, "by somebody else").expect(200);
    wait_for_badge(&browser, "Cancelled");
    browser.press("Overview");
    browser.wait(
        "the counts of the feed",
        "return [...document.querySelectorAll('.bars li')].some((it) => it.innerText.includes('Cancelled') && it.querySelector('b').innerText === '1')",
    );
    assert_eq!(browser.eval("return window.stays"), true);
    browser.close();
}

#[test]
fn nothing_is_cancelled_or_refunded_without_a_confirmation() {
    let server = endless_shop();
    let client = server.client();
    let browser = Browser::open(server.address(), DESK);
    let order_id = slow_order(&client, "pm_card_slow");
    browser.go(&format!("/orders/{order_id}"));
    browser.press("Cancel…");
    browser.see("Cancel this order?");
    browser.picture("cancel-dialog");
    browser.keys(keys::ESCAPE);
    browser.wait("no dialog", "return !document.querySelector('dialog')");
    assert_eq!(
        client.look(&order_id)["cancellationReason"],
        serde_json::Value::Null
    );
    browser.press("Cancel…");
    browser.fill("dialog input", "changed their mind");
    browser.press("Cancel the order");
    wait_for_badge(&browser, "Cancelled");
    browser.see("changed their mind");

    let paid = client.order(&Order::of(&[("espresso-cup", 4)]));
    browser.go(&format!("/orders/{}", sales::id(&paid)));
    browser.press("Refund…");
    browser.see("Up to 38.00 EUR can be given back.");
    browser.fill("dialog input", "12,50");
    browser.press("Refund");
    browser.see("Give an amount such as 12.50.");
    browser.fill("dialog input", "99");
    browser.press("Refund");
    browser.wait(
        "the service's own words",
        "return /more|exceed|charge/i.test(document.querySelector('dialog .problem')?.innerText ?? '')",
    );
    browser.fill("dialog input", "12.50");
    browser.press("Refund");
    browser.see("Refund succeeded");
    browser.press("Refund…");
    browser.see("Up to 25.50 EUR can be given back.");
    browser.press("Keep as it is");
    let mut browser = browser;
    // That one amount was refused is in the browser's log, as it should be.
    browser.forgive();
    browser.close();
}

#[test]
fn a_parked_refund_of_a_confirmed_order_is_shown() {
    let server = shop();
    let client = server.client();
    let browser = Browser::open(server.address(), DESK);
    browser.go("/parked");
    browser.see("No payment needs an operator.");
    // Charged after the three seconds of a slow card; its first eight undos fail.
    let order = client.order(&Order::of(&[("espresso-cup", 1)]).paid_by("pm_card_undo_fails"));
    let order_id = sales::id(&order).to_owned();
    let path = format!("/api/v1/payments/pay_{order_id}/refund");
    let asked = client.ask("POST", &path).header("prefer", "wait=0");
    let _ = asked.send().expect(200);
    browser.wait(
        "the payment's row",
        &format!("return document.querySelector(\"[data-payment='{order_id}']\")?.innerText.includes('Refund')"),
    );
    browser.see("No saga needs an operator.");
    browser.picture("parked-payment");
    browser.click(&format!("[data-payment='{order_id}'] a"));
    browser.press("Try again…");
    browser.press("Try again");
    browser.see("Refund succeeded");
    browser.go("/parked");
    browser.see("No payment needs an operator.");
    browser.close();
}

#[test]
fn a_parked_saga_is_shown_and_tried_again() {
    let server = endless_shop();
    let client = server.client();
    let browser = Browser::open(server.address(), DESK);
    browser.go("/parked");
    browser.see("No saga needs an operator.");
    browser.see("This process publishes nothing there: there are none.");
    let order_id = slow_order(&client, "pm_card_undo_fails");
    let _ = client.cancel(&order_id, "no patience").expect(200);
    browser.see("Parked");
    browser.click(&format!("[data-order='{order_id}'] a"));
    browser.see("the gateway did not take the undo");
    browser.picture("parked-order");
    browser.press("Overview");
    browser.wait(
        "an alarm on the overview",
        "return document.querySelector('.tile.bad')?.innerText.includes('wait for an operator')",
    );
    browser.go(&format!("/orders/{order_id}"));
    browser.press("Try again…");
    browser.press("Try again");
    browser.see("Another try was asked for.");
    browser.see("Retry requested");
    wait_for_badge(&browser, "Cancelled");
    browser.press("Parked");
    browser.see("No saga needs an operator.");
    browser.close();
}
