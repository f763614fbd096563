//! Pages of other sites in a real browser. A run without a browser skips these tests.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use orders_tests::{Api, Folder, SOON, System, eventually};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::sample;

#[tokio::test(flavor = "multi_thread")]
async fn chromium_lets_a_page_of_another_origin_change_nothing() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let page =
        PAGE.replace("ATTACKS", &attacks(&system, order_id).to_string()).replace("PAUSE", &system.url("/queue/pause"));

    // To the API's 127.0.0.1 the first name is another site, the second the same site and another origin.
    for host in ["localhost", "127.0.0.1"] {
        let before = refused(&system).await;
        let site = Site::start(page.clone()).await;
        let browser = Browser::open(&format!("http://{host}:{}/", site.address.port()));
        eventually("the page has tried all", SOON, || async {
            assert!(!browser.has_ended(), "the browser ended early");
            tokio::time::timeout(SOON, site.is_done.notified()).await.ok()
        })
        .await;

        // Pause by fetch, beacon and form; cancel; an order as text. JSON stays with the browser, which asks first.
        assert!(refused(&system).await >= before + 5.0, "the attacks of {host} came to the API: {}", system.api.logs());
        assert_eq!(system.database.orders().await, 1);
        assert_eq!(system.database.state(order_id).await.0, "PENDING");
        assert_eq!(system.get("/queue").await.json()["paused"], false);
    }
    system.end().await;
}

/// What the attacking pages ask for: changes in each way that a page has, and those that need a question first (CORS).
fn attacks(api: &Api, order_id: Uuid) -> Value {
    let order = sample::order().to_string();
    let text = json!({"content-type": "text/plain"});
    let json = json!({"content-type": "application/json"});
    json!([
        {"url": api.url("/queue/pause"), "options": {"method": "POST", "mode": "no-cors"}},
        {"url": api.url(&format!("/orders/{order_id}/cancel")), "options": {"method": "POST", "mode": "no-cors"}},
        {"url": api.url("/orders"), "options": {"method": "POST", "mode": "no-cors", "headers": text, "body": order}},
        {"url": api.url("/orders"), "options": {"method": "POST", "headers": json, "body": order}},
    ])
}

/// How many requests the API has refused because of their origin.
async fn refused(api: &Api) -> f64 {
    let text = api.get("/metrics/prometheus").await.text;
    let counts = text.lines().filter(|line| line.starts_with("orders_http_request_duration_seconds_count"));
    let refused = counts.filter(|line| line.contains(r#"method="POST""#) && line.contains(r#"status="403""#));
    refused.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// A page that tries all that it can, and says when it is done.
const PAGE: &str = r#"<!doctype html>
<title>a page of somebody else</title>
<iframe name="frame"></iframe>
<form method="post" action="PAUSE" target="frame"></form>
<script>
const submitted = new Promise(resolve => {
    document.querySelector("iframe").addEventListener("load", resolve);
    document.querySelector("form").submit();
});
(async () => {
    for (const {url, options} of ATTACKS) {
        await fetch(url, options).catch(() => {});
    }
    navigator.sendBeacon("PAUSE", "");
    await submitted;
    await fetch("/done", {method: "POST"});
})();
</script>
"#;

/// A server of one page.
struct Site {
    address: SocketAddr,
    is_done: Arc<Notify>,
    _serving: JoinSet<()>,
}

impl Site {
    async fn start(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_done = Arc::new(Notify::new());
        let done = Arc::clone(&is_done);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut visits = JoinSet::new();
            while let Ok((visitor, _)) = listener.accept().await {
                visits.spawn(show(visitor, page.clone(), Arc::clone(&done)));
            }
        });
        Self { address, is_done, _serving: serving }
    }
}

async fn show(mut visitor: TcpStream, page: String, done: Arc<Notify>) {
    let (reader, mut writer) = visitor.split();
    let mut lines = BufReader::new(reader).lines();
    let first = lines.next_line().await.ok().flatten().unwrap_or_default();
    while lines.next_line().await.is_ok_and(|line| line.is_some_and(|line| !line.is_empty())) {}
    if first.starts_with("POST /done ") {
        done.notify_one();
    }
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        page.len()
    );
    let _ = writer.write_all((head + &page).as_bytes()).await;
    // Closed before it has read all, the browser may see a reset.
    let _ = writer.shutdown().await;
    let _ = lines.into_inner().read_to_end(&mut Vec::new()).await;
}

/// A browser that shows one page. Dropping it leaves nothing behind.
struct Browser {
    child: std::sync::Mutex<Child>,
    _profile: Folder,
}

impl Browser {
    fn open(url: &str) -> Self {
        let profile = Folder::new("browser");
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--no-proxy-server", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromium: {error}"));
        Self { child: std::sync::Mutex::new(child), _profile: profile }
    }

    fn has_ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
