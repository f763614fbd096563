//! The API told to stop.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{System, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_during_the_drain_window_are_answered() {
    let system = System::start_with(&[("SHUTDOWN_GRACE_SECS", "10")]).await;

    system.api.ask_to_end();
    let unready = system.api.wait_for_readiness(503).await;
    let placed = system.post("/order/create-order", &sample::order().to_string()).await;

    assert!(unready.text.contains("draining"), "{unready:?}");
    assert_eq!((placed.status, placed.header("connection")), (201, Some("close")), "{placed:?}");
    assert_eq!(system.api.terminate().await.code(), Some(0));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_was_accepted() {
    let system = System::start_behind_proxy(&[("SHUTDOWN_GRACE_SECS", "5")]).await;
    system.place(&sample::order()).await;
    system.proxy.stall();
    let order = sample::order().to_string();
    let head = "POST /order/create-order HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: {}\r\n\r\n{order}", order.len());
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = TcpStream::connect(system.api.address()).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        clients.push(client);
    }

    system.api.ask_to_end();
    wait_until("the port is closed", async || TcpStream::connect(system.api.address()).await.is_err()).await;
    system.proxy.resume();
    let answers = join_all(clients.into_iter().map(read_to_end)).await;

    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("}}"), "{answer}");
    }
    assert_eq!(system.database.orders().await, 51);
    assert_eq!(system.api.terminate().await.code(), Some(0));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_and_unfinished_requests_do_not_hold_the_end_up() {
    let system = System::start_with(&[("SHUTDOWN_GRACE_SECS", "1")]).await;
    let mut clients = Vec::new();
    for sent in ["", "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n", "GET /livez HTTP/1.1\r\nhos"] {
        let mut client = TcpStream::connect(system.api.address()).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        clients.push(client);
    }

    let asked = Instant::now();
    let status = system.api.terminate().await;

    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(1 + 2), "{:?}", asked.elapsed());
    system.end().await;
}

async fn read_to_end(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}
