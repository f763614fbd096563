//! The deployment of `docker-compose.yml`, built from this checkout and run as it stands.
//!
//! Needs a Docker engine that has or can pull the images; where there is none, the test runner passes
//! `--skip compose::`.

mod backup;
mod client;
mod confinement;
mod deployment;

use std::time::Duration;

use orders_tests::eventually;
use reqwest::Url;
use serde_json::Value;

use self::client::{get_json, place_order, wait_until_completed};
use self::confinement::{assert_confined, assert_strangers_are_kept_out};
use self::deployment::{Deployment, docker};

/// A quarter of a minute on a quiet machine; the database's first start takes its time on a slow disk.
const HEALTHY_WITHIN_SECS: &str = "300";

/// The revision that the images are built from, as far as they know.
const REVISION: &str = "3f2a9c1d";

/// Two refreshes of the worker's addresses, two scrapes, and time to spare.
const SCRAPED_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_compose_deployment_completes_an_order_keeps_strangers_out_scales_and_is_restored_from_its_backup() {
    let deployment = Deployment::new();
    deployment.compose_with(&["build"], &[("ORDERS_REVISION", REVISION)]);
    deployment.compose(&["up", "--wait", "--wait-timeout", HEALTHY_WITHIN_SECS]);

    let api = deployment.published("api", 8000);
    let order_id = place_order(&api).await;
    wait_until_completed(&api, &order_id).await;

    assert_strangers_are_kept_out(&deployment).await;

    deployment.compose(&["up", "--wait", "--wait-timeout", HEALTHY_WITHIN_SECS, "--scale", "worker=3"]);
    let prometheus = deployment.published("prometheus", 9090);
    eventually("Prometheus scrapes one API and three workers", SCRAPED_WITHIN, || async {
        let targets = get_json(&format!("{prometheus}/api/v1/targets?state=active")).await?;
        (healthy_targets(&targets, "api") == 1 && healthy_targets(&targets, "worker") == 3).then_some(())
    })
    .await;

    wait_until_prometheus_shows(&prometheus, "max(orders_workers_with_wakeup) == 3").await;
    place_order(&api).await;
    wait_until_prometheus_shows(&prometheus, "sum(orders_worker_wakeups_total) > 0").await;

    for (service, program) in [("api", "orders-api"), ("worker", "orders-worker")] {
        assert_confined(&deployment, service, program);
        assert_tells_its_build(&deployment, service, program);
    }

    backup::assert_a_backup_made_under_load_restores_all_that_it_holds(&deployment).await;

    deployment.compose(&["stop", "api", "worker"]);
    assert_eq!(deployment.exit_codes(&["api", "worker"]), ["0"; 4], "SIGTERM ends every program in good order");

    deployment.remove();
    assert_eq!(deployment.leftovers(), "");
}

/// An operator can tell old from new, by the image and by the program.
fn assert_tells_its_build(deployment: &Deployment, service: &str, program: &str) {
    let release = env!("CARGO_PKG_VERSION");
    let label = |name: &str| {
        let format = format!("{{{{index .Config.Labels \"org.opencontainers.image.{name}\"}}}}");
        docker(&["inspect", "--format", &format, &deployment.container(service)])
    };
    assert_eq!([label("version"), label("revision")], [release, REVISION]);
    let version = deployment.compose(&["exec", "-T", service, program, "--version"]);
    assert_eq!(version.trim(), format!("{program} {release}+{REVISION}"));
}

fn healthy_targets(targets: &Value, job: &str) -> usize {
    let targets = targets["data"]["activeTargets"].as_array().expect("Prometheus lists its targets");
    targets.iter().filter(|target| target["labels"]["job"] == job && target["health"] == "up").count()
}

/// Waits until Prometheus has scraped figures for which the condition holds.
async fn wait_until_prometheus_shows(prometheus: &str, condition: &str) {
    let query = Url::parse_with_params(&format!("{prometheus}/api/v1/query"), [("query", condition)]);
    let query = query.expect("the address of Prometheus is a URL");
    eventually(&format!("Prometheus shows {condition}"), SCRAPED_WITHIN, || async {
        let answer = get_json(query.as_str()).await?;
        answer["data"]["result"].get(0).map(|_| ())
    })
    .await;
}
