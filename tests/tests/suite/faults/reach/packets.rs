//! A server that takes no large statements.

use futures_util::future::join_all;
use orders_tests::{OwnServer, System};
use serde_json::{Value, json};

use super::doctor;
use crate::sample;

const ORDERS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_is_larger_than_the_server_takes_is_too_large_for_ever_and_fails_no_neighbour() {
    let system = System::on(OwnServer::start(&["--max-allowed-packet=1048576"]).await, &[]).await;

    for (entries, kibibytes) in [(4, 930..1_000), (13, 2_800..3_200)] {
        let batch = batch(entries);
        assert!(kibibytes.contains(&(batch.len() / 1024)), "{} KiB", batch.len() / 1024);
        let order = sample::order().to_string();
        let small = join_all((0..8).map(|_| system.post("/order/create-order", &order)));
        let (large, small) = tokio::join!(system.post("/orders/batch", &batch), small);

        assert_eq!(small.iter().map(|reply| reply.status).collect::<Vec<_>>(), [201; 8], "beside {kibibytes:?} KiB");
        let problem = large.assert_problem(413);
        assert!(!problem["type"].as_str().unwrap().contains("database"), "{problem}");
    }

    assert_eq!(system.database.orders().await, 16);
    let (code, text) = doctor(&system.database.url).await;
    assert_eq!(code, Some(0), "{text}");
    let line = text.lines().find(|line| line.contains("max_allowed_packet")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with("WARN"), "{line}");
    system.end().await;
}

/// Orders with so many labels each.
fn batch(entries: usize) -> String {
    let metadata: Value = (0..entries).map(|entry| (format!("label-{entry}"), "x".repeat(450))).collect();
    let order = json!({"user_id": 1, "item_ids": [1], "total_amount": 1.0, "metadata": metadata});
    json!({"orders": vec![order; ORDERS]}).to_string()
}
