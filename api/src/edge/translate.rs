use std::io;

use poem::http::StatusCode;
use poem_openapi::error::{ParseParamError, ParsePathError};

use super::route_table::Operation;
use crate::problems::{Kind, Problem};

/// The problem for an error of a handler or a library. A library's message may repeat the client's input, so it is not
/// passed on.
pub(super) fn problem_of(error: &poem::Error, operation: &Operation) -> Problem {
    if let Some(problem) = error.downcast_ref::<Problem>() {
        return problem.clone();
    }
    let parameter = error.downcast_ref::<ParseParamError>().map(|error| error.name);
    if let Some(name) = parameter.or_else(|| Some(error.downcast_ref::<ParsePathError>()?.name)) {
        return operation.invalid(name);
    }
    // A page's path: this error does not name the parameter.
    if error.is::<poem::error::ParsePathError>() {
        return problem_of_status(StatusCode::NOT_FOUND);
    }
    let problem = problem_of_status(error.status());
    if error.status().is_server_error() { problem.because(&io::Error::other(error.to_string())) } else { problem }
}

/// The problem for a failure of which only the status is known.
pub(super) fn problem_of_status(status: StatusCode) -> Problem {
    match status {
        StatusCode::NOT_FOUND => Problem::plain(Kind::NotFound),
        status if status.is_client_error() => Problem::new(Kind::InvalidParameter, "The request is invalid."),
        _ => Problem::internal(),
    }
}
