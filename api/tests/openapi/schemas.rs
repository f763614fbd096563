//! Schemas as JSON Schema (OpenAPI 3.1) writes them, with facts that poem-openapi does not express.
//!
//! Three rules of the code say more than an `Option`'s "may be missing": an answer has all its fields, with null for
//! missing values; a body may leave optional fields out or set them to null, and may have no other fields; a problem
//! leaves out fields that do not apply.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::{Map, Number, Value, json};

use super::limits;
use super::model::Model;

const JSON: &str = "application/json";

/// Just above every 64-bit integer. Unlike the largest of them, it stays exact when it is read as a float.
const ABOVE_INT64: u64 = 1 << 63;

/// Corrects all schemas of the document.
pub(super) fn mend(document: &mut Model) {
    document.schemas().for_each(plain);
    let (mut asked, mut answered) = (BTreeSet::new(), BTreeSet::new());
    for operation in document.operations() {
        let bodies = operation.request_body.iter().flat_map(|body| body.content.values());
        bodies.for_each(|content| names(&content.schema, &mut asked));
        let answers = operation.responses.values().filter_map(|response| response.content.get(JSON));
        answers.for_each(|content| names(&content.schema, &mut answered));
    }
    let schemas = &mut document.components.schemas;
    for name in reached(schemas, asked) {
        object(schemas, &name, close);
    }
    for name in reached(schemas, answered) {
        object(schemas, &name, fill);
    }
}

/// These schemas, with all that they refer to, directly or not.
fn reached(schemas: &IndexMap<String, Value>, mut waiting: BTreeSet<String>) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    while let Some(name) = waiting.pop_first() {
        if let Some(schema) = schemas.get(&name) {
            names(schema, &mut waiting);
        }
        reached.insert(name);
        waiting = &waiting - &reached;
    }
    reached
}

/// Adds the names of the schemas that `value` refers to.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            found.extend(reference.and_then(|to| to.strip_prefix("#/components/schemas/")).map(str::to_owned));
            members.values().for_each(|member| names(member, found));
        }
        Value::Array(elements) => elements.iter().for_each(|element| names(element, found)),
        _ => {}
    }
}

/// Changes a schema if it has properties.
fn object(schemas: &mut IndexMap<String, Value>, name: &str, work: fn(&mut Map<String, Value>)) {
    if let Some(Value::Object(schema)) = schemas.get_mut(name)
        && schema.contains_key("properties")
    {
        work(schema);
    }
}

/// A body: optional fields may be null, and there may be no other fields.
fn close(schema: &mut Map<String, Value>) {
    allow_null(schema);
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.iter_mut().for_each(|(name, property)| limits::tell(name, property));
    }
    schema.insert("additionalProperties".to_owned(), false.into());
}

/// An answer: optional fields may be null, but are always there. One that takes any value is left out instead.
fn fill(schema: &mut Map<String, Value>) {
    allow_null(schema);
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let all = properties.filter(|(_, property)| !is_any(property)).map(|(name, _)| name.clone()).collect();
    schema.insert("required".to_owned(), all);
}

/// Whether a property may have any value, null included.
fn is_any(property: &Value) -> bool {
    property.as_object().is_some_and(|members| members.keys().all(|name| name == "description"))
}

fn allow_null(schema: &mut Map<String, Value>) {
    let required = schema.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|all| all.iter().any(|one| one == name));
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (_, property) in properties.iter_mut().filter(|(name, property)| !is_required(name) && !is_any(property)) {
        let Value::Object(members) = property else { continue };
        if let Some(Value::String(kind)) = members.get("type") {
            let kinds = json!([kind, "null"]);
            members.insert("type".to_owned(), kinds);
        } else {
            let description = members.shift_remove("description");
            let mut either = json!({"anyOf": [property.take(), {"type": "null"}]});
            if let (Value::Object(either), Some(description)) = (&mut either, description) {
                either.insert("description".to_owned(), description);
            }
            *property = either;
        }
    }
}

