//! Completes each operation.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::model::{Content, Model, Operation};
use super::{examples, limits};

/// Removes repeated tags, adds examples, and writes the names of headers in their usual form.
///
/// # Errors
///
/// If an example belongs to no operation or no schema.
pub(super) fn complete(document: &mut Model) -> anyhow::Result<()> {
    let (mut answers, parameters) = (examples::answers()?, examples::parameters());
    for operation in document.operations() {
        operation.tags.dedup();
        spell_headers(operation);
        for parameter in operation.parameters.iter_mut().filter_map(|parameter| parameter.here()) {
            let example = parameters.iter().find(|(name, _)| *name == parameter.name);
            limits::tell(&parameter.name, &mut parameter.schema);
            parameter.example = parameter.example.take().or_else(|| example.map(|(_, value)| value.clone()));
        }
        let example = answers.iter().position(|(name, _)| *name == operation.id);
        let example = example.map(|at| answers.swap_remove(at).1);
        if let Some(content) = json_answer(operation) {
            content.example = example;
        }
    }
    for (name, example) in examples::bodies() {
        let schema = document.components.schemas.get_mut(name).and_then(Value::as_object_mut);
        schema.with_context(|| format!("there is no schema {name}"))?.insert("example".to_owned(), example);
    }
    link(document);
    ensure!(answers.is_empty(), "no operation answers with this example: {answers:?}");
    Ok(())
}

/// The JSON of the successful answer.
fn json_answer(operation: &mut Operation) -> Option<&mut Content> {
    let mut good = operation.responses.iter_mut().filter(|(status, _)| status.starts_with('2'));
    good.find_map(|(_, response)| response.content.get_mut("application/json"))
}

/// Links each answer that names a new order to all operations on that order.
fn link(document: &mut Model) {
    let about: Vec<String> = document
        .operations()
        .filter(|operation| operation.has("order_id"))
        .map(|operation| operation.id.clone())
        .collect();
    for response in document.operations().filter_map(|operation| operation.responses.get_mut("201")) {
        let example = response.content.values().find_map(|content| content.example.as_ref());
        let pointer = ["/order_id", "/data/order_id", "/orders/0/order_id"]
            .into_iter()
            .find(|pointer| example.is_some_and(|example| example.pointer(pointer).is_some()));
        let Some(pointer) = pointer else { continue };
        let order_id = format!("$response.body#{pointer}");
        response.links = about
            .iter()
            .map(|id| (id.clone(), json!({"operationId": id, "parameters": {"order_id": order_id}})))
            .collect();
    }
}

/// The library writes `X-REQUEST-ID`.
fn spell_headers(operation: &mut Operation) {
    for response in operation.responses.values_mut() {
        response.headers =
            std::mem::take(&mut response.headers).into_iter().map(|(name, header)| (spelled(&name), header)).collect();
    }
    for parameter in operation.parameters.iter_mut().filter_map(|parameter| parameter.here()) {
        if parameter.r#in == "header" {
            parameter.name = spelled(&parameter.name);
        }
    }
}

fn spelled(name: &str) -> String {
    if name.eq_ignore_ascii_case("etag") {
        return "ETag".to_owned();
    }
    let word = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
        first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}
