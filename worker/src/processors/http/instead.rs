//! What a successful answer may say instead of being a result: `{"outcome": "retry", "reason": "…"}`.

use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Another outcome than done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Instead {
    pub(super) word: Word,
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Retry,
    Unavailable,
    Rejected,
    Canceled,
}

impl Instead {
    /// Reads it from the beginning of a body. An order that the service gave back must not be completed because what
    /// surrounds the word is cut off or damaged, so all counts that stands before the end or the first mistake.
    ///
    /// `None` if it is no object, or has no `outcome` at its top that is one of the words: then it is a result.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut said = Said::default();
        // An error comes after what was understood.
        let _ = serde_json::Deserializer::from_str(text).deserialize_map(&mut said);
        let word = said.word?;
        Some(Self { word, reason: said.reason.unwrap_or_else(|| "the service gave no reason".to_owned()) })
    }
}

impl Word {
    fn of(json: &RawValue) -> Option<Self> {
        match serde_json::from_str::<String>(json.get()).ok()?.as_str() {
            "retry" => Some(Self::Retry),
            "unavailable" => Some(Self::Unavailable),
            "rejected" => Some(Self::Rejected),
            "canceled" => Some(Self::Canceled),
            _ => None,
        }
    }
}

/// What was read so far.
#[derive(Default)]
struct Said {
    word: Option<Word>,
    reason: Option<String>,
}

impl<'de> Visitor<'de> for &mut Said {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "outcome" => self.word = Word::of(map.next_value()?),
                "reason" => {
                    // It stays so if the reason is cut off.
                    self.reason = Some("the service gave a reason that is too long".to_owned());
                    self.reason = reason(map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A reason that is no string is told as JSON.
fn reason(json: &RawValue) -> Option<String> {
    let reason = serde_json::from_str::<Option<String>>(json.get());
    reason.unwrap_or_else(|_| Some(json.get().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_word_at_the_top_of_an_object_decides() {
        use Word::*;
        for (text, word) in [
            (r#"{"outcome":"retry"}"#, Some(Retry)),
            (r#" {"a":{"outcome":"retry"},"outcome":"unavailable"} "#, Some(Unavailable)),
            (r#"{"outcome":"r\u0065jected"}"#, Some(Rejected)),
            (r#"{"outcome":"canceled","x":[1,{"y":2}]}"#, Some(Canceled)),
            // The last of two counts, as with most parsers.
            (r#"{"outcome":"retry","outcome":"rejected"}"#, Some(Rejected)),
            (r#"{"outcome":"retry","outcome":"shipped"}"#, None),
            // Cut off or damaged behind the word, and before it.
            (r#"{"outcome":"rejected"#, None),
            (r#"{"outcome":"rejected""#, Some(Rejected)),
            (r#"{"outcome":"rejected","trace":"at "#, Some(Rejected)),
            (r#"{"outcome":"rejected","items":[{"#, Some(Rejected)),
            (r#"{"outcome":"rejected",}"#, Some(Rejected)),
            (r#"{"trace":"at "#, None),
            // Other types.
            (r#"{"outcome":{"retry":null}}"#, None),
            (r#"{"outcome":["retry"]}"#, None),
            (r#"{"outcome":null}"#, None),
            (r#"{"outcome":"Retry"}"#, None),
            (r#"{"outcome":"shipped"}"#, None),
            (r#"{"result":{"outcome":"retry"}}"#, None),
            (r#"["canceled"]"#, None),
            (r#"["retry","no stock"]"#, None),
            (r#"[{"outcome":"retry"}]"#, None),
            (r#""retry""#, None),
            ("retry", None),
            ("", None),
        ] {
            assert_eq!(Instead::read(text).map(|instead| instead.word), word, "{text}");
        }
    }

    #[test]
    fn a_reason_is_told_as_far_as_there_is_one() {
        for (rest, reason) in [
            ("}", "the service gave no reason"),
            (r#","reason":null}"#, "the service gave no reason"),
            (r#","reason":"no stock"}"#, "no stock"),
            (r#","reason":"no stock","trace":"at "#, "no stock"),
            (r#","reason":"no sto"#, "the service gave a reason that is too long"),
            (r#","reason":{"a": 1}}"#, r#"{"a": 1}"#),
            (r#","reason":"\ud800"}"#, r#""\ud800""#),
        ] {
            let text = format!(r#"{{"outcome":"retry"{rest}"#);

            assert_eq!(Instead::read(&text).unwrap().reason, reason, "{text}");
        }
        assert_eq!(Instead::read(r#"{"reason":"no stock","outcome":"retry"}"#).unwrap().reason, "no stock");
    }
}
