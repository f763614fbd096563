//! What operators and their tools ask of both programs.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{OwnServer, System, run};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn both_programs_are_alive_ready_and_measured() {
    let system = System::start().await;
    let worker = system.start_worker(&[]).await;

    for path in ["/livez", "/readyz", "/metrics/prometheus"] {
        assert_eq!(system.get(path).await.status, 200, "api {path}");
        assert_eq!(worker.get(path).await.status, 200, "worker {path}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_alike_with_a_trailing_slash() {
    let system = System::start().await;
    let order = format!("/orders/{}", system.place(&sample::order()).await);

    for path in ["/order/status/PENDING", "/metrics", "/livez", "/readyz", "/docs", "/openapi.json", &order] {
        let plain = system.get(path).await;
        let slashed = system.get(&format!("{path}/")).await;

        assert_eq!((plain.status, slashed.status), (200, 200), "{path}");
        assert_eq!(plain.header("content-type"), slashed.header("content-type"), "{path}");
        assert_eq!(plain.text, slashed.text, "{path}");
    }
    assert_eq!(system.get("/metrics/prometheus/").await.status, 200);
    assert_eq!(system.get("/order/status/PENDING/?limit=1").await.status, 200);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_the_address_alone_is_led_to_the_page() {
    let system = System::start().await;
    let client = system.client();

    for path in ["", "/", "//", "/?utm_source=mail"] {
        for request in [client.get(system.url(path)), client.head(system.url(path)).header("accept", "text/html")] {
            let led = system.send(request).await;

            assert_eq!((led.status, led.header("location")), (307, Some("/docs")), "{path}: {led:?}");
            assert_eq!(led.header("cache-control"), Some("no-store"), "not for ever: {led:?}");
        }
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_page_needs_no_other_site() {
    let system = System::start().await;

    let page = system.get("/docs").await;

    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    for foreign in ["src=\"http", "src='http", "src=\"//", "href=\"http", "href=\"//"] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_openapi_documents_are_the_served_ones() {
    let system = System::start().await;

    for name in ["openapi.json", "openapi-3.0.json"] {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);

        let served = system.get(&format!("/{name}")).await;

        assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
        assert_eq!(served.text, std::fs::read_to_string(committed).unwrap(), "{name}");
    }
    let page = system.get("/docs").await.text;
    assert!(page.contains(&format!("let spec = {};", system.get("/openapi.json").await.text)), "the page shows it");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_tells_a_running_program_from_a_stopped_one() {
    let system = System::start().await;
    let worker = system.start_worker(&[]).await;
    let api_address = system.api.address().to_string();
    let worker_address = worker.address().to_string();
    let check_api = async || run("orders-api", &["healthcheck"], &[("API_LISTEN", &api_address)]).await;
    let check_worker = async || run("orders-worker", &["healthcheck"], &[("WORKER_LISTEN", &worker_address)]).await;

    assert!(check_api().await.status.success());
    assert!(check_worker().await.status.success());
    system.api.kill();
    worker.kill();

    assert!(!check_api().await.status.success());
    assert!(!check_worker().await.status.success());
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_idle_programs_in_good_order() {
    let system = System::start().await;
    let worker = system.start_worker(&[]).await;

    let (api, worker) = tokio::join!(system.api.terminate(), worker.terminate());

    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_goes_away_drains_both_programs() {
    let system = System::start_with(&[("SHUTDOWN_GRACE_SECS", "5")]).await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = system.start_worker(&env).await;
    let order_id = system.place(&sample::order()).await;
    system.database.wait_for_status(order_id, "PROCESSING").await;

    let (api, worker) = tokio::join!(system.api.hang_up(), worker.hang_up());

    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
    assert_eq!(system.database.state(order_id).await, ("PENDING".to_owned(), 0), "handed back");
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_what_nothing_may_hold_back_costs_the_database_a_few_statements_a_second() {
    const CROWD: usize = 100;
    let system = System::on(OwnServer::start(&[]).await, &[]).await;
    let (api, worker) = (&system.api, system.start_worker(&[]).await);
    system.place(&sample::order()).await;

    let (before, started) = (sample::statements(&system.database).await, Instant::now());
    let mut answers = 0;
    while started.elapsed() < Duration::from_secs(3) {
        let asked = [(&**api, "/readyz"), (&**api, "/metrics/prometheus"), (&**api, "/queue"), (&*worker, "/readyz")];
        let replies = join_all(asked.iter().flat_map(|(program, path)| (0..CROWD).map(|_| program.get(path)))).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        answers += replies.len();
    }
    let statements = sample::statements(&system.database).await - before;

    // Twenty readings a second, about five statements each, and the statements of an idle worker.
    assert!(statements < 200 * (1 + started.elapsed().as_secs()), "{statements} for {answers} answers");
    assert!(answers >= 4 * CROWD);
    system.end().await;
}
