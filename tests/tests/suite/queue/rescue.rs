//! Workers that die, and what becomes of their orders.

use std::time::{Duration, Instant};

use orders_tests::{Database, History, Release, System, Worker, database, eventually, wait_until};
use serde_json::json;
use uuid::Uuid;

use crate::sample;

/// The smallest value that the setting takes, since the tests wait for it.
const DEAD_AFTER: (&str, &str) = ("WORKER_DEAD_AFTER_SECS", "1");

/// The promise: a rescue takes at most five seconds longer than the setting.
const RESCUED_WITHIN: Duration = Duration::from_secs(1 + 5);

#[tokio::test(flavor = "multi_thread")]
async fn workers_killed_again_and_again_lose_no_order() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let mut placed = Vec::new();
    for _ in 0..40 {
        placed.push(system.place(&sample::order()).await);
    }
    let slow = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000"), ("WORKER_CONCURRENCY", "8")];

    // An order may lose its worker twice; the third time it would be taken for poison.
    for _ in 0..2 {
        let workers = [system.start_worker(&slow).await, system.start_worker(&slow).await];
        system.database.wait_for_orders_in("PROCESSING", 16).await;
        let held = held(&system.database).await;
        for worker in &workers {
            worker.kill();
        }
        // While the queue is paused, orders are rescued but not claimed.
        assert_eq!(system.post("/queue/pause", "").await.status, 200);
        let next = system.start_worker(&[DEAD_AFTER]).await;
        let killed = Instant::now();
        eventually("every order of the dead is rescued", RESCUED_WITHIN, || async {
            (rescued(&system.database, &held).await == 16).then_some(())
        })
        .await;
        assert!(killed.elapsed() < RESCUED_WITHIN);
        assert_eq!(next.terminate().await.code(), Some(0));
        assert_eq!(system.post("/queue/resume", "").await.status, 200);
    }
    system.start_worker(&[DEAD_AFTER]).await;
    system.database.wait_for_orders_in("COMPLETED", 40).await;

    let summary = History::assert_is_sound(&system.database.pool, &placed, 0).await;
    assert!(summary.rescued >= 32, "{summary:?}");
    let attempts: u16 = system.database.scalar("select max(attempt) from orders").await;
    assert_eq!(attempts, 1, "a rescue takes no attempt away");
    assert_eq!(system.story(placed[0]).await[..3], ["placed", "claimed", "rescued"]);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dead_are_found_without_a_lock_on_the_living() {
    let system = System::start().await;
    let dying = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;
    let other = system.start_worker(&[DEAD_AFTER]).await;
    // As if a worker that sends its heartbeat held the lock on its row for long.
    let mut living = system.database.pool.begin().await.unwrap();
    sqlx::raw_sql(
        "insert into workers (worker_id, host, pid, version, slots, expires_at)
         values (unhex(repeat('00', 16)), 'elsewhere', 1, '0.1.0', 1, timestampadd(hour, 1, now(6)))",
    )
    .execute(&mut *living)
    .await
    .unwrap();

    dying.kill();

    eventually("the order is rescued and completed", RESCUED_WITHIN, || async {
        (system.database.state(order_id).await.0 == "COMPLETED").then_some(())
    })
    .await;
    living.rollback().await.unwrap();
    let waited = ["rescue failed", "deadlock", "Lock wait timeout"];
    assert!(!waited.iter().any(|text| other.logs().contains(text)), "{}", other.logs());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_slept_past_its_deadline_finishes_nothing_and_starts_afresh() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let sleeper = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "1500")]).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;
    let held_by = held(&system.database).await;

    sleeper.pause();
    let other = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "60000")]).await;
    wait_until("the other worker has the order", async || {
        let rescued = rescued(&system.database, &held_by).await == 1;
        rescued && system.database.state(order_id).await.0 == "PROCESSING"
    })
    .await;
    sleeper.resume();

    wait_until("the sleeper's outcome is refused", async || sleeper.counter("orders_stale_outcomes_total").await > 0.5)
        .await;
    assert_eq!(system.database.state(order_id).await, ("PROCESSING".to_owned(), 1), "the other worker still has it");
    wait_until("the sleeper has registered afresh", async || {
        system.show("/queue").await["workers"].as_array().unwrap().len() == 2
    })
    .await;
    assert!((sleeper.counter("orders_worker_deaths_total").await - 1.0).abs() < 0.1);
    other.kill();
    system.database.wait_for_status(order_id, "COMPLETED").await;
    let placed = [order_id, system.place(&sample::order()).await];
    system.database.wait_for_status(placed[1], "COMPLETED").await;
    History::assert_is_sound(&system.database.pool, &placed, 0).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_kills_its_workers_is_quarantined_and_its_neighbours_are_completed() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let mut placed = Vec::new();
    for user_id in 1..=20 {
        placed.push(system.place(&sample::order_of(user_id)).await);
    }
    let poison = placed[12];
    let env = [DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "300"), ("SIMULATED_FAULTS", "kill=user:13")];
    let mut worker = Worker::launch(Release::This, &system.database.url, &env);
    let mut deaths = 0;

    while system.database.open_orders().await > 0 {
        wait_until("the worker dies, or all is done", async || {
            worker.ended().is_some() || system.database.open_orders().await == 0
        })
        .await;
        if worker.ended().is_some() {
            deaths += 1;
            worker = Worker::launch(Release::This, &system.database.url, &env);
        }
    }

    assert_eq!(deaths, 3);
    let order = system.order(poison).await;
    assert_eq!((&order["status"], &order["rescues"]), (&json!("FAILED"), &json!(3)), "{order}");
    assert!(order["last_error"].as_str().is_some_and(|error| error.contains("poison")), "{order}");
    assert_eq!(system.database.orders_in("COMPLETED").await, 19);
    let summary = History::assert_is_sound(&system.database.pool, &placed, 0).await;
    assert_eq!((summary.completed, summary.failed), (19, 1), "{summary:?}");

    worker.kill();
    let cancel = system.post(&format!("/orders/{poison}/cancel"), "").await.assert_problem(409);
    assert_eq!(cancel["type"], "/problems/order-status-conflict", "only a retry may kill workers");
    let retry = format!("/orders/{poison}/retry");
    for careless in ["", "{}", r#"{"force": false}"#, r#"{"force": null}"#] {
        let problem = system.post(&retry, careless).await.assert_problem(409);
        assert_eq!(
            (&problem["type"], &problem["order_status"]),
            (&json!("/problems/order-is-poison"), &json!("FAILED"))
        );
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("3 workers")), "{problem}");
    }
    for (body, code) in [(r#"{"force": 1}"#, "not_a_boolean"), (r#"{"reason": "x"}"#, "unknown")] {
        assert_eq!(system.post(&retry, body).await.faults(422)[0].1, code);
    }
    assert_eq!(system.database.orders_in("FAILED").await, 1);
    let forced = system.post(&retry, r#"{"force": true}"#).await;
    assert_eq!((forced.status, &forced.json()["status"]), (200, &json!("PENDING")), "{forced:?}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_waits_for_an_idle_worker_does_not_stop_the_queue() {
    let system = System::start().await;
    let env =
        |slots| [("WORKER_CONCURRENCY", slots), ("SIMULATED_FAULTS", "slow=user:13"), ("SIMULATED_SLOW_MS", "600000")];
    system.start_worker(&env("1")).await;
    let slow = system.place(&sample::order_of(13)).await;
    system.database.wait_for_status(slow, "PROCESSING").await;
    system.start_worker(&env("4")).await;
    let slow = system.place(&sample::order_of(13)).await;
    system.database.wait_for_status(slow, "PROCESSING").await;

    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    let suspect = system.place(&sample::order()).await;
    system.database.set(suspect, "rescues = 2").await;
    for _ in 0..30 {
        system.place(&sample::order()).await;
    }
    assert_eq!(system.post("/queue/resume", "").await.status, 200);

    system.database.wait_for_orders_in("COMPLETED", 30).await;
    assert_eq!(system.database.state(suspect).await, ("PENDING".to_owned(), 0));
    let why = system.why(suspect).await;
    assert!(why["reason"].as_str().is_some_and(|reason| reason.contains("nothing else under way")), "{why}");
    system.start_worker(&[]).await;
    system.database.wait_for_status(suspect, "COMPLETED").await;
    system.end_with_work_under_way().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_back_to_its_old_position_is_claimed_before_a_backlog_behind_it() {
    assert_comes_back_before_a_backlog(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_comes_back_to_its_old_position_is_worked_on_before_a_backlog_behind_it() {
    assert_comes_back_before_a_backlog(2).await;
}

/// Waits until the only worker has committed its first chore, which could be taken for the commit of a claim.
async fn wait_for_first_chore(database: &Database) {
    let leases = "select count(*) from leases";
    wait_until("the first chore is done", async || database.scalar::<i64>(leases).await > 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_commit_lost_its_answer_is_handed_back_by_the_worker_itself() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let worker = system.start_worker_behind_proxy(&[]).await;
    wait_for_first_chore(&system.database).await;

    system.proxy.cut_at_commit();
    let order_id = system.place(&sample::order()).await;
    system.proxy.wait_until_cut().await;

    system.database.wait_for_status(order_id, "COMPLETED").await;
    assert_eq!(system.story(order_id).await, ["placed", "claimed", "released", "claimed", "completed"]);
    assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    History::assert_is_sound(&system.database.pool, &[order_id], 0).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_commit_takes_effect_late_is_handed_back_too() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let worker = system.start_worker_behind_proxy(&[]).await;
    wait_for_first_chore(&system.database).await;

    system.proxy.hold_back_commit();
    let first = system.place(&sample::order()).await;
    system.proxy.wait_until_cut().await;
    // It is handed back, as far as it can be, before another one is completed.
    let second = system.place(&sample::order()).await;
    system.database.wait_for_status(second, "COMPLETED").await;
    system.proxy.let_go();

    system.database.wait_for_status(first, "COMPLETED").await;
    assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    History::assert_is_sound(&system.database.pool, &[first, second], 0).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_order_stands_in_nobodys_way() {
    let system = System::start().await;
    let bad = Uuid::now_v7();
    sqlx::query("insert into orders (order_id, user_id, item_ids, total_amount) values (?, 1, ?, 1)")
        .bind(bad)
        .bind(format!("[\"{}\"]", "x".repeat(2_000)))
        .execute(&system.database.pool)
        .await
        .unwrap();
    let good = system.place(&sample::order()).await;
    let listed = system.get("/order/status/pending").await;
    assert_eq!(listed.json().as_array().map(Vec::len), Some(1), "{listed:?}");

    system.start_worker(&[]).await;

    system.database.wait_for_status(good, "COMPLETED").await;
    system.database.wait_for_status(bad, "FAILED").await;
    let why: String = system.database.column(bad, "last_error").await;
    assert!(why.contains("item_ids"), "{why}");
    let noted: i64 = sqlx::query_scalar("select count(*) from order_events where order_id = ? and event = 'FAILED'")
        .bind(bad)
        .fetch_one(&system.database.pool)
        .await
        .unwrap();
    assert_eq!(noted, 1);
    system.end_uncounted();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_were_all_late_together_do_not_declare_each_other_dead() {
    let database = database().await;
    let env = [("WORKER_DEAD_AFTER_SECS", "5")];
    let workers = [Worker::start(&database.url, &env).await, Worker::start(&database.url, &env).await];
    wait_until("both live", async || live(&database).await == 2).await;

    // The state that an outage leaves, made anew at every point between two heartbeats.
    for _ in 0..12 {
        let late = "heartbeat_at = now(6) - interval 9 second, expires_at = now(6) - interval 4 second";
        database.execute(&format!("update workers set {late}")).await;
        wait_until("both live again", async || live(&database).await == 2).await;
    }

    for worker in &workers {
        assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_declared_dead_in_the_middle_of_a_claim_stops_its_work() {
    let system = System::start().await;
    let worker = system.start_worker(&[DEAD_AFTER, ("SIMULATED_PROCESSING_MS", "600000")]).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;

    let mut holder = system.database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();
    wait_until("a claim waits", async || system.database.sessions_that_wait_for_a_table().await > 0).await;
    system.database.execute("delete from workers").await;
    wait_until("it has registered afresh", async || {
        system.database.scalar::<i64>("select count(*) from workers").await == 1
    })
    .await;
    sqlx::raw_sql("unlock tables").execute(&mut *holder).await.unwrap();

    wait_until("the order is claimed anew", async || {
        let anew = "select count(*) from orders join workers using (worker_id) where status = 'PROCESSING'";
        system.database.scalar::<i64>(anew).await == 1
    })
    .await;
    wait_until("it is worked on once, not twice", async || {
        let busy = worker.counter("orders_worker_slots_busy").await;
        busy > 0.5 && busy < 1.5
    })
    .await;
    system.end_with_work_under_way().await;
}

/// The order, rescued so often, becomes due while a worker has claimed two batches of the orders behind it and will be
/// busy with the backlog for some seconds more.
async fn assert_comes_back_before_a_backlog(rescues: u8) {
    const BATCHES: usize = 60;
    let system = System::start().await;
    let env = [("WORKER_CONCURRENCY", "1200"), ("SIMULATED_PROCESSING_MS", "300")];
    let mut later = sample::order();
    later["process_after"] = json!("2999-01-01T00:00:00Z");
    assert_eq!(system.post("/queue/pause", "").await.status, 200);
    let order_id = sample::id(&system.post("/orders", &later.to_string()).await.json());
    let batch = json!({ "orders": vec![sample::order(); 500] }).to_string();
    for _ in 0..BATCHES {
        assert_eq!(system.post("/orders/batch", &batch).await.status, 201);
    }
    let worker = system.start_worker(&env).await;
    assert_eq!(system.post("/queue/resume", "").await.status, 200);
    wait_until("some orders are completed", async || worker.counter("orders_completed_total").await > 2_000.0).await;

    let due_long_ago = format!("available_at = now(6) - interval 1 hour, rescues = {rescues}");
    system.database.set(order_id, &due_long_ago).await;

    system.database.wait_for_status(order_id, "COMPLETED").await;
    assert!(system.database.orders_in("PENDING").await > 0, "it came last");
    system.end_with_work_under_way().await;
}

/// How many workers are alive by the database's clock.
async fn live(database: &Database) -> i64 {
    database.scalar("select count(*) from workers where expires_at > now(6)").await
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
