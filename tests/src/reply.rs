//! An answer over HTTP, read to its end.

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// Status, headers and body of an answer.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
}

impl Reply {
    pub(crate) async fn read(response: Response) -> reqwest::Result<Self> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Ok(Self { status, headers, text: response.text().await? })
    }

    /// The value of a header, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The body, which must be an RFC 9457 problem of this status.
    #[must_use]
    pub fn assert_problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        for member in ["type", "title", "detail", "request_id"] {
            assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {self:?}");
        }
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        problem
    }

    /// The pointers and codes of a problem's faults, in the order of the answer.
    #[must_use]
    pub fn faults(&self, status: u16) -> Vec<(String, String)> {
        let problem = self.assert_problem(status);
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors in {self:?}"));
        let text =
            |error: &Value, member: &str| error[member].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned();
        errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
    }

    /// The amounts of the body, digit by digit: a parser would read them as floats.
    #[must_use]
    pub fn amounts(&self) -> Vec<&str> {
        self.text
            .split("\"total_amount\":")
            .skip(1)
            .map(|rest| rest.split([',', '}']).next().unwrap_or_default().trim())
            .collect()
    }
}
