//! Dates and times in `SQLite`'s storage format, both ways.

use pyo3::prelude::*;
use pyo3::types::{PyDate, PyDateAccess, PyDateTime, PyString, PyTime, PyTimeAccess};

/// The time of day: hour, minute, second, microsecond.
type Clock = (u8, u8, u8, u32);

/// The number in two ASCII digits.
#[inline]
fn two(text: &[u8]) -> Option<u8> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + (ones - b'0')),
        _ => None,
    }
}

/// `YYYY-MM-DD`.
#[inline]
fn parse_date(text: &[u8]) -> Option<(i32, u8, u8)> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = i32::from(two(&text[..2])?) * 100 + i32::from(two(&text[2..4])?);
    Some((year, two(&text[5..7])?, two(&text[8..])?))
}

/// `HH:MM:SS` or `HH:MM:SS.ffffff`.
#[inline]
fn parse_time(text: &[u8]) -> Option<Clock> {
    if !matches!(text.len(), 8 | 15) || text[2] != b':' || text[5] != b':' {
        return None;
    }
    let microsecond = match text.get(8..) {
        None | Some([]) => 0,
        Some([b'.', digits @ ..]) => {
            digits.chunks_exact(2).try_fold(0, |sum, pair| two(pair).map(|number| sum * 100 + u32::from(number)))?
        }
        Some(_) => return None,
    };
    Some((two(&text[..2])?, two(&text[3..5])?, two(&text[6..8])?, microsecond))
}

/// The bytes of an exact `str`.
#[inline]
fn text_of<'a>(value: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    value.cast_exact::<PyString>().ok()?.to_str().ok().map(str::as_bytes)
}

/// A `datetime` from its stored form; declined if it is another form or out of range.
#[inline]
pub fn datetime_from_text<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDateTime>> {
    let text = text_of(value)?;
    if !matches!(text.get(10), Some(b' ' | b'T')) {
        return None;
    }
    let (year, month, day) = parse_date(&text[..10])?;
    let (hour, minute, second, microsecond) = parse_time(&text[11..])?;
    PyDateTime::new(value.py(), year, month, day, hour, minute, second, microsecond, None).ok()
}

/// A `date` from its stored form.
pub fn date_from_text<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyDate>> {
    let (year, month, day) = parse_date(text_of(value)?)?;
    PyDate::new(value.py(), year, month, day).ok()
}

/// A `time` from its stored form.
pub fn time_from_text<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyTime>> {
    let (hour, minute, second, microsecond) = parse_time(text_of(value)?)?;
    PyTime::new(value.py(), hour, minute, second, microsecond, None).ok()
}

/// A short text that is put together on the stack.
struct Text {
    bytes: [u8; 26],
    len: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 26], len: 0 }
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Two digits; `number` is below 100.
    fn push_two(&mut self, number: u8) {
        self.push(b'0' + number / 10);
        self.push(b'0' + number % 10);
    }

    /// An even number of digits.
    fn push_digits(&mut self, mut number: u32, pairs: usize) {
        let start = self.len;
        for _ in 0..pairs * 2 {
            self.push(b'0');
        }
        for place in self.bytes[start..self.len].iter_mut().rev() {
            *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
    }

    fn push_date(&mut self, value: &impl PyDateAccess) {
        self.push_digits(u32::try_from(value.get_year()).unwrap_or(0), 2);
        self.push(b'-');
        self.push_two(value.get_month());
        self.push(b'-');
        self.push_two(value.get_day());
    }

    fn push_time(&mut self, value: &impl PyTimeAccess, with_microseconds: bool) {
        self.push_two(value.get_hour());
        self.push(b':');
        self.push_two(value.get_minute());
        self.push(b':');
        self.push_two(value.get_second());
        if with_microseconds {
            self.push(b'.');
            self.push_digits(value.get_microsecond(), 3);
        }
    }

    fn to_object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        let text = std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default();
        PyString::new(py, text).into_any()
    }
}

/// The stored form of a `datetime`; a time zone is left out, as Core does.
pub fn datetime_to_text<'py>(value: &Bound<'py, PyDateTime>, with_microseconds: bool) -> Bound<'py, PyAny> {
    let mut text = Text::new();
    text.push_date(value);
    text.push(b' ');
    text.push_time(value, with_microseconds);
    text.to_object(value.py())
}

/// The stored form of a `date` or `datetime`.
pub fn date_to_text<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let mut text = Text::new();
    if let Ok(date) = value.cast_exact::<PyDate>() {
        text.push_date(date);
    } else {
        text.push_date(value.cast_exact::<PyDateTime>().ok()?);
    }
    Some(text.to_object(value.py()))
}

/// The stored form of a `time`.
pub fn time_to_text<'py>(value: &Bound<'py, PyAny>, with_microseconds: bool) -> Option<Bound<'py, PyAny>> {
    let time = value.cast_exact::<PyTime>().ok()?;
    let mut text = Text::new();
    text.push_time(time, with_microseconds);
    Some(text.to_object(value.py()))
}
