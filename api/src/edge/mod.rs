//! The way of every request in and out: it gets an id, is checked, timed and counted, and each failure becomes a
//! problem.
//!
//! In front of it, `shared/src/http` limits the number of connections, in all and of each address, and times slow
//! clients. Then `head` and `hosts` reject heads that HTTP/1.1 forbids, names that this server does not have, and
//! changes that a page of another origin requests. `limits` bounds the time and the memory of the answer. `route_table`
//! knows each path and method from the OpenAPI document: the route's label, `Allow`, media types, parameters, and
//! whether there is a body. `meaning` rejects headers that change what a request means, unless its operation knows
//! them; `body` reads a body within its limits; `negotiate` and `compress` choose the form of the answer. A change that
//! has begun is completed even if its caller leaves (`App::detached`).
//!
//! The cause of a failure travels in its `Problem` up to here, and goes into the log but not into the answer.
//!
//! Invariant: the edge knows no handler; handlers import from here what they need of a request.

mod action;
mod body;
mod compress;
mod head;
mod hosts;
mod idempotency_key;
mod limits;
mod log;
mod meaning;
mod negotiate;
mod request_id;
mod route_table;
mod translate;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use orders_shared::http::Crowded;
use orders_shared::tasks::panic_message;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response};
use tracing::Instrument;

pub(crate) use self::action::{Action, log_action};
use self::body::expect_no_body;
pub(crate) use self::body::{Body, Shape};
use self::compress::{Coding, Compressor};
use self::head::check_head;
pub use self::hosts::Hosts;
use self::hosts::check_origin;
pub(crate) use self::idempotency_key::KeyHeader;
pub(crate) use self::limits::Limits;
use self::limits::without_body;
use self::log::FailureLog;
pub(crate) use self::negotiate::Preferences;
use self::request_id::{RequestId, X_REQUEST_ID};
pub(crate) use self::route_table::RouteTable;
use self::route_table::{Operation, Route, RouteKind};
use self::translate::{problem_of, problem_of_status};
use crate::memory::MemoryBudget;
use crate::metrics::ApiMetrics;
use crate::problems::{Kind, Problem};

/// Metric label for unmatched paths, so that callers cannot create new time series.
const NO_ROUTE: &str = "none";

/// Metric label for unusual methods, for the same reason.
const OTHER: &str = "other";

/// Stands between the connections and the routes.
pub(crate) struct Edge {
    routes: RouteTable,
    hosts: Hosts,
    metrics: Arc<ApiMetrics>,
    budget: Arc<MemoryBudget>,
    compressor: Compressor,
    log: FailureLog,
}

impl Edge {
    pub(crate) fn new(routes: RouteTable, hosts: Hosts, budget: Arc<MemoryBudget>, metrics: Arc<ApiMetrics>) -> Self {
        Self { routes, hosts, metrics, budget, compressor: Compressor::default(), log: FailureLog::default() }
    }

    /// Passes a request to `endpoint`, and turns whatever happens there into an answer.
    pub(crate) async fn pass<E: Endpoint>(&self, endpoint: Arc<E>, request: Request) -> Response {
        let (method, start) = (request.method().clone(), Instant::now());
        let request_id = RequestId::of(request.headers());
        let route = self.routes.find(request.uri().path());
        let path = route.map_or(NO_ROUTE, |route| &route.path);
        let span = tracing::info_span!("request", method = known(&method), route = path, request_id = %request_id);

        let head = check_head(request.version(), request.headers());
        let (is_forbidden, has_body) = (head.is_err(), has_body(request.headers()));
        let limits = Limits::new(&self.budget);
        let answered = async {
            let answer = match head {
                Ok(()) => self.answer(&*endpoint, request, route, &limits).await,
                Err(problem) => Err(problem),
            };
            let answer = answer.inspect_err(|problem| self.log.failed(problem));
            let response = answer.unwrap_or_else(|problem| problem.with_request_id(request_id.text()).into_response());
            if method == Method::HEAD { without_body(response).await } else { response }
        };
        let mut response = answered.instrument(span.clone()).await;
        let (status, took) = (response.status(), start.elapsed());
        span.in_scope(|| self.log.slow(status, took.saturating_sub(limits.waited())));
        let headers = response.headers_mut();
        set_common_headers(headers, &request_id);
        if let Some(route) = route.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
            headers.extend(HeaderValue::from_str(&route.allow()).ok().map(|allow| (header::ALLOW, allow)));
        }
        if !status.is_success() || route.is_some_and(|route| route.kind != RouteKind::Page) {
            set_cache_control(headers);
        }
        if is_forbidden || (has_body && !limits.has_read_body()) {
            // The rest of its body, or bytes that follow it, must not be taken for the next request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.metrics.request(known(&method), path, status, took);
        response
    }

