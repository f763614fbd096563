//! Headers that all operations share.

use serde_json::json;

use super::model::{Content, Header, Model, Parameter, Referable};
use orders_api::document::{Kind, PROBLEM_JSON};

const REQUEST_ID: &str = "X-Request-Id";
const IF_NONE_MATCH: &str = "If-None-Match";
const RETRY_AFTER: &str = "Retry-After";
const CACHE_CONTROL: &str = "Cache-Control";

/// `Retry-After` of an answer that has it for only one of its kinds of problem.
const RETRY_IN_PROGRESS: &str = "Retry-After-In-Progress";

/// Adds the headers to all operations, and to the answers that have them.
pub(super) fn add(document: &mut Model) {
    for operation in document.operations() {
        if operation.responses.contains_key("304") {
            operation.parameters.push(Referable::component("parameters", IF_NONE_MATCH));
        }
        operation.parameters.push(Referable::component("parameters", REQUEST_ID));
        let is_page = operation.is_page();
        for (status, response) in &mut operation.responses {
            let is_problem = response.content.contains_key(PROBLEM_JSON);
            let mut names = vec![REQUEST_ID];
            if is_problem || !is_page {
                names.push(CACHE_CONTROL);
            }
            if is_problem && status == "503" {
                names.push(RETRY_AFTER);
            }
            let common = names.into_iter().map(|name| (name.to_owned(), Referable::component("headers", name)));
            response.headers.extend(common);
            let waits = |content: &Content| content.examples.contains_key(Kind::RequestInProgress.facts().slug);
            if response.content.values().any(waits) {
                response.headers.insert(RETRY_AFTER.to_owned(), Referable::component("headers", RETRY_IN_PROGRESS));
            }
        }
    }
    let request_id = "01a208b5-d53e-7085-8349-236904852fea";
    document.components.parameters.extend([
        (
            REQUEST_ID.to_owned(),
            Parameter::header(
                REQUEST_ID,
                "An id for the request, which the answer and the log repeat: 1 to 128 letters, digits and `-_.:+/=`. \
                 If it is missing or has another form, the server makes one.",
            ),
        ),
        (
            IF_NONE_MATCH.to_owned(),
            Parameter::header(
                IF_NONE_MATCH,
                "The `ETag` of an earlier answer, including `W/` and the quotes (RFC 9110, section 13.1.2). The answer \
                 is 304 if the order has not changed since, after the wait if one is requested.",
            ),
        ),
    ]);
    document.components.headers.extend([
        (
            REQUEST_ID.to_owned(),
            Header::always(
                "The id of the request: the client's own, or one that the server made.",
                json!({"type": "string"}),
                json!(request_id),
            ),
        ),
        (
            RETRY_AFTER.to_owned(),
            Header::always("The seconds after which to try again.", json!({"type": "integer", "minimum": 1}), json!(1)),
        ),
        (
            RETRY_IN_PROGRESS.to_owned(),
            Header::at_times(
                "The seconds after which to try again, if another request is in progress.",
                json!({"type": "integer", "minimum": 1}),
                json!(1),
            ),
        ),
        (
            CACHE_CONTROL.to_owned(),
            Header::always(
                "Answers about orders are for the client alone, and soon out of date.",
                json!({"type": "string"}),
                json!("no-store"),
            ),
        ),
    ]);
}
