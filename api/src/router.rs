//! Which path leads where.

use std::sync::Arc;

use orders_shared::http::ops_routes;
use poem::endpoint::make_sync;
use poem::middleware::{NormalizePath, TrailingSlash};
use poem::web::{Html, Redirect};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Result};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService};

use crate::app::App;
use crate::edge::{Edge, Hosts, RouteTable};
use crate::orders::lifecycle::LifecycleApi;
use crate::orders::list::ListApi;
use crate::orders::place::PlaceApi;
use crate::orders::story::StoryApi;
use crate::problems;
use crate::queue::QueueApi;
use crate::reports::ReportApi;

/// What is the same for everybody, beside the operations.
const PAGES: [&str; 6] = ["/", "/docs", "/openapi.json", "/openapi-3.0.json", "/problems", "/problems/{slug}"];

/// What operators' tools ask.
const OPS: [&str; 3] = ["/livez", "/readyz", "/metrics/prometheus"];

/// The OpenAPI document, which `cargo test -p orders-api --test openapi` compares with the code.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The same for those who read no 3.1.
const OPENAPI_3_0: &str = include_str!("../../docs/openapi-3.0.json");

/// Without it, phones show the page as that of a large screen, made small.
const HEAD: &str = "<head><meta name=\"viewport\" content=\"width=device-width\">";

/// In SPDX's terms, which generators ask for.
const LICENSE: &str = "MIT OR Apache-2.0";

type Apis = (PlaceApi, ListApi, LifecycleApi, StoryApi, QueueApi, ReportApi);

/// The whole API as one endpoint. Each path answers alike with and without a trailing slash.
pub(crate) fn endpoint(app: App, hosts: Hosts) -> impl Endpoint {
    let routes = RouteTable::new(<Apis as OpenApi>::meta(), &PAGES, &OPS);
    let edge = Arc::new(Edge::new(routes, hosts, Arc::clone(&app.budget), Arc::clone(&app.metrics)));
    let (service, readiness) = (service(), app.readiness.clone());
    let page = page(&service);
    let served =
        |json: &'static str| make_sync(move |_| Response::builder().content_type("application/json").body(json));
    ops_routes(readiness)
        .at("/docs", make_sync(move |_| Html(page.clone())))
        .at("/openapi.json", served(OPENAPI))
        .at("/openapi-3.0.json", served(OPENAPI_3_0))
        .nest("/problems", problems::pages())
        .nest("/", service.around(lead_to_the_page))
        .data(Arc::new(app))
        .with(NormalizePath::new(TrailingSlash::Trim))
        .around(move |endpoint, request| {
            let edge = Arc::clone(&edge);
            async move { Ok(edge.pass(endpoint, request).await) }
        })
}

/// Swagger UI, with the document in it.
fn page(service: &OpenApiService<Apis, ()>) -> String {
    let page = service.swagger_ui_html().replacen(&service.spec(), OPENAPI, 1);
    page.replacen("Swagger UI", "Orders", 1).replacen("<head>", HEAD, 1)
}

/// Answers `/` with the way to `/docs`, and all else with `service`: the router gives `/` to what is nested there, whatever it
/// has at that path. The redirect is a temporary one, since browsers keep a permanent one for good.
async fn lead_to_the_page(service: Arc<impl Endpoint>, request: Request) -> Result<Response> {
    match request.uri().path() {
        "/" => Ok(Redirect::temporary("/docs").into_response()),
        _ => service.call(request).await.map(IntoResponse::into_response),
    }
}

/// What poem-openapi says of the operations: a draft of the document.
#[must_use]
pub fn draft() -> String {
    service().spec()
}

fn service() -> OpenApiService<Apis, ()> {
    let apis = (PlaceApi, ListApi, LifecycleApi, StoryApi, QueueApi, ReportApi);
    OpenApiService::new(apis, "Orders", env!("CARGO_PKG_VERSION"))
        .summary("Durable order intake and processing on MySQL")
        .license(LicenseObject::new(LICENSE).identifier(LICENSE))
}
