//! The memory that the API takes, however much its clients ask for.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{Api, System};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::rows::heavy_orders;
use crate::sample;

/// The API's own budget is 192 MiB unless set; what the allocator keeps beside it is bounded too.
pub(super) const MEMORY_MAX: u64 = 256 << 20;

/// How long it goes on.
const LASTS: Duration = Duration::from_secs(8);

const READERS: usize = 12;

/// Clients that ask for the largest page and do not read it, and those that send most of the largest body.
const SLOW: usize = 40;

const LARGEST_PAGES: [&str; 4] = [
    "/orders?limit=200",
    "/order/status/COMPLETED?limit=1000",
    "/orders?status=COMPLETED&limit=200",
    "/orders?user_id=1&limit=200",
];

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_the_largest_pages_and_senders_of_the_largest_bodies_take_a_bounded_memory_and_no_create_fails() {
    let system = System::start().await;
    heavy_orders(&system.database, 400).await;
    let api = &system.api;
    let until = Instant::now() + LASTS;
    let slow = join_all((0..SLOW).flat_map(|number| {
        let page = LARGEST_PAGES[number % LARGEST_PAGES.len()];
        let body = format!(
            "POST /orders/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            4 << 20,
            " ".repeat(3 << 20)
        );
        [connect(api, format!("GET {page} HTTP/1.1\r\nhost: localhost\r\n\r\n")), connect(api, body)]
    }));
    let batch = large_batch();

    let mut others = JoinSet::new();
    for number in 0..READERS {
        let api = api.clone();
        others.spawn(async move {
            let mut pages = 0;
            while Instant::now() < until {
                let path = LARGEST_PAGES[(number + pages) % LARGEST_PAGES.len()];
                let reply = api.get(path).await;
                assert!(matches!(reply.status, 200 | 503), "{}: {:.200}", reply.status, reply.text);
                pages += 1;
            }
        });
    }
    for _ in 0..3 {
        let (api, batch) = (api.clone(), batch.clone());
        others.spawn(async move {
            while Instant::now() < until {
                let reply = api.post("/orders/batch", &batch).await;
                // On a loaded machine a body may take too long to arrive.
                assert!(matches!(reply.status, 201 | 408 | 503), "{}: {:.200}", reply.status, reply.text);
            }
        });
    }
    let creates = async {
        let mut placed = 0;
        while Instant::now() < until {
            let reply = api.post("/order/create-order", &sample::order().to_string()).await;
            assert_eq!(reply.status, 201, "after {placed}: {reply:?}");
            placed += 1;
        }
        placed
    };
    let (slow, placed) = tokio::join!(slow, creates);
    others.join_all().await;

    assert!(placed > 0);
    let peak = api.memory_peak();
    assert!(peak < MEMORY_MAX, "{} MiB", peak >> 20);
    drop(slow);
    let page = api.get(LARGEST_PAGES[0]).await;
    assert_eq!(page.status, 200, "once the others are gone there is room: {:.200}", page.text);
    system.end_uncounted();
}

/// A batch of nearly 4 MiB.
fn large_batch() -> String {
    let metadata: serde_json::Map<_, _> = (10..40).map(|n| (n.to_string(), json!("x".repeat(500)))).collect();
    let order = json!({"user_id": 2, "item_ids": [1], "total_amount": 1, "metadata": metadata});
    let orders = vec![order; (4 << 20) / 16_500];
    json!({"orders": orders}).to_string()
}

/// Sends what it is told, as far as the API reads it, and keeps the connection.
async fn connect(api: &Api, sent: String) -> TcpStream {
    let mut stream = TcpStream::connect(api.address()).await.unwrap();
    let _ = stream.write_all(sent.as_bytes()).await;
    stream
}
