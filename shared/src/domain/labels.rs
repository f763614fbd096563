//! Labels that a client may attach to an order: an id of its own, and notes.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// The client's own id of an order: 1 to [`ExternalId::MAX`] characters, without control characters, and without a
/// space at either end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ExternalId(String);

/// Why a text is not an [`ExternalId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalIdError {
    /// It is empty.
    #[error("must have at least 1 character")]
    Empty,
    /// More than [`ExternalId::MAX`].
    #[error("must have at most {} characters", ExternalId::MAX)]
    TooLong,
    /// Two ids that look alike must not differ.
    #[error("must have no control character, and no space at either end")]
    BadCharacter,
}

impl ExternalIdError {
    /// The kind of fault, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "too_short",
            Self::TooLong => "too_long",
            Self::BadCharacter => "bad_character",
        }
    }
}

impl ExternalId {
    /// Maximum number of characters: that of the column.
    pub const MAX: usize = 64;

    /// Checks the text.
    pub fn new(text: String) -> Result<Self, ExternalIdError> {
        if text.is_empty() {
            Err(ExternalIdError::Empty)
        } else if text.chars().nth(Self::MAX).is_some() {
            Err(ExternalIdError::TooLong)
        } else if text.trim() != text || text.chars().any(char::is_control) {
            Err(ExternalIdError::BadCharacter)
        } else {
            Ok(Self(text))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The client's own notes on an order: at most [`Metadata::MAX`] pairs of strings, and [`Metadata::BYTES_MAX`] in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    pairs: BTreeMap<String, String>,
    /// Bytes of all pairs, as [`pair_bytes`] counts them.
    pairs_bytes: usize,
}

/// Why [`Metadata`] does not take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// More than [`Metadata::MAX`] pairs.
    #[error("must have at most {} entries", Metadata::MAX)]
    TooMany,
    /// The key is empty.
    #[error("must have a key of at least 1 character")]
    EmptyKey,
    /// The key has more than [`Metadata::KEY_MAX`] characters.
    #[error("must have a key of at most {} characters", Metadata::KEY_MAX)]
    LongKey,
    /// The value has more than [`Metadata::VALUE_MAX`] characters.
    #[error("must have at most {} characters", Metadata::VALUE_MAX)]
    LongValue,
    /// There is already an entry with this key.
    #[error("appears more than once")]
    Duplicate,
    /// All pairs together have more than [`Metadata::BYTES_MAX`] bytes.
    #[error("must have at most {} bytes as JSON", Metadata::BYTES_MAX)]
    TooLarge,
}

impl MetadataError {
    /// The kind of fault, for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::EmptyKey => "too_short",
            Self::LongKey | Self::LongValue => "too_long",
            Self::Duplicate => "duplicate",
            Self::TooLarge => "too_large",
        }
    }
}

impl Metadata {
    /// Maximum number of pairs.
    pub const MAX: usize = 50;

    /// Maximum bytes, as JSON without spaces. It bounds a row, and so every page and every answer: all pairs with the
    /// longest texts would take 108 kB, or three times as much with escapes. A lower limit would reject notes that are
    /// in use; with a higher one, a page would hold fewer orders.
    pub const BYTES_MAX: usize = 16 << 10;

    /// Maximum characters of a key.
    pub const KEY_MAX: usize = 40;

    /// Maximum characters of a value, which may be empty.
    pub const VALUE_MAX: usize = 500;

    /// Adds one pair, unless it breaks a limit or its key exists already.
    pub fn insert(&mut self, key: String, value: String) -> Result<(), MetadataError> {
        if key.is_empty() {
            Err(MetadataError::EmptyKey)
        } else if key.chars().nth(Self::KEY_MAX).is_some() {
            Err(MetadataError::LongKey)
        } else if value.chars().nth(Self::VALUE_MAX).is_some() {
            Err(MetadataError::LongValue)
        } else if self.pairs.contains_key(&key) {
            Err(MetadataError::Duplicate)
        } else if self.pairs.len() == Self::MAX {
            Err(MetadataError::TooMany)
        } else if OBJECT_BYTES + self.pairs_bytes + pair_bytes(&key, &value) > Self::BYTES_MAX {
            Err(MetadataError::TooLarge)
        } else {
            self.pairs_bytes += pair_bytes(&key, &value);
            self.pairs.insert(key, value);
            Ok(())
        }
    }

