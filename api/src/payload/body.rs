use poem::error::ReadBodyError;
use poem::http::StatusCode;
use poem::{Request, RequestBody, Result};
use poem_openapi::error::ContentTypeError;
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::{Fields, Problem};

/// Bytes of a body at most; the largest order takes some 21 kB.
const BODY_MAX: usize = 64 * 1024;

/// A type that documents a body's shape and knows how to read its meaning.
pub(crate) trait Shape: Type {
    /// What the body means.
    type Meaning: Send;

    /// Reads the fields; `None` when it noted a fault.
    fn read(fields: &mut Fields<'_>) -> Option<Self::Meaning>;
}

/// The meaning of a JSON body of the shape `S`, valid in every field.
pub(crate) struct Body<S: Shape>(pub(crate) S::Meaning);

impl<'a, S: Shape> ApiExtractor<'a> for Body<S> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        S::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let content = vec![MetaMediaType { content_type: "application/json", schema: S::schema_ref() }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        check_content_type(request)?;
        let bytes = body.take()?.into_bytes_limit(BODY_MAX).await.map_err(|error| match error {
            ReadBodyError::PayloadTooLarge => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The body must be at most {BODY_MAX} bytes."))
                    .into()
            }
            other => poem::Error::from(other),
        })?;
        let mut fields = Fields::parse(&bytes).map_err(|error| {
            // Text that is JSON but no object has the wrong shape; all else is no JSON.
            let status = if error.is_data() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
            Problem::new(status, format!("The body must be a JSON object: {error}."))
        })?;
        let meaning = S::read(&mut fields);
        match (meaning, fields.finish()) {
            (Some(meaning), faults) if faults.is_empty() => Ok(Self(meaning)),
            (_, faults) => Err(Problem::invalid(faults).into()),
        }
    }
}

/// RFC 8259: JSON is `application/json`, in UTF-8; parameters mean nothing.
fn check_content_type(request: &Request) -> Result<(), ContentTypeError> {
    let content_type = request.content_type().ok_or(ContentTypeError::ExpectContentType)?;
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    if is_json { Ok(()) } else { Err(ContentTypeError::NotSupported { content_type: content_type.to_owned() }) }
}
