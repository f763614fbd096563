//! The document in OpenAPI 3.0, for gateways and generators that cannot read 3.1. What 3.0 cannot express is left out.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::model::Model;

const OPENAPI: &str = "3.0.3";

/// The schemas of the document by their names.
type Named = IndexMap<String, Value>;

/// Translates the whole document from 3.1 to 3.0.
pub(super) fn retell(document: &mut Model) {
    OPENAPI.clone_into(&mut document.openapi);
    document.info.shift_remove("summary");
    if let Some(Value::Object(license)) = document.info.get_mut("license") {
        license.shift_remove("identifier");
    }
    let named = document.components.schemas.clone();
    document.schemas().for_each(|value| schema(value, &named));
}

/// Translates a schema, whose references name the schemas in `named`.
fn schema(value: &mut Value, named: &Named) {
    let Value::Object(members) = value else { return };
    nullable_reference(members, named);
    for part in parts(members) {
        schema(part, named);
    }
    members.shift_remove("propertyNames");
    if let Some(only) = members.shift_remove("const") {
        members.insert("enum".to_owned(), json!([only]));
    }
    null(members);
    limits(members);
    reference(members);
}

/// The schemas within one.
fn parts(members: &mut Map<String, Value>) -> Vec<&mut Value> {
    let mut parts = Vec::new();
    for (name, member) in members {
        match (name.as_str(), member) {
            ("properties", Value::Object(properties)) => parts.extend(properties.values_mut()),
            ("anyOf", Value::Array(either)) => parts.extend(either),
            ("items" | "additionalProperties", part) => parts.push(part),
            _ => {}
        }
    }
    parts
}

/// In 3.0 null is a flag, not a type.
fn null(members: &mut Map<String, Value>) {
    if let Some(Value::Array(kinds)) = members.get("type")
        && let [kind, null] = kinds.as_slice()
        && null == "null"
    {
        let kind = kind.clone();
        members.insert("type".to_owned(), kind);
        members.insert("nullable".to_owned(), true.into());
    }
}

/// Replaces a reference that may be null by its schema: the flag counts only beside a type.
fn nullable_reference(members: &mut Map<String, Value>, named: &Named) {
    if let Some(Value::Array(either)) = members.get("anyOf")
        && let [reference, null] = either.as_slice()
        && *null == json!({"type": "null"})
        && let Some(Value::Object(thing)) = thing(reference, named)
    {
        let mut thing = thing.clone();
        members.shift_remove("anyOf");
        // The description of the reference says more than that of the schema.
        thing.append(members);
        thing.insert("nullable".to_owned(), true.into());
        *members = thing;
    }
}

fn thing<'a>(reference: &Value, named: &'a Named) -> Option<&'a Value> {
    named.get(reference.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")?)
}

/// An exclusive limit is a limit with a flag. The limit of `int64` is left out: the format implies it, and readers of
/// 3.0 keep limits in 64-bit integers, which cannot hold it.
fn limits(members: &mut Map<String, Value>) {
    let is_int64 = members.get("format").is_some_and(|format| format == "int64");
    for (limit, flag) in [("maximum", "exclusiveMaximum"), ("minimum", "exclusiveMinimum")] {
        if let Some(number) = members.shift_remove(flag)
            && !is_int64
        {
            members.insert(limit.to_owned(), number);
            members.insert(flag.to_owned(), true.into());
        }
    }
}

