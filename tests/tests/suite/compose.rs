//! The deployment of `docker-compose.yml`, built from this checkout and run as it stands.
//!
//! Needs a Docker engine that has or can pull the images; where there is none, the test runner passes
//! `--skip compose::`.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use orders_tests::eventually;
use reqwest::Url;
use serde_json::{Value, json};

/// A quarter of a minute on a quiet machine; the database's first start takes its time on a slow disk.
const HEALTHY_WITHIN_SECS: &str = "300";

/// A second on a quiet machine.
const COMPLETED_WITHIN: Duration = Duration::from_mins(1);

/// Two refreshes of the worker's addresses, two scrapes, and time to spare.
const SCRAPED_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn the_compose_deployment_takes_an_order_to_completed_scales_and_rings_its_workers() {
    let deployment = Deployment::new();
    deployment.compose(&["build"]);
    deployment.compose(&["up", "--wait", "--wait-timeout", HEALTHY_WITHIN_SECS]);

    let api = deployment.published("api", 8000);
    let order_id = place_order(&api).await;
    eventually("the order is COMPLETED", COMPLETED_WITHIN, || async {
        let order = get_json(&format!("{api}/orders/{order_id}")).await?;
        (order["status"] == "COMPLETED").then_some(())
    })
    .await;

    deployment.compose(&["up", "--wait", "--wait-timeout", HEALTHY_WITHIN_SECS, "--scale", "worker=3"]);
    let prometheus = deployment.published("prometheus", 9090);
    eventually("Prometheus scrapes one API and three workers", SCRAPED_WITHIN, || async {
        let targets = get_json(&format!("{prometheus}/api/v1/targets?state=active")).await?;
        (healthy_targets(&targets, "api") == 1 && healthy_targets(&targets, "worker") == 3).then_some(())
    })
    .await;

    shows(&prometheus, "max(workers_with_bell) == 3").await;
    place_order(&api).await;
    shows(&prometheus, "sum(worker_rings_total) > 0").await;

    for (service, program) in [("api", "orders-api"), ("worker", "orders-worker")] {
        assert_confined(&deployment, service, program);
    }

    deployment.compose(&["stop", "api", "worker"]);
    assert_eq!(deployment.exit_codes(&["api", "worker"]), ["0"; 4], "SIGTERM ends every program in good order");

    deployment.remove();
    assert_eq!(deployment.leftovers(), "");
}

/// Posts the order of the documentation's example and returns its id.
async fn place_order(api: &str) -> String {
    let order = json!({"user_id": 1, "item_ids": [1, 2], "total_amount": 100.0});

    let response = reqwest::Client::new()
        .post(format!("{api}/order/create-order"))
        .json(&order)
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

/// One run of `docker-compose.yml` under a project name of its own, taken down when dropped.
struct Deployment {
    project: String,
}

impl Deployment {
    fn new() -> Self {
        // The test runner names the project, to clean up after a run that was cut short.
        let project = std::env::var("COMPOSE_PROJECT_NAME");
        Self { project: project.unwrap_or_else(|_| format!("orders-test-{}", std::process::id())) }
    }

    /// Runs `docker compose ARGS…` and returns what it printed to standard output.
    fn compose(&self, args: &[&str]) -> String {
        let output = self.command(args).output().expect("the docker command can be started");
        assert_success(args, &output)
    }

    /// The address under which the host reaches `port` of `service`.
    fn published(&self, service: &str, port: u16) -> String {
        let address = self.compose(&["port", service, &port.to_string()]);
        let (_, host_port) = address.trim().rsplit_once(':').expect("an address ends in its port");
        format!("http://127.0.0.1:{host_port}")
    }

    /// The exit codes of the stopped containers of `services`.
    fn exit_codes(&self, services: &[&str]) -> Vec<String> {
        let containers = self.compose(&[&["ps", "--all", "--quiet"], services].concat());
        containers.split_whitespace().map(|id| docker(&["inspect", "--format", "{{.State.ExitCode}}", id])).collect()
    }

    /// Removes all that the deployment made: containers, network, volumes and images.
    fn remove(&self) {
        self.compose(&["down", "--volumes", "--remove-orphans", "--rmi", "local"]);
    }

    /// Whatever still carries the project's name: nothing after [`Self::remove`].
    fn leftovers(&self) -> String {
        let label = format!("label=com.docker.compose.project={}", self.project);
        [
            docker(&["ps", "--all", "--quiet", "--filter", &label]),
            docker(&["network", "ls", "--quiet", "--filter", &label]),
            docker(&["volume", "ls", "--quiet", "--filter", &label]),
            docker(&["images", "--quiet", "--filter", &format!("reference={}-*", self.project)]),
        ]
        .concat()
    }

    /// Port 0 lets Docker choose free ports on the host, so that neither a running deployment nor another test is in the
    /// way.
    fn command(&self, args: &[&str]) -> Command {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
        let mut command = Command::new("docker");
        command
            .args(["compose", "--project-name", &self.project, "--file", "docker-compose.yml"])
            .args(args)
            .current_dir(checkout)
            .env("API_PORT", "0")
            .env("PROMETHEUS_PORT", "0")
            .env_remove("COMPOSE_PROFILES")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Deployment {
    /// After a failure, shows what the containers said first. Never panics: a second panic would hide the first.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.command(&["ps", "--all"]).status();
            let _ = self.command(&["logs", "--tail", "40"]).status();
        }
        let _ = self.command(&["down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "5"]).output();
    }
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("the docker command can be started");
    assert_success(args, &output).trim().to_owned()
}

fn assert_success(args: &[&str], output: &Output) -> String {
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("docker prints text")
}
