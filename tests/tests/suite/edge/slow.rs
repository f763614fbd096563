//! Clients that take their time, or never end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::System;

use crate::sample;
use crate::socket::{connect, read_all};

const HEAD: &str = "POST /order/create-order HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

/// How many slow clients of each kind there are.
const EACH: usize = 1_250;

/// What a slow client may cost, in bytes: its connection, with the buffers of a head and of an unoptimised program.
const EACH_MAX: u64 = 64 * 1024;

/// A few milliseconds on a quiet machine; in any case well before the slow ones are given up.
const FAST: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_slow_clients_do_not_stop_a_fast_one() {
    let system = System::start_with(&[("API_MEMORY_MB", "700")]).await;
    sample::allow_many_connections();
    system.place(&sample::order()).await;
    let before = system.api.memory();
    let slow_body = format!("{HEAD}content-length: 100\r\n\r\n{{\"user_id\": ");
    let kinds = ["", "GET /livez HT", HEAD, &slow_body];

    let slow = join_all(kinds.iter().flat_map(|sent| (0..EACH).map(|_| connect(&system, sent.as_bytes())))).await;
    for _ in 0..50 {
        let asked = Instant::now();
        system.place(&sample::order()).await;
        assert!(asked.elapsed() < FAST, "{:?}", asked.elapsed());
    }

    let grown = system.api.memory().saturating_sub(before);
    let clients = slow.len() as u64;
    assert!(grown < clients * EACH_MAX, "{grown} bytes for {clients} clients");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_that_never_end_take_no_more_than_their_share_and_leave_room_for_small_ones() {
    const CLIENTS: usize = 40;
    const SENT: usize = 3 << 20;
    /// What the API keeps of all large bodies: a sixth of what its budget of 192 MiB leaves for all shares.
    const ROOM: usize = (152 << 20) / 6;
    /// A body that grows is there twice for a moment, and the allocator keeps for a while what it has left.
    const ALL_MAX: u64 = 2 * ROOM as u64 + 2 * SENT as u64 + CLIENTS as u64 * 2 * EACH_MAX;
    let system = System::start().await;
    system.place(&sample::order()).await;
    let before = system.api.memory();
    let head = HEAD.replace("/order/create-order", "/orders/batch");
    let sent = format!("{head}content-length: {}\r\n\r\n{}", SENT + 1, " ".repeat(SENT));

    let mut slow = join_all((0..CLIENTS).map(|_| connect(&system, sent.as_bytes()))).await;
    let asked = Instant::now();
    system.place(&sample::order()).await;
    let took = asked.elapsed();

    let grown = system.api.memory().saturating_sub(before);
    assert!(took < FAST, "{took:?}");
    assert!(grown < ALL_MAX, "{grown} bytes");
    let answers = join_all(slow.iter_mut().map(read_all)).await;
    // A client that is turned away while it still sends may lose the answer to a reset.
    let too_slow = answers.iter().filter(|answer| answer.contains("/problems/body-too-slow")).count();
    assert!((1..=ROOM / SENT).contains(&too_slow), "{too_slow} of {CLIENTS} had room");
    assert!(answers.iter().any(|answer| answer.contains("/problems/overloaded")), "{answers:?}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_finishes_is_hung_up_on() {
    let system = System::start().await;
    let slow_body = format!("{HEAD}content-length: 100\r\n\r\n{{");

    let start = Instant::now();
    let no_body = "POST /queue/pause HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let sent = ["", "GET /livez HT", &slow_body, no_body];
    let mut clients = join_all(sent.map(|sent| connect(&system, sent.as_bytes()))).await;
    let answers = join_all(clients.iter_mut().map(read_all)).await;

    assert_eq!(&answers[..2], ["", ""]);
    assert!(answers[2].starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{}", answers[2]);
    assert!(answers[2].contains("/problems/body-too-slow"), "{}", answers[2]);
    assert!(answers[3].starts_with("HTTP/1.1 400 Bad Request\r\n"), "{}", answers[3]);
    assert!(answers[3].contains("/problems/unexpected-body"), "{}", answers[3]);
    assert!((Duration::from_secs(9)..Duration::from_secs(30)).contains(&start.elapsed()), "{:?}", start.elapsed());
    system.end().await;
}
