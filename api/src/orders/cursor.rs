//! Cursors: positions in a list, as clients hold them. They are opaque, and valid only for the list that they were made
//! for.
//!
//! In hexadecimal: microseconds (16 digits), an id (32), for an order's story the part of the event (1), and a checksum
//! (16). The checksum covers the list's filters too, so that a cursor that was changed, or is used with other filters,
//! is noticed. It protects no secret: a cursor gives access to nothing.

use std::fmt;

use chrono::{DateTime, Datelike, Utc};
use orders_shared::domain::{ExternalId, OrderFilter, OrderId, OrderStatus, PageKey, StoryKey, StoryPart, UserId};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::problems::{Kind, Problem};

/// Number of digits of a time and an id.
const POSITION: usize = 48;

/// The parts of an event: each one's digit is its index.
const PARTS: [StoryPart; 4] = [StoryPart::Placed, StoryPart::Claim, StoryPart::Event, StoryPart::LastClaim];

/// A position in a list of orders.
#[must_use]
pub fn encode(key: PageKey, filter: &OrderFilter) -> String {
    let position = format!("{:016x}{}", key.created_at.timestamp_micros(), key.order_id.uuid().simple());
    let check = check(&list(&position, filter));
    format!("{position}{check}")
}

/// The position of a cursor. Fails if this server did not make the cursor for this list.
pub(crate) fn decode(cursor: &str, filter: &OrderFilter) -> Result<PageKey, Problem> {
    let read = || {
        let (position, given) = cursor.split_at_checked(POSITION)?;
        let (created_at, order_id) = time_and_id(position)?;
        let key = PageKey { created_at, order_id: order_id.into() };
        (given == check(&list(position, filter))).then_some(key)
    };
    read().ok_or_else(wrong_cursor)
}

/// A position in an order's story.
pub(crate) fn encode_story(key: StoryKey, order_id: OrderId) -> String {
    let part = PARTS.iter().position(|part| *part == key.part).unwrap_or_default();
    let position = format!("{:016x}{}{part}", key.at.timestamp_micros(), key.event_id.simple());
    let check = check(&(&position, order_id.uuid()));
    format!("{position}{check}")
}

/// The position of a cursor. Fails if this server did not make the cursor for this order's story.
pub(crate) fn decode_story(cursor: &str, order_id: OrderId) -> Result<StoryKey, Problem> {
    let read = || {
        let (position, given) = cursor.split_at_checked(POSITION + 1)?;
        let (time_and_id, part) = position.split_at_checked(POSITION)?;
        let (at, event_id) = self::time_and_id(time_and_id)?;
        let key = StoryKey { at, event_id, part: *PARTS.get(part.parse::<usize>().ok()?)? };
        (given == check(&(position, order_id.uuid()))).then_some(key)
    };
    read().ok_or_else(wrong_cursor)
}

fn time_and_id(position: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let (micros, id) = position.split_at_checked(16)?;
    let at = DateTime::from_timestamp_micros(i64::from_str_radix(micros, 16).ok()?)?;
    // A column holds no other time, and anybody can compute a valid checksum.
    let at = Some(at).filter(|time| (1970..=9999).contains(&time.year()))?;
    Some((at, Uuid::try_parse(id).ok()?))
}

/// The input of the checksum: a position and the filters of its list.
fn list(position: &str, filter: &OrderFilter) -> impl fmt::Debug {
    let OrderFilter { status, user_id, external_id, created_after, created_before } = filter;
    let micros = |time: &Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros());
    (
        position.to_owned(),
        status.map(OrderStatus::name),
        user_id.map(UserId::get),
        micros(created_after),
        micros(created_before),
        external_id.as_ref().map(ExternalId::as_str),
    )
}

fn check(of: &impl fmt::Debug) -> String {
    let digest = Sha256::digest(format!("{of:?}"));
    hex::encode(digest).chars().take(16).collect()
}

fn wrong_cursor() -> Problem {
    Problem::plain(Kind::InvalidCursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_a_story_leads_back_to_its_position_in_its_own_story_only() {
        let (order_id, at) = (OrderId::new(), DateTime::from_timestamp_micros(1_763_890_000_123_456).unwrap());
        for part in PARTS {
            let key = StoryKey { at, event_id: Uuid::now_v7(), part };
            let cursor = encode_story(key, order_id);

            assert_eq!(decode_story(&cursor, order_id).unwrap(), key);
            assert!(decode_story(&cursor, OrderId::new()).is_err());
            for (index, digit) in cursor.bytes().enumerate() {
                let mut changed = cursor.clone();
                changed.replace_range(index..=index, if digit == b'0' { "1" } else { "0" });
                assert!(decode_story(&changed, order_id).is_err(), "{changed}");
            }
        }
        let of_a_list = encode(PageKey { created_at: at, order_id }, &OrderFilter::default());
        assert!(decode_story(&of_a_list, order_id).is_err());
    }
}
