//! `Processor`: what turns a database value into an attribute value (result) or back (bind).
//!
//! Every processor of a stock type has two halves. The *fast arm* handles the values that type is made for and never runs
//! foreign code; whatever it does not know, it declines. The *fallback* is the very callable `SQLAlchemy` Core would have used:
//! it gets the declined values, so that odd input has Core's results and Core's exceptions.

mod json;
mod lookup;
mod number;
mod temporal;
mod uuid;

use pyo3::exceptions::PyValueError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDateTime, PyDelta, PyDict, PyFloat, PyTuple};
use pyo3::{PyTraverseError, ffi};

use lookup::MemberTable;
use uuid::UuidFactory;

/// The native half of a processor.
enum Arm {
    /// None: every value goes to the callable.
    Python,
    /// Exact `bytes` stay.
    Bytes,
    ResultDateTime,
    ResultDate,
    ResultTime,
    ResultBool,
    /// Exact `float` stays; used both ways.
    Float,
    /// A `decimal.Decimal` of so many digits after the point.
    ResultDecimal {
        scale: usize,
        decimal: Py<PyAny>,
    },
    /// Text to enumeration member, by the type's own dictionary.
    ResultEnum {
        table: Py<PyDict>,
    },
    ResultJson {
        scan_once: Py<PyAny>,
    },
    ResultUuid {
        factory: UuidFactory,
    },
    ResultUuidText,
    ResultInterval {
        epoch: Py<PyAny>,
    },
    BindDateTime {
        with_microseconds: bool,
    },
    BindDate,
    BindTime {
        with_microseconds: bool,
    },
    BindBool {
        is_native: bool,
    },
    /// Enumeration member or text to text.
    BindEnum {
        table: Py<PyDict>,
        members: MemberTable,
    },
    BindJson {
        none_as_null: bool,
    },
    BindUuid {
        factory: UuidFactory,
    },
    BindUuidText,
    BindInterval {
        epoch: Py<PyAny>,
    },
}

/// Bind or result processing of one stock type, or a Python callable.
#[pyclass(frozen, name = "Processor", module = "rustalchemy._core")]
pub struct Processor {
    kind: String,
    arm: Arm,
    fallback: Py<PyAny>,
}

impl Processor {
    /// Processes one value.
    #[inline]
    pub fn apply<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self.arm.apply(value) {
            Some(processed) => Ok(processed),
            None => self.fallback.bind(value.py()).call1((value,)),
        }
    }

    /// Whether values that the database has of its own accord need no Python code.
    pub fn is_native(&self) -> bool {
        !matches!(self.arm, Arm::Python)
    }

    /// Processes one value given as a borrowed pointer; the result is a new reference.
    ///
    /// # Safety
    /// `value` is a valid object, kept alive by the caller throughout the call.
    #[inline]
    pub unsafe fn apply_ptr(&self, py: Python<'_>, value: *mut ffi::PyObject) -> PyResult<*mut ffi::PyObject> {
        // SAFETY: promised by the caller.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        self.apply(&value).map(Bound::into_ptr)
    }
}

