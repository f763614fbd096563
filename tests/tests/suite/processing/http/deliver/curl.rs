//! The curl line that `orders-worker deliver --print` prints, run as a person runs it.
//!
//! Needs curl; where it is missing, the test runner passes `--skip curl::`.

use orders_tests::{System, run};

use super::super::service::{Service, done};
use super::super::{SECRET, signature};
use super::shown;
use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_line_sends_what_the_worker_sends() {
    let system = System::start().await;
    let id = system.place(&sample::order()).await.to_string();
    let service = Service::start(|_| done()).await;
    let url = service.url("/it's");
    let env = [("DATABASE_URL", system.database.url.as_str()), ("FULFILMENT_SECRET", SECRET)];

    let sent = run("orders-worker", &["deliver", "--order", &id, "--to", &url], &env).await;
    let printed = run("orders-worker", &["deliver", "--order", &id, "--to", &url, "--print"], &env).await;
    let line = shown(&printed).1;
    let curl = tokio::task::spawn_blocking(move || std::process::Command::new("sh").arg("-c").arg(line).output());
    let curl = curl.await.unwrap().unwrap();

    assert_eq!(shown(&sent).0, 0, "{}", shown(&sent).1);
    assert!(curl.status.success(), "{curl:?}");
    let seen = service.seen();
    let [by_worker, by_curl] = &seen[..] else { panic!("not two requests: {seen:?}") };
    assert_eq!((&by_curl.line, &by_curl.body), (&by_worker.line, &by_worker.body));
    assert_eq!(by_curl.header("webhook-signature"), signature(SECRET, by_curl));
    for (name, value) in &by_worker.headers {
        let found = by_curl.header(name);

        // They are of the second in which each was made.
        let is_of_its_time = ["webhook-timestamp", "webhook-signature"].contains(&name.as_str());
        assert!(is_of_its_time || found == value, "{name}: {found} instead of {value}");
    }
    system.end().await;
}
