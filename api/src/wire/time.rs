use std::borrow::Cow;

use chrono::{DateTime, Datelike, Timelike, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};

/// A time of RFC 3339, from 1970 to 9999: what a column holds. Parts of a microsecond are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) DateTime<Utc>);

/// Why a text is no [`Time`], for programs and for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct NotATime {
    pub(crate) code: &'static str,
    detail: &'static str,
}

const NO_TIME: NotATime =
    NotATime { code: "not_a_time", detail: "must be a time of RFC 3339, such as 2030-01-31T08:00:00Z" };
const OUT_OF_RANGE: NotATime =
    NotATime { code: "out_of_range", detail: "must be from 1970 to 9999, and no leap second" };

impl std::str::FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let time: DateTime<Utc> = DateTime::parse_from_rfc3339(text).map_err(|_| NO_TIME)?.into();
        // A leap second (…:60) is no time that the column can hold.
        let is_held = (1970..=9999).contains(&time.year()) && time.nanosecond() < 1_000_000_000;
        let time = time.with_nanosecond(time.nanosecond() / 1_000 * 1_000).filter(|_| is_held);
        time.map(Self).ok_or(OUT_OF_RANGE)
    }
}

impl Type for Time {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromParameter for Time {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        // A `+` that was not encoded arrives as a space.
        value.replace(' ', "+").parse().map_err(|error: NotATime| ParseError::custom(error))
    }
}
