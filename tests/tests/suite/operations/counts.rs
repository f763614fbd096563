//! The counts that are kept beside the orders: they equal a full count at any moment.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use orders_tests::{Api, OwnServer, Worker, assert_counts_are_exact, database, eventually, run};
use serde_json::json;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_an_order_it_is_counted() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let batch = json!({ "orders": vec![sample::order(); 50] }).to_string();
    assert_eq!(api.post("/orders/batch", &batch).await.status, 201);
    for _ in 0..2 {
        // The second one is a replay, which places nothing.
        assert_eq!(sample::post_with_key(&api, "/orders/batch", "once", &batch).await.status, 201);
    }
    let named = json!({"user_id": 1, "item_ids": [1], "total_amount": 1, "external_id": "first"}).to_string();
    assert_eq!(api.post("/orders", &named).await.status, 201);
    assert_eq!(api.post("/orders", &named).await.status, 409);
    let later = r#"{"user_id": 1, "item_ids": [1], "total_amount": 1, "process_after": "2100-01-01T00:00:00Z"}"#;
    let canceled = api.place_text(later).await;
    for _ in 0..2 {
        assert_eq!(api.post(&format!("/orders/{canceled}/cancel"), "").await.status, 200);
    }
    assert_counts_are_exact(&database.pool).await;

    let faults = "fail=0.3,reject=0.1,panic=0.1";
    let env = [("SIMULATED_FAULTS", faults), ("WORKER_MAX_ATTEMPTS", "2"), ("WORKER_RETRY_BASE_MS", "20")];
    let worker = Worker::start(&database.url, &env).await;
    eventually("every order has reached an end", sample::SOON, || async {
        assert_counts_are_exact(&database.pool).await;
        (database.open_orders().await == 0).then_some(())
    })
    .await;
    assert!(worker.terminate().await.success());
    assert!(database.orders_in("FAILED").await > 0, "the faults did nothing");
    let failed: Vec<uuid::Uuid> = sqlx::query_scalar("select order_id from orders where status = 'FAILED'")
        .fetch_all(&database.pool)
        .await
        .unwrap();
    for order_id in &failed {
        assert_eq!(api.post(&format!("/orders/{order_id}/retry"), "").await.status, 200);
    }
    assert_counts_are_exact(&database.pool).await;

    // Handed back at shutdown, and rescued.
    let slow = [("SIMULATED_PROCESSING_MS", "600000"), ("SHUTDOWN_GRACE_SECS", "1"), ("WORKER_DEAD_AFTER_SECS", "2")];
    let all = i64::try_from(failed.len()).unwrap();
    for is_killed in [false, true] {
        let worker = Worker::start(&database.url, &slow).await;
        eventually("all are claimed", sample::SOON, || async {
            (database.orders_in("PROCESSING").await == all).then_some(())
        })
        .await;
        assert_counts_are_exact(&database.pool).await;
        if is_killed {
            worker.kill();
        } else {
            assert!(worker.terminate().await.success());
            assert_eq!(database.orders_in("PENDING").await, all);
        }
        assert_counts_are_exact(&database.pool).await;
    }
    let _rescuer = Worker::start(&database.url, &[("WORKER_DEAD_AFTER_SECS", "2")]).await;
    eventually("the last orders are completed", sample::SOON, || async {
        assert_counts_are_exact(&database.pool).await;
        (database.open_orders().await == 0).then_some(())
    })
    .await;
    let report = api.get("/metrics").await.json();
    assert_eq!(report["data"]["Completed orders:"], database.orders_in("COMPLETED").await, "{report}");
    assert_eq!(report["data"]["Pending orders:"], 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_work_that_stands_in_no_claim_is_told_by_the_doctor_and_can_be_rescued_after_migrate() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "600000")]).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;
    sqlx::raw_sql("delete from claims").execute(&database.pool).await.unwrap();
    let doctor = async || run("orders-api", &["doctor"], &[("DATABASE_URL", &database.url)]).await;

    let lost = doctor().await;
    database.migrate().await;
    let restored = doctor().await;

    let text = String::from_utf8_lossy(&lost.stdout);
    assert!(text.contains("\nFAIL  claims: PROCESSING orders that are in no row of `claims`"), "{text}");
    assert!(text.contains("rescue them: 1; "), "{text}");
    assert!(!lost.status.success() && restored.status.success(), "{restored:?}");
    assert_counts_are_exact(&database.pool).await;
    worker.kill();
    let _rescuer = Worker::start(&database.url, &[("WORKER_DEAD_AFTER_SECS", "1")]).await;
    sample::wait_until_stored_as(&database, order_id, "COMPLETED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_are_wrong_are_told_by_the_doctor_and_set_right_by_migrate_under_load() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let _worker = Worker::start(&database.url, &[("SIMULATED_PROCESSING_MS", "0")]).await;
    for _ in 0..3 {
        api.place(&sample::order()).await;
    }
    let by_hand = "insert into orders (order_id, user_id, item_ids, total_amount, available_at)
        values (unhex(repeat('0', 32)), 1, '[1]', 1, '2100-01-01')";
    sqlx::query(by_hand).execute(&database.pool).await.unwrap();

    let doctor = run("orders-api", &["doctor"], &[("DATABASE_URL", &database.url)]).await;
    let stop = AtomicBool::new(false);
    let load = async {
        while !stop.load(Ordering::Relaxed) {
            api.place(&sample::order()).await;
        }
    };
    let migrations = async {
        for _ in 0..3 {
            database.migrate().await;
            assert_counts_are_exact(&database.pool).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, migrations);

    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.contains("\nWARN  counts: ") && text.contains("by +1 PENDING, "), "{text}");
    assert!(doctor.status.success(), "{text}");
    assert_counts_are_exact(&database.pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_for_the_report_takes_one_connection() {
    let database = database().await;
    let api = Api::start(&database.url, &[("DATABASE_MAX_CONNECTIONS", "4")]).await;
    let order_id = api.place(&sample::order()).await;
    let mut lock = database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables order_counts write").execute(&mut *lock).await.unwrap();

    let crowd = (0..50).map(|_| api.get("/metrics"));
    let others = async {
        eventually("a report waits for the lock", sample::SOON, || async {
            (database.sessions_that_wait_for_a_table().await > 0).then_some(())
        })
        .await;
        for _ in 0..3 {
            assert_eq!(api.get(&format!("/orders/{order_id}")).await.status, 200);
        }
        let waiting = database.sessions_that_wait_for_a_table().await;
        sqlx::raw_sql("unlock tables").execute(&mut *lock).await.unwrap();
        waiting
    };
    let (reports, waiting) = tokio::join!(join_all(crowd), others);

    assert_eq!(waiting, 1);
    for report in reports {
        assert_eq!(report.json()["data"]["Pending orders:"], 1, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_costs_the_same_however_many_orders_there_are() {
    let server = OwnServer::start(&[]).await;
    let api = Api::start(&server.url, &[]).await;
    let orders = json!({ "orders": vec![sample::order(); 500] }).to_string();

    let mut costs = Vec::new();
    for _ in 0..3 {
        assert_eq!(api.post("/orders/batch", &orders).await.status, 201);
        for path in ["/metrics", "/queue"] {
            let report = async { assert_eq!(api.get(path).await.status, 200) };
            costs.push(sample::reads_of(&server, report).await);
        }
    }

    // A row for each of 64 shards at most, and what the schema is checked by.
    assert!(costs.iter().all(|&cost| cost < 200), "{costs:?}");
}
