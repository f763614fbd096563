use std::borrow::Cow;
use std::fmt;

use poem_openapi::Object;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Maximum number of faults in an answer: enough to fix a body, but too few to make a huge answer.
const FAULTS_MAX: usize = 50;

/// Bytes of faults after which an answer lists no more, so that it is small and needs no room, however long the names
/// in it.
const FAULTS_BYTES_MAX: usize = 8 << 10;

/// Members of an object that are read. No valid body has as many, so one that has more is rejected for its unknown
/// members; keeping them all would take many times the body's own bytes.
const MEMBERS_MAX: usize = 1_000;

/// Maximum characters of a client's text that an answer repeats.
const ECHO_MAX: usize = 100;

/// The beginning of a client's text, as far as an answer repeats it.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(ECHO_MAX).collect()
}

/// One fault of a body.
#[derive(Clone, Debug, PartialEq, Eq, Object, Serialize)]
pub(crate) struct Fault {
    /// Where it is in the body, as a JSON Pointer (RFC 6901): `/item_ids/1`.
    pub(crate) pointer: String,
    /// The kind of fault, for programs.
    pub(crate) code: String,
    /// The fault, for people.
    pub(crate) detail: String,
}

impl Fault {
    /// A fault at a JSON Pointer; the empty pointer means the whole body.
    pub(crate) fn at(pointer: impl fmt::Display, code: &str, detail: impl fmt::Display) -> Self {
        Self { pointer: pointer.to_string(), code: code.to_owned(), detail: detail.to_string() }
    }
}

/// Where a value is in a body. It is written as a JSON Pointer (RFC 6901) only when there is a fault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pointer<'a> {
    Body,
    Member(&'a Pointer<'a>, &'a str),
    Entry(&'a Pointer<'a>, usize),
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => Ok(()),
            Self::Member(object, name) => {
                write!(f, "{object}/{}", echo(name).replace('~', "~0").replace('/', "~1"))
            }
            Self::Entry(array, index) => write!(f, "{array}/{index}"),
        }
    }
}

