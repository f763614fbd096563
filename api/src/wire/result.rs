use std::borrow::Cow;

use orders_shared::domain::OrderResult;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// What the work on an order produced: any JSON value, as the work wrote it.
#[derive(Clone, Debug)]
pub(crate) struct ResultJson(pub(crate) OrderResult);

impl Serialize for ResultJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.0.json()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl Type for ResultJson {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "any".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            description: Some("Any JSON value of at most 4,096 bytes."),
            ..MetaSchema::ANY
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
impl ToJSON for ResultJson {
    fn to_json(&self) -> Option<Value> {
        serde_json::from_str(self.0.json()).ok()
    }
}

/// The derived documentation requires it: nobody sends results to the API.
impl ParseFromJSON for ResultJson {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        OrderResult::of(&value).map(Self).map_err(ParseError::custom)
    }
}
