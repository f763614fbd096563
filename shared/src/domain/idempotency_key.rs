use std::str::FromStr;

/// An `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): 1 to [`IdempotencyKey::MAX`] printable ASCII
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// The text is not an [`IdempotencyKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be 1 to {} printable ASCII characters: in double quotes (RFC 9651), or bare, without spaces, quotes and commas",
    IdempotencyKey::MAX
)]
pub struct NotAnIdempotencyKey;

impl IdempotencyKey {
    /// Maximum number of characters.
    pub const MAX: usize = 255;

    /// The key, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the value of the header: a string in quotes (RFC 9651, section 3.3.3), or the same without quotes.
impl FromStr for IdempotencyKey {
    type Err = NotAnIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, NotAnIdempotencyKey> {
        let text = text.trim_matches([' ', '\t']);
        let key = match text.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or(NotAnIdempotencyKey)?,
            None if text.contains([' ', '"', ',']) => return Err(NotAnIdempotencyKey),
            None => text.to_owned(),
        };
        let is_printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if is_printable && (1..=Self::MAX).contains(&key.len()) { Ok(Self(key)) } else { Err(NotAnIdempotencyKey) }
    }
}

/// The text up to the closing quote, which must be the last character.
fn unquoted(text: &str) -> Option<String> {
    let mut key = String::with_capacity(text.len());
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(key),
            '\\' => key.push(characters.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            character => key.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<String> {
        text.parse().ok().map(|IdempotencyKey(key)| key)
    }

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        for (text, meaning) in [
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (r#""8e03978e-40d5-43dd-bc93-6894a57f9324""#, "8e03978e-40d5-43dd-bc93-6894a57f9324"),
            (r#" "with a space" "#, "with a space"),
            (r#""a \"quote\" and a \\""#, r#"a "quote" and a \"#),
            (r"bare\backslash", r"bare\backslash"),
        ] {
            assert_eq!(key(text).as_deref(), Some(meaning), "{text}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "\"\"", "\"open", "\"a\"b", r#""\n""#, "a b", "a\"b", "a,b", "é", "\"é\"", "a\tb"] {
            assert_eq!(key(text), None, "{text}");
        }
        assert!(key(&"k".repeat(255)).is_some());
        assert_eq!(key(&"k".repeat(256)), None);
    }
}
