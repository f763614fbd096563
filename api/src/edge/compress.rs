use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, Response};

use super::negotiate::Preferences;

/// Minimum bytes of an answer that is compressed: a smaller one fits into one packet anyway.
const WORTH: usize = 1_400;

/// Maximum bytes of an answer that is compressed: a larger one would block its thread, and other answers, for too long.
const WORTH_MAX: usize = 1 << 20;

/// Brotli's level: about as fast as gzip, with fewer bytes. Higher levels take several times as long.
const BROTLI_LEVEL: u32 = 4;

/// Brotli's window, as a power of two: 256 KiB, so that it takes little memory.
const BROTLI_WINDOW: u32 = 18;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

/// Compresses whole answers, so that a slow reader keeps only its answer in memory and no compressor.
#[derive(Debug, Default)]
pub(super) struct Compressor {
    /// Pages, which are the same for everybody and compressed only once.
    pages: Mutex<HashMap<(String, Coding), Bytes>>,
}

impl Compressor {
    /// The answer in this coding, if compressing it is worthwhile. `page` names an answer that never changes.
    pub(super) async fn compress(
        &self,
        coding: Option<Coding>,
        mut response: Response,
        page: Option<String>,
    ) -> Response {
        if !is_compressible(&response) {
            return response;
        }
        let Ok(bytes) = response.take_body().into_bytes().await else { return response };
        if bytes.len() < WORTH {
            response.set_body(Body::from_bytes(bytes));
            return response;
        }
        response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
        let coding = coding.filter(|_| page.is_some() || bytes.len() <= WORTH_MAX);
        let coded = coding.and_then(|coding| Some((coding, self.coded(coding, &bytes, page)?)));
        if let Some((coding, coded)) = coded {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            response.set_body(Body::from_bytes(coded));
        } else {
            response.set_body(Body::from_bytes(bytes));
        }
        response
    }

    fn coded(&self, coding: Coding, bytes: &Bytes, page: Option<String>) -> Option<Bytes> {
        let Some(page) = page else { return coding.encode(bytes).ok() };
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (page, coding);
        if let Some(known) = pages.get(&key) {
            return Some(known.clone());
        }
        let coded = coding.encode(bytes).ok()?;
        pages.insert(key, coded.clone());
        Some(coded)
    }
}

impl Coding {
    /// The coding that the client prefers; `None` if it accepts neither, or prefers an answer without one.
    pub(super) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let preferences = Preferences::of_codings(headers);
        let (brotli, gzip) = (preferences.first(&["br", "*"]), preferences.first(&["gzip", "x-gzip", "*"]));
        let (best, coding) = if brotli >= gzip { (brotli, Self::Brotli) } else { (gzip, Self::Gzip) };
        (best > 0.0 && best >= preferences.first(&["identity"])).then_some(coding)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn encode(self, bytes: &[u8]) -> io::Result<Bytes> {
        let coded = Vec::with_capacity(bytes.len() / 4);
        match self {
            Self::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(coded, 4096, BROTLI_LEVEL, BROTLI_WINDOW);
                encoder.write_all(bytes)?;
                Ok(encoder.into_inner().into())
            }
            Self::Gzip => {
                let mut encoder = GzEncoder::new(coded, Compression::fast());
                encoder.write_all(bytes)?;
                Ok(encoder.finish()?.into())
            }
        }
    }
}

/// Whether it is text whose bytes may change: a strong `ETag` says that they may not.
fn is_compressible(response: &Response) -> bool {
    let headers = response.headers();
    let is_strong = headers.get(header::ETAG).is_some_and(|tag| !tag.as_bytes().starts_with(b"W/"));
    let is_text =
        response.content_type().is_some_and(|it| it.starts_with("application/json") || it.starts_with("text/"));
    matches!(response.status(), StatusCode::OK | StatusCode::CREATED)
        && is_text
        && !is_strong
        && !headers.contains_key(header::CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_coding_is_chosen() {
        let (brotli, gzip) = (Some(Coding::Brotli), Some(Coding::Gzip));
        for (accepted, chosen) in [
            (&["br", "gzip, br", "gzip, deflate, br, zstd", "*", "gzip;q=0.5, br;q=0.8", "gzip;q=0, *"][..], brotli),
            (&["gzip", "GZIP", "gzip, deflate", "br;q=0.1, gzip", "br;q=0, *", "br; q=0.2,gzip; q=0.3"], gzip),
            (&["", "identity", "deflate", "gzip;q=0", "*;q=0", "gzip;q=0.5, identity", "br;q=0,gzip;q=0"], None),
        ] {
            for value in accepted {
                let header = (header::ACCEPT_ENCODING, HeaderValue::from_static(value));

                assert_eq!(Coding::accepted(&HeaderMap::from_iter([header])), chosen, "{value}");
            }
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), None);
    }
}
