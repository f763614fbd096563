use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Fault;

/// Faults that one answer lists at most: enough to mend a body, too few to make the answer a burden.
const FAULTS_MAX: usize = 50;

/// Characters of a caller's own text that an answer repeats at most.
const ECHO_MAX: usize = 100;

/// As much of a caller's own text as an answer repeats.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(ECHO_MAX).collect()
}

/// The fields of a JSON object, each still as its text, and the faults found so far.
///
/// Reading text for text keeps every digit of a number, and reading field by field finds all faults, not the first.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// Where the object is: empty for a whole body.
    pointer: String,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// Reads the outermost object of `body`.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        let Object(members) = serde_json::from_slice(body)?;
        Ok(Self { pointer: String::new(), members, faults: Vec::new() })
    }

    /// Reads an object inside this one with `read`. Its faults are faults of this one.
    pub(crate) fn object<T>(
        &mut self,
        pointer: &str,
        value: &RawValue,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let Ok(Object(members)) = serde_json::from_str(value.get()) else {
            self.fault(pointer, "not_an_object", "must be an object");
            return None;
        };
        let faults = std::mem::take(&mut self.faults);
        let before = faults.len();
        let mut inner = Fields { pointer: pointer.to_owned(), members, faults };
        let meaning = read(&mut inner);
        self.faults = inner.finish();
        meaning.filter(|_| self.faults.len() == before)
    }

    /// Every member that is left, in their order.
    pub(crate) fn members(&mut self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        std::mem::take(&mut self.members)
    }

    /// The place of a member, with a name of the caller's own in the form that RFC 6901 asks for.
    pub(crate) fn pointer_to(&self, name: &str) -> String {
        format!("{}/{}", self.pointer, echo(name).replace('~', "~0").replace('/', "~1"))
    }

    /// Reads the field `name` with `read`, which gets the value's text. Notes a fault when it is missing.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str, &'a RawValue) -> Option<T>,
    ) -> Option<T> {
        let pointer = format!("{}/{name}", self.pointer);
        match self.take(name) {
            (Some(value), false) => return read(self, &pointer, value),
            (_, true) => self.fault(pointer, "duplicate", "appears more than once"),
            (None, false) => self.fault(pointer, "missing", "is missing"),
        }
        None
    }

    /// Reads the field `name` with `read`; `None` when it is missing, null, or has a fault, which is noted.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str, &'a RawValue) -> Option<T>,
    ) -> Option<T> {
        let pointer = format!("{}/{name}", self.pointer);
        match self.take(name) {
            (Some(value), false) if value.get() != "null" => return read(self, &pointer, value),
            (_, true) => self.fault(pointer, "duplicate", "appears more than once"),
            _ => {}
        }
        None
    }

    /// Takes the field out, if it is there, and says whether it was there again.
    fn take(&mut self, name: &str) -> (Option<&'a RawValue>, bool) {
        let mut found = self.members.extract_if(.., |(field, _)| field == name).map(|(_, value)| value);
        let value = found.next();
        (value, found.count() > 0)
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, pointer: impl Into<String>, code: &str, detail: impl fmt::Display) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(Fault { pointer: pointer.into(), code: code.to_owned(), detail: detail.to_string() });
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, pointer: &str, value: &RawValue) -> Option<String> {
        let text = serde_json::from_str(value.get()).ok();
        if text.is_none() {
            self.fault(pointer, "not_a_string", "must be a string");
        }
        text
    }

    /// An integer of 64 bits.
    pub(crate) fn integer(&mut self, pointer: &str, value: &RawValue) -> Option<i64> {
        // JSON has one kind of number: 1.0 is the integer 1.
        let text = match value.get().split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => value.get(),
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.fault(pointer, "not_an_integer", "must be an integer");
            return None;
        }
        match text.parse() {
            Ok(integer) => Some(integer),
            Err(_) if text.starts_with('-') => {
                self.fault(pointer, "too_small", "must be at least 1");
                None
            }
            Err(_) => {
                self.fault(pointer, "too_large", format_args!("must be at most {}", i64::MAX));
                None
            }
        }
    }

    /// Every fault; fields that nobody asked for are faults too.
    pub(crate) fn finish(mut self) -> Vec<Fault> {
        for (name, _) in self.members() {
            self.fault(self.pointer_to(&name), "unknown", "is not a field of this body");
        }
        self.faults
    }
}

/// An object's members, in their order.
struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(4);
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Members).map(Object)
    }
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
