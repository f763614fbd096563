/// What is wrong with the encoding of a body that could not be read as JSON, and how to fix it; `None` if the body is
/// UTF-8 without a byte order mark, as RFC 8259 (section 8.1) requires.
///
/// A JSON text begins with ASCII characters, so zeros among the first bytes give UTF-16 and UTF-32 away.
pub(crate) fn wrong_encoding(body: &[u8]) -> Option<String> {
    let encoding = match body {
        [0xef, 0xbb, 0xbf, ..] => {
            let detail = "The body begins with a byte order mark (the bytes EF BB BF), which JSON must not have (RFC \
                          8259, section 8.1): send it without these three bytes.";
            return Some(detail.to_owned());
        }
        // Before UTF-16, whose byte order mark is the beginning of UTF-32's.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, 1..=0xff, ..] | [1..=0xff, 0, 0, 0, ..] => "UTF-32",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0xff, ..] | [1..=0xff, 0, ..] => "UTF-16",
        _ => return broken(body),
    };
    Some(format!(
        "The body is in {encoding}, but JSON must be in UTF-8 (RFC 8259, section 8.1): send it in UTF-8, without a \
         byte order mark."
    ))
}

/// Says where the text stops being UTF-8, if it does: older encodings such as Latin-1 have one byte for a letter beyond
/// ASCII.
fn broken(body: &[u8]) -> Option<String> {
    let byte = std::str::from_utf8(body).err()?.valid_up_to() + 1;
    Some(format!(
        "The body is not UTF-8 from byte {byte} on, but JSON must be in UTF-8 (RFC 8259, section 8.1): send it in \
         UTF-8."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_encoding_is_told_in_either_order_of_its_bytes_and_of_utf_8_nothing_is() {
        for (body, told) in [
            (&b"\xff\xfe{\0"[..], "UTF-16"),
            (b"\xfe\xff\0{", "UTF-16"),
            (b"{\0}\0", "UTF-16"),
            (b"\0{\0}", "UTF-16"),
            (b"1\x007\0", "UTF-16"),
            (b"\xff\xfe\0\0{\0\0\0", "UTF-32"),
            (b"\0\0\xfe\xff\0\0\0{", "UTF-32"),
            (b"{\0\0\0", "UTF-32"),
            (b"\0\0\0{", "UTF-32"),
            (b"{\"name\": \"Jos\xe9\"}", "byte 14 "),
        ] {
            let detail = wrong_encoding(body).unwrap();

            assert!(detail.contains(told) && detail.contains("UTF-8"), "{body:?}: {detail}");
        }
        for body in ["", "{", "1", "{\"name\": \"José\"}", "\0", "\0\0\0\0", "\u{1f600}"] {
            assert_eq!(wrong_encoding(body.as_bytes()), None, "{body}");
        }
    }
}
