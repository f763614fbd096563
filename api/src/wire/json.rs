use std::marker::PhantomData;

use poem::http::StatusCode;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A JSON answer of the shape `T`, written by serde, which keeps the digits of an amount.
pub(crate) struct Json<T> {
    body: serde_json::Result<Vec<u8>>,
    shape: PhantomData<fn() -> T>,
}

impl<T: Serialize> Json<T> {
    pub(crate) fn new(answer: &T) -> Self {
        Self { body: serde_json::to_vec(answer), shape: PhantomData }
    }

    /// The entity tag, a digest of the text. It is weak (RFC 9110, section 8.8.1), since a compressed answer has other
    /// bytes.
    pub(crate) fn etag(&self) -> String {
        let digest = Sha256::digest(self.body.as_deref().unwrap_or_default());
        format!(r#"W/"{}""#, hex::encode(digest).chars().take(32).collect::<String>())
    }
}

/// Whether the values of `If-None-Match` (RFC 9110, section 13.1.2) include this tag.
pub(crate) fn names<'a>(values: impl Iterator<Item = &'a str>, etag: &str) -> bool {
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag.trim_start_matches("W/"))
}

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match self.body {
            Ok(body) => Response::builder().content_type("application/json").body(body),
            Err(error) => {
                tracing::error!(%error, "could not write an answer");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

impl<T: Type> ApiResponse for Json<T> {
    fn meta() -> MetaResponses {
        let content = vec![MetaMediaType { content_type: Self::CONTENT_TYPE, schema: Self::schema_ref() }];
        let found = MetaResponse {
            description: "The answer.",
            status: Some(200),
            status_range: None,
            content,
            headers: vec![],
        };
        MetaResponses { responses: vec![found] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
