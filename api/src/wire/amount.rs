use std::borrow::Cow;

use orders_shared::domain::Amount;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::Serialize;
use serde_json::Value;

/// An amount as a JSON number, digit for digit.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct AmountNumber(pub(crate) Amount);

impl Type for AmountNumber {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "number".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("An exact decimal with at most four decimals, never rounded."),
            minimum: Some(0.0),
            // The float nearest to the largest amount is slightly above it.
            maximum: Amount::MAX.to_string().parse().ok(),
            exclusive_maximum: Some(true),
            ..MetaSchema::new_with_format("number", "decimal")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

/// Only for the document's examples: `Serialize` writes the bodies.
impl ToJSON for AmountNumber {
    fn to_json(&self) -> Option<Value> {
        serde_json::from_str(&self.0.to_string()).ok()
    }
}

/// The derived documentation requires it: bodies are read through [`super::fields::Fields`].
impl ParseFromJSON for AmountNumber {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let text = value.unwrap_or_default().to_string();
        text.parse().map(Self).map_err(ParseError::custom)
    }
}