    async fn answer(
        &self,
        endpoint: &impl Endpoint,
        mut request: Request,
        route: Option<&Route>,
        limits: &Limits,
    ) -> Result<Response, Problem> {
        let is_ops = route.is_some_and(|route| route.kind == RouteKind::Ops);
        if request.data::<Crowded>().is_some() && !is_ops {
            return Err(Problem::plain(Kind::Overloaded));
        }
        self.hosts.check(request.headers())?;
        check_origin(request.method(), request.headers())?;
        let route = route.ok_or_else(|| problem_of_status(StatusCode::NOT_FOUND))?;
        let operation = route.operation(request.method())?;
        if request.method() == Method::HEAD {
            request.set_method(Method::GET);
        }
        if is_ops {
            return ready(call(endpoint, request, operation).await?).await;
        }
        route.check(operation, &request)?;
        if route.takes_no_body(operation) && has_body(request.headers()) {
            expect_no_body(&mut request, limits).await?;
        }
        request.set_data(limits.clone());
        let (method, coding) = (request.method().clone(), Coding::accepted(request.headers()));
        // Named by its route, since a path has many spellings. A page with a parameter is not one answer but many.
        let page = (route.kind == RouteKind::Page && !route.path.contains('{')).then(|| route.path.clone());
        let response = tokio::select! {
            answered = call(endpoint, request, operation) => answered?,
            late = limits.over() => return Err(late),
        };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(problem_of_status(status));
        }
        limits.count(&method, self.compressor.compress(coding, response, page).await).await
    }
}

/// The answer of an ops endpoint, or the problem that it reports.
async fn ready(response: Response) -> Result<Response, Problem> {
    match response.status() {
        StatusCode::SERVICE_UNAVAILABLE => {
            let fault = response.into_body().into_string().await.unwrap_or_default();
            Err(Problem::new(Kind::NotReady, fault.trim_end()))
        }
        status if status.is_server_error() => Err(problem_of_status(status)),
        _ => Ok(response),
    }
}

/// Calls the endpoint. Every failure becomes a problem, and so does a panic.
async fn call(endpoint: &impl Endpoint, request: Request, operation: &Operation) -> Result<Response, Problem> {
    let called = AssertUnwindSafe(endpoint.call(request)).catch_unwind().await;
    let answered = called.map_err(|panic| {
        Problem::internal().because(&io::Error::other(format!("panic: {}", panic_message(panic.as_ref()))))
    })?;
    answered.map(IntoResponse::into_response).map_err(|error| problem_of(&error, operation))
}

/// Whether a body follows the head (RFC 9112, section 6.3).
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

fn set_common_headers(headers: &mut HeaderMap, request_id: &RequestId) {
    headers.insert(X_REQUEST_ID, request_id.header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Answers about orders are for the client alone and soon out of date. An answer with an `ETag` may be kept, to be
/// revalidated.
fn set_cache_control(headers: &mut HeaderMap) {
    let rule = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(rule));
}

/// The method as a metric label; clients may make up methods.
fn known(method: &Method) -> &str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use poem::{Error, Result, endpoint};

    use super::*;

    /// What an edge makes of a GET with this answer.
    async fn passed(edge: &Edge, answer: fn() -> Result<Response>) -> (StatusCode, String) {
        let endpoint = Arc::new(endpoint::make_sync(move |_| answer()));
        let request = Request::builder().uri_str("/").header(X_REQUEST_ID, "it").header("host", "a").finish();
        let mut response = edge.pass(endpoint, request).await;
        assert_eq!(response.headers()[X_REQUEST_ID], "it");
        (response.status(), response.take_body().into_string().await.unwrap())
    }

    fn edge() -> Edge {
        let metrics = ApiMetrics::register(&prometheus::Registry::new()).unwrap();
        let hosts = Hosts::reached_at([0, 0, 0, 0].into(), &[]).unwrap();
        let budget = Arc::new(MemoryBudget::of_mb(192));
        Edge::new(RouteTable::new(vec![], &["/"], &[]), hosts, budget, Arc::new(metrics))
    }

    #[tokio::test]
    async fn a_failure_without_a_problem_and_a_panic_are_one_and_their_words_stay_here() {
        for (answer, status) in [
            ((|| Err(Error::from_string("secret", StatusCode::BAD_GATEWAY))) as fn() -> Result<Response>, 500),
            (|| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()), 500),
            (|| Err(Error::from_string("secret", StatusCode::IM_A_TEAPOT)), 400),
            (|| panic!("the secret of order 17"), 500),
        ] {
            let (found, body) = passed(&edge(), answer).await;

            assert_eq!(found.as_u16(), status, "{body}");
            assert!(body.contains("\"type\":\"/problems/") && !body.contains("secret"), "{body}");
            assert!(body.contains("\"request_id\":\"it\""), "{body}");
        }
    }

    #[tokio::test]
    async fn a_crowded_connection_is_turned_away_but_for_what_tools_ask() {
        for (ops, status) in [(&[][..], StatusCode::SERVICE_UNAVAILABLE), (&["/"], StatusCode::OK)] {
            let edge = Edge { routes: RouteTable::new(vec![], &["/"], ops), ..edge() };
            let endpoint = Arc::new(endpoint::make_sync(|_| "live".into_response()));
            let mut request = Request::builder().uri_str("/").header("host", "a").finish();
            request.extensions_mut().insert(Crowded);

            assert_eq!(edge.pass(endpoint, request).await.status(), status, "{ops:?}");
        }
    }
}
