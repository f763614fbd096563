//! Following an order: whether it has changed, and waiting for its end.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{Api, OwnServer, Reply, SOON, System, database, eventually};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sample;
use crate::socket::{Leave, connect, leave, read_all, request};

/// The longest wait that a client can ask for, much longer than any test here takes and than the tests' client waits.
const LONG: u32 = 60;

const WAITERS: usize = 1_000;

/// How many clients may wait at a time where the API has 1,024 descriptors.
const WAITERS_MAX: usize = 168;

/// Much less than the longest wait.
const AT_ONCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_has_not_changed_is_not_sent_again() {
    let system = System::start().await;
    let path = format!("/orders/{}", system.place(&sample::order()).await);
    let tag = system.get(&path).await.header("etag").unwrap().to_owned();
    let strong = tag.strip_prefix("W/").expect("the tag is weak");

    for values in [
        &[tag.as_str()] as &[&str],
        &[strong],
        &["*"],
        &[&format!("\"other\", {tag}")],
        &[&format!("{tag},\"other\"")],
        &["\"other\"", &tag],
    ] {
        let reply = get_unless(&system, &path, values).await;

        assert_eq!(
            (reply.status, reply.text.as_str(), reply.header("etag")),
            (304, "", Some(tag.as_str())),
            "{values:?}"
        );
    }
    for values in [&[] as &[&str], &["\"other\""], &["W/\"other\""], &[""], &[strong.trim_matches('"')]] {
        let reply = get_unless(&system, &path, values).await;

        assert_eq!((reply.status, reply.header("etag")), (200, Some(tag.as_str())), "{values:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_has_changed_has_another_tag() {
    let system = System::start().await;
    let other_api = system.start_api(&[]).await;
    let path = format!("/orders/{}", system.place(&sample::order()).await);
    let tag = |reply: &Reply| reply.header("etag").unwrap().to_owned();
    let before = tag(&system.get(&path).await);
    assert_eq!(tag(&other_api.get(&path).await), before);

    system.post(&format!("{path}/cancel"), "").await;
    let changed = get_unless(&other_api, &path, &[&before]).await;

    assert_eq!((changed.status, &changed.json()["status"]), (200, &json!("CANCELED")));
    assert_ne!(tag(&changed), before);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_0_to_60_seconds() {
    let system = System::start().await;
    let path = format!("/orders/{}", system.place(&sample::order()).await);

    for wait in ["61", "-1", "256", "x", "1.5", ""] {
        let problem = system.get(&format!("{path}?wait={wait}")).await.assert_problem(400);

        assert!(problem["detail"].as_str().unwrap().contains("`wait`"), "{wait}: {problem}");
    }
    assert_eq!(system.get(&format!("{path}?wait=0")).await.json()["status"], "PENDING");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_nothing_to_wait_for_where_there_is_no_order_or_it_has_ended() {
    let system = System::start().await;
    let ended = system.place(&sample::order()).await;
    system.post(&format!("/orders/{ended}/cancel"), "").await;

    let nobody = system.get(&format!("/orders/{}?wait={LONG}", Uuid::now_v7())).await;
    let canceled = system.get(&format!("/orders/{ended}?wait={LONG}")).await;

    let _ = nobody.assert_problem(404);
    assert_eq!(canceled.json()["status"], "CANCELED");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_a_worker_has_completed_the_order() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;

    let env = [("SIMULATED_PROCESSING_MS", "300")];
    let (order, _worker) = tokio::join!(wait_for_end(&system, order_id, LONG), system.start_worker(&env));

    assert_eq!(order["status"], "COMPLETED");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_the_order_has_failed() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;

    let env = [("SIMULATED_FAULTS", "reject=1")];
    let (order, _worker) = tokio::join!(wait_for_end(&system, order_id, LONG), system.start_worker(&env));

    assert_eq!(order["status"], "FAILED");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_another_api_has_canceled_the_order() {
    let system = System::start().await;
    let other_api = system.start_api(&[]).await;
    let order_id = system.place(&sample::order()).await;

    let waiting = join_all((0..5).map(|_| wait_for_end(&system, order_id, LONG)));
    let cancel = async {
        // Each of them has seen the order once: it waits now.
        let longer = wait_for_end(&system, order_id, 1).await;
        assert_eq!(longer["status"], "PENDING");
        other_api.post(&format!("/orders/{order_id}/cancel"), "").await;
        Instant::now()
    };
    let (orders, canceled) = tokio::join!(waiting, cancel);

    assert!(orders.iter().all(|order| order["status"] == "CANCELED"), "{orders:?}");
    assert!(canceled.elapsed() < Duration::from_secs(10), "{:?}", canceled.elapsed());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_time_is_up_the_order_is_shown_as_it_is() {
    let system = System::start().await;
    let path = format!("/orders/{}", system.place(&sample::order()).await);
    let tag = system.get(&path).await.header("etag").unwrap().to_owned();

    let started = Instant::now();
    let shown = system.get(&format!("{path}?wait=1")).await;
    let elapsed = started.elapsed();
    let unchanged = get_unless(&system, &format!("{path}?wait=1"), &[&tag]).await;

    assert_eq!(shown.json()["status"], "PENDING");
    assert!(elapsed >= Duration::from_secs(1), "{elapsed:?}");
    assert_eq!(unchanged.status, 304);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_ends_answers_those_that_wait_at_once() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;

    let waiting = spawn_waiters(system.client(), &system, &[order_id; 100]);
    // The others came before it: they wait now.
    assert_eq!(wait_for_end(&system, order_id, 1).await["status"], "PENDING");
    let started = Instant::now();
    let ended = system.api.terminate().await;
    let elapsed = started.elapsed();

    assert_eq!(ended.code(), Some(0));
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}: the grace period was used up");
    assert_all_are(waiting, "PENDING").await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_its_client_closes_its_side_whatever_it_has_sent_behind() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let next = request("GET", "/livez");
    let started = Instant::now();
    let mut clients = waiting_clients(&system, order_id, 3).await;

    trickle(&system, &mut clients[1], "x").await;
    trickle(&system, &mut clients[2], &next).await;
    for client in &mut clients {
        client.shutdown().await.unwrap();
    }
    let answers = join_all(clients.iter_mut().map(read_all)).await;

    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    for answer in &answers {
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"PENDING\""), "{answer}");
    }
    assert!(answers[2].ends_with("\r\n\r\nlive\n"), "what was sent behind is answered too: {}", answers[2]);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_trickles_in_behind_a_wait_is_answered_after_it() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let mut clients = waiting_clients(&system, order_id, 1).await;
    let next = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    trickle(&system, &mut clients[0], next).await;
    assert_eq!(wait_for_end(&system, order_id, 1).await["status"], "PENDING", "bytes are no end");
    system.post(&format!("/orders/{order_id}/cancel"), "").await;
    let answers = read_all(&mut clients[0]).await;

    assert!(answers.contains("\"CANCELED\"") && answers.ends_with("\r\n\r\nlive\n"), "{answers}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_when_much_is_sent_behind_it_and_all_of_that_is_answered() {
    const BEHIND: usize = 200;
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let started = Instant::now();
    let mut clients = waiting_clients(&system, order_id, 1).await;
    let last = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

    let behind = request("GET", "/livez").repeat(BEHIND - 1) + last;
    clients[0].write_all(behind.as_bytes()).await.unwrap();
    let answers = read_all(&mut clients[0]).await;

    assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
    assert!(answers.contains("\"PENDING\""), "{answers}");
    assert_eq!(answers.matches("\r\n\r\nlive\n").count(), BEHIND);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_wait_and_those_that_are_gone_free_their_permits_at_once() {
    let database = database().await;
    let api = Api::launch_with_descriptors(1_024, &database.url);
    api.wait_until_up().await;
    let order_id = api.place(&sample::order()).await;
    let (path, before) = (format!("/orders/{order_id}"), api.descriptors());

    let mut clients = waiting_clients(&api, order_id, WAITERS_MAX).await;
    let refused = loop {
        let reply = api.get(&format!("{path}?wait=1")).await;
        if reply.status == 503 {
            break reply;
        }
        // This request held a permit itself, so one of the clients may have got none.
        clients.extend(waiting_clients(&api, order_id, 1).await);
        assert!(clients.len() < 2 * WAITERS_MAX, "any number may wait");
    };
    let unhurried = api.get(&path).await;
    for client in &mut clients {
        // A server that does not read this byte would not notice the end of the connection behind it.
        client.write_all(b"x").await.unwrap();
    }
    join_all(clients.into_iter().map(|client| leave(client, Leave::Reset))).await;
    let left = Instant::now();
    let descriptors = eventually("their connections are gone", AT_ONCE, || async {
        Some(api.descriptors()).filter(|descriptors| *descriptors < before + 20)
    });
    descriptors.await;
    let again = wait_for_end(&api, order_id, 1).await;

    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert_eq!(refused.assert_problem(503)["type"], "/problems/overloaded");
    assert_eq!(unhurried.status, 200, "who does not wait is answered");
    assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
    assert_eq!(again["status"], "PENDING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_that_wait_cost_one_query_a_tick_and_hold_no_connection() {
    const CONNECTIONS: usize = 5;
    sample::allow_many_connections();
    // A quarter of the connections may wait.
    let env = [("DATABASE_MAX_CONNECTIONS", &*CONNECTIONS.to_string()), ("API_MEMORY_MB", "400")];
    let system = System::on(OwnServer::start(&[]).await, &env).await;
    let orders = place(&system, WAITERS).await;
    let client = Client::builder().no_proxy().timeout(Duration::from_mins(2)).build().unwrap();

    let before = sample::statements(&system.database).await;
    let waiting = spawn_waiters(&client, &system, &orders);
    let mut probes = 0;
    eventually("each has read its order", SOON, || {
        probes += 1;
        let read = before + probes + WAITERS as u64;
        let server = &system.database;
        async move { (sample::statements(server).await >= read).then_some(()) }
    })
    .await;
    let (before, started) = (sample::statements(&system.database).await, Instant::now());
    let two_seconds = system.get(&format!("/orders/{}?wait=2", orders[0])).await;
    let (during, elapsed) = (sample::statements(&system.database).await - before, started.elapsed());
    let asked = Instant::now();
    system.place(&sample::order()).await;
    let answered_within = asked.elapsed();
    let connections = system.database.connections().await.len();
    system.database.execute("update orders set status = 'CANCELED', available_at = '9999-12-31'").await;

    assert_eq!(two_seconds.json()["status"], "PENDING");
    // Five ticks a second, and some slack for probes that were counted as a waiter's read.
    assert!(during <= 6 * elapsed.as_secs() + 100, "{during} statements in {elapsed:?}");
    assert!(answered_within < Duration::from_secs(2), "{answered_within:?}");
    assert!(connections <= CONNECTIONS, "{connections} connections");
    assert_all_are(waiting, "CANCELED").await;
    system.end_uncounted();
}

/// Waits for the order's end, and returns the order.
async fn wait_for_end(api: &Api, order_id: Uuid, seconds: u32) -> Value {
    let reply = api.get(&format!("/orders/{order_id}?wait={seconds}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Clients that have asked for an order's end, and wait for it now.
async fn waiting_clients(api: &Api, order_id: Uuid, count: usize) -> Vec<TcpStream> {
    let asked = request("GET", &format!("/orders/{order_id}?wait={LONG}"));
    let clients = join_all((0..count).map(|_| connect(api, asked.as_bytes()))).await;
    // Those that came before it wait now. It is answered with 503 where no more may.
    api.get(&format!("/orders/{order_id}?wait=1")).await;
    clients
}

/// Sends byte by byte; between two bytes the API has answered another request.
async fn trickle(api: &Api, client: &mut TcpStream, sent: &str) {
    client.set_nodelay(true).unwrap();
    for byte in sent.bytes() {
        client.write_u8(byte).await.unwrap();
        assert_eq!(api.get("/livez").await.status, 200);
    }
}

/// Waits for each order's end, in the background. A client that is told to come again, as a thousand at once may be,
/// does.
fn spawn_waiters(client: &Client, api: &Api, orders: &[Uuid]) -> JoinSet<Value> {
    let mut waiting = JoinSet::new();
    for order_id in orders {
        let request = client.get(api.url(&format!("/orders/{order_id}?wait={LONG}")));
        waiting.spawn(async move {
            let reply = eventually("it is answered", SOON, || async {
                let reply = request.try_clone().unwrap().send().await.unwrap();
                (reply.status() != 503).then_some(reply)
            });
            reply.await.error_for_status().unwrap().json().await.unwrap()
        });
    }
    waiting
}

async fn assert_all_are(waiting: JoinSet<Value>, status: &str) {
    for order in waiting.join_all().await {
        assert_eq!(order["status"], status);
    }
}

/// Gets a path with these values of `If-None-Match`.
async fn get_unless(api: &Api, path: &str, values: &[&str]) -> Reply {
    let request =
        values.iter().fold(api.client().get(api.url(path)), |request, value| request.header("if-none-match", *value));
    api.send(request).await
}

async fn place(api: &Api, count: usize) -> Vec<Uuid> {
    let mut placed = Vec::new();
    while placed.len() < count {
        let orders: Value = (0..500).map(|_| sample::order()).collect();
        let reply = api.post("/orders/batch", &json!({"orders": orders}).to_string()).await;
        placed.extend(reply.json()["orders"].as_array().unwrap().iter().map(sample::id));
    }
    placed
}
