//! What operators and their tools ask of both programs.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use orders_tests::{Api, OwnServer, Worker, database, run};

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn both_programs_are_alive_ready_and_measured() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[]).await;

    for path in ["/livez", "/readyz", "/metrics/prometheus"] {
        assert_eq!(api.get(path).await.status, 200, "api {path}");
        assert_eq!(worker.get(path).await.status, 200, "worker {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_answers_alike_with_a_trailing_slash() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let order = format!("/orders/{}", api.place(&sample::order()).await);

    for path in ["/order/status/PENDING", "/metrics", "/livez", "/readyz", "/docs", "/openapi.json", &order] {
        let plain = api.get(path).await;
        let slashed = api.get(&format!("{path}/")).await;

        assert_eq!((plain.status, slashed.status), (200, 200), "{path}");
        assert_eq!(plain.header("content-type"), slashed.header("content-type"), "{path}");
        assert_eq!(plain.text, slashed.text, "{path}");
    }
    assert_eq!(api.get("/metrics/prometheus/").await.status, 200);
    assert_eq!(api.get("/order/status/PENDING/?limit=1").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_knows_the_address_alone_is_led_to_the_page() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let client = api.client();

    for path in ["", "/", "//", "/?utm_source=mail"] {
        for request in [client.get(api.url(path)), client.head(api.url(path)).header("accept", "text/html")] {
            let led = api.send(request).await;

            assert_eq!((led.status, led.header("location")), (307, Some("/docs")), "{path}: {led:?}");
            assert_eq!(led.header("cache-control"), Some("no-store"), "not for ever: {led:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_page_needs_no_other_site() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;

    let page = api.get("/docs").await;

    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    for foreign in ["src=\"http", "src='http", "src=\"//", "href=\"http", "href=\"//"] {
        assert!(!page.text.contains(foreign), "{foreign}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_committed_openapi_documents_are_the_served_ones() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;

    for name in ["openapi.json", "openapi-3.0.json"] {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);

        let served = api.get(&format!("/{name}")).await;

        assert_eq!((served.status, served.header("content-type")), (200, Some("application/json")));
        assert_eq!(served.text, std::fs::read_to_string(committed).unwrap(), "{name}");
    }
    let page = api.get("/docs").await.text;
    assert!(page.contains(&format!("let spec = {};", api.get("/openapi.json").await.text)), "the page shows it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_check_tells_a_running_program_from_a_stopped_one() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[]).await;
    let api_address = api.address().to_string();
    let worker_address = worker.address().to_string();
    let check_api = async || run("orders-api", &["healthcheck"], &[("API_LISTEN", &api_address)]).await;
    let check_worker = async || run("orders-worker", &["healthcheck"], &[("WORKER_LISTEN", &worker_address)]).await;

    assert!(check_api().await.status.success());
    assert!(check_worker().await.status.success());
    drop((api, worker));

    assert!(!check_api().await.status.success());
    assert!(!check_worker().await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_idle_programs_in_good_order() {
    let database = database().await;
    let api = Api::start(&database.url, &[]).await;
    let worker = Worker::start(&database.url, &[]).await;

    let (api, worker) = tokio::join!(api.terminate(), worker.terminate());

    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_goes_away_drains_both_programs() {
    let database = database().await;
    let api = Api::start(&database.url, &[("SHUTDOWN_GRACE_SECS", "5")]).await;
    let env = [("SIMULATED_PROCESSING_MS", "60000"), ("SHUTDOWN_GRACE_SECS", "1")];
    let worker = Worker::start(&database.url, &env).await;
    let order_id = api.place(&sample::order()).await;
    sample::wait_until_stored_as(&database, order_id, "PROCESSING").await;

    let (api, worker) = tokio::join!(api.hang_up(), worker.hang_up());

    assert_eq!((api.code(), worker.code()), (Some(0), Some(0)));
    assert_eq!(database.state(order_id).await, ("PENDING".to_owned(), 0), "handed back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_asks_what_nothing_may_hold_back_costs_the_database_a_few_statements_a_second() {
    const CROWD: usize = 100;
    let server = OwnServer::start(&[]).await;
    let (api, worker) = (Api::start(&server.url, &[]).await, Worker::start(&server.url, &[]).await);
    api.place(&sample::order()).await;

    let (before, started) = (sample::statements(&server).await, Instant::now());
    let mut answers = 0;
    while started.elapsed() < Duration::from_secs(3) {
        let asked = [(&*api, "/readyz"), (&*api, "/metrics/prometheus"), (&*api, "/queue"), (&*worker, "/readyz")];
        let replies = join_all(asked.iter().flat_map(|(program, path)| (0..CROWD).map(|_| program.get(path)))).await;
        assert!(replies.iter().all(|reply| reply.status == 200));
        answers += replies.len();
    }
    let statements = sample::statements(&server).await - before;

    // Twenty readings a second, of some five statements each, and what an idle worker asks by itself.
    assert!(statements < 200 * (1 + started.elapsed().as_secs()), "{statements} for {answers} answers");
    assert!(answers >= 4 * CROWD);
}
