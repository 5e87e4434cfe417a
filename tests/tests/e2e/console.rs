//! The console's page and files, and the live feed that they read.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use a4co_tests::Options;
use a4co_tests::shop::{self, Order};

#[test]
fn the_page_and_every_file_that_it_names_are_there() {
    let server = Options::new().start();
    let client = server.client();
    let page = client.get("/").expect(200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    let text = page.text();
    let files: Vec<_> = text
        .split(['"', '\''])
        .filter(|part| part.starts_with("/console/"))
        .collect();
    assert!(files.len() >= 4, "{text}");
    for file in files {
        client.get(file).expect(200);
    }
    for page in ["/orders", "/stock", "/parked", "/test-order", "/cluster"] {
        assert_eq!(client.get(page).expect(200).text(), text, "{page}");
    }
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "{text}"
    );
}

#[test]
fn the_feed_says_hello_names_a_new_order_and_ends_with_the_server() {
    let server = Options::new().start();
    let stream = TcpStream::connect(server.address()).expect("a connection");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a time-out");
    (&stream)
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: a4co\r\n\r\n")
        .expect("a request");
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let status = lines.next().expect("a status line");
    assert!(status.contains("200"), "{status}");
    assert!(lines.any(|line| line == "event: hello"), "no hello");
    let client = server.client();
    client.stock("mug", 5);
    let order = client.place(&Order::of(&[("mug", 1)]));
    let order_id = shop::id(&order).to_owned();
    assert!(
        lines.any(|line| line.contains(&order_id)),
        "the order is not told of"
    );
    assert!(
        server.stop().success(),
        "an open feed keeps nobody from stopping"
    );
    assert_eq!(lines.last().filter(|line| line.contains("resync")), None);
}
