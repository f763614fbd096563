//! The backup of the deployment, by the commands that docs/RUNBOOK.md prints.

use orders_tests::{Folder, eventually};
use serde_json::json;

use super::client::{COMPLETED_WITHIN, get_json, place_order, place_order_of, wait_until_completed};
use super::deployment::{Deployment, SLOW_USER};
use crate::operations::printed::{beside, printed, typed};

/// Orders that are in work when the dump is made, and orders that wait.
const IN_WORK: usize = 10;
const WAITING: usize = 200;

/// Dumps the deployment while orders come in, its workers are gone and its queue is paused; wipes it, restores it, and lets
/// it work.
pub(super) async fn assert_a_backup_made_under_load_restores_all_that_it_holds(deployment: &Deployment) {
    let folder = Folder::new("typed");
    let api = deployment.published("api", 8000);
    let mut held = Vec::new();
    for _ in 0..IN_WORK {
        held.push(place_order_of(&api, SLOW_USER).await);
    }
    wait_for_depth(&api, "PROCESSING", IN_WORK).await;
    deployment.compose(&["kill", "worker"]);
    post(&api, "/queue/pause").await;
    for _ in 0..WAITING {
        held.push(place_order(&api).await);
    }

    let dump = typed(deployment.shell(folder.path(), printed("Making a backup", "docker")));
    beside(dump, async || drop(place_order(&api).await)).await;
    let lost = place_order(&api).await;
    let said = typed(deployment.shell(folder.path(), printed("Restoring a backup", "docker"))).await;

    assert!(said.contains("ok    counts") && !said.contains("FAIL"), "{said}");
    let api = deployment.published("api", 8000);
    let queue = get_json(&format!("{api}/queue")).await.expect("the restored API answers");
    assert_eq!(queue["paused"], true, "{queue}");
    assert_eq!(get_json(&format!("{api}/orders/{lost}")).await, None, "placed after the dump");
    post(&api, "/queue/resume").await;
    for order_id in &held {
        wait_until_completed(&api, order_id).await;
    }
    wait_for_depth(&api, "PENDING", 0).await;
    for order_id in held.iter().take(IN_WORK) {
        let order = get_json(&format!("{api}/orders/{order_id}")).await.expect("the order is there");
        assert_eq!(order["rescues"], 1, "{order}");
    }
}

async fn wait_for_depth(api: &str, status: &str, orders: usize) {
    eventually(&format!("{orders} orders are {status}"), COMPLETED_WITHIN, || async {
        let queue = get_json(&format!("{api}/queue")).await?;
        (queue["depth"][status] == json!(orders)).then_some(())
    })
    .await;
}

async fn post(api: &str, path: &str) {
    let response = reqwest::Client::new().post(format!("{api}{path}")).send().await.expect("the API answers");
    assert_eq!(response.status(), 200, "{path}");
}
