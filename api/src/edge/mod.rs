//! What every request passes on its way in and out: named, admitted, counted and timed, and each failure answered as a
//! problem.

mod accept;
mod answers;
mod compress;
mod failures;
mod head;
mod meaning;
mod request_id;
mod routes;
mod strangers;
mod translate;
mod turn;

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use orders_shared::http::Crowded;
use orders_shared::tasks::panic_message;
use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Result};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub(crate) use self::accept::accepts;
use self::answers::{Answers, without_body};
pub(crate) use self::answers::{SMALL, no_room};
use self::compress::{Coding, Compressor};
use self::failures::Failures;
use self::head::check_head;
use self::request_id::{RequestId, X_REQUEST_ID};
pub(crate) use self::routes::Routes;
use self::routes::{Operation, Route};
pub use self::strangers::Hosts;
use self::strangers::check_origin;
use self::translate::{problem_of, problem_of_status};
pub(crate) use self::turn::Turn;
use crate::edge::turn::ANSWER_WITHIN;
use crate::memory::MemoryBudget;
use crate::metrics::ApiMetrics;
use crate::payload::{Problem, expect_no_body};
use crate::problems::Kind;

/// Stands for every path that leads nowhere, so that strangers cannot make series of metrics.
const NO_ROUTE: &str = "none";

/// Stands for every method that no API has.
const OTHER: &str = "other";

/// Requests that are being answered at one time. More than the intake's queue has places, so that it is the queue which
/// says that it is full; each further one would add memory and delay, and gain nothing.
const REQUESTS_MAX: usize = 8_192;

/// What stands between the connections and the routes.
pub(crate) struct Edge {
    routes: Routes,
    hosts: Hosts,
    metrics: Arc<ApiMetrics>,
    places: Arc<Semaphore>,
    detached: TaskTracker,
    answers: Answers,
    compressor: Compressor,
    failures: Failures,
}

impl Edge {
    pub(crate) fn new(
        routes: Routes,
        hosts: Hosts,
        budget: &MemoryBudget,
        detached: TaskTracker,
        metrics: Arc<ApiMetrics>,
    ) -> Self {
        let places = Arc::new(Semaphore::new(REQUESTS_MAX));
        Self {
            routes,
            hosts,
            metrics,
            places,
            detached,
            answers: Answers::new(budget),
            compressor: Compressor::default(),
            failures: Failures::default(),
        }
    }

    /// Passes a request to `endpoint`, and makes of whatever comes of it an answer.
    pub(crate) async fn pass<E: Endpoint>(&self, endpoint: Arc<E>, request: Request) -> Response {
        let (method, start) = (request.method().clone(), Instant::now());
        let request_id = RequestId::of(request.headers());
        let route = self.routes.find(request.uri().path());
        let path = route.map_or(NO_ROUTE, |route| &route.path);
        let span = tracing::info_span!("request", method = known(&method), route = path, request_id = %request_id);

        let (has_body, admitted) = (has_body(request.headers()), self.admit(route, &request));
        let turn = admitted.as_ref().ok().cloned().flatten();
        let answered = async {
            let answer = match admitted {
                Ok(turn) => self
                    .answer(&*endpoint, request, route, turn)
                    .await
                    .inspect_err(|problem| self.failures.failed(problem)),
                Err(problem) => {
                    self.failures.turned_away(&problem);
                    Err(problem)
                }
            };
            let response = answer.unwrap_or_else(|problem| problem.with_request_id(request_id.text()).into_response());
            if method == Method::HEAD { without_body(response).await } else { response }
        };
        let mut response = answered.instrument(span.clone()).await;
        let status = response.status();
        let took = start.elapsed();
        let aside = turn.as_ref().map_or(Duration::ZERO, Turn::time_aside);
        span.in_scope(|| self.failures.slow(status, took.saturating_sub(aside)));
        let headers = response.headers_mut();
        say_to_all(headers, &request_id);
        if let Some(route) = route.filter(|_| status == StatusCode::METHOD_NOT_ALLOWED) {
            headers.extend(HeaderValue::from_str(&route.allow()).ok().map(|allow| (header::ALLOW, allow)));
        }
        if !status.is_success() || route.is_some_and(|route| !route.is_page) {
            say_who_may_keep(headers);
        }
        if has_body && !turn.is_some_and(|turn| turn.has_read_body()) {
            // The connection ends, since what is left of the body stands before the next request: say so.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.metrics.request(known(&method), path, status, took);
        response
    }

    /// Gives the request a place; none is needed for what must answer under any load.
    fn admit(&self, route: Option<&Route>, request: &Request) -> Result<Option<Turn>, Problem> {
        if route.is_some_and(|route| route.is_ops) {
            return Ok(None);
        }
        let turn = Turn::take(&self.places, &self.detached).filter(|_| request.data::<Crowded>().is_none());
        turn.map(Some).ok_or_else(|| overloaded("Too many requests are being answered. Try again."))
    }

    async fn answer(
        &self,
        endpoint: &impl Endpoint,
        mut request: Request,
        route: Option<&Route>,
        turn: Option<Turn>,
    ) -> Result<Response, Problem> {
        check_head(request.version(), request.headers())?;
        self.hosts.check(request.headers())?;
        check_origin(request.method(), request.headers())?;
        let route = route.ok_or_else(|| problem_of_status(StatusCode::NOT_FOUND))?;
        let operation = route.operation(request.method())?;
        if request.method() == Method::HEAD {
            request.set_method(Method::GET);
        }
        let Some(turn) = turn else { return ready(call(endpoint, request, operation).await?).await };
        operation.check(&request)?;
        if operation.takes_no_body() && has_body(request.headers()) {
            expect_no_body(&mut request, &turn).await?;
        }
        request.set_data(turn.clone());
        let (method, coding) = (request.method().clone(), Coding::accepted(request.headers()));
        // By the route, since a path has many spellings; a page with a parameter is not the same for everybody.
        let page = (route.is_page && !route.path.contains('{')).then(|| route.path.clone());
        let response = tokio::select! {
            answered = call(endpoint, request, operation) => answered?,
            () = turn.over() => return Err(timed_out()),
        };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(problem_of_status(status));
        }
        let response = self.compressor.compress(coding, response, page).await;
        self.answers.hold(&method, turn.take_room(), response).await
    }
}

