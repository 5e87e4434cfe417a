//! What may be typed, what is then asked of a server, and what a shell learns of it.
//!
//! The server here is a socket that says what it was told to say: the real one is tested
//! end to end, with the real binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use clap::{CommandFactory, Parser};

use super::*;

fn parse(line: &str) -> Result<Cli, String> {
    let words = std::iter::once("a4co").chain(line.split_whitespace());
    Cli::try_parse_from(words).map_err(|error| error.to_string())
}

/// What a server was asked: the request line, the headers in lower case, the body.
struct Asked {
    line: String,
    headers: Vec<String>,
    body: String,
}

/// A server that gives these answers (status and body), one to a connection.
fn server(answers: &[(u16, &str)]) -> (String, JoinHandle<Vec<Asked>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let answers: Vec<(u16, String)> = answers
        .iter()
        .map(|(status, body)| (*status, (*body).to_owned()))
        .collect();
    let serving = std::thread::spawn(move || {
        let answer = |(status, body): (u16, String)| {
            let (stream, _) = listener.accept().expect("a client");
            serve_one(stream, status, &body)
        };
        answers.into_iter().map(answer).collect()
    });
    (url, serving)
}

fn serve_one(mut stream: TcpStream, status: u16, body: &str) -> Asked {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let mut line = String::new();
    reader.read_line(&mut line).expect("a request line");
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).expect("a header");
        match header.trim_end() {
            "" => break,
            header => headers.push(header.to_ascii_lowercase()),
        }
    }
    let length = headers
        .iter()
        .find_map(|header| header.strip_prefix("content-length: "));
    let mut asked = vec![0; length.map_or(0, |length| length.parse().expect("a number"))];
    reader.read_exact(&mut asked).expect("a body");
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()))
        .expect("sent");
    let body = String::from_utf8(asked).expect("UTF-8");
    Asked {
        line: line.trim_end().to_owned(),
        headers,
        body,
    }
}

/// Runs a client command against a server with one answer.
#[track_caller]
fn run(line: &str, status: u16, body: &str) -> (Exit, Asked) {
    let (url, serving) = server(&[(status, body)]);
    let exit = run_at(&format!("{line} --url {url}"));
    let asked = serving
        .join()
        .expect("the server")
        .pop()
        .expect("asked once");
    (exit, asked)
}

#[track_caller]
fn run_at(line: &str) -> Exit {
    let cli = parse(line).expect("a good command");
    match cli.command.expect("a command") {
        Command::Order(command) => run_order(&command, cli.json),
        Command::Stock(command) => run_stock(&command, cli.json),
        other => panic!("{other:?} asks no server"),
    }
}

const ORDER: &str = r#"{"orderId":"019a","customerId":"c-1","status":"CONFIRMED","sagaState":"COMPLETED",
    "items":[{"productId":"tea","quantity":2,"price":1.50}],"totalAmount":3.00,"currency":"EUR",
    "parked":false,"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:01.000Z",
    "history":[{"at":"2026-01-01T00:00:00.000Z","state":"STARTED","detail":"order accepted"}]}"#;

const PRODUCT: &str = r#"{"productId":"tea","name":"Tea","price":1.50,"currency":"EUR",
    "onHandQuantity":5,"availableQuantity":3,"reservedQuantity":2,"soldQuantity":0}"#;

#[test]
fn the_definitions_agree_with_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn nothing_typed_is_a_command_too() {
    assert!(parse("").expect("good").command.is_none());
}

