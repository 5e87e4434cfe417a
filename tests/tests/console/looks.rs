//! What every page keeps to, in light, in dark and on a telephone, and without a mouse.

use a4co_tests::browser::{Browser, DESK, Look, PHONE, keys};
use a4co_tests::{Order, shop as sales};
use serde_json::json;

use crate::endless_shop;

/// Texts whose contrast is below what WCAG 2.2 asks for (AA: 4.5, or 3 for large ones).
const FAINT: &str = r"
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const light = (colour) => { const [r, g, b] = colour.map((it) => it / 255).map((it) => it <= .04045 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const behind = (it) => { for (; it; it = it.parentElement) { const found = rgb(getComputedStyle(it).backgroundColor); if (found[3] !== 0) return found.slice(0, 3); } return [255, 255, 255]; };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), faint = [];
    for (let node; node = walker.nextNode();) {
        const it = node.parentElement, style = getComputedStyle(it);
        if (!node.data.trim() || !it.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || it.closest('noscript, .hidden, .skip, :disabled, option, #toast')) continue;
        const svg = it instanceof SVGElement;
        const [a, b] = [light(rgb(svg ? style.fill : style.color).slice(0, 3)), light(behind(it))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05), large = parseFloat(style.fontSize) >= 24;
        if (ratio < (large ? 3 : 4.5)) faint.push(`${node.data.trim()} ${ratio.toFixed(2)}`);
    }
    return faint;";

/// Controls without a name, of which a screen reader could not say what they are.
const NAMELESS: &str = "return [...document.querySelectorAll('button, a, input, select, [role=region], svg[role=img]')]
    .filter((it) => !(it.innerText || it.labels?.length || it.getAttribute('aria-label') || it.querySelector('title')))
    .map((it) => it.outerHTML.slice(0, 120))";

#[test]
fn every_page_in_light_in_dark_and_on_a_telephone() {
    let server = endless_shop();
    let client = server.client();
    let mut last = String::new();
    for number in 0..12 {
        let method = ["pm_card_ok", "pm_card_declined", "pm_card_timeout"][number % 3];
        let order = Order::of(
            &[("espresso-cup", 2), ("grinder", u64::from(number == 9))]
                [..1 + usize::from(number == 9)],
        )
        .with("customerId", json!(format!("customer-{}", number % 4)))
        .paid_by(method);
        sales::id(&client.order(&order)).clone_into(&mut last);
    }
    let parked = client.place(&Order::of(&[("espresso-cup", 1)]).paid_by("pm_card_undo_fails"));
    let _ = client.cancel(sales::id(&parked), "no patience").expect(200);
    let pages = [
        ("overview", "/", "Success rate"),
        ("list", "/orders", "customer-3"),
        ("order", &format!("/orders/{last}"), "Created"),
        ("stock", "/stock", "Burr grinder"),
        ("product", "/stock/espresso-cup", "On hand"),
        ("parked", "/parked", "Dead letters"),
        ("test-order", "/test-order", "Card declined"),
        ("cluster", "/cluster", "This process is everything"),
    ];
    let looks = [
        ("light", DESK),
        ("dark", Look { dark: true, ..DESK }),
        ("phone", PHONE),
        (
            "phone-dark",
            Look {
                dark: true,
                ..PHONE
            },
        ),
    ];
    for (look_name, look) in looks {
        let browser = Browser::open(server.address(), look);
        for (name, path, text) in pages {
            browser.go(path);
            browser.see(text);
            browser.wait(
                "the feed",
                "return document.querySelector('#link').innerText === 'live'",
            );
            browser.expect_no_sideways_scrolling();
            assert_eq!(
                browser.eval(FAINT),
                json!([]),
                "too faint on {path}, {look_name}"
            );
            assert_eq!(browser.eval(NAMELESS), json!([]), "nameless on {path}");
            browser.picture(&format!("{name}-{look_name}"));
        }
        let background = browser.eval("return getComputedStyle(document.body).backgroundColor");
        let is_dark = background == "rgb(16, 16, 20)";
        assert_eq!(is_dark, look.dark, "{background}");
        // The button is for those who prefer it the other way, and is remembered.
        browser.click("#theme");
        browser.go("/");
        let other = browser.eval("return getComputedStyle(document.body).backgroundColor");
        assert_ne!(other, background);
        browser.close();
    }
}

#[test]
fn the_keyboard_is_enough() {
    let server = endless_shop();
    let client = server.client();
    let browser = Browser::open(server.address(), DESK);
    browser.keys(keys::TAB);
    assert_eq!(
        browser.eval("return document.activeElement.className"),
        "skip"
    );
    browser.tab_to("Test order");
    browser.keys(keys::ENTER);
    browser.see("How it is to end");
    browser.tab_to("Slow card");
    browser.keys(keys::ENTER);
    browser.see("Time-out of the saga");
    browser.tab_to("Cancel…");
    browser.keys(keys::ENTER);
    browser.see("Cancel this order?");
    browser.tab_to("Cancel the order");
    browser.keys(keys::ENTER);
    browser.see("Reservation released");
    // The focus is where it was, or on what took its place; it is not lost.
    browser.tab_to("Stock");
    browser.keys(keys::ENTER);
    browser.tab_to("grinder");
    browser.keys(keys::ENTER);
    browser.tab_to("Units, below zero to write off");
    browser.keys("5");
    browser.tab_to("Reason");
    browser.keys("count");
    browser.keys(keys::ENTER);
    browser.see("Receive 5?");
    browser.tab_to("Receive");
    browser.keys(keys::ENTER);
    browser.see("The stock was adjusted.");
    client.expect_stock("grinder", 8, 0, 0);
    browser.close();
}
