//! Lists of pairs as OpenTelemetry's variables hold them: `key=value,key=value`, percent-encoded.
//! In: text. Out: pairs in their order, or nothing when any part makes no sense. Pure.

/// All pairs, or `None` when one of them is none.
pub(super) fn parse(list: &str) -> Option<Vec<(String, String)>> {
    let entries = list.split(',').map(str::trim);
    let entries = entries.filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
        (!key.is_empty()).then_some((key, value))
    };
    entries.map(pair).collect()
}

/// Percent-decoding; `None` for what is not UTF-8 or not encoded rightly.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_are_read_as_the_specification_writes_them() {
        let read = parse(" a = 1 ,b=x%2Cy%3D%e2%82%ac,,c=, d=e=f").unwrap();
        let wanted = [("a", "1"), ("b", "x,y=€"), ("c", ""), ("d", "e=f")];
        assert_eq!(read, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(parse(""), Some(vec![]));
        for wrong in ["a", "=1", "a=%", "a=%4", "a=%zz", "a=%ff", "a=1,b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_comes_back(
            pairs in prop::collection::vec((".{1,8}", ".{0,8}"), 0..5),
        ) {
            let encoded = |text: &str| -> String {
                text.bytes().map(|byte| format!("%{byte:02X}")).collect()
            };
            let entries = pairs.iter().map(|(k, v)| format!("{}={}", encoded(k), encoded(v)));
            let list = entries.collect::<Vec<_>>().join(",");
            prop_assert_eq!(parse(&list), Some(pairs));
        }

        #[test]
        fn any_text_is_survived(text in ".*") {
            let _ = parse(&text);
        }
    }
}
