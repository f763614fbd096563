//! Which path leads where.

mod action;
mod control;
mod create;
mod orders;
mod report;

use std::sync::Arc;

use orders_shared::http::{Readiness, ops_routes};
use orders_shared::store::Store;
use poem::endpoint::make_sync;
use poem::middleware::{NormalizePath, TrailingSlash};
use poem::web::{Html, Redirect};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Result};
use poem_openapi::{LicenseObject, OpenApi, OpenApiService, Tags};
use prometheus::Registry;
use tokio_util::task::TaskTracker;

use crate::bell::Bell;
use crate::document::Document;
use crate::edge::{Edge, Hosts, Routes};
use crate::ends::Ends;
use crate::intake::Intake;
use crate::memory::MemoryBudget;
use crate::metrics::ApiMetrics;
use crate::problems;
use crate::reports::{Counts, QueueReports};
use crate::routes::control::ControlApi;
use crate::routes::create::CreateApi;
use crate::routes::orders::OrdersApi;
use crate::routes::report::{ReportApi, Source};

/// What the routes work with.
pub(crate) struct Parts {
    pub(crate) hosts: Hosts,
    pub(crate) store: Store,
    pub(crate) budget: MemoryBudget,
    /// Work that goes on though its caller left.
    pub(crate) detached: TaskTracker,
    pub(crate) intake: Intake,
    pub(crate) bell: Bell,
    pub(crate) ends: Ends,
    pub(crate) counts: Counts,
    pub(crate) queue: QueueReports,
    pub(crate) readiness: Readiness,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<ApiMetrics>,
}

/// The whole API as one endpoint. Each path answers alike with and without
/// a trailing slash.
///
/// # Errors
///
/// When the OpenAPI document cannot be made.
pub(crate) fn endpoint(parts: Parts) -> anyhow::Result<impl Endpoint> {
    let Parts { hosts, store, budget, detached, intake, bell, ends, counts, queue, readiness, registry, metrics } =
        parts;
    let create = CreateApi { source: Some((intake, budget.clone())) };
    let orders = OrdersApi { source: Some((store.clone(), ends, budget.clone())) };
    let control = ControlApi { source: Some((store, bell, queue.clone(), budget.clone())) };
    let report = ReportApi { source: Some(Source { counts, queue, registry, metrics: Arc::clone(&metrics) }) };
    let service = service((create, orders, control, report));
    let edge =
        Arc::new(Edge::new(Routes::new(<Apis as OpenApi>::meta(), &PAGES, &OPS), hosts, &budget, detached, metrics));
    let Document { json, json_3_0, page } = Document::of(&service)?;
    let served =
        |json: String| make_sync(move |_| Response::builder().content_type("application/json").body(json.clone()));
    let endpoint = ops_routes(readiness)
        .at("/docs", make_sync(move |_| Html(page.clone())))
        .at("/openapi.json", served(json))
        .at("/openapi-3.0.json", served(json_3_0))
        .nest("/problems", problems::pages())
        .nest("/", service.around(lead_to_the_page))
        .data(budget)
        .with(NormalizePath::new(TrailingSlash::Trim))
        .around(move |endpoint, request| {
            let edge = Arc::clone(&edge);
            async move { Ok(edge.pass(endpoint, request).await) }
        });
    Ok(endpoint)
}

/// Answers `/` with the way to `/docs`, and all else with `service`: the router gives `/` to what is nested there, whatever it
/// has at that path. The redirect is a temporary one, since browsers keep a permanent one for good.
async fn lead_to_the_page(service: Arc<impl Endpoint>, request: Request) -> Result<Response> {
    match request.uri().path() {
        "/" => Ok(Redirect::temporary("/docs").into_response()),
        _ => service.call(request).await.map(IntoResponse::into_response),
    }
}

/// What is the same for everybody, beside the operations.
const PAGES: [&str; 6] = ["/", "/docs", "/openapi.json", "/openapi-3.0.json", "/problems", "/problems/{slug}"];

/// What operators' tools ask.
const OPS: [&str; 3] = ["/livez", "/readyz", "/metrics/prometheus"];

/// In SPDX's terms, which generators ask for.
const LICENSE: &str = "MIT OR Apache-2.0";

/// The OpenAPI document, as `/openapi.json` serves it.
///
/// # Errors
///
/// When it cannot be made.
pub fn openapi_json() -> anyhow::Result<String> {
    Ok(document()?.json)
}

/// The same in OpenAPI 3.0, as `/openapi-3.0.json` serves it.
///
/// # Errors
///
/// When it cannot be made.
pub fn openapi_3_0_json() -> anyhow::Result<String> {
    Ok(document()?.json_3_0)
}

pub(crate) fn document() -> anyhow::Result<Document> {
    let (create, orders) = (CreateApi { source: None }, OrdersApi { source: None });
    Document::of(&service((create, orders, ControlApi { source: None }, ReportApi { source: None })))
}

type Apis = (CreateApi, OrdersApi, ControlApi, ReportApi);

#[derive(Tags)]
enum Tag {
    /// Place orders and follow them.
    Orders,
    /// See the queue, stop it, let it go on.
    Queue,
    /// How many orders stand where.
    Reports,
    /// The operations of the first release. They stay; those at `/orders` can do more.
    #[oai(rename = "First release")]
    FirstRelease,
}

fn service(apis: Apis) -> OpenApiService<Apis, ()> {
    OpenApiService::new(apis, "Orders", env!("CARGO_PKG_VERSION"))
        .summary("Durable order intake and processing on MySQL")
        .license(LicenseObject::new(LICENSE).identifier(LICENSE))
}
