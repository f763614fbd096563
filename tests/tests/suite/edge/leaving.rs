//! Clients that close their side of the connection, or tear it down, before they have their answer.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use orders_tests::{Api, Database, Proxy, System, wait_until};

use crate::sample;
use crate::socket::{Leave, ask_and_close, connect, leave, post, read_all, request};

/// How long each message takes to the database and back, so that a client can leave in the middle.
const DELAY: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn every_client_that_closes_its_side_after_its_request_is_answered() {
    let system = System::start().await;
    let order = post("/order/create-order", &sample::order().to_string());

    let answers = join_all((0..20).map(|_| ask_and_close(&system, &order))).await;

    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.ends_with("}}"), "{answer}");
    }
    assert_eq!(system.database.orders().await, 20);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_it_asks_a_client_that_closes_its_side_is_answered_in_full() {
    let system = System::start().await;
    let worker = system.start_worker(&[("WORKER_CONCURRENCY", "1")]).await;
    let order = format!("/orders/{}", system.place(&sample::order()).await);

    for (method, path) in [
        ("GET", order.as_str()),
        ("GET", &format!("{order}/events")),
        ("GET", "/orders"),
        ("GET", "/queue"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("POST", "/queue/pause"),
        ("POST", "/queue/resume"),
    ] {
        let answer = ask_and_close(&system, &request(method, path)).await;

        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer}"));
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
        assert!(head.contains(&format!("\r\ncontent-length: {}", body.len())), "{path}: {answer}");
    }
    let two = ask_and_close(&system, &request("GET", "/livez").repeat(2)).await;
    assert_eq!(two.matches("\r\n\r\nlive\n").count(), 2, "{two}");
    let ready = ask_and_close(&worker, &request("GET", "/readyz")).await;
    assert!(ready.ends_with("\r\n\r\nready\n"), "{ready}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_though_its_client_leaves_in_the_middle() {
    let system = System::start_behind_proxy(&[]).await;

    for how in [Leave::HalfClose, Leave::Reset] {
        let order_id = system.place(&sample::order()).await;
        for (path, done) in [
            (format!("/orders/{order_id}/cancel"), "select count(*) from orders where status = 'PENDING'"),
            ("/queue/pause".to_owned(), "select 1 - count(*) from queue_pauses"),
            ("/queue/resume".to_owned(), "select count(*) from queue_pauses"),
        ] {
            system.proxy.delay(DELAY);
            let client = begin(&system, &system.proxy, &request("POST", &path)).await;
            let left = leave(client, how).await;

            wait_until(&format!("{path} is done after {how:?}"), async || {
                system.database.scalar::<i64>(done).await == 0
            })
            .await;
            if let Some(mut client) = left {
                let answer = read_all(&mut client).await;
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
            }
            system.proxy.delay(Duration::ZERO);
        }
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_whose_client_left_closes_no_connection_to_the_database() {
    let system = System::start_behind_proxy(&[]).await;
    let order = format!("/orders/{}", system.place(&sample::order()).await);
    system.proxy.delay(DELAY);
    let before = sessions(&system.database).await;

    for path in [order.as_str(), &format!("{order}/events"), &format!("{order}/why"), "/orders", "/queue"] {
        let client = begin(&system, &system.proxy, &request("GET", path)).await;
        leave(client, Leave::Reset).await;
        // When this request is answered, the one before is done too, since it came first.
        assert_eq!(system.get(path).await.status, 200, "{path}");
    }

    let after = sessions(&system.database).await;
    assert!(before.is_subset(&after), "{before:?} {after:?}");
    system.end().await;
}

/// Sends a request, and returns when something has gone to the database.
async fn begin(api: &Api, proxy: &Proxy, sent: &str) -> tokio::net::TcpStream {
    let before = proxy.messages();
    let client = connect(api, sent.as_bytes()).await;
    wait_until("the API asks the database", async || proxy.messages() > before).await;
    client
}

/// The sessions of the API on the database, and those of the test itself, which stay.
async fn sessions(database: &Database) -> HashSet<i64> {
    let sessions = "select cast(id as signed) from information_schema.processlist where db = database()";
    sqlx::query_scalar(sessions).fetch_all(&database.pool).await.unwrap().into_iter().collect()
}
