//! How one attempt at an order ends: the one type that every way of processing comes down to.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Claim, NextStep};

/// How an attempt ended.
pub type Outcome = Result<Done, NotDone>;

/// The order is done for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What the work produced, if anything is to be kept.
    pub result: Option<OrderResult>,
}

impl Done {
    /// Done, with this result, such as a tracking number. Fails if it is no JSON, or larger than
    /// [`OrderResult::BYTES_MAX`].
    pub fn with(result: &impl Serialize) -> Result<Self, OrderResultError> {
        OrderResult::of(result).map(|result| Self { result: Some(result) })
    }
}

/// Why an attempt did not complete its order, and what follows.
///
/// Any [`Error`] becomes [`NotDone::Retry`], so `?` works on whatever the work calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotDone {
    /// Another attempt may succeed.
    Retry {
        /// What went wrong.
        error: WorkError,
        /// When to try again, within 30 days; `None` leaves it to the retry policy.
        after: Option<Duration>,
    },
    /// What the work depends on is away. The attempt is not used up.
    Unavailable {
        /// What went wrong.
        error: WorkError,
        /// When to try again, from 1 s to 30 days; `None` means 1 s, doubling to 5 min, which is also the least from the
        /// second time in a row on.
        after: Option<Duration>,
    },
    /// No attempt can succeed: the order is FAILED at once.
    Rejected(WorkError),
    /// Nobody wants the order any more: it becomes CANCELED.
    Canceled,
}

impl NotDone {
    /// Another attempt may succeed.
    #[must_use]
    pub fn retry(error: impl Into<WorkError>) -> Self {
        Self::Retry { error: error.into(), after: None }
    }

    /// What the work depends on is away.
    #[must_use]
    pub fn unavailable(error: impl Into<WorkError>) -> Self {
        Self::Unavailable { error: error.into(), after: None }
    }

    /// No attempt can succeed.
    #[must_use]
    pub fn rejected(error: impl Into<WorkError>) -> Self {
        Self::Rejected(error.into())
    }

    /// What went wrong; `None` if the order was canceled.
    #[must_use]
    pub fn error(&self) -> Option<&WorkError> {
        match self {
            Self::Retry { error, .. } | Self::Unavailable { error, .. } | Self::Rejected(error) => Some(error),
            Self::Canceled => None,
        }
    }
}

impl<E: Error> From<E> for NotDone {
    /// Another attempt may succeed. The text is that of the error and of its sources.
    fn from(error: E) -> Self {
        Self::retry(with_causes(&error))
    }
}

/// The text of an error and of its causes.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    message
}

/// What went wrong in an attempt. It is stored with the order, and shown to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkError {
    /// The kind of error, for programs.
    pub class: ErrorClass,
    /// What went wrong, for people; the first 1,000 characters are kept.
    pub message: String,
    /// The answer of a service over HTTP that says so.
    pub answer: Option<HttpAnswer>,
}

impl WorkError {
    /// An error of this class.
    #[must_use]
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), answer: None }
    }
}

impl From<String> for WorkError {
    /// An error of the class `error`.
    fn from(message: String) -> Self {
        Self::new(ErrorClass::ERROR, message)
    }
}

