//! Canonical JSON (RFC 8785): one way to write a value, so that its hash says whether it is the same.
//!
//! The schema keeps to what makes this simple: ASCII member names, integers that a double holds exactly, no floats.
//! Members that are null are left out.

use serde::Serialize;
use serde_json::Value;

/// Writes a value in its one form, without a newline.
pub(crate) fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::with_capacity(512);
    write(&serde_json::to_value(value)?, &mut out)?;
    Ok(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // Sorted here: whether the map keeps the order of insertion is a feature that any crate can switch on.
            let mut members: Vec<_> = members.iter().filter(|(_, value)| !value.is_null()).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (i, (name, value)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write(value, out)?;
            }
            out.push(b'}');
        }
        plain => serde_json::to_writer(&mut *out, plain)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_way_to_write_a_value() {
        let value =
            serde_json::json!({"b": [1, null, "é\n\u{7f}\u{1}/\""], "a": {"z": null, "y": true}, "B": 0});
        let text = String::from_utf8(to_vec(&value).unwrap()).unwrap();
        assert_eq!(text, "{\"B\":0,\"a\":{\"y\":true},\"b\":[1,null,\"é\\n\u{7f}\\u0001/\\\"\"]}");
    }
}
