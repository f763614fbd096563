use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use poem::http::{HeaderMap, HeaderValue, StatusCode, header};
use poem::{Body, Response};

/// Bytes from which on an answer is worth compressing: a smaller one fits into one packet anyway.
const WORTH: usize = 1_400;

/// Bytes up to which it is: a larger one would hold up other answers while it is compressed, on the thread that serves them.
const WORTH_MAX: usize = 1 << 20;

/// Brotli's level: near gzip's time, for fewer bytes. The levels above take several times as long.
const BROTLI_LEVEL: u32 = 4;

/// The window of Brotli, as a power of two: 256 kB, and so the memory that it takes is small.
const BROTLI_WINDOW: u32 = 18;

/// A way to compress that clients know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    Brotli,
    Gzip,
}

/// Compresses answers, whole: what a slow reader keeps in memory is then its answer, and no compressor.
#[derive(Debug, Default)]
pub(crate) struct Compressor {
    /// What is the same for everybody is compressed once.
    pages: Mutex<HashMap<(String, Coding), Bytes>>,
}

impl Compressor {
    /// The answer in this coding, where it is worth it. `page` names an answer that never changes.
    pub(crate) async fn compress(
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
    /// The coding that an `Accept-Encoding` header (RFC 9110, section 12.5.3) likes best, where it likes one.
    pub(crate) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let named: Vec<(&str, f32)> = values.flat_map(|value| value.split(',')).map(weighed).collect();
        let weight = |names: &[&str]| {
            let of = |name: &str| named.iter().find(|(named, _)| named.eq_ignore_ascii_case(name)).map(|(_, q)| *q);
            names.iter().find_map(|name| of(name)).unwrap_or(0.0)
        };
        let (brotli, gzip) = (weight(&["br", "*"]), weight(&["gzip", "x-gzip", "*"]));
        let (best, coding) = if brotli >= gzip { (brotli, Self::Brotli) } else { (gzip, Self::Gzip) };
        // What is better liked as it is stays so.
        (best > 0.0 && best >= weight(&["identity"])).then_some(coding)
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

/// One coding and its weight.
fn weighed(coding: &str) -> (&str, f32) {
    let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
    let weight = parameters.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('='));
    (name.trim(), weight.map_or(1.0, |weight| weight.trim().parse().unwrap_or(0.0)))
}

/// Whether it is text, and nothing says that each byte counts.
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

    fn accepted(value: &str) -> Option<Coding> {
        Coding::accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())]))
    }

    #[test]
    fn the_coding_that_is_liked_best_is_chosen() {
        for value in ["br", "gzip, br", "gzip, deflate, br, zstd", "*", "gzip;q=0.5, br;q=0.8", "gzip;q=0, *"] {
            assert_eq!(accepted(value), Some(Coding::Brotli), "{value}");
        }
        for value in ["gzip", "GZIP", "gzip, deflate", "br;q=0.1, gzip", "br;q=0, *", "br; q=0.2,gzip; q=0.3"] {
            assert_eq!(accepted(value), Some(Coding::Gzip), "{value}");
        }
        for value in ["", "identity", "deflate", "gzip;q=0", "*;q=0", "gzip;q=0.5, identity", "br;q=0,gzip;q=0"] {
            assert_eq!(accepted(value), None, "{value}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), None);
    }
}