/// Writes whole numbers without a point, exclusive limits as numbers, the limits that a format implies, and references
/// beside their descriptions. Examples stay as the server would write them.
fn plain(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.iter_mut().filter(|(name, _)| *name != "example").for_each(|(_, member)| plain(member));
            for (limit, flag) in [("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")] {
                if members.get(flag) == Some(&Value::Bool(true))
                    && let Some(number) = members.shift_remove(limit)
                {
                    members.insert(flag.to_owned(), number);
                }
            }
            if members.get("format").is_some_and(|format| format == "int64") {
                members.insert("exclusiveMaximum".to_owned(), ABOVE_INT64.into());
            }
            let parts = members.get_mut("allOf").and_then(Value::as_array_mut);
            if let Some(Value::Object(reference)) =
                parts.filter(|parts| parts.len() == 2).and_then(|parts| parts.first_mut())
                && reference.contains_key("$ref")
            {
                let reference = std::mem::take(reference);
                members.shift_remove("allOf");
                members.extend(reference);
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(plain),
        Value::Number(number) => {
            let whole =
                number.as_f64().filter(|_| number.is_f64()).and_then(|float| float.to_string().parse::<u64>().ok());
            *number = whole.map_or_else(|| number.clone(), Number::from);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(work: impl Fn(&mut Map<String, Value>), schema: Value) -> Value {
        let Value::Object(mut schema) = schema else { panic!("a schema is an object") };
        work(&mut schema);
        Value::Object(schema)
    }

    #[test]
    fn an_answer_has_all_its_fields_and_a_body_no_others() {
        let draft = json!({
            "required": ["a"],
            "properties": {
                "a": {"type": "string"},
                "b": {"type": "string"},
                "c": {"$ref": "#/components/schemas/C"},
                "d": {"description": "Anything."},
            },
        });
        let properties = json!({
            "a": {"type": "string"},
            "b": {"type": ["string", "null"]},
            "c": {"anyOf": [{"$ref": "#/components/schemas/C"}, {"type": "null"}]},
            "d": {"description": "Anything."},
        });

        let answer = json!({"required": ["a", "b", "c"], "properties": properties});
        assert_eq!(told(fill, draft.clone()), answer);
        let body = json!({"required": ["a"], "properties": properties, "additionalProperties": false});
        assert_eq!(told(close, draft), body);
    }

    #[test]
    fn a_schema_is_written_plainly() {
        let told = [
            (json!({"minimum": 1.0}), json!({"minimum": 1})),
            (json!({"minimum": 0.5}), json!({"minimum": 0.5})),
            (json!({"maximum": 1e14, "exclusiveMaximum": true}), json!({"exclusiveMaximum": 100_000_000_000_000_u64})),
            (json!({"format": "int64"}), json!({"format": "int64", "exclusiveMaximum": 9_223_372_036_854_775_808_u64})),
            (json!({"allOf": [{"$ref": "#/x"}, {"description": "y"}]}), json!({"$ref": "#/x"})),
            (json!({"example": {"minimum": 1.0}}), json!({"example": {"minimum": 1.0}})),
            (json!({"items": [{"minimum": 1.0}]}), json!({"items": [{"minimum": 1}]})),
        ];
        for (mut draft, expected) in told {
            plain(&mut draft);

            assert_eq!(draft, expected);
        }
    }

    #[test]
    fn references_are_followed_even_in_circles() {
        let reference = |name: &str| json!({"items": {"$ref": format!("#/components/schemas/{name}")}});
        let schemas = IndexMap::from([("A", "B"), ("B", "C"), ("C", "A"), ("D", "A")]);
        let schemas = schemas.into_iter().map(|(name, to)| (name.to_owned(), reference(to))).collect();

        let found = reached(&schemas, BTreeSet::from(["A".to_owned()]));

        assert_eq!(found, ["A", "B", "C"].map(str::to_owned).into());
    }
}
