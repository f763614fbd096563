//! The problems that each operation can answer with.

use indexmap::IndexMap;
use poem::http::StatusCode;
use serde_json::json;

use super::model::{Content, Model, Operation, Referable, Response};
use orders_api::document::{Kind, PROBLEM_JSON, Problem};

/// Operations that are carried out whatever the load, and whatever the client accepts.
const OPS: [&str; 3] = ["check_liveness", "check_readiness", "scrape"];

/// Replaces the library's failures, which are the same for all operations, by the problems that each operation can
/// answer with.
///
/// # Errors
///
/// If a problem cannot be written.
pub(super) fn add(document: &mut Model) -> anyhow::Result<()> {
    let mut used = Vec::new();
    for (method, operation) in document.paths.values_mut().flatten() {
        let kinds = kinds(method, operation);
        operation.responses.retain(|_, response| !response.content.contains_key(PROBLEM_JSON));
        let mut statuses: Vec<StatusCode> = kinds.iter().map(|kind| kind.facts().status).collect();
        statuses.dedup();
        for status in statuses {
            let of_status = kinds.iter().copied().filter(|kind| kind.facts().status == status);
            operation.responses.insert(status.as_str().to_owned(), refusal(of_status));
        }
        operation.responses.sort_keys();
        used.extend(kinds);
    }
    for kind in Kind::ALL.iter().copied().filter(|kind| used.contains(kind)) {
        let facts = kind.facts();
        let example = json!({
            "summary": facts.title,
            "description": facts.meaning,
            "value": serde_json::to_value(Problem::example_of(kind))?,
        });
        document.components.examples.insert(facts.slug.to_owned(), example);
    }
    Ok(())
}

/// Every problem that an operation can answer with, by status.
fn kinds(method: &str, operation: &Operation) -> Vec<Kind> {
    Kind::ALL.iter().copied().filter(|kind| can_answer(method, operation, *kind)).collect()
}

fn can_answer(method: &str, operation: &Operation, kind: Kind) -> bool {
    let id = operation.id.as_str();
    let is_ops = OPS.contains(&id);
    let has = |name| operation.has(name);
    let has_body = operation.request_body.is_some();
    let is_strict = !is_ops && !operation.is_page();
    match kind {
        Kind::InternalError => true,
        Kind::Overloaded | Kind::TimedOut => !is_ops,
        Kind::NotReady => id == "check_readiness",
        // Pages accept any request, and need no database.
        Kind::InvalidParameter | Kind::UnsupportedHeader | Kind::NotAcceptable | Kind::DatabaseAway => is_strict,
        Kind::UnexpectedBody => is_strict && !has_body,
        Kind::MalformedBody
        | Kind::BodyTooSlow
        | Kind::BodyTooLarge
        | Kind::UnsupportedMediaType
        | Kind::InvalidBody => has_body,
        Kind::CrossOrigin => method != "get",
        Kind::InvalidCursor => has("cursor"),
        Kind::NoSuchOrder => has("order_id"),
        Kind::NotFound => has("slug"),
        Kind::IdempotencyKeyInvalid | Kind::IdempotencyKeyReused | Kind::RequestInProgress => has("Idempotency-Key"),
        Kind::OrderIsPoison => id == "retry_order",
        Kind::OrderStatusConflict => ["cancel_order", "retry_order"].contains(&id),
        Kind::ExternalIdTaken => ["place_order", "place_orders"].contains(&id),
        // These answer requests that reach no operation of this server.
        Kind::UnknownHost | Kind::MethodNotAllowed | Kind::MalformedRequest | Kind::UnsupportedTransferCoding => false,
    }
}

/// The answer for these kinds of problem, which share a status.
fn refusal(kinds: impl Iterator<Item = Kind>) -> Response {
    let kinds: Vec<Kind> = kinds.collect();
    let described = kinds.iter().map(|kind| format!("[{}]({})", kind.facts().title, kind.uri()));
    let examples = kinds
        .iter()
        .map(|kind| kind.facts().slug)
        .map(|slug| (slug.to_owned(), Referable::component("examples", slug)));
    let content = Content {
        schema: json!({"$ref": "#/components/schemas/Problem"}),
        example: None,
        examples: examples.collect(),
    };
    Response {
        description: described.collect::<Vec<_>>().join(", or: ") + ".",
        content: IndexMap::from([(PROBLEM_JSON.to_owned(), content)]),
        ..Response::default()
    }
}