/// The fields of a JSON object, each still as its JSON text, and the faults found so far.
///
/// Working on the text keeps every digit of a number, and reading field by field finds all faults, not only the first.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    pointer: Pointer<'a>,
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
    faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    /// Reads the outermost object of `body`.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        let Members(members) = serde_json::from_slice(body)?;
        Ok(Self { pointer: Pointer::Body, members, faults: Vec::new() })
    }

    /// Reads an object inside this one with `read`. Its faults count as faults of this one.
    pub(crate) fn object<T>(
        &mut self,
        pointer: Pointer<'_>,
        value: &RawValue,
        read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
    ) -> Option<T> {
        let Ok(Members(members)) = serde_json::from_str(value.get()) else {
            self.fault(pointer, "not_an_object", "must be an object");
            return None;
        };
        let faults = std::mem::take(&mut self.faults);
        let before = faults.len();
        let mut inner = Fields { pointer, members, faults };
        let meaning = read(&mut inner);
        self.faults = inner.finish();
        meaning.filter(|_| self.faults.len() == before)
    }

    /// Takes all members that are left, in their order.
    pub(crate) fn members(&mut self) -> Vec<(Cow<'a, str>, &'a RawValue)> {
        std::mem::take(&mut self.members)
    }

    /// Where the object is.
    pub(crate) fn pointer(&self) -> Pointer<'a> {
        self.pointer
    }

    /// Reads the field `name` with `read`, which gets the value's text. Notes a fault if the field is missing.
    pub(crate) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, Pointer<'_>, &'a RawValue) -> Option<T>,
    ) -> Option<T> {
        self.field(name, true, read)
    }

    /// Reads the field `name` with `read`; `None` if the field is missing, is null, or has a fault, which is noted.
    pub(crate) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, Pointer<'_>, &'a RawValue) -> Option<T>,
    ) -> Option<T> {
        self.field(name, false, read)
    }

    fn field<T>(
        &mut self,
        name: &str,
        is_required: bool,
        read: impl FnOnce(&mut Self, Pointer<'_>, &'a RawValue) -> Option<T>,
    ) -> Option<T> {
        let object = self.pointer;
        let pointer = Pointer::Member(&object, name);
        let mut found = self.members.extract_if(.., |(field, _)| field == name).map(|(_, value)| value);
        let (value, again) = (found.next(), found.count() > 0);
        match value {
            Some(_) if again => self.fault(pointer, "duplicate", "appears more than once"),
            Some(value) if is_required || value.get() != "null" => return read(self, pointer, value),
            None if is_required => self.fault(pointer, "missing", "is missing"),
            _ => {}
        }
        None
    }

    /// Notes a fault.
    pub(crate) fn fault(&mut self, pointer: Pointer<'_>, code: &str, detail: impl fmt::Display) {
        // Bytes of the worst escape in JSON.
        let escaped = |byte: u8| if byte < b' ' { 6 } else { 1 + usize::from(matches!(byte, b'"' | b'\\')) };
        let bytes = |fault: &Fault| fault.pointer.bytes().map(escaped).sum::<usize>() + fault.detail.len();
        if self.faults.len() < FAULTS_MAX && self.faults.iter().map(bytes).sum::<usize>() < FAULTS_BYTES_MAX {
            self.faults.push(Fault::at(pointer, code, detail));
        }
    }

    /// Reads a string.
    pub(crate) fn text(&mut self, pointer: Pointer<'_>, value: &RawValue) -> Option<String> {
        let text = serde_json::from_str(value.get());
        text.map_err(|_| self.fault(pointer, "not_a_string", "must be a string")).ok()
    }

    /// Reads a boolean.
    pub(crate) fn boolean(&mut self, pointer: Pointer<'_>, value: &RawValue) -> Option<bool> {
        let boolean = serde_json::from_str(value.get());
        boolean.map_err(|_| self.fault(pointer, "not_a_boolean", "must be true or false")).ok()
    }

    /// Reads an integer of 64 bits.
    pub(crate) fn integer(&mut self, pointer: Pointer<'_>, value: &RawValue) -> Option<i64> {
        // JSON has only one kind of number: 1.0 is the integer 1.
        let text = match value.get().split_once('.') {
            Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0') => whole,
            _ => value.get(),
        };
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.fault(pointer, "not_an_integer", "must be an integer");
            return None;
        }
        let integer = text.parse().ok();
        if integer.is_none() && text.starts_with('-') {
            self.fault(pointer, "too_small", "must be at least 1");
        } else if integer.is_none() {
            self.fault(pointer, "too_large", format_args!("must be at most {}", i64::MAX));
        }
        integer
    }

    /// All faults; unknown fields are faults too.
    pub(crate) fn finish(mut self) -> Vec<Fault> {
        let object = self.pointer;
        for (name, _) in self.members() {
            self.fault(Pointer::Member(&object, &name), "unknown", "is not a field of this body");
        }
        self.faults
    }
}

/// The members of an object, in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(4);
                while members.len() < MEMBERS_MAX
                    && let Some((Name(name), value)) = map.next_entry()?
                {
                    members.push((name, value));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A member's name, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The entries of an array, as JSON texts: up to `MAX`, and one more if there are more. Keeping them all would take
/// many times the bytes of the array.
pub(crate) struct Entries<'a, const MAX: usize>(pub(crate) Vec<&'a RawValue>);

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Entries<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Array<const MAX: usize>;

        impl<'de, const MAX: usize> Visitor<'de> for Array<MAX> {
            type Value = Entries<'de, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while entries.len() <= MAX
                    && let Some(entry) = seq.next_element()?
                {
                    entries.push(entry);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_seq(Array::<MAX>)
    }
}