/// Readers ignore the members beside a reference.
fn reference(members: &mut Map<String, Value>) {
    if members.len() > 1
        && let Some(to) = members.shift_remove("$ref")
    {
        members.insert("allOf".to_owned(), json!([{"$ref": to}]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keywords of JSON Schema and OpenAPI 3.1 that 3.0 does not have.
    const ONLY_IN_3_1: [&str; 24] = [
        "$anchor",
        "$defs",
        "$id",
        "$schema",
        "const",
        "contains",
        "contentEncoding",
        "contentMediaType",
        "contentSchema",
        "dependentRequired",
        "dependentSchemas",
        "else",
        "identifier",
        "if",
        "jsonSchemaDialect",
        "pathItems",
        "patternProperties",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
        "webhooks",
        "$comment",
    ];

    /// Whether a document of 3.0 can have `name` with this value beside this many siblings.
    fn is_of_3_0(name: &str, value: &Value, siblings: usize) -> bool {
        match name {
            "type" => value.is_string() && value != "null",
            "exclusiveMaximum" | "exclusiveMinimum" => value.is_boolean(),
            "$ref" => siblings == 0,
            _ => !ONLY_IN_3_1.contains(&name),
        }
    }

    /// The places of all members that 3.0 does not have. Names of properties are not keywords, and neither are
    /// examples.
    fn faults(value: &Value, place: &str) -> Vec<String> {
        let Value::Object(members) = value else {
            let elements = value.as_array().into_iter().flatten().enumerate();
            return elements.flat_map(|(index, element)| faults(element, &format!("{place}/{index}"))).collect();
        };
        let has_names = ["/properties", "/schemas"].iter().any(|end| place.ends_with(end));
        let mut found = Vec::new();
        for (name, member) in members.iter().filter(|(name, _)| !["example", "examples"].contains(&name.as_str())) {
            let place = format!("{place}/{name}");
            found.extend((!has_names && !is_of_3_0(name, member, members.len() - 1)).then(|| place.clone()));
            found.extend(faults(member, &place));
        }
        found
    }

    #[test]
    fn it_has_nothing_that_only_3_1_has() {
        let whole: Value = serde_json::from_str(&crate::json_3_1()).unwrap();
        let document: Value = serde_json::from_str(&crate::json_3_0()).unwrap();

        assert_eq!(document["openapi"], OPENAPI);
        assert_eq!(document["info"]["summary"], Value::Null);
        assert_eq!(faults(&document, ""), Vec::<String>::new());
        assert!(faults(&whole, "").len() > 50, "this test recognizes 3.1");
    }

    #[test]
    fn it_has_the_same_operations_and_schemas() {
        let names = |json: String| {
            let document: Value = serde_json::from_str(&json).unwrap();
            ["/paths", "/components/schemas"]
                .map(|part| document.pointer(part).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>())
        };

        assert_eq!(names(crate::json_3_0()), names(crate::json_3_1()));
    }

    #[test]
    fn a_schema_is_translated_without_loss_where_3_0_can_express_it() {
        let retold = [
            (json!({"type": ["string", "null"]}), json!({"type": "string", "nullable": true})),
            (
                json!({"description": "y", "anyOf": [{"$ref": "#/components/schemas/X"}, {"type": "null"}]}),
                json!({"type": "object", "description": "y", "properties": {"z": {"enum": [1]}}, "nullable": true}),
            ),
            (json!({"exclusiveMaximum": 5}), json!({"maximum": 5, "exclusiveMaximum": true})),
            (json!({"format": "int64", "exclusiveMaximum": 5, "minimum": 1}), json!({"format": "int64", "minimum": 1})),
            (json!({"const": "live"}), json!({"enum": ["live"]})),
            (json!({"description": "y", "$ref": "#/x"}), json!({"description": "y", "allOf": [{"$ref": "#/x"}]})),
            (json!({"$ref": "#/x"}), json!({"$ref": "#/x"})),
            (json!({"propertyNames": {"maxLength": 1}}), json!({})),
            (json!({"properties": {"const": {"const": 1}}}), json!({"properties": {"const": {"enum": [1]}}})),
            (json!({"items": {"const": 1}}), json!({"items": {"enum": [1]}})),
            (json!({"additionalProperties": false}), json!({"additionalProperties": false})),
        ];
        let named = json!({"type": "object", "description": "x", "properties": {"z": {"const": 1}}});
        let named = IndexMap::from([("X".to_owned(), named)]);
        for (mut told, expected) in retold {
            schema(&mut told, &named);

            assert_eq!(told, expected);
        }
    }
}
