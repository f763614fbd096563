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

use super::kind::Kind;
use crate::wire::fields::Fault;
use crate::wire::status::Status;

/// The media type of every problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Seconds after which a client should try again.
const PROBLEM_RETRY_AFTER_SECS: u32 = 1;

/// What went wrong, for people and programs (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Problem")]
pub struct Problem {
    /// The kind of problem: the path of a page that explains it.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request, and what to do.
    detail: String,
    /// The request, as in the header `X-Request-Id`: what to tell those who look into the log.
    request_id: String,
    /// Every fault of the body.
    #[oai(default, skip_serializing_if_is_empty)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// The order's status, where that is what stands in the way.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    order_status: Option<Status>,
    /// The order that stands in the way, where one does.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<Uuid>,
    /// Why, for the log alone.
    #[oai(skip)]
    #[serde(skip)]
    cause: Option<String>,
}

impl Problem {
    /// A problem of a kind; `detail` says what was wrong with this request. The edge adds the request's id.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let facts = kind.facts();
        Self {
            kind: kind.uri(),
            title: facts.title.to_owned(),
            status: facts.status.as_u16(),
            detail: detail.into(),
            request_id: String::new(),
            errors: Vec::new(),
            order_status: None,
            order_id: None,
            cause: None,
        }
    }

    /// A problem of a kind about which there is no more to say than its page's example does.
    pub(crate) fn plain(kind: Kind) -> Self {
        Self::new(kind, kind.facts().example)
    }

    /// The same problem, caused by an order's status.
    pub(crate) fn with_order_status(self, status: OrderStatus) -> Self {
        Self { order_status: Some(status.into()), ..self }
    }

    /// The same problem, of this request.
    pub(crate) fn with_request_id(self, request_id: &str) -> Self {
        Self { request_id: request_id.to_owned(), ..self }
    }

    /// The same problem, caused by an error, which the log shows and the answer does not.
    pub(crate) fn because(self, error: &dyn Error) -> Self {
        let mut cause = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            // Writing to a text does not fail.
            let _ = write!(cause, ": {error}");
            source = error.source();
        }
        Self { cause: Some(cause), ..self }
    }

    /// A body with these faults.
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

    /// Too much at once, in this regard.
    pub(crate) fn overloaded(detail: &str) -> Self {
        Self::new(Kind::Overloaded, detail)
    }

    /// A fault of ours; its cause is in the log.
    pub(crate) fn internal() -> Self {
        Self::plain(Kind::InternalError)
    }

    /// No order has the id in the path.
    pub(crate) fn no_such_order() -> Self {
        Self::plain(Kind::NoSuchOrder)
    }

    /// The order of a body whose external id is at `pointer` cannot have it: this one has.
    pub(crate) fn external_id_taken(pointer: &str, order_id: OrderId) -> Self {
        let detail = format!("is that of order {order_id}");
        Self {
            order_id: Some(order_id.uuid()),
            errors: vec![Fault::at(pointer, "taken", &detail)],
            ..Self::new(Kind::ExternalIdTaken, format!("{pointer} {detail}. Nothing was placed."))
        }
    }

    /// A problem of this kind, to be shown.
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
        self.kind == kind.uri()
    }

    /// Whether the failure is ours, and not the client's in spite of its number, nor what `/readyz` is asked for.
    pub(crate) fn is_ours(&self) -> bool {
        self.status >= 500 && self.status != 501 && !self.is(Kind::NotReady)
    }

    /// Whether it is a fault of this program, which the log explains.
    pub(crate) fn is_broken(&self) -> bool {
        self.status == 500
    }

    /// Writes its log line, with the number of failures before it that have none.
    pub(crate) fn log(&self, unsaid: Option<NonZero<u64>>) {
        let Self { kind, detail, .. } = self;
        let cause = self.cause.as_deref().unwrap_or("none but the detail");
        if self.is_broken() {
            tracing::error!(kind, detail, cause, unsaid, "a request failed");
        } else if self.is_ours() {
            tracing::warn!(kind, detail, cause, unsaid, "a request failed");
        } else {
            tracing::debug!(kind, detail, "a request was refused");
        }
    }
}

/// A call of the store that failed; its cause goes to the log.
impl From<&StoreError> for Problem {
    fn from(error: &StoreError) -> Self {
        let problem = match error.kind() {
            ErrorKind::Busy if error.had_no_effect() => {
                Self::overloaded("The database has as much to do as it can bear. Try again.")
            }
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
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
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

/// Any failure: which operation answers with which problems the document says by itself (`api/tests/openapi`).
impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: PROBLEM_JSON, schema: Self::schema_ref() }];
        let any = MetaResponse { description: "", status: Some(500), status_range: None, content, headers: vec![] };
        MetaResponses { responses: vec![any] }
    }

    fn register(registry: &mut Registry) {
        <Self as Type>::register(registry);
    }
}