#[test]
fn serve_takes_a_flag_for_each_setting() {
    let line =
        "serve --listen 127.0.0.1:0 --data-dir d --nats nats://h --demo-products --json --config f";
    let cli = parse(line).expect("good");
    assert!(cli.json);
    assert_eq!(cli.config.as_deref(), Some(std::path::Path::new("f")));
    let Some(Command::Serve(flags)) = cli.command else {
        panic!("not serve");
    };
    assert!(flags.demo_products);
    let given = [
        ("listen", "127.0.0.1:0"),
        ("data_dir", "d"),
        ("nats_url", "nats://h"),
    ];
    let given = given.map(|(key, value)| (key, value.to_owned()));
    assert_eq!(flags.settings.given, given);
    assert!(
        parse("serve --stripe-secret-key sk_x").is_err(),
        "secrets have no flag"
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for line in [
        "serve --listn x",
        "order",
        "order get",
        "order list --limit 101",
        "order cancel x --wait 31",
        "stock set tea",
        "stock adjust tea",
        "stock adjust tea five --reason x",
        "stock adjust tea 5",
        "backup",
        "fly",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    for line in [
        "config --listen x",
        "verify --data-dir d --url http://h",
        "backup to --data-dir d",
        "restore from --force",
        "stock adjust tea -5 --reason broken",
        "order list --all --status CONFIRMED",
    ] {
        parse(line).expect(line);
    }
}

#[test]
fn an_order_is_asked_for_and_shown() {
    let (exit, asked) = run("order get 019a", 200, ORDER);
    assert_eq!(exit, Exit::Done);
    assert_eq!(asked.line, "GET /api/v1/orders/019a HTTP/1.1");
    let (exit, _) = run("--json order get 019a", 200, ORDER);
    assert_eq!(exit, Exit::Done);
}

#[test]
fn a_list_asks_for_what_was_typed_and_follows_its_cursor() {
    let page = |next: &str| format!(r#"{{"data":[{ORDER}],"nextCursor":{next}}}"#);
    let (url, serving) = server(&[(200, &page("\"a b\"")), (200, &page("null"))]);
    let line = format!("order list --all --status CONFIRMED --customer c/1 --limit 5 --url {url}");
    assert_eq!(run_at(&line), Exit::Done);
    let lines: Vec<String> = serving
        .join()
        .expect("the server")
        .into_iter()
        .map(|asked| asked.line)
        .collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/orders?status=CONFIRMED&customerId=c%2F1&limit=5 HTTP/1.1",
            "GET /api/v1/orders?status=CONFIRMED&customerId=c%2F1&cursor=a%20b&limit=5 HTTP/1.1",
        ]
    );
}

#[test]
fn a_cancel_sends_its_reason_its_key_and_its_patience() {
    let line = "order cancel 019a --reason changed --wait 5 --idempotency-key k-1";
    let (exit, asked) = run(line, 200, ORDER);
    assert_eq!(exit, Exit::Done);
    assert_eq!(asked.line, "POST /api/v1/orders/019a/cancel HTTP/1.1");
    assert_eq!(asked.body, r#"{"reason":"changed"}"#);
    for header in [
        "idempotency-key: k-1",
        "prefer: wait=5",
        "content-type: application/json",
    ] {
        assert!(
            asked.headers.iter().any(|sent| sent == header),
            "{:?}",
            asked.headers
        );
    }
}

#[test]
fn every_post_has_a_key_of_its_own() {
    let key = |asked: &Asked| {
        let mut headers = asked.headers.iter();
        headers.find_map(|header| header.strip_prefix("idempotency-key: ").map(str::to_owned))
    };
    let (_, first) = run("order retry 019a", 200, ORDER);
    let (_, second) = run("stock adjust tea -5 --reason broken", 200, PRODUCT);
    let (first_key, second_key) = (key(&first), key(&second));
    assert!(first_key.is_some() && second_key.is_some() && first_key != second_key);
    assert_eq!(
        second.line,
        "POST /api/v1/inventory/products/tea/adjustments HTTP/1.1"
    );
    assert_eq!(second.body, r#"{"delta":-5,"reason":"broken"}"#);
}

#[test]
fn a_product_is_described_digit_by_digit() {
    let line = "stock set a/b --price 29.90 --currency EUR --on-hand 7";
    let (exit, asked) = run(line, 201, PRODUCT);
    assert_eq!(exit, Exit::Done);
    assert_eq!(asked.line, "PUT /api/v1/inventory/products/a%2Fb HTTP/1.1");
    assert_eq!(
        asked.body,
        r#"{"price":29.90,"currency":"EUR","onHandQuantity":7}"#
    );
    assert_eq!(
        run_at("stock set tea --price cheap --url http://127.0.0.1:1"),
        Exit::Usage
    );
    let (exit, asked) = run(
        "stock get",
        200,
        &format!(r#"{{"data":[{PRODUCT}],"nextCursor":null}}"#),
    );
    assert_eq!(
        (exit, asked.line.as_str()),
        (Exit::Done, "GET /api/v1/inventory/products HTTP/1.1")
    );
    assert_eq!(run("stock get tea", 200, PRODUCT).0, Exit::Done);
}

#[test]
fn exit_codes_tell_failures_apart() {
    let problem = r#"{"type":"x","title":"t","status":404,"code":"order_not_found","detail":"d",
        "errors":[{"pointer":"/reason","code":"c","detail":"is empty"}]}"#;
    for (status, exit) in [
        (400, Exit::Failed),
        (404, Exit::NotFound),
        (409, Exit::Failed),
        (422, Exit::Failed),
        (429, Exit::TryLater),
        (500, Exit::Failed),
        (503, Exit::TryLater),
        (507, Exit::TryLater),
    ] {
        assert_eq!(run("order get 019a", status, problem).0, exit, "{status}");
    }
    assert_eq!(run("order get 019a", 200, "<html>").0, Exit::Failed);
    assert_eq!(run("order get 019a", 404, "<html>").0, Exit::NotFound);
    assert_eq!(run_at("order get x --url https://h"), Exit::Usage);
    assert_eq!(run_at("order get x --url h:1"), Exit::Usage);
    // A port that was just free.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    assert_eq!(
        run_at(&format!("order get x --url {url}")),
        Exit::Unreachable
    );
    let codes = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::Unreachable,
        Exit::NotFound,
        Exit::TryLater,
    ];
    assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 5]);
}
