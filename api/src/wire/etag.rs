use std::marker::PhantomData;

use poem::{IntoResponse, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A JSON answer with an entity tag, made of its text.
pub(crate) struct Tagged<T> {
    body: Vec<u8>,
    shape: PhantomData<fn() -> T>,
}

impl<T: Serialize> Tagged<T> {
    pub(crate) fn new(answer: &T) -> serde_json::Result<Self> {
        Ok(Self { body: serde_json::to_vec(answer)?, shape: PhantomData })
    }

    /// The tag: weak (RFC 9110, section 8.8.1), since a compressed answer is other bytes.
    pub(crate) fn etag(&self) -> String {
        let tag: String = hex::encode(Sha256::digest(&self.body)).chars().take(32).collect();
        format!(r#"W/"{tag}""#)
    }

    /// Whether the values of an `If-None-Match` (RFC 9110, section 13.1.2) name this answer.
    pub(crate) fn is_among<'a>(&self, values: impl Iterator<Item = &'a str>) -> bool {
        let own = self.etag();
        let opaque = |tag: &'a str| tag.trim().trim_start_matches("W/");
        let mut tags = values.flat_map(|value| value.split(','));
        tags.any(|tag| tag.trim() == "*" || opaque(tag) == own.trim_start_matches("W/"))
    }
}

impl<T: Type> Payload for Tagged<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Send> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type("application/json").body(self.body)
    }
}