    /// The notes as read from an order's row.
    pub(crate) fn stored(pairs: BTreeMap<String, String>) -> Self {
        let pairs_bytes = pairs.iter().map(|(key, value)| pair_bytes(key, value)).sum();
        Self { pairs, pairs_bytes }
    }

    /// The pairs, sorted by key.
    #[must_use]
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.pairs
    }

    /// Takes the pairs out.
    #[must_use]
    pub fn into_pairs(self) -> BTreeMap<String, String> {
        self.pairs
    }

    /// Bytes of the pairs as JSON without spaces.
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        OBJECT_BYTES + self.pairs_bytes
    }
}

/// A JSON object of its pairs.
impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.pairs.serialize(serializer)
    }
}

/// The braces of an object, minus the comma that the last pair does not have.
const OBJECT_BYTES: usize = 1;

/// Bytes of a pair in a JSON object: both texts in quotes, a colon and a comma.
fn pair_bytes(key: &str, value: &str) -> usize {
    text_bytes(key) + text_bytes(value) + 6
}

/// Bytes of a text in JSON, with its escapes.
fn text_bytes(text: &str) -> usize {
    let escape = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x8 | 0xc => 1,
        byte if byte < b' ' => 5,
        _ => 0,
    };
    text.len() + text.bytes().map(escape).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_1_to_64_plain_characters() {
        let number = |text: &str| ExternalId::new(text.to_owned()).map(|id| id.as_str().to_owned());

        for text in ["A", "2026/11-0815", "ä ö", &"€".repeat(64)] {
            assert_eq!(number(text).as_deref(), Ok(text));
        }
        assert_eq!(number(""), Err(ExternalIdError::Empty));
        assert_eq!(number(&"a".repeat(65)), Err(ExternalIdError::TooLong));
        for text in [" a", "a ", "a\u{a0}", "a\nb", "\0"] {
            assert_eq!(number(text), Err(ExternalIdError::BadCharacter), "{text:?}");
        }
    }

    #[test]
    fn metadata_ends_at_its_limits() {
        let mut metadata = Metadata::default();
        let mut insert = |key: &str, value: &str| metadata.insert(key.to_owned(), value.to_owned());

        assert_eq!(insert("", "x"), Err(MetadataError::EmptyKey));
        assert_eq!(insert(&"k".repeat(41), ""), Err(MetadataError::LongKey));
        assert_eq!(insert("k", &"ü".repeat(501)), Err(MetadataError::LongValue));
        for entry in 0..50 {
            assert_eq!(insert(&format!("{entry:€>40}"), &"ü".repeat(90)), Ok(()));
        }
        assert_eq!(insert(&format!("{:€>40}", 0), ""), Err(MetadataError::Duplicate));
        assert_eq!(insert("one more", ""), Err(MetadataError::TooMany));
    }

    #[test]
    fn metadata_ends_at_its_bytes_however_they_are_spread() {
        for text in ["a", "ü", "\u{1f600}", "\"", "\\", "\n", "\u{1}", "\u{7f}"] {
            let mut metadata = Metadata::default();
            let mut refused = None;
            for entry in 0..50 {
                refused = refused.or(metadata.insert(entry.to_string(), text.repeat(500)).err());
            }

            let written = serde_json::to_string(metadata.pairs()).unwrap();
            assert_eq!(metadata.json_bytes(), written.len(), "{text:?}");
            let next = serde_json::to_string(&text.repeat(500)).unwrap().len() + 6;
            assert_eq!(refused, Some(MetadataError::TooLarge), "{text:?}");
            assert!((Metadata::BYTES_MAX - next..=Metadata::BYTES_MAX).contains(&written.len()), "{text:?}");
        }
    }

    #[test]
    fn metadata_of_exactly_its_bytes_is_taken() {
        let mut metadata = Metadata::default();
        for entry in 10..42 {
            metadata.insert(entry.to_string(), "a".repeat(500)).unwrap();
        }
        let left = Metadata::BYTES_MAX - metadata.json_bytes() - pair_bytes("z", "");

        assert_eq!(metadata.clone().insert("z".to_owned(), "a".repeat(left + 1)), Err(MetadataError::TooLarge));
        assert_eq!(metadata.insert("z".to_owned(), "a".repeat(left)), Ok(()));
        assert_eq!(metadata.json_bytes(), Metadata::BYTES_MAX);
    }
}
