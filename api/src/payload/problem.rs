use orders_shared::domain::OrderStatus;
use poem::error::{ParsePathError, ResponseError};
use poem::http::{StatusCode, header};
use poem::{IntoResponse, Response};
use poem_openapi::error::{ContentTypeError, ParseParamError};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object};
use serde::Serialize;

use crate::dto::Status;

/// What went wrong, for people and programs (RFC 9457, `application/problem+json`).
#[derive(Clone, Debug, Object, Serialize)]
#[oai(rename = "Problem")]
pub(crate) struct Problem {
    /// Names the kind of problem: a path under `/problems/`, or `about:blank` when the status says it all.
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong with this request, and what to do.
    detail: String,
    /// Every fault of the body.
    #[oai(skip_serializing_if_is_empty)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
    /// The order's status, where that is what stands in the way.
    #[oai(skip_serializing_if_is_none)]
    #[serde(skip_serializing_if = "Option::is_none")]
    order_status: Option<Status>,
}

/// One fault of a body.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub(crate) struct Fault {
    /// Where in the body (RFC 6901): `/item_ids/1`.
    pub(crate) pointer: String,
    /// The kind of fault, for programs.
    pub(crate) code: String,
    /// The kind of fault, for people.
    pub(crate) detail: String,
}

/// Seconds after which a client should try again.
const RETRY_AFTER_SECS: u32 = 1;

impl Problem {
    /// A problem that its status describes.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            order_status: None,
        }
    }

    /// The same problem, caused by an order's status.
    pub(crate) fn with_order_status(self, status: OrderStatus) -> Self {
        Self { order_status: Some(status.into()), ..self }
    }

    /// A body with these faults.
    pub(crate) fn invalid(errors: Vec<Fault>) -> Self {
        let first = errors.first().map(|fault| format!("{} {}", fault.pointer, fault.detail)).unwrap_or_default();
        let detail = match errors.len() {
            0 | 1 => first,
            faults => format!("{first}; {} more in `errors`", faults - 1),
        };
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// The database is away.
    pub(crate) fn database_away() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "The database is away. Try again.")
    }

    /// A fault of ours; its cause is in the log.
    pub(crate) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here. It has been logged.")
    }

    /// What a library said, as a problem.
    pub(crate) fn of(error: &poem::Error) -> Self {
        let status = error.status();
        if let Some(problem) = error.downcast_ref::<Self>() {
            return problem.clone();
        }
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            return Self::new(status, format!("The parameter `{}` is invalid: {}", error.name, error.reason));
        }
        if let Some(error) = error.downcast_ref::<poem_openapi::error::ParsePathError>() {
            // The library has forgotten the parameter's name; an order's id is the only one that it reads.
            return Self::new(status, format!("`order_id` in the path is invalid: {}", error.reason));
        }
        if error.is::<ParsePathError>() {
            return Self::new(StatusCode::NOT_FOUND, "There is nothing at this path.");
        }
        if error.is::<ContentTypeError>() {
            return Self::new(status, "The body must be JSON: send `Content-Type: application/json`.");
        }
        match status {
            StatusCode::NOT_FOUND => Self::new(status, "There is nothing at this path. GET /docs shows what there is."),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(status, "This path has no such method. GET /docs shows what there is.")
            }
            status if status.is_server_error() => {
                tracing::error!(%error, "a request failed");
                Self::internal()
            }
            status => Self::new(status, status.canonical_reason().unwrap_or("The request is invalid.")),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn as_response(&self) -> Response {
        let status = self.status();
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::builder().status(status).content_type("application/problem+json").body(body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECS.into());
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.as_response()
    }
}

impl ApiResponse for Problem {
    fn meta() -> MetaResponses {
        let problem = |description, status: Option<u16>, range: Option<&str>| MetaResponse {
            description,
            status,
            status_range: range.map(str::to_owned),
            content: vec![MetaMediaType { content_type: "application/problem+json", schema: Self::schema_ref() }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                problem("The request was refused and nothing was changed.", None, Some("4XX")),
                problem(
                    "The database is away or busy: try again, after the seconds in `Retry-After`.",
                    Some(503),
                    None,
                ),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        <Self as Type>::register(registry);
    }
}
