//! The programs of `examples/`, and the snippets of docs/PROCESSING.md, which are theirs.
//!
//! One of them needs python3; where it is missing, the test runner passes `--skip python::`.

mod python;

use orders_tests::Release::This;
use orders_tests::{Kind, Running, System, run};
use serde_json::{Value, json};

const PROCESSING: &str = include_str!("../../../../docs/PROCESSING.md");

/// The files that the document shows, or shows a part of.
const SHOWN: [&str; 4] = [
    include_str!("../../../../examples/src/bin/ship.rs"),
    include_str!("../../../../examples/src/bin/ship_in_batches.rs"),
    include_str!("../../../../examples/src/bin/ship_on_threads.rs"),
    include_str!("../../../../examples/fulfilment.py"),
];

const SECRET: (&str, &str) = ("FULFILMENT_SECRET", "whsec_VGhpcyBzZWNyZXQgaXMgbm9uZSBhdCBhbGwu");
const OTHER_SECRET: (&str, &str) = ("FULFILMENT_SECRET", "whsec_QW5vdGhlciBzZWNyZXQgdGhhdCBpcyBub25lLi4u");

/// A retry comes at once.
const FAST_RETRIES: (&str, &str) = ("WORKER_RETRY_BASE_MS", "1");

/// First attempts fail for user 7, item 13 is rejected, and the sample service rejects users whose number ends in 3.
fn order_with(user_id: i64, item_ids: &[i64]) -> Value {
    json!({"user_id": user_id, "item_ids": item_ids, "total_amount": 100.0})
}

macro_rules! example {
    ($kind:ident, $name:literal, $listen:literal) => {
        enum $kind {}

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const LISTEN: &'static str = $listen;
        }
    };
}

example!(Ship, "ship", "WORKER_LISTEN");
example!(ShipInBatches, "ship_in_batches", "WORKER_LISTEN");
example!(ShipOnThreads, "ship_on_threads", "WORKER_LISTEN");
example!(SampleService, "fulfilment_service", "DEMO_LISTEN");