impl Arm {
    /// The processed value, or nothing where the fallback has to decide.
    #[inline]
    fn apply<'py>(&self, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        if value.is_none() && self.keeps_none() {
            return Some(value.clone());
        }
        let py = value.py();
        match self {
            Self::Python => None,
            Self::Bytes => value.is_exact_instance_of::<PyBytes>().then(|| value.clone()),
            Self::Float => value.is_exact_instance_of::<PyFloat>().then(|| value.clone()),
            Self::ResultDateTime => temporal::datetime_from_text(value).map(Bound::into_any),
            Self::ResultDate => temporal::date_from_text(value).map(Bound::into_any),
            Self::ResultTime => temporal::time_from_text(value).map(Bound::into_any),
            Self::ResultBool => number::bool_from_int(value),
            Self::ResultDecimal { scale, decimal } => number::decimal_from_number(value, *scale, decimal.bind(py)),
            Self::ResultEnum { table } => lookup::by_text(table.bind(py), value),
            Self::ResultJson { scan_once } => json::loads(value, scan_once.bind(py)),
            Self::ResultUuid { factory } => factory.read(value),
            Self::ResultUuidText => uuid::canonical_text(value),
            Self::ResultInterval { epoch } => temporal::datetime_from_text(value)?.sub(epoch.bind(py)).ok(),
            Self::BindDateTime { with_microseconds } => {
                value.cast_exact::<PyDateTime>().ok().map(|value| temporal::datetime_to_text(value, *with_microseconds))
            }
            Self::BindDate => temporal::date_to_text(value),
            Self::BindTime { with_microseconds } => temporal::time_to_text(value, *with_microseconds),
            Self::BindBool { is_native } => number::bool_to_parameter(value, *is_native),
            Self::BindEnum { table, members } => {
                members.text_of(value).or_else(|| lookup::by_text(table.bind(py), value))
            }
            Self::BindJson { none_as_null } => json::dumps(value, *none_as_null),
            Self::BindUuid { factory } => factory.hex(value),
            Self::BindUuidText => uuid::without_dashes(value),
            Self::BindInterval { epoch } => {
                let delta = value.cast_exact::<PyDelta>().ok()?;
                let moment = epoch.bind(py).add(delta).ok()?;
                let moment = moment.cast_exact::<PyDateTime>().ok()?;
                Some(temporal::datetime_to_text(moment, true))
            }
        }
    }

    /// Whether `None` is passed on without a further look.
    fn keeps_none(&self) -> bool {
        !matches!(self, Self::Python | Self::BindJson { .. })
    }

    /// The arm of a kind; `args` are what the kind needs to know of its type.
    fn named(kind: &str, args: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let object = |at: usize| args.get_item(at).map(Bound::unbind);
        let dict = |at: usize| -> PyResult<Py<PyDict>> { Ok(args.get_item(at)?.cast_into::<PyDict>()?.unbind()) };
        let flag = |at: usize| args.get_item(at)?.is_truthy();
        let py = args.py();
        Ok(match kind {
            "bytes" => Self::Bytes,
            "float" => Self::Float,
            "str_datetime" => Self::ResultDateTime,
            "str_date" => Self::ResultDate,
            "str_time" => Self::ResultTime,
            "bool" => Self::ResultBool,
            "numeric" => Self::ResultDecimal { scale: args.get_item(0)?.extract()?, decimal: object(1)? },
            "enum" => Self::ResultEnum { table: dict(0)? },
            "json" => Self::ResultJson { scan_once: object(0)? },
            "uuid" => Self::ResultUuid { factory: UuidFactory::new(py)? },
            "uuid_str" => Self::ResultUuidText,
            "interval" => Self::ResultInterval { epoch: object(0)? },
            "datetime_str" => Self::BindDateTime { with_microseconds: flag(0)? },
            "date_str" => Self::BindDate,
            "time_str" => Self::BindTime { with_microseconds: flag(0)? },
            "bool_int" => Self::BindBool { is_native: flag(0)? },
            "enum_str" => {
                let table = dict(0)?;
                let members = MemberTable::from_dict(table.bind(py));
                Self::BindEnum { table, members }
            }
            "json_str" => Self::BindJson { none_as_null: flag(0)? },
            "uuid_hex" => Self::BindUuid { factory: UuidFactory::new(py)? },
            "uuid_str_hex" => Self::BindUuidText,
            "interval_str" => Self::BindInterval { epoch: object(0)? },
            _ => {
                return Err(PyValueError::new_err(format!("no native processor is called {kind:?}")));
            }
        })
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::ResultDecimal { decimal: held, .. }
            | Self::ResultJson { scan_once: held }
            | Self::ResultInterval { epoch: held }
            | Self::BindInterval { epoch: held } => visit.call(held),
            Self::ResultEnum { table } => visit.call(table),
            Self::BindEnum { table, members } => {
                visit.call(table)?;
                members.traverse(visit)
            }
            Self::ResultUuid { factory } | Self::BindUuid { factory } => factory.traverse(visit),
            _ => Ok(()),
        }
    }
}

#[pymethods]
impl Processor {
    /// The native processor of a stock type. `fallback` is the callable `SQLAlchemy` Core uses for it.
    #[staticmethod]
    #[pyo3(signature = (kind, fallback, /, *args))]
    fn named(kind: &str, fallback: Py<PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<Self> {
        Ok(Self { kind: kind.to_owned(), arm: Arm::named(kind, args)?, fallback })
    }

    /// A processor that calls `function` for every value, `None` included.
    #[staticmethod]
    fn python(function: Py<PyAny>) -> Self {
        Self { kind: "python".to_owned(), arm: Arm::Python, fallback: function }
    }

    /// The name of the native arm, or `"python"`.
    #[getter]
    fn kind(&self) -> &str {
        &self.kind
    }

    /// Processes one value.
    fn process<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.apply(value)
    }

    /// Processes rows, each value by the processor of its place, if there is one.
    #[staticmethod]
    fn process_rows<'py>(
        rows: Vec<Bound<'py, PyTuple>>,
        processors: Vec<Option<PyRef<'py, Self>>>,
    ) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let process = |row: Bound<'py, PyTuple>| {
            let values = row.iter().zip(&processors).map(|(value, processor)| match processor {
                Some(processor) => processor.apply(&value),
                None => Ok(value),
            });
            PyTuple::new(row.py(), values.collect::<PyResult<Vec<_>>>()?)
        };
        rows.into_iter().map(process).collect()
    }

    fn __repr__(&self) -> String {
        format!("<Processor {}>", self.kind)
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.fallback)?;
        self.arm.traverse(&visit)
    }
}
