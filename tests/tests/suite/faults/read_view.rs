//! A transaction that somebody forgot, for which the server keeps every old version of every row.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join;
use futures_util::stream::iter;
use orders_tests::{Database, History, System, eventually};
use sqlx::{Connection, MySqlConnection};
use uuid::Uuid;

use crate::sample;

const ORDERS: i64 = 4_000;
const CONNECTIONS: usize = 32;

/// Ten seconds on a quiet machine with unoptimised programs.
const COMPLETED_WITHIN: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_read_view_that_is_held_open_while_thousands_of_orders_pass_stops_nothing() {
    let system = System::start().await;
    History::record(&system.database.pool).await;
    let first = system.place(&sample::order()).await;
    let mut view = MySqlConnection::connect(&system.database.url).await.unwrap();
    open(&mut view).await;
    assert_eq!(seen_by(&mut view).await, (1, 1));
    let env = [("SIMULATED_PROCESSING_MS", "0"), ("WORKER_CONCURRENCY", "16")];
    let workers = [system.start_worker(&env).await, system.start_worker(&env).await];

    let placing = iter(0..ORDERS).map(|_| async { system.place(&sample::order()).await }).buffer_unordered(CONNECTIONS);
    let (mut placed, ()) =
        join(placing.collect::<Vec<Uuid>>(), wait_until_each_thousand_is_completed(&system.database)).await;

    assert_eq!(seen_by(&mut view).await, (1, 1), "the view has been open all the time");
    let late = system.place(&sample::order()).await;
    system.database.wait_for_status(late, "COMPLETED").await;
    sqlx::raw_sql("commit").execute(&mut view).await.unwrap();
    assert_eq!(seen_by(&mut view).await, (ORDERS + 2, 0));
    placed.extend([first, late]);
    let summary = History::assert_is_sound(&system.database.pool, &placed, 0).await;
    assert_eq!(i64::try_from(summary.claimed), Ok(ORDERS + 2), "{summary:?}");
    for worker in &workers {
        worker.wait_until_ready().await;
        assert!(worker.counter("orders_worker_deaths_total").await < 0.5);
    }
    system.end().await;
}

/// What a backup or a forgotten session does.
async fn open(view: &mut MySqlConnection) {
    for sql in ["set session transaction isolation level repeatable read", "start transaction with consistent snapshot"]
    {
        sqlx::raw_sql(sql).execute(&mut *view).await.unwrap();
    }
}

/// How many orders there are for this session, and how many of them wait.
async fn seen_by(view: &mut MySqlConnection) -> (i64, i64) {
    sqlx::query_as("select count(*), count(case when status = 'PENDING' then 1 end) from orders")
        .fetch_one(view)
        .await
        .unwrap()
}

async fn wait_until_each_thousand_is_completed(database: &Database) {
    for thousand in 1..=ORDERS / 1_000 {
        eventually("the next thousand orders are completed", COMPLETED_WITHIN, || async {
            (database.orders_in("COMPLETED").await >= thousand * 1_000).then_some(())
        })
        .await;
    }
    eventually("all orders are completed", COMPLETED_WITHIN, || async {
        (database.orders_in("COMPLETED").await == ORDERS + 1).then_some(())
    })
    .await;
}