/// The answer to a tool, or the problem that it tells of.
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

/// Calls the endpoint. A failure is a problem, whoever tells of it and how; so is a panic.
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

/// Too much at once, in this regard.
pub(crate) fn overloaded(detail: &str) -> Problem {
    Problem::new(Kind::Overloaded, detail)
}

fn timed_out() -> Problem {
    let seconds = ANSWER_WITHIN.as_secs();
    let detail = format!("There was no answer within {seconds} seconds. The request may take effect all the same.");
    Problem::new(Kind::TimedOut, detail)
}

/// What every answer says.
fn say_to_all(headers: &mut HeaderMap, request_id: &RequestId) {
    headers.insert(X_REQUEST_ID, request_id.header());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// What is told of orders is for the caller alone and soon out of date. One that can ask whether it is still true may keep
/// it for that.
fn say_who_may_keep(headers: &mut HeaderMap) {
    let rule = if headers.contains_key(header::ETAG) { "private, no-cache" } else { "no-store" };
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static(rule));
}

/// The method, where it is one that an API has; a client may make up others.
fn known(method: &Method) -> &str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use poem::{Error, endpoint};

    use super::*;

    /// What an edge makes of a GET that comes to this.
    async fn passed(edge: &Edge, answer: fn() -> Result<Response>) -> (StatusCode, String) {
        let endpoint = Arc::new(endpoint::make_sync(move |_| answer()));
        let request = Request::builder().uri_str("/").header(X_REQUEST_ID, "it").finish();
        let mut response = edge.pass(endpoint, request).await;
        assert_eq!(response.headers()[X_REQUEST_ID], "it");
        (response.status(), response.take_body().into_string().await.unwrap())
    }

    fn edge() -> Edge {
        let metrics = ApiMetrics::register(&prometheus::Registry::new()).unwrap();
        let hosts = Hosts::reached_at([0, 0, 0, 0].into(), &[]).unwrap();
        Edge::new(
            Routes::new(vec![], &["/"], &[]),
            hosts,
            &MemoryBudget::of_mb(192),
            TaskTracker::new(),
            Arc::new(metrics),
        )
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_of_one_request_and_takes_no_place_away() {
        let edge = Edge { places: Arc::new(Semaphore::new(1)), ..edge() };

        for _ in 0..3 {
            let (status, body) = passed(&edge, || panic!("the secret of order 17")).await;

            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(body.contains("/problems/internal-error") && body.contains("\"request_id\":\"it\""), "{body}");
            assert!(!body.contains("secret"), "{body}");
        }
        assert_eq!(passed(&edge, || Ok("fine".into_response())).await, (StatusCode::OK, "fine".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_without_a_problem_is_one_and_its_words_stay_here() {
        for (answer, status) in [
            ((|| Err(Error::from_string("secret", StatusCode::BAD_GATEWAY))) as fn() -> Result<Response>, 500),
            (|| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()), 500),
            (|| Err(Error::from_string("secret", StatusCode::IM_A_TEAPOT)), 400),
        ] {
            let (found, body) = passed(&edge(), answer).await;

            assert_eq!(found.as_u16(), status, "{body}");
            assert!(body.contains("\"type\":\"/problems/") && !body.contains("secret"), "{body}");
        }
    }

    #[tokio::test]
    async fn with_no_place_left_a_request_is_turned_away() {
        let edge = Edge { places: Arc::new(Semaphore::new(0)), ..edge() };

        let (status, body) = passed(&edge, || Ok("fine".into_response())).await;

        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("/problems/overloaded"), "{body}");
    }

    #[tokio::test]
    async fn what_tools_ask_needs_no_place() {
        let edge = Edge { routes: Routes::new(vec![], &[], &["/"]), places: Arc::new(Semaphore::new(0)), ..edge() };

        let (status, _) = passed(&edge, || Ok("live".into_response())).await;

        assert_eq!(status, StatusCode::OK);
    }
}
