//! The counts that are kept beside the orders: they equal a full count at any moment.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use orders_tests::{OwnServer, SOON, System, assert_counts_are_exact, eventually, run, wait_until};
use serde_json::json;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_becomes_of_an_order_it_is_counted() {
    let system = System::start().await;
    let batch = json!({ "orders": vec![sample::order(); 50] }).to_string();
    assert_eq!(system.post("/orders/batch", &batch).await.status, 201);
    for _ in 0..2 {
        // The second one is a replay, which places nothing.
        assert_eq!(system.post_with_key("/orders/batch", "once", &batch).await.status, 201);
    }
    let named = json!({"user_id": 1, "item_ids": [1], "total_amount": 1, "external_id": "first"}).to_string();
    assert_eq!(system.post("/orders", &named).await.status, 201);
    assert_eq!(system.post("/orders", &named).await.status, 409);
    let later = r#"{"user_id": 1, "item_ids": [1], "total_amount": 1, "process_after": "2100-01-01T00:00:00Z"}"#;
    let canceled = system.place_text(later).await;
    for _ in 0..2 {
        assert_eq!(system.post(&format!("/orders/{canceled}/cancel"), "").await.status, 200);
    }
    assert_counts_are_exact(&system.database.pool).await;

    let faults = "fail=0.3,reject=0.1,panic=0.1";
    let env = [("SIMULATED_FAULTS", faults), ("WORKER_MAX_ATTEMPTS", "2"), ("WORKER_RETRY_BASE_MS", "20")];
    let worker = system.start_worker(&env).await;
    eventually("every order has reached an end", SOON, || async {
        assert_counts_are_exact(&system.database.pool).await;
        (system.database.open_orders().await == 0).then_some(())
    })
    .await;
    assert!(worker.terminate().await.success());
    assert!(system.database.orders_in("FAILED").await > 0, "the faults did nothing");
    let failed: Vec<uuid::Uuid> = sqlx::query_scalar("select order_id from orders where status = 'FAILED'")
        .fetch_all(&system.database.pool)
        .await
        .unwrap();
    for order_id in &failed {
        assert_eq!(system.post(&format!("/orders/{order_id}/retry"), "").await.status, 200);
    }
    assert_counts_are_exact(&system.database.pool).await;

    // Handed back at shutdown, and rescued.
    let slow = [("SIMULATED_PROCESSING_MS", "600000"), ("SHUTDOWN_GRACE_SECS", "1"), ("WORKER_DEAD_AFTER_SECS", "2")];
    let all = i64::try_from(failed.len()).unwrap();
    for is_killed in [false, true] {
        let worker = system.start_worker(&slow).await;
        system.database.wait_for_orders_in("PROCESSING", all).await;
        assert_counts_are_exact(&system.database.pool).await;
        if is_killed {
            worker.kill();
        } else {
            assert!(worker.terminate().await.success());
            assert_eq!(system.database.orders_in("PENDING").await, all);
        }
        assert_counts_are_exact(&system.database.pool).await;
    }
    system.start_worker(&[("WORKER_DEAD_AFTER_SECS", "2")]).await;
    eventually("the last orders are completed", SOON, || async {
        assert_counts_are_exact(&system.database.pool).await;
        (system.database.open_orders().await == 0).then_some(())
    })
    .await;
    let report = system.get("/metrics").await.json();
    assert_eq!(report["data"]["Completed orders:"], system.database.orders_in("COMPLETED").await, "{report}");
    assert_eq!(report["data"]["Pending orders:"], 0, "{report}");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_work_that_stands_in_no_claim_is_told_by_the_doctor_and_can_be_rescued_after_migrate() {
    let system = System::start().await;
    let worker = system.start_worker(&[("SIMULATED_PROCESSING_MS", "600000")]).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;
    system.database.execute("delete from claims").await;
    let doctor = async || run("orders-api", &["doctor"], &[("DATABASE_URL", &system.database.url)]).await;

    let lost = doctor().await;
    system.database.migrate().await;
    let restored = doctor().await;

    let text = String::from_utf8_lossy(&lost.stdout);
    assert!(text.contains("\nFAIL  claims: PROCESSING orders that are in no row of `claims`"), "{text}");
    assert!(text.contains("rescue them: 1; "), "{text}");
    assert!(!lost.status.success() && restored.status.success(), "{restored:?}");
    assert_counts_are_exact(&system.database.pool).await;
    worker.kill();
    system.start_worker(&[("WORKER_DEAD_AFTER_SECS", "1")]).await;
    system.database.wait_for_status(order_id, "COMPLETED").await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_are_wrong_are_told_by_the_doctor_and_set_right_by_migrate_under_load() {
    let system = System::start().await;
    system.start_worker(&[("SIMULATED_PROCESSING_MS", "0")]).await;
    for _ in 0..3 {
        system.place(&sample::order()).await;
    }
    let by_hand = "insert into orders (order_id, user_id, item_ids, total_amount, available_at)
        values (unhex(repeat('0', 32)), 1, '[1]', 1, '2100-01-01')";
    system.database.execute(by_hand).await;

    let doctor = run("orders-api", &["doctor"], &[("DATABASE_URL", &system.database.url)]).await;
    let stop = AtomicBool::new(false);
    let load = async {
        while !stop.load(Ordering::Relaxed) {
            system.place(&sample::order()).await;
        }
    };
    let migrations = async {
        for _ in 0..3 {
            system.database.migrate().await;
            assert_counts_are_exact(&system.database.pool).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, migrations);

    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(text.contains("\nWARN  counts: ") && text.contains("by +1 PENDING, "), "{text}");
    assert!(doctor.status.success(), "{text}");
    assert_counts_are_exact(&system.database.pool).await;
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_for_the_report_takes_one_connection() {
    let system = System::start_with(&[("DATABASE_MAX_CONNECTIONS", "4")]).await;
    let order_id = system.place(&sample::order()).await;
    let mut lock = system.database.pool.acquire().await.unwrap();
    sqlx::raw_sql("lock tables order_counts write").execute(&mut *lock).await.unwrap();

    let crowd = (0..50).map(|_| system.get("/metrics"));
    let others = async {
        wait_until("a report waits for the lock", async || system.database.sessions_that_wait_for_a_table().await > 0)
            .await;
        for _ in 0..3 {
            assert_eq!(system.get(&format!("/orders/{order_id}")).await.status, 200);
        }
        let waiting = system.database.sessions_that_wait_for_a_table().await;
        sqlx::raw_sql("unlock tables").execute(&mut *lock).await.unwrap();
        waiting
    };
    let (reports, waiting) = tokio::join!(join_all(crowd), others);

    assert_eq!(waiting, 1);
    for report in reports {
        assert_eq!(report.json()["data"]["Pending orders:"], 1, "{report:?}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_costs_the_same_however_many_orders_there_are() {
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let orders = json!({ "orders": vec![sample::order(); 500] }).to_string();

    let mut costs = Vec::new();
    for _ in 0..3 {
        assert_eq!(system.post("/orders/batch", &orders).await.status, 201);
        for path in ["/metrics", "/queue"] {
            let report = async { assert_eq!(system.get(path).await.status, 200) };
            costs.push(sample::reads_of(&system.database, report).await);
        }
    }

    // A row for each of 64 shards at most, and what the schema is checked by.
    assert!(costs.iter().all(|&cost| cost < 200), "{costs:?}");
    system.end().await;
}