impl From<&str> for WorkError {
    /// An error of the class `error`.
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The kind of an error: a name of 1 to 32 lower-case letters, digits and underscores.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ErrorClass(Cow<'static, str>);

impl ErrorClass {
    /// The work says no more.
    pub const ERROR: Self = Self(Cow::Borrowed("error"));
    /// It took longer than an attempt may.
    pub const TIMEOUT: Self = Self(Cow::Borrowed("timeout"));
    /// The code of the work panicked.
    pub const PANIC: Self = Self(Cow::Borrowed("panic"));
    /// A service could not be connected to, or the connection broke.
    pub const CONNECT: Self = Self(Cow::Borrowed("connect"));
    /// The name of a service could not be resolved.
    pub const DNS: Self = Self(Cow::Borrowed("dns"));
    /// No secure connection could be made to a service.
    pub const TLS: Self = Self(Cow::Borrowed("tls"));
    /// A service rejected the request.
    pub const HTTP_4XX: Self = Self(Cow::Borrowed("http_4xx"));
    /// A service failed, or was too busy.
    pub const HTTP_5XX: Self = Self(Cow::Borrowed("http_5xx"));
    /// A service answered with something that is no answer.
    pub const BAD_ANSWER: Self = Self(Cow::Borrowed("bad_answer"));
    /// It cost several workers their lives.
    pub const POISON: Self = Self(Cow::Borrowed("poison"));
    /// A setting has to be corrected, such as an address or a token.
    pub const MISCONFIGURED: Self = Self(Cow::Borrowed("misconfigured"));
    /// A service rejects too many orders, so that its own fault is likelier than theirs.
    pub const REJECTING: Self = Self(Cow::Borrowed("rejecting"));

    /// Length of the longest name.
    pub const LEN_MAX: usize = 32;

    /// A class of this name; `None` if it breaks the rules.
    #[must_use]
    pub fn new(name: impl Into<Cow<'static, str>>) -> Option<Self> {
        let name = name.into();
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        ((1..=Self::LEN_MAX).contains(&name.len()) && name.bytes().all(is_valid)).then_some(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The answer of a service over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Its status, 100 to 999.
    pub status: u16,
    /// The beginning of its body, as text.
    body: String,
}

impl HttpAnswer {
    /// Bytes of a body that are kept.
    pub const BODY_BYTES_MAX: usize = 1_024;

    /// An answer with this status and body, of which the first [`HttpAnswer::BODY_BYTES_MAX`] are kept.
    #[must_use]
    pub fn new(status: u16, body: &[u8]) -> Self {
        let kept = body.get(..Self::BODY_BYTES_MAX).unwrap_or(body);
        let mut body = String::from_utf8_lossy(kept).into_owned();
        // A replaced byte has three.
        body.truncate(body.floor_char_boundary(Self::BODY_BYTES_MAX));
        Self { status, body }
    }

    /// The beginning of its body.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// What the work on an order produced: a JSON text of at most [`OrderResult::BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderResult(String);

/// Why something cannot be the result of an order.
#[derive(Debug, thiserror::Error)]
pub enum OrderResultError {
    /// It is no JSON (RFC 8259).
    #[error("a result must be JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is too large.
    #[error("a result has at most {max} bytes, and this one has {bytes}", max = OrderResult::BYTES_MAX)]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
}

impl OrderResult {
    /// Bytes of the largest result.
    pub const BYTES_MAX: usize = 4_096;

    /// This value as JSON.
    pub fn of(value: &impl Serialize) -> Result<Self, OrderResultError> {
        Self::within(serde_json::to_string(value)?)
    }

    /// A result that is JSON already, kept as it is.
    pub fn from_json(text: &str) -> Result<Self, OrderResultError> {
        let json: &RawValue = serde_json::from_str(text)?;
        Self::within(json.get().to_owned())
    }

    fn within(json: String) -> Result<Self, OrderResultError> {
        if json.len() > Self::BYTES_MAX {
            Err(OrderResultError::TooLarge { bytes: json.len() })
        } else {
            Ok(Self(json))
        }
    }

    /// A result that was checked before it was stored.
    pub(crate) fn stored(json: String) -> Self {
        Self(json)
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }
}

/// A claimed order that is done.
#[derive(Debug)]
#[must_use = "a completed order must be stored"]
pub struct Completion {
    /// The claim under which it was done.
    pub claim: Claim,
    /// What the work produced.
    pub result: Option<OrderResult>,
}

/// An attempt that did not complete its order, and what follows.
#[derive(Debug)]
#[must_use = "an attempt must be stored"]
pub struct UnfinishedAttempt {
    /// The claim under which it was made.
    pub claim: Claim,
    /// What went wrong; `None` if the order was canceled.
    pub error: Option<WorkError>,
    /// How long it took.
    pub duration: Duration,
    /// What follows.
    pub next_step: NextStep,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_json_of_at_most_its_bytes_and_is_kept_as_it_is() {
        let exact = format!("\"{}\"", "x".repeat(OrderResult::BYTES_MAX - 2));
        let odd = r#" {"b": 1.10, "a": 12345678901234567890123 } "#;

        assert_eq!(OrderResult::from_json(odd).unwrap().json(), odd.trim());
        assert_eq!(OrderResult::from_json(&exact).unwrap().json(), exact);
        assert!(matches!(
            OrderResult::from_json(&format!("[{exact}]")),
            Err(OrderResultError::TooLarge { bytes: 4_098 })
        ));
        for text in ["", "{", "{} {}", "nul"] {
            assert!(matches!(OrderResult::from_json(text), Err(OrderResultError::NotJson(_))), "{text}");
        }
    }

    #[test]
    fn a_class_is_a_short_lower_case_name() {
        for (name, is_class) in [("http_5xx", true), (&"a".repeat(32), true), ("", false), ("A", false), ("a b", false)]
        {
            assert_eq!(ErrorClass::new(name.to_owned()).is_some(), is_class, "{name}");
        }
        assert!(ErrorClass::new("a".repeat(33)).is_none());
    }

    #[test]
    fn an_answer_keeps_its_first_bytes_as_text() {
        assert_eq!(HttpAnswer::new(500, b"busy").body(), "busy");
        assert_eq!(HttpAnswer::new(500, &[b'a'; 2_000]).body().len(), 1_024);
        for bytes in ["é".repeat(600).into_bytes(), vec![0xff; 2_000]] {
            let body = HttpAnswer::new(500, &bytes).body().to_owned();

            assert!((1_021..=1_024).contains(&body.len()), "{}", body.len());
        }
    }

    #[test]
    fn any_error_is_a_retry_that_names_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the label printer failed")]
        struct Outer(#[source] fmt::Error);
        let work = || -> Outcome { Err(Outer(fmt::Error))? };

        let message = format!("the label printer failed: {}", fmt::Error);
        assert_eq!(work(), Err(NotDone::retry(message)));
    }
}
