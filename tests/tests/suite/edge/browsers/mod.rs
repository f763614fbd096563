//! Pages of other sites in a browser that can reach the API.

mod chromium;

use orders_tests::{Api, Reply, System, database};
use serde_json::Value;
use uuid::Uuid;

use crate::sample;

/// Headers that a browser sends for a page of another site.
const FOREIGN: [(&str, &str); 5] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-site", "same-site"),
    ("origin", "http://evil.example"),
    ("origin", "http://localhost:1"),
    ("origin", "null"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_changes_anything_for_a_page_of_another_origin() {
    let system = System::start().await;
    let order_id = system.place(&sample::order()).await;
    let paths = paths_of_changes(&system, order_id).await;
    assert!(paths.len() >= 7, "{paths:?}");

    for path in &paths {
        for (name, value) in FOREIGN {
            // As a page can send it without a question first (CORS): what the body is comes after who asks.
            for kind in ["text/plain", "application/json"] {
                let body = sample::order().to_string();
                let request = system.client().post(system.url(path)).header("content-type", kind).body(body);

                let problem = system.send(request.header(name, value)).await.assert_problem(403);

                assert_eq!(problem["type"], "/problems/cross-origin", "{path} {name}: {value}");
            }
        }
    }

    assert_eq!(system.database.orders().await, 1);
    assert_eq!(system.database.state(order_id).await.0, "PENDING");
    assert_eq!(system.get("/queue").await.json()["paused"], false);
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_api_itself_and_what_is_no_browser_may_ask_for_changes() {
    let system = System::start().await;
    let own = format!("http://{}", system.api.address());

    for headers in [
        vec![],
        vec![("sec-fetch-site", "same-origin"), ("origin", &own)],
        vec![("sec-fetch-site", "none")],
        vec![("origin", &own)],
    ] {
        let request = system.client().post(system.url("/order/create-order")).json(&sample::order());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));

        assert_eq!(system.send(request).await.status, 201, "{headers:?}");
    }
    for (name, value) in FOREIGN {
        let read = system.send(system.client().get(system.url("/queue")).header(name, value)).await;
        assert_eq!(
            read.status, 200,
            "what changes nothing may be asked for; a browser shows a page only what is its own"
        );
        assert_eq!(read.header("access-control-allow-origin"), None);
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_for_this_machine_alone_answers_to_no_name_that_it_was_not_given() {
    let system = System::start_with(&[("API_ALLOWED_HOSTS", "api,Orders.Example")]).await;

    for host in ["evil.example", "evil.example:8000", "localhost.evil.example", "192.0.2.1:8000"] {
        for path in ["/queue", "/docs", "/openapi.json", "/nowhere", "/livez", "/metrics/prometheus"] {
            let problem = ask_as(&system, host, path).await.assert_problem(403);

            assert_eq!(problem["type"], "/problems/unknown-host", "{host} {path}");
        }
    }
    for host in ["localhost", "localhost:8000", "127.0.0.1", "[::1]:8000", "api:8000", "orders.example"] {
        assert_eq!(ask_as(&system, host, "/queue").await.status, 200, "{host}");
    }
    system.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_that_counts_for_names_is_the_one_that_is_published() {
    let database = database().await;
    let published = Api::start(&database.url, &[("API_BIND", "0.0.0.0")]).await;

    assert_eq!(ask_as(&published, "orders.example", "/queue").await.status, 200);
}

async fn ask_as(api: &Api, host: &str, path: &str) -> Reply {
    api.send(api.client().get(api.url(path)).header("host", host)).await
}

/// The paths of all operations that change something, as the API's own document has them.
async fn paths_of_changes(api: &Api, order_id: Uuid) -> Vec<String> {
    let document: Value = api.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap().iter();
    let changing = paths.filter(|(_, methods)| methods.as_object().unwrap().keys().any(|method| method != "get"));
    assert!(changing.clone().all(|(_, methods)| methods["post"].is_object()), "this test knows POST alone");
    changing.map(|(path, _)| path.replace("{order_id}", &order_id.to_string())).collect()
}
