//! What the answer of the service means for the order.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use orders_shared::domain::{Done, ErrorClass, HttpAnswer, NotDone, OrderResult, Outcome, WorkError};

use super::instead::{Instead, Word};

/// An answer of the service.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The first [`Answer::BODY_BYTES_MAX`] bytes of its body at most.
    pub(crate) body: Bytes,
    /// Whether the body is longer.
    pub(crate) is_cut: bool,
}

/// What a status means before anything else is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Success,
    Retry,
    Unavailable,
    Misconfigured,
    Rejected,
    /// No status that may stand in an answer.
    Nonsense,
}

impl Answer {
    /// Bytes of a body that are read.
    pub(crate) const BODY_BYTES_MAX: usize = OrderResult::BYTES_MAX;

    /// The outcome that the service decides on. An answer of the status `duplicate` says that it has the order already.
    pub(crate) fn outcome(&self, duplicate: Option<StatusCode>, now: SystemTime) -> Outcome {
        if duplicate == Some(self.status) {
            return Ok(Done::default());
        }
        let meaning = Meaning::of(self.status);
        if meaning == Meaning::Success {
            return self.success(now);
        }
        let error = self.error(meaning.class(self.status), format!("the service answered {}", self.status));
        let after = self.retry_after(now);
        Err(match meaning {
            Meaning::Retry => NotDone::Retry { error, after },
            Meaning::Rejected => NotDone::Rejected(error),
            _ => NotDone::Unavailable { error, after },
        })
    }

    /// Whether this is a success with a body that is too large to be kept as a result.
    pub(crate) fn loses_its_result(&self) -> bool {
        self.status.is_success() && self.is_cut
    }

    fn success(&self, now: SystemTime) -> Outcome {
        // Some libraries begin JSON with a byte order mark, which a parser may ignore (RFC 8259, section 8.1).
        let body = self.body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&self.body);
        let Some(Instead { word, reason }) = Instead::read(&String::from_utf8_lossy(body)) else {
            let text = std::str::from_utf8(body).ok().filter(|_| !self.is_cut);
            return Ok(Done { result: text.and_then(|text| OrderResult::from_json(text).ok()) });
        };
        let error = self.error(ErrorClass::ERROR, reason);
        let after = self.retry_after(now);
        Err(match word {
            Word::Retry => NotDone::Retry { error, after },
            Word::Unavailable => NotDone::Unavailable { error, after },
            Word::Rejected => NotDone::Rejected(error),
            Word::Canceled => NotDone::Canceled,
        })
    }

    fn error(&self, class: ErrorClass, message: String) -> WorkError {
        WorkError { answer: Some(HttpAnswer::new(self.status.as_u16(), &self.body)), ..WorkError::new(class, message) }
    }

    /// When the service wants to be asked again (RFC 9110, section 10.2.3), within [`AFTER_MIN`] and [`AFTER_MAX`].
    fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let after = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            value.parse().map_or(AFTER_MAX, Duration::from_secs)
        } else {
            httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
        };
        Some(after.clamp(AFTER_MIN, AFTER_MAX))
    }
}

/// The shortest time that `Retry-After` can ask for: orders that are put off by nothing at all would loop hot.
const AFTER_MIN: Duration = Duration::from_secs(1);

/// The longest. A service that asks for a day has more likely made a mistake.
const AFTER_MAX: Duration = Duration::from_hours(1);

