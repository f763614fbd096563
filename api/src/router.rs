//! All paths, and what answers them.

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

/// Pages that are the same for everybody.
const PAGES: [&str; 6] = ["/", "/docs", "/openapi.json", "/openapi-3.0.json", "/problems", "/problems/{slug}"];

/// The endpoints for operators' tools.
const OPS: [&str; 3] = ["/livez", "/readyz", "/metrics/prometheus"];

/// The OpenAPI document; `cargo test -p orders-api --test openapi` compares it with the code.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

/// The same for programs that cannot read 3.1.
const OPENAPI_3_0: &str = include_str!("../../docs/openapi-3.0.json");

/// Without it, phones show the page shrunk, as if for a large screen.
const HEAD: &str = "<head><meta name=\"viewport\" content=\"width=device-width\">";

/// As an SPDX expression, which generators require.
const LICENSE: &str = "MIT OR Apache-2.0";

type Apis = (PlaceApi, ListApi, LifecycleApi, StoryApi, QueueApi, ReportApi);

/// The whole API as one endpoint. A trailing slash makes no difference.
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

/// Swagger UI with the document.
fn page(service: &OpenApiService<Apis, ()>) -> String {
    let page = service.swagger_ui_html().replacen(&service.spec(), OPENAPI, 1);
    page.replacen("Swagger UI", "Orders", 1).replacen("<head>", HEAD, 1)
}

/// Redirects `/` to `/docs`, and passes everything else on to `service`. It cannot be a route, as the router passes `/`
/// to the nested service in any case. The redirect is temporary, since browsers cache a permanent one for good.
async fn lead_to_the_page(service: Arc<impl Endpoint>, request: Request) -> Result<Response> {
    match request.uri().path() {
        "/" => Ok(Redirect::temporary("/docs").into_response()),
        _ => service.call(request).await.map(IntoResponse::into_response),
    }
}

/// A draft of the document: what poem-openapi derives from the operations.
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
