//! What the tests of faults stand on: a history that tells what took effect and nothing else.

use orders_tests::{Change, Database, History, Status, check, database};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread")]
async fn the_history_tells_what_took_effect_and_nothing_else() {
    let database = database().await;
    History::record(&database.pool).await;
    let (order_id, token, worker_id) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let claim = sqlx::query(
        "update orders
         set status = 'PROCESSING', available_at = '9999-12-31', claim_token = ?, worker_id = ?, attempt = attempt + 1",
    );
    let complete = "update orders set status = 'COMPLETED', updated_at = now(6)";

    place(&database, order_id).await;
    let mut undone = database.pool.begin().await.unwrap();
    sqlx::query("update orders set status = 'CANCELED', available_at = '9999-12-31'")
        .execute(&mut *undone)
        .await
        .unwrap();
    undone.rollback().await.unwrap();
    claim.bind(token).bind(worker_id).execute(&database.pool).await.unwrap();
    sqlx::query("update orders set updated_at = now(6)").execute(&database.pool).await.unwrap();
    sqlx::query(complete).execute(&database.pool).await.unwrap();

    let history = History::read(&database.pool).await;
    let told: Vec<_> = history.iter().map(|change| (change.old_status, change.new_status, change.attempt)).collect();
    assert_eq!(
        told,
        [
            (None, Status::Pending, 0),
            (Some(Status::Pending), Status::Processing, 1),
            (Some(Status::Processing), Status::Completed, 1),
        ]
    );
    let tokens: Vec<_> = history.iter().map(|change| (change.old_token, change.new_token)).collect();
    assert_eq!(tokens, [(None, None), (None, Some(token)), (Some(token), None)]);
    assert!(history.iter().all(|change: &Change| change.order_id == order_id), "{history:?}");
    assert_eq!(history[1].worker_id, Some(worker_id));
    let summary = check(&history, &[order_id], 0).unwrap();
    assert_eq!((summary.claimed, summary.completed), (1, 1));
}

async fn place(database: &Database, order_id: Uuid) {
    sqlx::query("insert into orders (order_id, user_id, item_ids, total_amount) values (?, 1, '[1]', 1)")
        .bind(order_id)
        .execute(&database.pool)
        .await
        .unwrap();
}
