use std::borrow::Cow;

use chrono::{DateTime, Datelike, Timelike, Utc};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};

/// A time of RFC 3339, from 1970 to 9999: the range of a column. Fractions of a microsecond are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) DateTime<Utc>);

/// Why a text is not a [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    #[error("must be a time of RFC 3339, such as 2030-01-31T08:00:00Z")]
    NotATime,
    #[error("must be from 1970 to 9999, and not in a leap second")]
    OutOfRange,
}

impl TimeError {
    /// The kind of fault, for programs.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::NotATime => "not_a_time",
            Self::OutOfRange => "out_of_range",
        }
    }
}

impl std::str::FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let time: DateTime<Utc> = DateTime::parse_from_rfc3339(text).map_err(|_| TimeError::NotATime)?.into();
        // The column cannot hold a leap second (…:60).
        let is_held = (1970..=9999).contains(&time.year()) && time.nanosecond() < 1_000_000_000;
        let time = time.with_nanosecond(time.nanosecond() / 1_000 * 1_000).filter(|_| is_held);
        time.map(Self).ok_or(TimeError::OutOfRange)
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
        // An unencoded `+` arrives as a space.
        value.replace(' ', "+").parse().map_err(|error: TimeError| ParseError::custom(error))
    }
}
