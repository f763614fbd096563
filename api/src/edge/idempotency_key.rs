use orders_shared::domain::IdempotencyKey;
use poem::http::HeaderMap;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaParamIn, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::problems::{Kind, Problem};

/// The `Idempotency-Key` of a request, if it has one (draft-ietf-httpapi-idempotency-key-header).
#[derive(Debug)]
pub(crate) struct KeyHeader(pub(crate) Option<IdempotencyKey>);

const NAME: &str = "Idempotency-Key";

impl<'a> ApiExtractor<'a> for KeyHeader {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];

    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(1),
            // Between quotes, each character may need a backslash.
            max_length: Some(2 * IdempotencyKey::MAX + 2),
            ..MetaSchema::new("string")
        })))
    }

    async fn from_request(request: &'a Request, _: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        Ok(read(request.headers()).map(Self)?)
    }
}

fn read(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let invalid =
        |why: &dyn std::fmt::Display| Problem::new(Kind::IdempotencyKeyInvalid, format!("The header `{NAME}` {why}."));
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(invalid(&"must appear once"));
    }
    let text = value.to_str().unwrap_or_default();
    text.parse().map(Some).map_err(|error: orders_shared::domain::NotAnIdempotencyKey| invalid(&error))
}
