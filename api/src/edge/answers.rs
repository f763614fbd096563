use bytes::Bytes;
use poem::http::{HeaderValue, Method, header};
use poem::{Body, Response};

use super::overloaded;
use crate::memory::{MemoryBudget, Room, Share};
use crate::payload::Problem;

/// An answer of at most so many bytes is small: it fits what the kernel keeps for a connection, and is not counted.
pub(crate) const SMALL: usize = 16 << 10;

/// The memory for answers whose clients read slowly, or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    /// For those to readers.
    reads: Share,
    /// For those to who changed something.
    changes: Share,
}

/// Bytes that give their room back when the connection is done with them.
struct Counted {
    bytes: Bytes,
    _room: Option<Room>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        Self { reads: budget.reads().clone(), changes: budget.bodies().clone() }
    }

    /// Counts a large answer, in the `room` that was taken for it before, if any was. One to a GET is refused where there is no
    /// room; what changed something is answered in any case.
    pub(crate) async fn hold(
        &self,
        method: &Method,
        room: Option<Room>,
        mut response: Response,
    ) -> Result<Response, Problem> {
        if !response.status().is_success() {
            return Ok(response);
        }
        // It is in memory already, in one piece.
        let bytes = response.take_body().into_bytes().await.map_err(|error| Problem::internal().because(&error))?;
        let body = if bytes.len() <= SMALL {
            Body::from_bytes(bytes)
        } else {
            let (room, is_counted) = match room {
                Some(mut room) => {
                    let is_counted = room.resize(bytes.len());
                    (Some(room), is_counted)
                }
                None if *method == Method::GET => {
                    let room = self.reads.take(bytes.len());
                    let is_counted = room.is_some();
                    (room, is_counted)
                }
                None => (self.changes.take(bytes.len().min(self.changes.left())), false),
            };
            if *method == Method::GET && !is_counted {
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
        let answers = Answers { reads: Share::of(2 * SMALL), changes: Share::of(SMALL) };
        let first = answers.hold(&Method::GET, None, large()).await.unwrap();

        assert!(answers.hold(&Method::GET, None, large()).await.is_err(), "there is no room for a second one");
        assert!(answers.hold(&Method::GET, None, Response::builder().body("small")).await.is_ok());
        assert_eq!(answers.changes.taken(), 0, "readers take nothing from others");
        let done = answers.hold(&Method::POST, None, large()).await.expect("what was done is told in any case");
        assert_eq!(answers.changes.left(), 0, "and takes what is left");
        drop((first, done));

        assert_eq!((answers.reads.taken(), answers.changes.taken()), (0, 0));
        assert!(answers.hold(&Method::GET, None, large()).await.is_ok());
    }

    #[tokio::test]
    async fn of_the_room_that_was_taken_before_an_answer_keeps_as_much_as_it_needs() {
        let answers = Answers { reads: Share::of(8 * SMALL), changes: Share::of(0) };

        let large = answers.hold(&Method::GET, answers.reads.take(8 * SMALL), large()).await.unwrap();
        assert_eq!(answers.reads.taken(), SMALL + 1);
        let small = answers.hold(&Method::GET, answers.reads.take(SMALL), Response::builder().body("small")).await;
        assert_eq!(answers.reads.taken(), SMALL + 1);
        drop((large, small));

        assert_eq!(answers.reads.taken(), 0);
    }
}
