//! A printed answer beside the one that the server gave.

use std::collections::HashMap;
use std::mem::discriminant;

use chrono::DateTime;
use serde_json::Value;
use uuid::Uuid;

/// In the document, stands for what is left out: lines of a head, members of an object, the rest of an array.
const LEFT_OUT: char = '…';

/// The same in JSON: a member's name, or an element.
const LEFT_OUT_NAME: &str = "left out";

/// Members whose values differ from run to run.
const VARYING: [&str; 5] = ["Average processing time:", "duration_ms", "host", "pid", "version"];

/// What the document's ids, cursors and times stand for in this run. Each stands for one value throughout.
#[derive(Debug, Default)]
pub(super) struct Meanings(HashMap<String, String>);

impl Meanings {
    /// A printed command with the values that earlier answers gave. What none gave, such as a time in the future, stands
    /// for itself from now on.
    pub(super) fn translated_command(&mut self, printed: &str) -> String {
        for word in words(printed).filter(|word| Kind::of(word).is_some()) {
            self.0.entry(word.to_owned()).or_insert_with(|| word.to_owned());
        }
        self.translated(printed)
    }

    /// Compares an answer with the printed one, and learns what the values in that stand for.
    pub(super) fn compare(&mut self, printed: &str, answer: &str) -> Result<(), String> {
        let (printed_head, printed_body) = printed.split_at(printed.find(['{', '[']).unwrap_or(printed.len()));
        let (head, body) = if printed_head.is_empty() { ("", answer) } else { split_head(answer)? };
        // The body first: the head may name what it brings.
        self.compare_json("", &read(&with_names(printed_body))?, &read(body)?)?;
        let lines = printed_head.lines().filter(|line| *line != LEFT_OUT.to_string());
        let mut missing = lines.map(|line| self.translated(line)).filter(|line| !head.lines().any(|said| said == line));
        missing.next().map_or(Ok(()), |line| Err(format!("not in the head: {line}")))
    }

    fn translated(&self, printed: &str) -> String {
        words(printed).map(|word| self.0.get(word).map_or(word, String::as_str)).collect()
    }

    fn compare_json(&mut self, path: &str, printed: &Value, answered: &Value) -> Result<(), String> {
        let is_same = match (printed, answered) {
            (Value::Object(printed), Value::Object(answered)) => {
                let is_partial = printed.contains_key(LEFT_OUT_NAME);
                let names = printed.keys().filter(|name| *name != LEFT_OUT_NAME);
                let is_same = names.eq(answered.keys().filter(|name| !is_partial || printed.contains_key(*name)));
                for (name, value) in answered.iter().filter(|_| is_same) {
                    if let Some(printed) = printed.get(name) {
                        self.compare_member(&format!("{path}/{name}"), name, printed, value)?;
                    }
                }
                is_same
            }
            (Value::Array(printed), Value::Array(answered)) => {
                let shown = printed.strip_suffix(&[Value::from(LEFT_OUT_NAME)]);
                let is_same = shown.map_or(printed.len() == answered.len(), |shown| shown.len() <= answered.len());
                for (index, (printed, answered)) in shown.unwrap_or(printed).iter().zip(answered).enumerate() {
                    self.compare_json(&format!("{path}/{index}"), printed, answered)?;
                }
                is_same
            }
            (Value::String(printed), Value::String(answered)) => self.is_same_text(printed, answered),
            _ => printed == answered,
        };
        if is_same { Ok(()) } else { Err(format!("at {path:?}: printed {printed}, answered {answered}")) }
    }

    fn compare_member(&mut self, path: &str, name: &str, printed: &Value, answered: &Value) -> Result<(), String> {
        if VARYING.contains(&name) && discriminant(printed) == discriminant(answered) {
            return Ok(());
        }
        self.compare_json(path, printed, answered)
    }

    fn is_same_text(&mut self, printed: &str, answered: &str) -> bool {
        let (printed, answered): (Vec<_>, Vec<_>) = (words(printed).collect(), words(answered).collect());
        printed.len() == answered.len()
            && printed.iter().zip(answered).all(|(word, other)| self.is_same_word(word, other))
    }

    fn is_same_word(&mut self, printed: &str, answered: &str) -> bool {
        let kind = Kind::of(printed);
        if kind.is_none() || kind != Kind::of(answered) {
            return printed == answered;
        }
        self.0.entry(printed.to_owned()).or_insert_with(|| answered.to_owned()) == answered
    }
}

/// A value that differs from run to run, told by its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Id,
    Cursor,
    Time,
}

