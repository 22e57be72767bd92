//! JSON texts as the standard library's `json` reads and writes them by default.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use std::fmt::Write as _;

/// Nesting up to which values are written here; deeper ones and cycles are left to `json.dumps`.
const DEPTH: u32 = 64;

/// Reads a text with the standard library's scanner, which is native; anything but one clean value is declined.
pub fn loads<'py>(value: &Bound<'py, PyAny>, scan_once: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let text = value.cast_exact::<PyString>().ok()?;
    let scanned = scan_once.call1((text, 0)).ok()?;
    let scanned = scanned.cast_exact::<PyTuple>().ok()?;
    let end: usize = scanned.get_item(1).ok()?.extract().ok()?;
    (end == text.len().ok()?).then(|| scanned.get_item(0).ok()).flatten()
}

/// Writes a value made of exact built-in types; `None` gives NULL or `null`.
pub fn dumps<'py>(value: &Bound<'py, PyAny>, none_as_null: bool) -> Option<Bound<'py, PyAny>> {
    if value.is_none() && none_as_null {
        return Some(value.clone());
    }
    let mut text = String::with_capacity(64);
    write_value(&mut text, value, DEPTH)?;
    Some(PyString::new(value.py(), &text).into_any())
}

fn write_value(text: &mut String, value: &Bound<'_, PyAny>, depth: u32) -> Option<()> {
    if value.is_none() {
        text.push_str("null");
    } else if let Ok(string) = value.cast_exact::<PyString>() {
        write_string(text, string.to_str().ok()?);
    } else if let Ok(truth) = value.cast_exact::<PyBool>() {
        text.push_str(if truth.is_true() { "true" } else { "false" });
    } else if let Ok(number) = value.cast_exact::<PyInt>() {
        write!(text, "{}", number.extract::<i64>().ok()?).ok()?;
    } else if let Ok(number) = value.cast_exact::<PyFloat>() {
        if !number.value().is_finite() {
            return None;
        }
        text.push_str(number.repr().ok()?.to_str().ok()?);
    } else if let Ok(list) = value.cast_exact::<PyList>() {
        write_items(text, list.iter(), depth.checked_sub(1)?)?;
    } else if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        write_items(text, tuple.iter(), depth.checked_sub(1)?)?;
    } else {
        let dict = value.cast_exact::<PyDict>().ok()?;
        let depth = depth.checked_sub(1)?;
        text.push('{');
        for (at, (key, item)) in dict.iter().enumerate() {
            if at > 0 {
                text.push_str(", ");
            }
            write_string(text, key.cast_exact::<PyString>().ok()?.to_str().ok()?);
            text.push_str(": ");
            write_value(text, &item, depth)?;
        }
        text.push('}');
    }
    Some(())
}

fn write_items<'py>(text: &mut String, items: impl Iterator<Item = Bound<'py, PyAny>>, depth: u32) -> Option<()> {
    text.push('[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        write_value(text, &item, depth)?;
    }
    text.push(']');
    Some(())
}

/// A string in quotes; everything outside of printable ASCII is escaped.
fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\x08' => text.push_str("\\b"),
            '\x0c' => text.push_str("\\f"),
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing into a `String` cannot fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text.push('"');
}
