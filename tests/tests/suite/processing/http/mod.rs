//! Orders that are pushed to a service over HTTP.

mod deliver;
mod service;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures_util::future::join_all;
use orders_tests::{Folder, SOON, System, eventually, run, wait_until};
use ring::hmac;
use serde_json::{Value, json};

use self::service::{Act, Request, Service, answer, done};
use crate::sample;

/// The secret of the published vectors.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Another one.
const NEXT_SECRET: &str = "whsec_bmV4dCBuZXh0IG5leHQgbmV4dCBuZXh0IG5leHQ=";

/// An order that fails once is not tried again while a test lasts.
const NO_RETRY: (&str, &str) = ("FULFILMENT_RETRY_SCHEDULE", "1h");

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_pushed_as_it_was_placed_and_signed() {
    let system = System::start().await;
    let service = Service::start(|_| Act::Answer(answer(201, "", r#"{"tracking": "A-1", "cost": 1.10}"#))).await;
    let folder = Folder::new("fulfilment-headers");
    let headers = folder.path().join("headers");
    std::fs::write(&headers, "# of the shop\nAuthorization: Bearer 7\n").unwrap();
    let env = [
        ("FULFILMENT_URL", &*service.url("/orders")),
        ("FULFILMENT_SECRET", SECRET),
        ("FULFILMENT_HEADERS_FILE", headers.to_str().unwrap()),
        ("FULFILMENT_RATE", ""),
    ];
    let worker = system.start_worker(&env).await;
    let order = r#"{"user_id":7,"item_ids":[4,6],"total_amount":12345678901234.10,"currency":"EUR","external_id":"A-1",
        "metadata":{"channel":"web"}}"#;
    let placed = system.post("/orders", order).await;
    let order_id = sample::id(&placed.json());

    let order = system.wait_for_status(order_id, "COMPLETED").await;

    assert_eq!(order["result"], json!({"tracking": "A-1", "cost": 1.1}));
    let request = service.seen().remove(0);
    assert_eq!(request.line, "POST /orders HTTP/1.1");
    let id = order_id.to_string();
    for (name, value) in [
        ("webhook-id", id.as_str()),
        ("idempotency-key", &id),
        ("webhook-signature", &signature(SECRET, &request)),
        ("orders-attempt", "1"),
        ("orders-placed-at", order["created_at"].as_str().unwrap()),
        ("content-type", "application/json"),
        ("accept-encoding", "identity"),
        ("authorization", "Bearer 7"),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    let body = request.json();
    assert_eq!((&body["type"], &body["timestamp"]), (&json!("order.placed"), &order["created_at"]));
    let data = body["data"].as_object().unwrap();
    assert_eq!(data.len(), 9, "{body}");
    for (field, value) in data {
        assert_eq!(value, &order[field], "{field}");
    }
    assert!(request.body.contains(r#""total_amount":12345678901234.1,"#), "{}", request.body);
    for metric in ["orders_fulfilment_answers_total", "orders_fulfilment_seconds_count"] {
        assert!((worker.counter(metric).await - 1.0).abs() < 0.1, "{metric}");
    }
    assert!(!worker.logs().contains(SECRET) && !worker.logs().contains("Bearer"), "{}", worker.logs());
    system.end().await;
}

/// The service answers with the status that is the number of the user.
#[tokio::test(flavor = "multi_thread")]
async fn each_answer_has_its_outcome() {
    const HANGS: u16 = 999;
    let system = System::start().await;
    let act = |request: &Request| match request.user_id() {
        HANGS => Act::Hang(String::new()),
        status => Act::Answer(answer(status, "location: /elsewhere\r\n", "because")),
    };
    let service = Service::start(act).await;
    let env = [
        ("FULFILMENT_URL", &*service.url("/")),
        ("FULFILMENT_TIMEOUT_MS", "1000"),
        ("FULFILMENT_REJECT_GUARD", "off"),
        ("FULFILMENT_DUPLICATE_STATUS", "418"),
        NO_RETRY,
    ];
    system.start_worker(&env).await;

    for (statuses, event, class) in [
        (&[200, 202, 204, 418][..], "completed", None),
        (&[400, 410, 413, 415, 422, 451], "failed", Some("http_4xx")),
        (&[409], "attempt_failed", Some("http_4xx")),
        (&[408, 425, 429], "unavailable", Some("http_4xx")),
        (&[502, 503, 504], "unavailable", Some("http_5xx")),
        (&[401, 403, 404, 405, 302, 307], "unavailable", Some("misconfigured")),
        (&[500, 501], "attempt_failed", Some("http_5xx")),
        (&[HANGS], "attempt_failed", Some("timeout")),
    ] {
        for status in statuses {
            let order_id = system.place(&sample::order_of(i64::from(*status))).await;
            // The breaker stays closed as long as most orders are done.
            let others = join_all((0..3).map(async |_| system.place(&sample::order_of(200)).await)).await;

            let told = eventually(&format!("{status}: {event}"), SOON, || async {
                system.events(order_id).await.into_iter().find(|told| told["event"] == event)
            })
            .await;

            // It would come again and again.
            let later =
                "update orders set available_at = now(6) + interval 1 day where user_id <> 200 and status = 'PENDING'";
            system.database.execute(later).await;
            assert_eq!(told["error_class"], json!(class), "{status}: {told}");
            if event != "completed" && *status != HANGS {
                assert_eq!((&told["http_status"], &told["http_body"]), (&json!(status), &json!("because")));
            }
            for order_id in others {
                system.wait_for_status(order_id, "COMPLETED").await;
            }
        }
    }
    assert!(service.seen().iter().all(|request| request.line == "POST / HTTP/1.1"), "a redirect was followed");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_of_an_order_has_the_same_id_and_body() {
    let system = System::start().await;
    let service = Service::start(|request| match request.header("orders-attempt") {
        "1" => Act::Answer(answer(500, "", "")),
        "2" => Act::Answer(answer(200, "", r#"{"outcome":"retry","reason":"not yet"}"#)),
        _ => done(),
    })
    .await;
    let schedule = ("FULFILMENT_RETRY_SCHEDULE", "1ms,1ms");
    system.start_worker(&[("FULFILMENT_URL", &*service.url("/")), schedule]).await;

    let order_id = system.place(&sample::order()).await;
    let order = system.wait_for_status(order_id, "COMPLETED").await;

    assert_eq!((&order["attempt"], &order["result"]), (&json!(3), &Value::Null));
    let seen = service.seen();
    let attempts: Vec<_> = seen.iter().map(|request| request.header("orders-attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    for request in &seen {
        assert_eq!(request.header("webhook-id"), order_id.to_string());
        assert_eq!(request.body, seen[0].body);
        assert!(!request.headers.contains_key("webhook-signature"), "there is no secret");
    }
    let failed: Vec<_> =
        system.events(order_id).await.into_iter().filter(|it| it["event"] == "attempt_failed").collect();
    assert_eq!(failed[1]["error"], "not yet", "{failed:?}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_a_killed_worker_is_delivered_again_under_its_id() {
    let system = System::start().await;
    let service = Service::start(|_| Act::Hang(String::new())).await;
    let url = service.url("/");
    let env = [("FULFILMENT_URL", &*url), ("WORKER_DEAD_AFTER_SECS", "2")];
    let killed = system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;
    service.wait_for(1).await;

    killed.kill();
    service.act(|_| done());
    system.start_worker(&env).await;
    let order = system.wait_for_status(order_id, "COMPLETED").await;

    assert_eq!((&order["attempt"], &order["rescues"]), (&json!(1), &json!(1)));
    let seen = service.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    assert_eq!(seen[0].body, seen[1].body);
    system.end().await;
}

/// As servers do that close a connection as soon as it is idle.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_service_closed_uses_up_no_attempt() {
    let system = System::start().await;
    let service = Service::start(|request| match request.earlier {
        0 => done(),
        // Half an answer is as good as none.
        _ if request.header("webhook-id").ends_with(['0', '4', '8', 'c']) => Act::Last("HTTP/1.1 2".to_owned()),
        _ => Act::Last(String::new()),
    })
    .await;
    let env = [("FULFILMENT_URL", &*service.url("/")), ("WORKER_CONCURRENCY", "4")];
    let worker = system.start_worker(&env).await;

    for _ in 0..10 {
        let orders = join_all((0..4).map(async |_| system.place(&sample::order()).await)).await;
        for order_id in orders {
            let order = system.wait_for_status(order_id, "COMPLETED").await;
            assert_eq!(order["attempt"], 1);
            assert_eq!(system.story(order_id).await, ["placed", "claimed", "completed"]);
        }
    }

    let repeated = service.seen().iter().filter(|request| request.earlier > 0).count();
    assert!(repeated > 0, "no connection was used twice");
    assert_eq!(service.seen().len(), 40 + repeated);
    assert!(worker.counter("orders_unavailable_total").await < 0.5);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_replaced_without_a_restart() {
    let system = System::start().await;
    let service = Service::start(|_| done()).await;
    let folder = Folder::new("fulfilment-secret");
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let env = [("FULFILMENT_URL", &*service.url("/")), ("FULFILMENT_SECRET_FILE", file.to_str().unwrap())];
    let worker = system.start_worker(&env).await;
    let push = async || {
        let order_id = system.place(&sample::order()).await;
        system.wait_for_status(order_id, "COMPLETED").await;
        service.seen().pop().unwrap()
    };
    let request = push().await;
    assert_eq!(request.header("webhook-signature"), signature(SECRET, &request));

    std::fs::write(&file, format!("{NEXT_SECRET} {SECRET}\n")).unwrap();
    wait_until("both secrets sign", async || {
        let request = push().await;
        let both = format!("{} {}", signature(NEXT_SECRET, &request), signature(SECRET, &request));
        request.header("webhook-signature") == both
    })
    .await;
    assert!(!worker.logs().contains("whsec_"), "{}", worker.logs());
    system.end().await;
}

/// It would take them for orders to simulate, and complete them.
#[tokio::test]
async fn a_worker_that_has_lost_the_url_of_its_service_does_not_start() {
    for (name, value) in [("FULFILMENT_SECRET", SECRET), NO_RETRY] {
        let env = [("DATABASE_URL", "mysql://localhost/orders"), ("FULFILMENT_URL", ""), (name, value)];

        let ended = run("orders-worker", &["run"], &env).await;

        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{name} is set, so FULFILMENT_URL must be set too")), "{said}");
    }
}

/// The signature by the specification.
fn signature(secret: &str, request: &Request) -> String {
    let key = BASE64_STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let signed = format!("{}.{}.{}", request.header("webhook-id"), request.header("webhook-timestamp"), request.body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag))
}
