//! Workers that die, and what becomes of their orders.

use std::time::{Duration, Instant};

use orders_tests::{Api, Database, History, Proxy, Release, Worker, check, database, eventually};
use serde_json::json;
use uuid::Uuid;

use crate::sample;

/// The least that the setting takes: tests wait for it.
const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "1");

/// How long a rescue may take: the promise is five seconds beyond the setting.
const RESCUED_WITHIN: Duration = Duration::from_secs(1 + 5);

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_again_and_again_lose_no_order() {
    let database = database().await;
    History::record(&database.pool).await;
    let api = Api::start(&database.url, &[]).await;
    let mut placed = Vec::new();
    for _ in 0..40 {
        placed.push(api.place(&sample::order()).await);
    }
    let slow = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "8")];

    // Twice each order may be innocent; a third time would be taken for a fault of its own.
    for _ in 0..2 {
        let workers = [Worker::start(&database.url, &slow).await, Worker::start(&database.url, &slow).await];
        eventually("both workers are in the middle of a batch", sample::SOON, || async {
            (database.orders_in("PROCESSING").await == 16).then_some(())
        })
        .await;
        let held = held(&database).await;
        for worker in &workers {
            worker.kill();
        }
        // While the queue is paused, orders are rescued but not claimed.
        assert_eq!(api.post("/queue/pause", "").await.status, 200);
        let next = Worker::start(&database.url, &[DEAD_AFTER]).await;
        let killed = Instant::now();
        eventually("every order of the dead is rescued", RESCUED_WITHIN, || async {
            (rescued(&database, &held).await == 16).then_some(())
        })
        .await;
        assert!(killed.elapsed() < RESCUED_WITHIN);
        assert_eq!(next.terminate().await.code(), Some(0));
        assert_eq!(api.post("/queue/resume", "").await.status, 200);
    }
    let _worker = Worker::start(&database.url, &[DEAD_AFTER]).await;
    wait_until_all_are_completed(&database, 40).await;

    let summary = check(&History::read(&database.pool).await, &placed, 0).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert!(summary.rescued >= 32, "{summary:?}");
    let attempts: u16 = sqlx::query_scalar("select max(attempt) from orders").fetch_one(&database.pool).await.unwrap();
    assert_eq!(attempts, 1, "a rescue takes no attempt away");
    let story = sample::events(&api, placed[0]).await;
    assert!(sample::names(&story).starts_with(&["placed", "claimed", "rescued"]), "{story:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_are_found_without_a_lock_on_the_living() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let dying = Worker::start(&database.url, &[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;
    let other = Worker::start(&database.url, &[DEAD_AFTER]).await;
    // As of a worker that sends its heartbeat at that moment, and holds its row's lock for long.
    let mut living = database.pool.begin().await.unwrap();
    sqlx::raw_sql(
        "insert into workers (worker_id, host, pid, version, slots, expires_at)
         values (unhex(repeat('00', 16)), 'elsewhere', 1, '0.1.0', 1, timestampadd(hour, 1, now(6)))",
    )
    .execute(&mut *living)
    .await
    .unwrap();

    dying.kill();

    eventually("the order is rescued and completed", RESCUED_WITHIN, || async {
        (database.state(order_id).await.0 == "COMPLETED").then_some(())
    })
    .await;
    living.rollback().await.unwrap();
    let waited = ["rescue failed", "deadlock", "Lock wait timeout"];
    assert!(!waited.iter().any(|text| other.logs().contains(text)), "{}", other.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_deadline_finishes_nothing_and_starts_afresh() {
    let database = database().await;
    History::record(&database.pool).await;
    let api = Api::start(&database.url, &[]).await;
    let sleeper = Worker::start(&database.url, &[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "1500")]).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;
    let held_by = held(&database).await;

    sleeper.pause();
    let other = Worker::start(&database.url, &[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    eventually("the other worker has the order", sample::SOON, || async {
        let rescued = rescued(&database, &held_by).await == 1;
        (rescued && database.state(order_id).await.0 == "PROCESSING").then_some(())
    })
    .await;
    sleeper.resume();

    eventually("the sleeper's outcome is refused", sample::SOON, || async {
        (sleeper.counter("orders_stale_outcomes_total").await > 0.5).then_some(())
    })
    .await;
    assert_eq!(database.state(order_id).await, ("PROCESSING".to_owned(), 1), "the other worker still has it");
    eventually("the sleeper has registered afresh", sample::SOON, || async {
        let queue = api.get("/queue").await.json();
        (queue["workers"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    assert!((sleeper.counter("orders_worker_deaths_total").await - 1.0).abs() < 0.1);
    other.kill();
    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
    let placed = [order_id, api.place(&sample::order()).await];
    sample::wait_until_stored_as(&database, placed[1], "COMPLETED").await;
    check(&History::read(&database.pool).await, &placed, 0).unwrap_or_else(|wrong| panic!("{wrong:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_kills_its_workers_is_quarantined_and_its_neighbours_are_completed() {
    let database = database().await;
    History::record(&database.pool).await;
    let api = Api::start(&database.url, &[]).await;
    let mut placed = Vec::new();
    for user_id in 1..=20 {
        placed.push(api.place(&sample::order_of(user_id)).await);
    }
    let poison = placed[12];
    let env = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "300"), ("SIMULATED_FAULTS", "kill=user:13")];
    let mut worker = Worker::launch(Release::This, &database.url, &env);
    let mut deaths = 0;

    while database.open_orders().await > 0 {
        eventually("the worker dies, or all is done", sample::SOON, || async {
            (worker.ended().is_some() || database.open_orders().await == 0).then_some(())
        })
        .await;
        if worker.ended().is_some() {
            deaths += 1;
            worker = Worker::launch(Release::This, &database.url, &env);
        }
    }

    assert_eq!(deaths, 3);
    let order = api.get(&format!("/orders/{poison}")).await.json();
    assert_eq!((&order["status"], &order["rescues"]), (&json!("FAILED"), &json!(3)), "{order}");
    assert!(order["last_error"].as_str().is_some_and(|error| error.contains("poison")), "{order}");
    assert_eq!(database.orders_in("COMPLETED").await, 19);
    let summary = check(&History::read(&database.pool).await, &placed, 0).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    assert_eq!((summary.completed, summary.failed), (19, 1), "{summary:?}");

    worker.kill();
    let cancel = api.post(&format!("/orders/{poison}/cancel"), "").await.assert_problem(409);
    assert_eq!(cancel["type"], "/problems/order-status-conflict", "only a retry may kill workers");
    let retry = format!("/orders/{poison}/retry");
    for careless in ["", "{}", r#"{"force": false}"#, r#"{"force": null}"#] {
        let problem = api.post(&retry, careless).await.assert_problem(409);
        assert_eq!(
            (&problem["type"], &problem["order_status"]),
            (&json!("/problems/order-is-poison"), &json!("FAILED"))
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("3 workers")), "{problem}");
    }
    for (body, code) in [(r#"{"force": 1}"#, "not_a_boolean"), (r#"{"reason": "x"}"#, "unknown")] {
        assert_eq!(api.post(&retry, body).await.faults(422)[0].1, code);
    }
    assert_eq!(database.orders_in("FAILED").await, 1);
    let forced = api.post(&retry, r#"{"force": true}"#).await;
    assert_eq!((forced.status, &forced.json()["status"]), (200, &json!("PENDING")), "{forced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_waits_for_an_idle_worker_does_not_stop_the_queue() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env =
        |slots| [("WORKER_CONCURRENCY", slots), ("SIMULATED_FAULTS", "slow=user:13"), ("SIMULATED_SLOW_MS", "600000")];
    let _eldest = Worker::start(&database.url, &env("1")).await;
    let slow = api.place(&sample::order_of(13)).await;
    sample::wait_until_stored_as(&database, slow, "PROCESSING").await;
    let _younger = Worker::start(&database.url, &env("4")).await;
    let slow = api.place(&sample::order_of(13)).await;
    sample::wait_until_stored_as(&database, slow, "PROCESSING").await;

    assert_eq!(api.post("/queue/pause", "").await.status, 200);
    let suspect = api.place(&sample::order()).await;
    sqlx::query("update orders set rescues = 2 where order_id = ?")
        .bind(suspect)
        .execute(&database.pool)
        .await
        .unwrap();
    for _ in 0..30 {
        api.place(&sample::order()).await;
    }
    assert_eq!(api.post("/queue/resume", "").await.status, 200);

    wait_until_all_are_completed(&database, 30).await;
    assert_eq!(database.state(suspect).await, ("PENDING".to_owned(), 0));
    let why = api.get(&format!("/orders/{suspect}/why")).await.json();
    assert!(why["reason"].as_str().is_some_and(|reason| reason.contains("nothing else under way")), "{why}");
    let _idle = Worker::start(&database.url, &[]).await;
    sample::wait_until_stored_as(&database, suspect, "COMPLETED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_back_to_its_old_position_is_claimed_before_a_backlog_behind_it() {
    assert_comes_back_before_a_backlog(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_comes_back_to_its_old_position_is_worked_on_before_a_backlog_behind_it() {
    assert_comes_back_before_a_backlog(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_commit_lost_its_answer_is_handed_back_by_the_worker_itself() {
    let database = database().await;
    History::record(&database.pool).await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&proxy.url, &[]).await;

    proxy.cut_at_commit();
    let order_id = api.place(&sample::order()).await;
    proxy.wait_until_cut().await;

    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
    let story = sample::events(&api, order_id).await;
    assert_eq!(sample::names(&story), ["placed", "claimed", "released", "claimed", "completed"], "{story:?}");
    assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    check(&History::read(&database.pool).await, &[order_id], 0).unwrap_or_else(|wrong| panic!("{wrong:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_commit_takes_effect_late_is_handed_back_too() {
    let database = database().await;
    History::record(&database.pool).await;
    let proxy = Proxy::start(&database.url).await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&proxy.url, &[]).await;

    proxy.hold_back_commit();
    let first = api.place(&sample::order()).await;
    proxy.wait_until_cut().await;
    // It is handed back, as far as it can be, before another one is completed.
    let second = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, second, "COMPLETED").await;
    proxy.let_go();

    eventually("the first one is completed too", sample::SOON, || async {
        (database.state(first).await.0 == "COMPLETED").then_some(())
    })
    .await;
    assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    check(&History::read(&database.pool).await, &[first, second], 0).unwrap_or_else(|wrong| panic!("{wrong:?}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_order_stands_in_nobodys_way() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let bad = Uuid::now_v7();
    sqlx::query("insert into orders (order_id, user_id, item_ids, total_amount) values (?, 1, ?, 1)")
        .bind(bad)
        .bind(format!("[\"{}\"]", "x".repeat(2_000)))
        .execute(&database.pool)
        .await
        .unwrap();
    let good = api.place(&sample::order()).await;
    let listed = api.get("/order/status/pending").await;
    assert_eq!(listed.json().as_array().map(Vec::len), Some(1), "{listed:?}");

    let _worker = Worker::start(&database.url, &[]).await;

    sample::wait_until_stored_as(&database, good, "COMPLETED").await;
    sample::wait_until_stored_as(&database, bad, "FAILED").await;
    let why: String = sqlx::query_scalar("select last_error from orders where order_id = ?")
        .bind(bad)
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert!(why.contains("item_ids"), "{why}");
    let noted: i64 = sqlx::query_scalar("select count(*) from order_events where order_id = ? and event = 'FAILED'")
        .bind(bad)
        .fetch_one(&database.pool)
        .await
        .unwrap();
    assert_eq!(noted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_were_all_late_together_do_not_declare_each_other_dead() {
    let database = database().await;
    let env = [("WORKER_DEAD_AFTER_SECS", "5")];
    let workers = [Worker::start(&database.url, &env).await, Worker::start(&database.url, &env).await];
    eventually("both live", sample::SOON, || async { (live(&database).await == 2).then_some(()) }).await;

    // As an outage leaves it, again and again at every point between two heartbeats.
    for _ in 0..12 {
        sqlx::query(
            "update workers set heartbeat_at = now(6) - interval 9 second, expires_at = now(6) - interval 4 second",
        )
        .execute(&database.pool)
        .await
        .unwrap();
        eventually("both live again", sample::SOON, || async { (live(&database).await == 2).then_some(()) }).await;
    }

    for worker in &workers {
        assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_declared_dead_in_the_middle_of_a_claim_stops_its_work() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "600000")]).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;

    let mut holder = database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();
    eventually("a claim waits for the table", sample::SOON, || async {
        let waiting = database.sessions_that_wait_for_a_table().await;
        (waiting > 0).then_some(())
    })
    .await;
    sqlx::raw_sql("delete from workers").execute(&database.pool).await.unwrap();
    eventually("it has registered afresh", sample::SOON, || async {
        let workers: i64 = sqlx::query_scalar("select count(*) from workers").fetch_one(&database.pool).await.unwrap();
        (workers == 1).then_some(())
    })
    .await;
    sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();

    eventually("the order is claimed anew", sample::SOON, || async {
        let again: i64 = sqlx::query_scalar(
            "select count(*) from orders join workers using (worker_id) where status = 'PROCESSING'",
        )
        .fetch_one(&database.pool)
        .await
        .unwrap();
        (again == 1).then_some(())
    })
    .await;
    eventually("it is worked on once, not twice", sample::SOON, || async {
        let busy = worker.counter("orders_worker_slots_busy").await;
        (busy > 0.5 && busy < 1.5).then_some(())
    })
    .await;
}

/// An order that was rescued so often comes back while a worker is at the orders behind it, two claims at once, and for some
/// seconds more.
async fn assert_comes_back_before_a_backlog(rescues: u8) {
    const BATCHES: usize = 60;
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let env = [("WORKER_CONCURRENCY", "1200"), ("SIMULATED_PROCESSING_MS", "300")];
    let mut later = sample::order();
    later["process_after"] = json!("2999-01-01T00:00:00Z");
    assert_eq!(api.post("/queue/pause", "").await.status, 200);
    let order_id = sample::id(&api.post("/orders", &later.to_string()).await.json());
    let batch = json!({ "orders": vec![sample::order(); 500] }).to_string();
    for _ in 0..BATCHES {
        assert_eq!(api.post("/orders/batch", &batch).await.status, 201);
    }
    let worker = Worker::start(&database.url, &env).await;
    assert_eq!(api.post("/queue/resume", "").await.status, 200);
    eventually("some orders are completed", sample::SOON, || async {
        (worker.counter("orders_completed_total").await > 2_000.0).then_some(())
    })
    .await;

    sqlx::query("update orders set available_at = now(6) - interval 1 hour, rescues = ? where order_id = ?")
        .bind(rescues)
        .bind(order_id)
        .execute(&database.pool)
        .await
        .unwrap();

    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
    assert!(database.orders_in("PENDING").await > 0, "it came last");
}

/// How many workers live, by the database's clock.
async fn live(database: &Database) -> i64 {
    sqlx::query_scalar("select count(*) from workers where expires_at > now(6)")
        .fetch_one(&database.pool)
        .await
        .unwrap()
}

/// The claims that are held now.
async fn held(database: &Database) -> Vec<Uuid> {
    sqlx::query_scalar("select claim_token from orders where status = 'PROCESSING'")
        .fetch_all(&database.pool)
        .await
        .unwrap()
}

/// How many orders were rescued from these claims.
async fn rescued(database: &Database, claims: &[Uuid]) -> i64 {
    let changes = History::read(&database.pool).await;
    let taken_back = changes
        .iter()
        .filter(|change| change.old_token.is_some_and(|token| claims.contains(&token)) && change.rescues > 0);
    i64::try_from(taken_back.count()).unwrap()
}

async fn wait_until_all_are_completed(database: &Database, orders: i64) {
    eventually("every order is completed", sample::SOON, || async {
        (database.orders_in("COMPLETED").await == orders).then_some(())
    })
    .await;
}
