//! Which path leads where.

mod control;
mod orders;
mod report;

use std::sync::Arc;

use orders_shared::http::{Readiness, ops_routes};
use orders_shared::store::Store;
use poem::middleware::{NormalizePath, TrailingSlash};
use poem::{Endpoint, EndpointExt};
use poem_openapi::{LicenseObject, OpenApiService};
use prometheus::Registry;

use crate::edge;
use crate::intake::Intake;
use crate::metrics::ApiMetrics;
use crate::routes::control::ControlApi;
use crate::routes::orders::OrdersApi;
use crate::routes::report::ReportApi;

/// What the routes work with.
pub(crate) struct Parts {
    pub(crate) store: Store,
    pub(crate) intake: Intake,
    pub(crate) readiness: Readiness,
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<ApiMetrics>,
}

/// The whole API as one endpoint. Each path answers alike with and without a trailing slash.
pub(crate) fn endpoint(parts: Parts) -> impl Endpoint {
    let Parts { store, intake, readiness, registry, metrics } = parts;
    let orders = OrdersApi { store: Some((store.clone(), intake)) };
    let control = ControlApi { store: Some(store.clone()) };
    let report = ReportApi { source: Some((store, registry, Arc::clone(&metrics))) };
    let service = service(orders, control, report);
    let (document, page) = (service.spec_endpoint(), service.swagger_ui());
    ops_routes(readiness)
        .nest("/docs", page)
        .at("/openapi.json", document)
        .nest("/", service)
        .with(NormalizePath::new(TrailingSlash::Trim))
        .around(move |endpoint, request| edge::observe(endpoint, request, Arc::clone(&metrics)))
}

/// The OpenAPI document, as `/openapi.json` serves it.
#[must_use]
pub fn openapi_json() -> String {
    service(OrdersApi { store: None }, ControlApi { store: None }, ReportApi { source: None }).spec()
}

type Apis = (OrdersApi, ControlApi, ReportApi);

fn service(orders: OrdersApi, control: ControlApi, report: ReportApi) -> OpenApiService<Apis, ()> {
    OpenApiService::new((orders, control, report), "Orders", env!("CARGO_PKG_VERSION"))
        .summary("Durable order intake and processing on MySQL")
        .description(
            "Create an order: a 201 means that it is on disk. Workers process it soon after; follow it by its id or \
             list the orders in a status.\n\nEvery refusal is a problem document (RFC 9457). All times are RFC 3339 \
             in UTC.",
        )
        .license(LicenseObject::new("MIT OR Apache-2.0").identifier("MIT OR Apache-2.0"))
}
