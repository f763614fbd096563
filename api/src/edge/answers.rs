use std::sync::Arc;

use bytes::Bytes;
use poem::http::{HeaderValue, Method, header};
use poem::{Body, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::overloaded;
use crate::payload::Problem;

/// Bytes of large answers in memory at most, over all connections. Enough for thousands of usual lists, and for seven of the
/// largest; less would turn readers away while there is room, more could take the memory that the process needs.
const BYTES_MAX: usize = 256 << 20;

/// An answer of at most so many bytes is small: it fits what the kernel keeps for a connection, and is not counted.
const SMALL: usize = 16 << 10;

/// The memory for answers whose clients read slowly, or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Answers(Arc<Semaphore>);

/// Bytes that give their room back when the connection is done with them.
struct Counted {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    pub(crate) fn new() -> Self {
        Self::with_room(BYTES_MAX)
    }

    fn with_room(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Whether there is room at all. To be asked before something is changed whose answer may be large.
    pub(crate) fn have_room(&self) -> bool {
        self.0.available_permits() >= SMALL
    }

    /// Counts a large answer. One to a GET is refused where there is no room; what changed something is answered in any case.
    pub(crate) async fn hold(&self, method: &Method, mut response: Response) -> Result<Response, Problem> {
        if !response.status().is_success() {
            return Ok(response);
        }
        // It is in memory already, in one piece.
        let bytes = response.take_body().into_bytes().await.map_err(|error| Problem::internal().because(&error))?;
        let body = if bytes.len() <= SMALL {
            Body::from_bytes(bytes)
        } else {
            let most = if *method == Method::GET { usize::MAX } else { self.0.available_permits() };
            let room = u32::try_from(bytes.len().min(most)).ok();
            let room = room.and_then(|room| Arc::clone(&self.0).try_acquire_many_owned(room).ok());
            if room.is_none() && *method == Method::GET {
                return Err(no_room());
            }
            Body::from_bytes(Bytes::from_owner(Counted { bytes, _room: room }))
        };
        response.set_body(body);
        Ok(response)
    }
}

/// There is no room for a large answer.
pub(crate) fn no_room() -> Problem {
    overloaded("Too many large answers are being read. Try again.")
}

/// The answer to a HEAD: the same with no body, whose length is told.
pub(crate) async fn without_body(mut response: Response) -> Response {
    let length = response.take_body().into_bytes().await.map_or(0, |bytes| bytes.len());
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> Response {
        Response::builder().body(vec![b'x'; SMALL + 1])
    }

    #[tokio::test]
    async fn a_large_answer_keeps_its_room_until_it_is_gone() {
        let answers = Answers::with_room(2 * SMALL);
        let first = answers.hold(&Method::GET, large()).await.unwrap();

        assert!(answers.hold(&Method::GET, large()).await.is_err(), "there is no room for a second one");
        assert!(answers.hold(&Method::GET, Response::builder().body("small")).await.is_ok());
        let done = answers.hold(&Method::POST, large()).await.expect("what was done is told in any case");
        assert!(!answers.have_room(), "and takes what is left");
        drop((first, done));

        assert!(answers.have_room());
        assert!(answers.hold(&Method::GET, large()).await.is_ok());
    }
}
