use std::io;

use poem::error::ParsePathError;
use poem::http::StatusCode;
use poem_openapi::error::{ContentTypeError, ParseParamError};

use super::route_table::Operation;
use crate::problems::{Kind, Problem};

/// What a handler or a library said, as a problem. What a library says may repeat the caller's input, so it is not
/// passed on.
pub(crate) fn problem_of(error: &poem::Error, operation: &Operation) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    if let Some(error) = error.downcast_ref::<ParseParamError>() {
        return operation.invalid(error.name);
    }
    if let Some(error) = error.downcast_ref::<poem_openapi::error::ParsePathError>() {
        return operation.invalid(error.name);
    }
    if error.is::<ParsePathError>() {
        return problem_of_status(StatusCode::NOT_FOUND);
    }
    if error.is::<ContentTypeError>() {
        return problem_of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let problem = problem_of_status(error.status());
    if error.status().is_server_error() { problem.because(&io::Error::other(error.to_string())) } else { problem }
}

/// A failure of which no more is known than its status.
pub(crate) fn problem_of_status(status: StatusCode) -> Problem {
    let (kind, detail) = match status {
        StatusCode::NOT_FOUND => (Kind::NotFound, "There is nothing at this path. GET /docs shows what there is."),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            (Kind::UnsupportedMediaType, "The body must be JSON: send `Content-Type: application/json`.")
        }
        status if status.is_client_error() => (Kind::InvalidParameter, "The request is invalid."),
        _ => return Problem::internal(),
    };
    Problem::new(kind, detail)
}
