//! A server that has no room left to write to.

use orders_tests::{OwnServer, SOON, System, eventually};
use serde_json::{Value, json};

use super::{assert_comes_again, wait_until_an_order_is_completed, wait_until_an_order_is_taken};
use crate::sample;

/// All tables lie in one file, which may not grow beyond this.
const SMALL: [&str; 2] = ["--innodb-file-per-table=OFF", "--innodb-data-file-path=ibdata1:12M:autoextend:max:32M"];

/// A table of somebody else's, which can be dropped.
const FILL: &str = "
    create table filler (id int primary key auto_increment, text longblob);
    insert into filler (text) values (repeat('x', 4000000))";

#[tokio::test(flavor = "multi_thread")]
async fn orders_for_which_there_is_no_room_are_told_to_come_again_until_there_is() {
    let system = System::on(OwnServer::start(&SMALL).await, &[]).await;
    system.database.execute(FILL).await;
    let worker = system.start_worker(&[]).await;
    wait_until_an_order_is_completed(&system).await;
    system.post("/queue/pause", "").await;

    let refused = eventually("the server is full", SOON, || async {
        let reply = system.post("/orders/batch", &large_batch()).await;
        (reply.status != 201).then_some(reply)
    })
    .await;
    assert_comes_again(&refused);
    let problem = system.api.wait_for_readiness(503).await.assert_problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("no room"), "{problem}");

    system.database.execute("drop table filler").await;
    wait_until_an_order_is_taken(&system).await;
    system.api.wait_until_ready().await;
    worker.wait_until_ready().await;
    system.end().await;
}

/// Orders of 16 kB.
fn large_batch() -> String {
    let mut order = sample::order();
    order["metadata"] = (0..32).map(|number| (format!("note-{number}"), json!("x".repeat(480)))).collect::<Value>();
    json!({"orders": vec![order; 40]}).to_string()
}