#[test]
fn what_the_documentation_shows_is_in_the_examples() {
    let shown = |language: &str| {
        let blocks = PROCESSING.split(&format!("```{language}\n")).skip(1).collect::<Vec<_>>();
        blocks.into_iter().map(|rest| rest.split_once("```").expect("a block has an end").0)
    };
    let programs = shown("python").filter(|block| block.starts_with("\"\"\""));
    let blocks: Vec<_> = shown("rust").chain(programs).collect();

    assert_eq!(blocks.len(), SHOWN.len());
    for (block, file) in blocks.iter().zip(SHOWN) {
        assert!(file.contains(block), "it is another in the file:\n{block}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_rust_keeps_results_tries_again_and_rejects() {
    let system = System::start().await;
    let _worker = system.start_program::<Ship>(&[FAST_RETRIES]).await;

    let shipped = system.place(&order_with(1, &[1, 2])).await;
    let retried = system.place(&order_with(7, &[1])).await;
    let rejected = system.place(&order_with(1, &[13])).await;

    let order = system.wait_for_status(shipped, "COMPLETED").await;
    assert_eq!(order["result"], json!({"tracking_number": format!("PARCEL-{shipped}")}));
    let order = system.wait_for_status(retried, "COMPLETED").await;
    assert_eq!(order["result"], json!({"tracking_number": format!("PARCEL-{retried}")}));
    assert_eq!(order["attempt"], 2, "{order}");
    assert_eq!(order["last_error"], "the carrier hung up");
    let order = system.wait_for_status(rejected, "FAILED").await;
    assert_eq!((&order["attempt"], &order["result"]), (&json!(1), &Value::Null), "{order}");
    assert_eq!(order["last_error"], "item 13 is not sold any more");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_rust_is_a_whole_program_with_a_name_and_a_version_of_its_own() {
    let system = System::start().await;
    let worker = system.start_program::<Ship>(&[]).await;
    let said = async |args: &[&str]| {
        let output = run("ship", args, &[("WORKER_LISTEN", &worker.address().to_string())]).await;
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };

    let (code, version) = said(&["--version"]).await;
    let release = concat!("ship ", env!("CARGO_PKG_VERSION"), "+");
    assert!(code == Some(0) && version.starts_with(release), "{version}");
    let (code, help) = said(&["--help"]).await;
    assert!(code == Some(0) && help.contains("Usage: ship <COMMAND>") && help.contains("healthcheck"), "{help}");
    let (code, help) = said(&["run", "--help"]).await;
    assert!(code == Some(0) && help.contains("WORKER_CONCURRENCY") && !help.contains("SIMULATED_"), "{help}");
    assert_eq!(said(&["healthcheck"]).await.0, Some(0));
    assert!(worker.get("/metrics/prometheus").await.text.contains("orders_worker_slots"));
    let queue = system.show("/queue").await;
    assert_eq!(queue["workers"][0]["processor"], "rust", "{queue}");
    assert_eq!(format!("ship {}\n", queue["workers"][0]["version"].as_str().unwrap()), version);
    assert!(!worker.logs().contains("simulate"), "{}", worker.logs());
    assert_eq!(worker.terminate().await.code(), Some(0));
    assert_eq!(said(&["healthcheck"]).await.0, Some(1));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_takes_orders_by_the_dozen_gives_each_its_own_outcome() {
    let system = System::start().await;
    let items = [[1], [13], [3], [4]];
    let mut orders = Vec::new();
    for item in &items {
        orders.push((system.place(&order_with(1, item)).await, item[0]));
    }

    let _worker = system.start_program::<ShipInBatches>(&[]).await;

    for (order_id, item) in orders {
        let order = system.wait_for_status(order_id, if item == 13 { "FAILED" } else { "COMPLETED" }).await;
        let parcel = json!({"tracking_number": format!("PARCEL-{order_id}"), "on_pallet": items.len()});
        assert_eq!(order["result"], if item == 13 { Value::Null } else { parcel }, "{order}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_work_blocks_does_it_on_threads_and_gives_it_up_in_time() {
    let system = System::start().await;
    let patient = system.start_program::<ShipOnThreads>(&[]).await;
    let order_id = system.place(&order_with(1, &[1, 2, 3])).await;
    assert_eq!(system.wait_for_status(order_id, "COMPLETED").await["result"], json!({"boxes": 3}));
    assert_eq!(patient.terminate().await.code(), Some(0));

    let hasty = system.start_program::<ShipOnThreads>(&[("PROCESSING_TIMEOUT_MS", "50"), ("WORKER_MAX_ATTEMPTS", "1")]);
    let hasty = hasty.await;
    let order_id = system.place(&order_with(1, &[1; 100])).await;

    let order = system.wait_for_status(order_id, "FAILED").await;
    assert_eq!(order["last_error"], "timed out after 50 ms");
    assert_eq!(hasty.terminate().await.code(), Some(0));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_service_verifies_signatures_and_its_answers_are_the_outcomes() {
    let system = System::start().await;
    let faultless = [SECRET, ("DEMO_FAULTS", "false")];
    let service = Running::<SampleService>::launch(This, &system.database.url, &faultless);
    let url = service.url("/");
    let _worker = system.start_worker(&[("FULFILMENT_URL", &url), SECRET]).await;

    let shipped = system.place(&order_with(1, &[1])).await;
    let rejected = system.place(&order_with(13, &[1])).await;

    let order = system.wait_for_status(shipped, "COMPLETED").await;
    assert!(order["result"]["tracking_number"].as_str().is_some_and(|number| number.starts_with("DEMO")), "{order}");
    assert_eq!(system.wait_for_status(rejected, "FAILED").await["attempt"], 1);
    for (secret, code, status) in [(SECRET, 0, "204 No Content"), (OTHER_SECRET, 1, "401 Unauthorized")] {
        let output = run("orders-worker", &["deliver", "--test"], &[("FULFILMENT_URL", &url), secret]).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(code) && said.contains(status), "{output:?}");
    }
    system.end().await;
}
