//! Limits that the library's validators cannot express, by the name of a field or parameter.

use orders_shared::domain::{IdempotencyKey, Metadata};
use serde_json::{Map, Value, json};

/// Adds the limits to the schema of the field or parameter with this name.
pub(super) fn tell(name: &str, schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    match name {
        "item_ids" => {
            if let Some(Value::Object(item)) = members.get_mut("items") {
                item.insert("minimum".to_owned(), 1.into());
            }
        }
        "external_id" => add(members, json!({"pattern": EXTERNAL_ID})),
        "metadata" => add(
            members,
            json!({
                "maxProperties": Metadata::MAX,
                "propertyNames": {"minLength": 1, "maxLength": Metadata::KEY_MAX},
                "additionalProperties": {"type": "string", "maxLength": Metadata::VALUE_MAX},
            }),
        ),
        "Idempotency-Key" => add(members, json!({"pattern": idempotency_key()})),
        // The server reads names in any letter case, but generated clients should use the documented one.
        "status" | "status_name" => *schema = json!({"$ref": "#/components/schemas/OrderStatus"}),
        _ => {}
    }
}

/// No control characters, and no space at either end.
const EXTERNAL_ID: &str = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$";

/// Bare, without spaces, quotes and commas; or a quoted string of RFC 9651.
fn idempotency_key() -> String {
    let max = IdempotencyKey::MAX;
    format!(r#"^([!#-+\--~]{{1,{max}}}|"([ !#-\[\]-~]|\\["\\]){{1,{max}}}")$"#)
}

fn add(members: &mut Map<String, Value>, more: Value) {
    if let Value::Object(more) = more {
        members.extend(more);
    }
}
