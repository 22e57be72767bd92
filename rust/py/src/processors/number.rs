//! Booleans and decimals.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt};

/// The largest integer up to which every integer is a float.
const EXACT_FLOATS: u64 = 1 << 53;

/// A boolean from the integer the database has.
pub fn bool_from_int<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    if value.is_exact_instance_of::<PyBool>() {
        return Some(value.clone());
    }
    let number: i64 = value.cast_exact::<PyInt>().ok()?.extract().ok()?;
    Some(PyBool::new(value.py(), number != 0).to_owned().into_any())
}

/// The parameter of a boolean: a `bool` where the database has such a type, else an `int`.
pub fn bool_to_parameter<'py>(value: &Bound<'py, PyAny>, is_native: bool) -> Option<Bound<'py, PyAny>> {
    let py = value.py();
    let truth = if let Ok(truth) = value.cast_exact::<PyBool>() {
        if is_native {
            return Some(value.clone());
        }
        truth.is_true()
    } else {
        match value.cast_exact::<PyInt>().ok()?.extract::<i64>() {
            Ok(0) => false,
            Ok(1) => true,
            _ => return None,
        }
    };
    Some(if is_native {
        PyBool::new(py, truth).to_owned().into_any()
    } else {
        PyInt::new(py, i64::from(truth)).into_any()
    })
}

/// A decimal with `scale` digits after the point, made of a float or a small integer.
pub fn decimal_from_number<'py>(
    value: &Bound<'py, PyAny>,
    scale: usize,
    decimal: &Bound<'py, PyAny>,
) -> Option<Bound<'py, PyAny>> {
    let number = if let Ok(number) = value.cast_exact::<PyFloat>() {
        number.value()
    } else {
        let number: i64 = value.cast_exact::<PyInt>().ok()?.extract().ok()?;
        if number.unsigned_abs() > EXACT_FLOATS {
            return None;
        }
        #[allow(clippy::cast_precision_loss)] // checked above
        let number = number as f64;
        number
    };
    if !number.is_finite() {
        return None;
    }
    decimal.call1((format!("{number:.scale$}"),)).ok()
}
