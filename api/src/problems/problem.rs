use std::error::Error;
use std::fmt::{self, Write};
use std::num::NonZero;

use orders_shared::domain::{OrderId, OrderStatus};
use orders_shared::store::{ErrorKind, StoreError};
use poem::error::ResponseError;
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;
use uuid::Uuid;

use super::kind::{Facts, Kind};
use crate::wire::fields::Fault;
use crate::wire::status::Status;

/// The media type of every problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a client should try again.
const PROBLEM_RETRY_AFTER_SECS: u32 = 1;

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, Serialize)]
#[serde(into = "ProblemBody")]
pub struct Problem {
    kind: Kind,
    detail: String,
    request_id: String,
    errors: Vec<Fault>,
    order_status: Option<OrderStatus>,
    order_id: Option<OrderId>,
    /// For the log alone.
    cause: Option<String>,
}

/// What went wrong, for people and programs (RFC 9457, `application/problem+json`).
#[derive(Object, Serialize)]
#[oai(rename = "Problem")]
struct ProblemBody {
    /// The kind of problem: the path of a page that explains it.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem, in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request, and what to do.
    detail: String,
    /// The request's id, as in the header `X-Request-Id`: the people who read the log need it.
    request_id: String,
    /// The faults of the body.
    #[oai(default, skip_serializing_if_is_empty)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// The order's status, if it does not allow the request.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    order_status: Option<Status>,
    /// The order that conflicts with the request, if there is one.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<Uuid>,
}

impl From<Problem> for ProblemBody {
    fn from(problem: Problem) -> Self {
        let Problem { kind, detail, request_id, errors, order_status, order_id, cause: _ } = problem;
        let Facts { title, status, .. } = kind.facts();
        Self {
            kind: kind.uri(),
            title: title.to_owned(),
            status: status.as_u16(),
            detail,
            request_id,
            errors,
            order_status: order_status.map(Status::from),
            order_id: order_id.map(OrderId::uuid),
        }
    }
}

