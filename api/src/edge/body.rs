use std::future::ready;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem::http::header;
use poem::{Request, RequestBody, Result};
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};
use tokio::time::timeout;

use super::limits::Limits;
use crate::memory::{Room, Share};
use crate::problems::{Kind, Problem};
use crate::wire::encoding::wrong_encoding;
use crate::wire::fields::{Fault, Fields};

/// How long a body may take to arrive. Less would fail clients on slow lines; more would let idle senders hold their
/// memory for longer.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// How many bytes of a rejected body are read and thrown away, and for how long: a client that is still sending reads
/// the answer only when it is done. If it sends more than that, the connection is closed.
const DISCARDED_MAX: usize = 16 << 20;
const DISCARDED_WITHIN: Duration = Duration::from_secs(2);

/// Bytes of each body that need no room of the budget: an ordinary order has no more. So clients that send large bodies
/// slowly never keep small ones out.
const FREE: usize = 4 * 1024;

/// A type that documents a body's shape and knows how to read its meaning.
pub(crate) trait Shape: Type {
    /// What the body means.
    type Meaning: Send;

    /// Maximum bytes of a body.
    const BYTES_MAX: usize;

    /// The meaning of a missing body; `None` if a body is required.
    const ABSENT: Option<Self::Meaning> = None;

    /// Reads the fields; `None` if it noted a fault.
    fn read(fields: &mut Fields<'_>) -> Option<Self::Meaning>;
}

/// The meaning of a JSON body of the shape `S`, with every field valid.
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
        Some(MetaRequest { description: None, content, required: S::ABSENT.is_none() })
    }

    async fn from_request(request: &'a Request, body: &mut RequestBody, _: ExtractParamOptions<()>) -> Result<Self> {
        let absent = S::ABSENT;
        if absent.is_none() {
            check_content(request)?;
        }
        let (bytes, _room) = read(request, body.take()?, S::BYTES_MAX).await?;
        if let Some(absent) = absent {
            if bytes.is_empty() {
                return Ok(Self(absent));
            }
            check_content(request)?;
        }
        Ok(Self(meaning::<S>(&bytes)?))
    }
}

fn meaning<S: Shape>(bytes: &[u8]) -> Result<S::Meaning, Problem> {
    let mut fields = Fields::parse(bytes).map_err(|error| {
        if let Some(detail) = wrong_encoding(bytes) {
            return Problem::new(Kind::MalformedBody, detail);
        }
        // JSON that is not an object has the wrong shape; any other error means that it is not JSON. The library's own
        // message would repeat a whole string that stands in place of an object.
        if error.is_data() {
            return Problem::invalid(vec![Fault::at("", "not_an_object", "must be a JSON object")]);
        }
        Problem::new(Kind::MalformedBody, format!("The body must be a JSON object: {error}."))
    })?;
    let meaning = S::read(&mut fields);
    let faults = fields.finish();
    meaning.filter(|_| faults.is_empty()).ok_or_else(|| Problem::invalid(faults))
}

/// Reads a body to its end, within its limits.
async fn read(request: &Request, body: poem::Body, bytes_max: usize) -> Result<(Vec<u8>, Option<Room>), Problem> {
    let declared = request.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    let is_too_large = declared.is_some_and(|length: u64| length > bytes_max as u64);
    if is_too_large && request.header(header::EXPECT).is_some() {
        // The client waits for permission to send the body (RFC 9110, section 10.1.1).
        return Err(too_large(bytes_max));
    }
    let limits = request.data::<Limits>().ok_or_else(Problem::internal)?;
    // Room is taken only for bytes that have arrived: a client that merely announces a large body takes none from
    // others.
    let expected = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(bytes_max).min(bytes_max);
    let arriving = timeout(BODY_WITHIN, async {
        let chunks = pin!(body.into_bytes_stream());
        if is_too_large {
            discard(chunks).await;
            return Err(too_large(bytes_max));
        }
        gather(chunks, limits.bodies(), bytes_max, expected).await
    });
    let read = limits.wait(BODY_WITHIN, arriving).await.unwrap_or_else(|_| {
        let detail = format!("The body did not arrive within {} seconds.", BODY_WITHIN.as_secs());
        Err(Problem::new(Kind::BodyTooSlow, detail))
    })?;
    limits.body_is_read();
    Ok(read)
}

/// Rejects a body where the operation takes none. A chunked body shows only at its end that it is empty, so it is read
/// to the end. One that is not empty, or does not end in time, is rejected; the rest is read too, as the client reads
/// the answer only when it is done sending.
pub(super) async fn expect_no_body(request: &mut Request, limits: &Limits) -> Result<(), Problem> {
    if request.header(header::CONTENT_LENGTH).is_some() && request.header(header::EXPECT).is_some() {
        // The client waits for permission to send the body.
        return Err(Problem::plain(Kind::UnexpectedBody));
    }
    let mut chunks = Box::pin(request.take_body().into_bytes_stream());
    let is_empty = async {
        let is_empty = chunks.by_ref().all(|chunk| ready(chunk.is_ok_and(|chunk| chunk.is_empty()))).await;
        if !is_empty {
            discard(&mut chunks).await;
        }
        is_empty
    };
    if !limits.wait(BODY_WITHIN, timeout(BODY_WITHIN, is_empty)).await.unwrap_or(false) {
        return Err(Problem::plain(Kind::UnexpectedBody));
    }
    limits.body_is_read();
    Ok(())
}

async fn gather(
    mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
    bodies: &Share,
    bytes_max: usize,
    expected: usize,
) -> Result<(Vec<u8>, Option<Room>), Problem> {
    let (mut bytes, mut room) = (Vec::new(), None);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Kind::MalformedBody, "The body did not arrive in full."))?;
        let length = bytes.len() + chunk.len();
        if length > bytes_max {
            drop((bytes, room));
            discard(chunks).await;
            return Err(too_large(bytes_max));
        }
        if length > bytes.capacity() {
            let capacity = length.max((2 * bytes.capacity()).min(expected));
            if !bodies.fit(&mut room, capacity.saturating_sub(FREE)) {
                return Err(Problem::overloaded("Too many large bodies are arriving. Try again."));
            }
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes, room))
}

/// Reads and drops the rest of a body, within limits.
async fn discard(mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin) {
    let reading = async {
        let mut left = DISCARDED_MAX;
        while let Some(Ok(chunk)) = chunks.next().await {
            let Some(rest) = left.checked_sub(chunk.len()) else { return };
            left = rest;
        }
    };
    let _ = timeout(DISCARDED_WITHIN, reading).await;
}

fn too_large(bytes_max: usize) -> Problem {
    Problem::new(Kind::BodyTooLarge, format!("The body must be at most {bytes_max} bytes."))
}

/// Checks that the body is declared as JSON; parameters of the media type have no meaning (RFC 8259). Compressed bodies
/// are not accepted: a small one may unpack to a huge one.
fn check_content(request: &Request) -> Result<(), Problem> {
    let essence = request.content_type().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::plain(Kind::UnsupportedMediaType));
    }
    let mut codings = request.headers().get_all(header::CONTENT_ENCODING).iter();
    if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "The body must not be compressed: send it without `Content-Encoding`.";
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    Ok(())
}