impl Kind {
    fn of(word: &str) -> Option<Self> {
        /// More digits than an id has, and fewer than any cursor.
        const CURSOR_DIGITS_MIN: usize = 40;
        match word {
            _ if Uuid::parse_str(word).is_ok() => Some(Self::Id),
            _ if DateTime::parse_from_rfc3339(word).is_ok() => Some(Self::Time),
            _ if word.len() >= CURSOR_DIGITS_MIN && word.chars().all(|c| c.is_ascii_hexdigit()) => Some(Self::Cursor),
            _ => None,
        }
    }
}

/// The words of a text, and what is between them; together they are the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_between = |c: char| !c.is_ascii_alphanumeric() && !['-', '.', ':'].contains(&c);
    text.split_inclusive(is_between).flat_map(move |part| {
        let is_end = |c: char| is_between(c) || ['.', ':'].contains(&c);
        let (word, rest) = part.split_at(part.trim_end_matches(is_end).len());
        [word, rest]
    })
}

/// Printed JSON with names for what it leaves out.
fn with_names(printed: &str) -> String {
    let element = format!("{LEFT_OUT}]");
    printed.replace(&element, &format!("{LEFT_OUT_NAME:?}]")).replace(LEFT_OUT, &format!("{LEFT_OUT_NAME:?}:null"))
}

fn read(json: &str) -> Result<Value, String> {
    serde_json::from_str(json).map_err(|error| format!("{error}: {json}"))
}

fn split_head(answer: &str) -> Result<(&str, &str), String> {
    answer.split_once("\r\n\r\n").ok_or_else(|| "the answer has no head".to_owned())
}

const ID: &str = "01a208b5-d53e-7085-8349-236904852fea";
const OTHER: &str = "01a20952-9ec7-7311-bafd-cb2a8cd9a0e2";

#[test]
fn an_answer_may_have_other_ids_and_times_and_more_where_the_document_leaves_it_out() {
    let printed = format!(
        "HTTP/1.1 201 Created\nlocation: /orders/{ID}\n…\n{{\"id\":\"{ID}\",…,\"at\":\"At 2026-11-23T14:01:04.06Z.\",\n \
         \"pid\":1,\"list\":[{{…}}, …]}}"
    );
    let answer = format!(
        "HTTP/1.1 201 Created\r\ndate: today\r\nlocation: /orders/{OTHER}\r\n\r\n{{\"id\":\"{OTHER}\",\"a\":1,\
         \"at\":\"At 2030-01-31T08:00:00Z.\",\"pid\":17,\"list\":[{{\"b\":2}},3,4]}}\n"
    );
    let mut meanings = Meanings::default();

    assert_eq!(meanings.compare(&printed, &answer), Ok(()));

    assert_eq!(meanings.translated_command(&format!("curl '/{ID}?w=1'")), format!("curl '/{OTHER}?w=1'"));
}

#[test]
fn an_answer_that_says_something_else_is_told_from_the_printed_one() {
    let own = |json: &str| json.replace("ID", ID).replace("NEW", OTHER);
    for (printed, answer) in [
        (r#"{"a":1}"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
        (r#"{"a":1,…}"#, r#"{"b":2}"#),
        (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        (r#"{"a":{…}}"#, r#"{"a":[]}"#),
        ("[1]", "[1,2]"),
        ("[1, 2, …]", "[1]"),
        (r#"{"pid":1}"#, r#"{"pid":null}"#),
        (r#"{"a":"ID"}"#, r#"{"a":"2030-01-31T08:00:00Z"}"#),
        (r#"{"a":"ID","b":"ID"}"#, r#"{"a":"NEW","b":"ID"}"#),
        (r#"{"a":"Until 2030-01-31T08:00:00Z."}"#, r#"{"a":"From 2030-01-31T08:00:00Z."}"#),
        (r#"{"a":"Until 2030-01-31T08:00:00Z."}"#, r#"{"a":"Until then."}"#),
        ("HTTP/1.1 201 Created\n…\n{}", "HTTP/1.1 200 OK\r\ndate: today\r\n\r\n{}"),
        ("{}", ""),
        ("", "{}"),
    ] {
        assert!(Meanings::default().compare(&own(printed), &own(answer)).is_err(), "{printed}: {answer}");
    }
}

#[test]
fn what_a_command_says_stands_for_itself() {
    let mut meanings = Meanings::default();

    meanings.translated_command(r#"curl -d '{"at": "2030-01-31T08:00:00Z"}'"#);

    assert!(meanings.compare(r#"["2030-01-31T08:00:00Z"]"#, r#"["2030-01-31T09:00:00Z"]"#).is_err());
}