impl Meaning {
    fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Success,
            // No redirect is followed: it could lead the orders, and the secrets in their headers, anywhere.
            300..=399 | 401 | 403 | 404 | 405 => Self::Misconfigured,
            408 | 425 | 429 | 502 | 503 | 504 => Self::Unavailable,
            409 | 500..=599 => Self::Retry,
            400..=499 => Self::Rejected,
            _ => Self::Nonsense,
        }
    }

    fn class(self, status: StatusCode) -> ErrorClass {
        match self {
            Self::Misconfigured => ErrorClass::MISCONFIGURED,
            Self::Success | Self::Nonsense => ErrorClass::BAD_ANSWER,
            _ if status.is_server_error() => ErrorClass::HTTP_5XX,
            _ => ErrorClass::HTTP_4XX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, headers: HeaderMap::new(), body: body.to_owned().into(), is_cut: false }
    }

    /// An outcome in a word, with the class of its error.
    fn in_a_word(outcome: &Outcome) -> (&'static str, &str) {
        match outcome {
            Ok(_) => ("done", ""),
            Err(NotDone::Retry { error, .. }) => ("retry", error.class.name()),
            Err(NotDone::Unavailable { error, .. }) => ("unavailable", error.class.name()),
            Err(NotDone::Rejected(error)) => ("rejected", error.class.name()),
            Err(NotDone::Canceled) => ("canceled", ""),
        }
    }

    #[test]
    fn each_status_has_its_outcome() {
        for (statuses, outcome) in [
            (&[200, 201, 202, 204, 226, 299][..], ("done", "")),
            (&[400, 410, 413, 415, 422], ("rejected", "http_4xx")),
            (&[402, 406, 407, 411, 414, 418, 421, 431, 451, 499], ("rejected", "http_4xx")),
            (&[409], ("retry", "http_4xx")),
            (&[408, 425, 429], ("unavailable", "http_4xx")),
            (&[502, 503, 504], ("unavailable", "http_5xx")),
            (&[401, 403, 404, 405, 300, 301, 302, 303, 304, 307, 308, 399], ("unavailable", "misconfigured")),
            (&[500, 501, 505, 507, 520, 599], ("retry", "http_5xx")),
            (&[101, 199, 600, 999], ("unavailable", "bad_answer")),
        ] {
            for status in statuses {
                assert_eq!(in_a_word(&answer(*status, "no").outcome(None, NOW)), outcome, "{status}");
            }
        }
    }

    #[test]
    fn an_error_has_the_status_and_the_body_of_the_answer() {
        let outcome = answer(422, "no such item").outcome(None, NOW);

        let error = outcome.unwrap_err().error().cloned().unwrap();
        assert_eq!(error.message, "the service answered 422 Unprocessable Entity");
        assert_eq!(error.answer, Some(HttpAnswer::new(422, b"no such item")));
    }

    #[test]
    fn json_in_a_success_is_the_result_and_anything_else_is_none() {
        let result = |body: &str| answer(200, body).outcome(None, NOW).unwrap().result;
        let json = |result: Option<OrderResult>| result.map(|result| result.json().to_owned());

        for body in [
            r#"{"tracking":"A-1","price":1.10}"#,
            "[1]",
            "17",
            "null",
            r#"{"outcome":"shipped"}"#,
            r#"{"outcome":{"retry":null}}"#,
            r#"["canceled"]"#,
        ] {
            assert_eq!(json(result(body)).as_deref(), Some(body));
            assert_eq!(json(result(&format!("\u{feff}{body}"))).as_deref(), Some(body));
        }
        for body in ["", "ok", "<html>", r#"{"tracking""#] {
            assert_eq!(json(result(body)), None, "{body}");
        }
    }

    #[test]
    fn a_success_that_is_too_large_is_done_without_its_result() {
        let cut = Answer { is_cut: true, ..answer(200, "17") };

        assert_eq!(cut.outcome(None, NOW), Ok(Done::default()));
        assert!(cut.loses_its_result());
        assert!(!Answer { is_cut: true, ..answer(500, "17") }.loses_its_result());
    }

    #[test]
    fn a_success_may_say_otherwise() {
        for word in ["retry", "unavailable", "rejected"] {
            let outcome =
                answer(200, &format!(r#"{{"reason":"no stock","outcome":"{word}","x":1}}"#)).outcome(None, NOW);

            assert_eq!(in_a_word(&outcome), (word, "error"));
            assert_eq!(outcome.unwrap_err().error().unwrap().message, "no stock", "{word}");
        }
        assert_eq!(answer(200, r#"{"outcome":"canceled"}"#).outcome(None, NOW), Err(NotDone::Canceled));
        for (reason, message) in [(r#","reason":{"a":1}"#, r#"{"a":1}"#), ("", "the service gave no reason")] {
            let outcome = answer(202, &format!(r#"{{"outcome":"retry"{reason}}}"#)).outcome(None, NOW);

            assert_eq!(outcome.unwrap_err().error().unwrap().message, message);
        }
        let failure = answer(500, r#"{"outcome":"rejected"}"#).outcome(None, NOW);
        assert_eq!(in_a_word(&failure), ("retry", "http_5xx"));
    }

    /// Their service said that the order is not done.
    #[test]
    fn a_success_may_say_otherwise_in_a_body_that_is_no_result() {
        let long = format!(r#"{{"outcome":"rejected","reason":"no stock","trace":"{}"#, "x".repeat(4_000));
        for (body, is_cut) in [
            (long.as_bytes(), true),
            (b"\xef\xbb\xbf{\"outcome\":\"rejected\",\"reason\":\"no stock\"}", false),
            (b"{\"sku\":\"M\xfctze\",\"outcome\":\"rejected\",\"reason\":\"no stock\"}", false),
            (b"{\"outcome\":\"rejected\",\"reason\":\"no stock\",\"sku\":\"M\xc3", true),
        ] {
            let answer = Answer { body: body.to_vec().into(), is_cut, ..answer(200, "") };

            let outcome = answer.outcome(None, NOW);

            assert_eq!(in_a_word(&outcome), ("rejected", "error"));
            assert_eq!(outcome.unwrap_err().error().unwrap().message, "no stock");
        }
        let not_text = Answer { body: vec![b'"', 0xfc, b'"'].into(), ..answer(200, "") };
        assert_eq!(not_text.outcome(None, NOW), Ok(Done::default()));
    }

    #[test]
    fn a_duplicate_is_done_where_the_operator_says_so() {
        assert_eq!(answer(409, "{}").outcome(Some(StatusCode::CONFLICT), NOW), Ok(Done::default()));
        assert!(answer(422, "{}").outcome(Some(StatusCode::CONFLICT), NOW).is_err());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_within_limits() {
        for (value, secs) in [
            ("120", Some(120)),
            ("0", Some(1)),
            ("86400", Some(3_600)),
            ("99999999999999999999999", Some(3_600)),
            ("Thu, 01 Jan 1970 00:02:00 GMT", Some(120)),
            ("Thursday, 01-Jan-70 00:02:00 GMT", Some(120)),
            ("Fri, 02 Jan 1970 00:00:00 GMT", Some(3_600)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            for status in [503, 409, 500, 429] {
                let mut answer = answer(status, "");
                answer.headers.insert(RETRY_AFTER, value.parse().unwrap());

                let Err(NotDone::Retry { after, .. } | NotDone::Unavailable { after, .. }) = answer.outcome(None, NOW)
                else {
                    panic!("{status} is done");
                };
                assert_eq!(after, secs.map(Duration::from_secs), "{status} {value}");
            }
        }
    }
}