impl Problem {
    /// A problem of this kind. `detail` says what was wrong with this request; the edge adds the request's id.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            request_id: String::new(),
            errors: Vec::new(),
            order_status: None,
            order_id: None,
            cause: None,
        }
    }

    /// A problem of this kind with the detail of its page's example.
    pub(crate) fn plain(kind: Kind) -> Self {
        Self::new(kind, kind.facts().example)
    }

    /// The same problem, caused by this status of an order.
    pub(crate) fn with_order_status(self, status: OrderStatus) -> Self {
        Self { order_status: Some(status), ..self }
    }

    /// The same problem, for the request with this id.
    pub(crate) fn with_request_id(self, request_id: &str) -> Self {
        Self { request_id: request_id.to_owned(), ..self }
    }

    /// The same problem, caused by this error. The log shows the error, the answer does not.
    pub(crate) fn because(self, error: &dyn Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            // Writing to a String cannot fail.
            let _ = write!(cause, ": {error}");
            source = error.source();
        }
        Self { cause: Some(cause), ..self }
    }

    /// The problem of a body with these faults.
    pub(crate) fn invalid(errors: Vec<Fault>) -> Self {
        let at = |fault: &Fault| if fault.pointer.is_empty() { "The body" } else { &fault.pointer }.to_owned();
        let first = errors.first().map(|fault| format!("{} {}", at(fault), fault.detail)).unwrap_or_default();
        let detail = match errors.len() {
            0 | 1 => first,
            faults => format!("{first}; {} more in `errors`", faults - 1),
        };
        Self { errors, ..Self::new(Kind::InvalidBody, detail) }
    }

    /// The database is away.
    pub(crate) fn database_away() -> Self {
        Self::new(Kind::DatabaseAway, "The database is away. Try again.")
    }

    /// There is too much to do; `detail` says of what.
    pub(crate) fn overloaded(detail: &str) -> Self {
        Self::new(Kind::Overloaded, detail)
    }

    /// A fault of this program; the log has its cause.
    pub(crate) fn internal() -> Self {
        Self::plain(Kind::InternalError)
    }

    /// No order has the id that the path names.
    pub(crate) fn no_such_order() -> Self {
        Self::plain(Kind::NoSuchOrder)
    }

    /// The external id at `pointer` of the body belongs to another order.
    pub(crate) fn external_id_taken(pointer: &str, order_id: OrderId) -> Self {
        let detail = format!("is taken by order {order_id}");
        Self {
            order_id: Some(order_id),
            errors: vec![Fault::at(pointer, "taken", &detail)],
            ..Self::new(Kind::ExternalIdTaken, format!("{pointer} {detail}. Nothing was placed."))
        }
    }

    /// An example of this kind.
    #[must_use]
    pub fn example_of(kind: Kind) -> Self {
        let id = Uuid::from_u128(0x01a2_08b5_d53e_7085_8349_2369_0485_2fea);
        let problem = match kind {
            Kind::InvalidBody => Self {
                errors: vec![
                    Fault::at("/user_id", "too_small", "must be at least 1"),
                    Fault::at("/item_ids/1", "not_an_integer", "must be an integer"),
                ],
                ..Self::plain(kind)
            },
            Kind::OrderStatusConflict => Self::plain(kind).with_order_status(OrderStatus::Completed),
            Kind::OrderIsPoison => Self::plain(kind).with_order_status(OrderStatus::Failed),
            Kind::ExternalIdTaken => Self::external_id_taken("/external_id", id.into()),
            _ => Self::plain(kind),
        };
        problem.with_request_id(&id.to_string())
    }

    /// Whether it is of this kind.
    pub(crate) fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    /// Whether the service failed. A transfer coding is the client's fault, and "not ready" is a proper answer of
    /// `/readyz`.
    pub(crate) fn is_ours(&self) -> bool {
        let is_excepted = matches!(self.kind, Kind::UnsupportedTransferCoding | Kind::NotReady);
        self.status().is_server_error() && !is_excepted
    }

    /// Whether it is a fault of this program, whose cause the log must have.
    pub(crate) fn is_broken(&self) -> bool {
        self.is(Kind::InternalError)
    }

    /// Writes its log line. `unsaid` is the number of earlier failures that got no line.
    pub(crate) fn log(&self, unsaid: Option<NonZero<u64>>) {
        let (kind, detail) = (self.kind.uri(), &self.detail);
        let cause = self.cause.as_deref().unwrap_or("see the detail");
        if self.is_broken() {
            tracing::error!(kind, detail, cause, unsaid, "a request failed");
        } else if self.is_ours() {
            tracing::warn!(kind, detail, cause, unsaid, "a request failed");
        } else {
            tracing::debug!(kind, detail, "a request was rejected");
        }
    }
}

/// The problem of a failed call of the store; the log has its cause.
impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        let problem = match error.kind() {
            ErrorKind::Busy if error.had_no_effect() => Self::overloaded("The database is overloaded. Try again."),
            kind if kind.is_passing() => Self::database_away(),
            _ => Self::internal(),
        };
        problem.because(error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::from(&error)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.kind.facts().status
    }

    fn as_response(&self) -> Response {
        let (status, body) = (self.status(), serde_json::to_string(self).unwrap_or_default());
        let mut response = Response::builder().status(status).content_type(PROBLEM_JSON).body(body);
        if status == StatusCode::SERVICE_UNAVAILABLE || self.is(Kind::RequestInProgress) {
            response.headers_mut().insert(header::RETRY_AFTER, PROBLEM_RETRY_AFTER_SECS.into());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.as_response()
    }
}

/// Any failure. The document says by itself which operation answers with which problems (`api/tests/openapi`).
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: PROBLEM_JSON, schema: ProblemBody::schema_ref() }];
        let any = MetaResponse { description: "", status: Some(500), status_range: None, content, headers: vec![] };
        MetaResponses { responses: vec![any] }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}
