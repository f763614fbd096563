//! The deployment of `docker-compose.yml`, built from this checkout and run as it stands.
//!
//! Needs a Docker engine that has or can pull the images; where there is none, the test runner passes
//! `--skip compose::`.

mod backup;
mod deployment;
mod walls;

use std::time::Duration;

use orders_tests::eventually;
use reqwest::Url;
use serde_json::Value;

use self::deployment::Deployment;
use crate::sample;

/// A quarter of a minute on a quiet machine; the database's first start takes its time on a slow disk.
const HEALTHY_WITHIN_SECS: &str = "300";

/// A second on a quiet machine.
const COMPLETED_WITHIN: Duration = Duration::from_mins(1);

/// Two refreshes of the worker's addresses, two scrapes, and time to spare.
const SCRAPED_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_compose_deployment_completes_an_order_keeps_strangers_out_scales_and_is_restored_from_its_backup() {
    let deployment = Deployment::new();
    deployment.compose(&["build"]);
    deployment.compose(&["up", "--wait", "--wait-timeout", HEALTHY_WITHIN_SECS]);

    let api = deployment.published("api", 8000);
    let order_id = place_order(&api).await;
    is_completed(&api, &order_id).await;

    walls::keep_strangers_out(&deployment).await;

    deployment.compose(&["up", "--wait", "--wait-timeout", HEALTHY_WITHIN_SECS, "--scale", "worker=3"]);
    let prometheus = deployment.published("prometheus", 9090);
    eventually("Prometheus scrapes one API and three workers", SCRAPED_WITHIN, || async {
        let targets = get_json(&format!("{prometheus}/api/v1/targets?state=active")).await?;
        (healthy_targets(&targets, "api") == 1 && healthy_targets(&targets, "worker") == 3).then_some(())
    })
    .await;

    shows(&prometheus, "max(orders_workers_with_wakeup) == 3").await;
    place_order(&api).await;
    shows(&prometheus, "sum(orders_worker_wakeups_total) > 0").await;

    for (service, program) in [("api", "orders-api"), ("worker", "orders-worker")] {
        assert_confined(&deployment, service, program);
    }

    backup::made_under_load_restores_all_that_it_holds(&deployment).await;

    deployment.compose(&["stop", "api", "worker"]);
    assert_eq!(deployment.exit_codes(&["api", "worker"]), ["0"; 4], "SIGTERM ends every program in good order");

    deployment.remove();
    assert_eq!(deployment.leftovers(), "");
}

async fn is_completed(api: &str, order_id: &str) {
    eventually("the order is COMPLETED", COMPLETED_WITHIN, || async {
        let order = get_json(&format!("{api}/orders/{order_id}")).await?;
        (order["status"] == "COMPLETED").then_some(())
    })
    .await;
}

/// Posts the order of the documentation's example and returns its id.
async fn place_order(api: &str) -> String {
    place_order_of(api, 1).await
}

async fn place_order_of(api: &str, user_id: i64) -> String {
    let response = reqwest::Client::new()
        .post(format!("{api}/order/create-order"))
        .json(&sample::order_of(user_id))
        .send()
        .await
        .expect("the published port answers");

    assert_eq!(response.status(), 201);
    let created: Value = response.json().await.expect("the answer is JSON");
    created["data"]["order_id"].as_str().expect("the answer holds the order's id").to_owned()
}

/// The JSON behind `url`, or nothing while it does not answer with success.
async fn get_json(url: &str) -> Option<Value> {
    let response = reqwest::get(url).await.ok()?.error_for_status().ok()?;
    response.json().await.ok()
}

fn healthy_targets(targets: &Value, job: &str) -> usize {
    let targets = targets["data"]["activeTargets"].as_array().expect("Prometheus lists its targets");
    targets.iter().filter(|target| target["labels"]["job"] == job && target["health"] == "up").count()
}

/// Waits until Prometheus has scraped figures for which the condition holds.
async fn shows(prometheus: &str, condition: &str) {
    let query = Url::parse_with_params(&format!("{prometheus}/api/v1/query"), [("query", condition)]);
    let query = query.expect("the address of Prometheus is a URL");
    eventually(&format!("Prometheus shows {condition}"), SCRAPED_WITHIN, || async {
        let answer = get_json(query.as_str()).await?;
        answer["data"]["result"].get(0).map(|_| ())
    })
    .await;
}

/// Asserts of the running process itself, not of its settings: it is the container's first (so that SIGTERM reaches it),
/// not root, without capabilities and ways to gain any, and cannot write to the image's files.
fn assert_confined(deployment: &Deployment, service: &str, program: &str) {
    let status = deployment.compose(&["exec", "-T", service, "cat", "/proc/1/status"]);
    let mounts = deployment.compose(&["exec", "-T", service, "cat", "/proc/1/mounts"]);

    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel lists the field");
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Name:"), program);
    assert_eq!(field("Uid:"), "10001 10001 10001 10001", "{program} runs as a user of its own");
    for capabilities in ["CapPrm:", "CapEff:", "CapBnd:"] {
        assert_eq!(field(capabilities), "0000000000000000", "{program} has no capability");
    }
    assert_eq!(field("NoNewPrivs:"), "1", "{program} cannot gain privileges");

    let root_mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|mount| mount[1] == "/");
    let root_options = root_mount.expect("the kernel lists the root file system")[3];
    assert!(root_options.split(',').any(|option| option == "ro"), "{program} has a root file system of {root_options}");
}
