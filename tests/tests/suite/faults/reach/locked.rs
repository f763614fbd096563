//! A table that somebody keeps locked: the server gives up the statements that wait for it when the programs do.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{Api, OwnServer, System, eventually};
use sqlx::{query_scalar, raw_sql};

use super::{wait_for_readiness, wait_until_an_order_is_completed};
use crate::sample;

const HELD_FOR: Duration = Duration::from_secs(15);
const CLIENTS: usize = 20;

/// Per program; the API has one more for each role.
const CONNECTIONS: i64 = 5;

/// How soon the server gives up a statement that the API has given up.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_locked_leaves_no_sessions_behind_and_no_orders_that_were_given_up() {
    let system =
        System::on(OwnServer::start(&["--max-connections=60"]).await, &[("DATABASE_MAX_CONNECTIONS", "5")]).await;
    let worker = system.start_worker(&[("DATABASE_MAX_CONNECTIONS", "5")]).await;
    wait_until_an_order_is_completed(&system).await;
    let (mut holder, mut root) =
        (system.database.pool.acquire().await.unwrap(), system.database.pool.acquire().await.unwrap());
    raw_sql("lock tables orders write").execute(&mut *holder).await.unwrap();
    let locked = Instant::now();
    let given_up = Mutex::new(Vec::new());

    let clients = join_all((0..CLIENTS).map(|client| post_orders(&system, client, locked, &given_up)));
    let sessions = async {
        let mut most = 0;
        while locked.elapsed() < HELD_FOR {
            most = most.max(i64::try_from(system.database.connections().await.len()).unwrap());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        most
    };
    let unlocked = async {
        wait_for_readiness(503, &system, &worker).await;
        eventually("it was locked for long", HELD_FOR * 2, || async { (locked.elapsed() > HELD_FOR).then_some(()) })
            .await;
        raw_sql("unlock tables").execute(&mut *holder).await.unwrap();
        Instant::now()
    };
    let (_, most, unlocked) = tokio::join!(clients, sessions, unlocked);
    drop(holder);

    wait_for_readiness(200, &system, &worker).await;
    wait_until_an_order_is_completed(&system).await;
    system.database.wait_until_none_is_open().await;
    assert!(most <= 2 * CONNECTIONS + 4, "{most} sessions");
    let refused: i64 = query_scalar(
        "select cast(variable_value as signed) from performance_schema.global_status
         where variable_name = 'Connection_errors_max_connections'",
    )
    .fetch_one(&mut *root)
    .await
    .unwrap_or(0);
    assert_eq!(refused, 0, "refused connections");
    let mut stored_late = Vec::new();
    for (user_id, answered) in given_up.into_inner().unwrap() {
        let sql = "select count(*) from orders where user_id = ?";
        let orders: i64 = query_scalar(sql).bind(user_id).fetch_one(&system.database.pool).await.unwrap();
        if orders > 0 && answered + GIVEN_UP_WITHIN < unlocked {
            stored_late.push((user_id, unlocked - answered));
        }
    }
    assert!(stored_late.is_empty(), "given up, and stored so long after: {stored_late:?}");
    system.end().await;
}

/// Places orders, each of a user of its own, and notes those that were not answered with 201.
async fn post_orders(api: &Api, client: usize, since: Instant, given_up: &Mutex<Vec<(i64, Instant)>>) {
    let mut user_id = i64::try_from(client).unwrap() * 100_000 + 1_000;
    while since.elapsed() < HELD_FOR {
        user_id += 1;
        let reply = api.post("/order/create-order", &sample::order_of(user_id).to_string()).await;
        if reply.status != 201 {
            let _ = reply.assert_problem(503);
            given_up.lock().unwrap().push((user_id, Instant::now()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
