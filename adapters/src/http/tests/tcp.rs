//! The server over a real socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::shop::Shop;
use crate::http::server::{BindError, Drained, ServerSettings, bind, serve};

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Drained>,
}

async fn served(shop: &Shop, settings: ServerSettings) -> Served {
    let listener = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve(listener, shop.router.clone(), settings, stopped));
    Served {
        address,
        stop,
        server,
    }
}

/// Sends bytes and reads until the other side closes.
async fn talk(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_taken_port_is_a_sentence() {
    let first = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
    let address = first.local_addr().expect("an address");
    let error = bind(address).await.expect_err("it is taken");
    assert!(matches!(error, BindError::InUse(_)));
    let text = error.to_string();
    assert!(
        text.contains(&address.to_string()) && text.contains("--listen"),
        "{text}"
    );
    let error = bind(([192, 0, 2, 1], 0).into())
        .await
        .expect_err("not ours");
    assert!(matches!(error, BindError::NotHere(_)), "{error}");
}

#[tokio::test]
async fn requests_under_way_finish_and_new_ones_find_nobody() {
    let shop = Shop::open().await;
    let served = served(&shop, ServerSettings::default()).await;
    let body = r#"{"customerId":"c","items":[{"productId":"sku-1","quantity":1}],"paymentMethodId":"pm_silent"}"#;
    let request = format!(
        "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nprefer: wait=30\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let waiting = tokio::spawn(async move { talk(served.address, &request).await });
    let idle = TcpStream::connect(served.address)
        .await
        .expect("a connection");
    tokio::time::sleep(Duration::from_millis(200)).await;
    shop.readiness.set_draining();
    served.stop.send(()).expect("the server runs");
    let answer = waiting.await.expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.contains("preference-applied: wait=30"), "{answer}");
    assert_eq!(served.server.await.expect("no panic"), Drained::Complete);
    assert!(TcpStream::connect(served.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_request_that_never_ends_is_cut_off() {
    let shop = Shop::open().await;
    let settings = ServerSettings {
        drain_timeout: Duration::from_millis(100),
        ..ServerSettings::default()
    };
    let served = served(&shop, settings).await;
    let request = "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    let slow = tokio::spawn(talk(served.address, request));
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.stop.send(()).expect("the server runs");
    let drained = served.server.await.expect("no panic");
    assert_eq!(drained, Drained::CutOff { connections: 1 });
    assert_eq!(slow.await.expect("no panic"), "");
}

#[tokio::test]
async fn slow_and_large_heads_are_turned_away() {
    let shop = Shop::open().await;
    let settings = ServerSettings {
        header_timeout: Duration::from_millis(200),
        head_bytes_max: 8 * 1024,
        ..ServerSettings::default()
    };
    let served = served(&shop, settings).await;
    let started = std::time::Instant::now();
    let answer = talk(served.address, "GET /health HTTP/1.1\r\nhost: ").await;
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Nor may a connection do nothing for long, at first or after an answer.
    assert_eq!(talk(served.address, "").await, "");
    let answer = talk(served.address, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(5));
    let large = format!(
        "GET /health HTTP/1.1\r\nx: {}\r\n\r\n",
        "x".repeat(20 * 1024)
    );
    // The answer may be lost with what was not read of the head.
    let answer = talk(served.address, &large).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
        "{answer}"
    );
}

/// A client that asks before it sends a large body is told without sending it.
#[tokio::test]
async fn a_large_body_that_is_announced_is_not_wanted() {
    let shop = Shop::open().await;
    let served = served(&shop, ServerSettings::default()).await;
    let request = "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\ncontent-length: 3000000\r\n\r\n";
    let answer = talk(served.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

/// The client of a body that is far too large gets to read why.
#[tokio::test]
async fn a_large_body_is_answered_and_not_reset() {
    let shop = Shop::open().await;
    let served = served(&shop, ServerSettings::default()).await;
    let length = 3 << 20;
    let request = format!(
        "POST /api/v1/orders HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{}",
        " ".repeat(length)
    );
    let answer = talk(served.address, &request).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("body_too_large"), "{answer}");
}
