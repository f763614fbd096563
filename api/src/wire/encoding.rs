/// What is wrong with the encoding of a body that could not be read as JSON, and how to mend it; `None` when it is in UTF-8,
/// without a byte order mark, as RFC 8259 (section 8.1) asks.
///
/// A JSON text begins with two characters of ASCII, so that zeros among the first bytes tell UTF-16 and UTF-32.
pub(crate) fn wrong_encoding(body: &[u8]) -> Option<String> {
    let encoding = match body {
        [0xef, 0xbb, 0xbf, ..] => {
            let detail = "The body begins with a byte order mark (the bytes EF BB BF), and JSON must not (RFC 8259, section \
                          8.1): send it without these three bytes.";
            return Some(detail.to_owned());
        }
        // Before UTF-16: the mark of UTF-32 begins with that of UTF-16.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, 1..=0xff, ..] | [1..=0xff, 0, 0, 0, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0xff, ..] | [1..=0xff, 0, ..] => "UTF-16",
        _ => return broken(body),
    };
    Some(format!(
        "The body is in {encoding}, and JSON must be in UTF-8 (RFC 8259, section 8.1): send it in UTF-8, without a byte order \
         mark."
    ))
}

/// Where the text stops being UTF-8, if it does. Older encodings such as Latin-1 have one byte for a letter beyond ASCII.
fn broken(body: &[u8]) -> Option<String> {
    let byte = std::str::from_utf8(body).err()?.valid_up_to() + 1;
    Some(format!(
        "The body is not UTF-8 from byte {byte} on, and JSON must be in UTF-8 (RFC 8259, section 8.1): send it in UTF-8."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text in an encoding of so many bytes a character.
    fn wide(text: &str, bytes: usize, is_little: bool) -> Vec<u8> {
        let wide = |character: char| {
            let all = u32::from(character).to_be_bytes();
            let mut bytes = all[4 - bytes..].to_vec();
            if is_little {
                bytes.reverse();
            }
            bytes
        };
        text.chars().flat_map(wide).collect()
    }

    #[test]
    fn a_byte_order_mark_is_named_as_such() {
        let detail = wrong_encoding("\u{feff}{}".as_bytes()).unwrap();

        assert!(detail.contains("byte order mark") && detail.contains("EF BB BF"), "{detail}");
    }

    #[test]
    fn a_wide_encoding_is_told_with_and_without_a_mark_in_either_order() {
        for (bytes, encoding) in [(2, "UTF-16"), (4, "UTF-32")] {
            for text in ["{}", "{\"user_id\": 1}", "\u{feff}{}", "[]", "17", "\"é\""] {
                for is_little in [false, true] {
                    let detail = wrong_encoding(&wide(text, bytes, is_little)).unwrap();

                    assert!(detail.contains(encoding) && detail.contains("UTF-8"), "{text} {is_little}: {detail}");
                }
            }
        }
    }

    #[test]
    fn text_that_stops_being_utf_8_is_told_with_the_byte() {
        let detail = wrong_encoding(b"{\"name\": \"Jos\xe9\"}").unwrap();

        assert!(detail.contains("byte 14 "), "{detail}");
    }

    #[test]
    fn of_utf_8_nothing_is_told() {
        for body in ["", "{", "1", "order", "{\"name\": \"José\"}", "\0", "\0\0\0\0", "\u{1f600}"] {
            assert_eq!(wrong_encoding(body.as_bytes()), None, "{body}");
        }
    }
}
