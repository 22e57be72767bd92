//! Interned strings and SQLAlchemy's symbols, looked up once.
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use pyo3::{PyTypeInfo, ffi};
use std::sync::atomic::{AtomicPtr, Ordering};

/// A symbol such as `NO_VALUE`: an owned pointer that is replaced at most once, by `install_hooks`.
pub struct Symbol {
    name: &'static str,
    pointer: AtomicPtr<ffi::PyObject>,
}

impl Symbol {
    const fn new(name: &'static str) -> Self {
        Self { name, pointer: AtomicPtr::new(std::ptr::null_mut()) }
    }
    /// The symbol, borrowed; it lives as long as the process.
    #[inline]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.pointer.load(Ordering::Relaxed)
    }
    /// The symbol as an object.
    pub fn get<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: `init_module` stored an owned reference that is never released.
        unsafe { Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }
    /// Is this object the symbol?
    #[inline]
    pub fn is(&self, object: *mut ffi::PyObject) -> bool {
        object == self.as_ptr()
    }
    fn set(&self, object: Bound<'_, PyAny>) {
        // The previous placeholder is kept alive on purpose: somebody may still hold it as a borrowed pointer.
        self.pointer.store(object.into_ptr(), Ordering::Relaxed);
    }
}

/// A loader could not or was not allowed to produce a value.
pub static PASSIVE_NO_RESULT: Symbol = Symbol::new("PASSIVE_NO_RESULT");
/// The identity is loaded, with another class.
pub static PASSIVE_CLASS_MISMATCH: Symbol = Symbol::new("PASSIVE_CLASS_MISMATCH");
/// The loader stored the value itself.
pub static ATTR_WAS_SET: Symbol = Symbol::new("ATTR_WAS_SET");
/// There is no loader.
pub static ATTR_EMPTY: Symbol = Symbol::new("ATTR_EMPTY");
/// No previous value.
pub static NO_VALUE: Symbol = Symbol::new("NO_VALUE");
/// Assignments of this symbol do nothing.
pub static DONT_SET: Symbol = Symbol::new("DONT_SET");
/// A collection event without a key.
pub static NO_KEY: Symbol = Symbol::new("NO_KEY");

static SYMBOLS: [&Symbol; 7] =
    [&PASSIVE_NO_RESULT, &PASSIVE_CLASS_MISMATCH, &ATTR_WAS_SET, &ATTR_EMPTY, &NO_VALUE, &DONT_SET, &NO_KEY];

/// Gives every symbol a placeholder, so that the core works before (and without) `rustalchemy.orm`.
pub fn init_module(py: Python<'_>) -> PyResult<()> {
    for symbol in SYMBOLS {
        if symbol.as_ptr().is_null() {
            symbol.set(pyo3::types::PyAny::type_object(py).call0()?);
        }
    }
    Ok(())
}

/// Takes the symbols from the hooks object where it has them.
pub fn install(hooks: &Bound<'_, PyAny>) -> PyResult<()> {
    for symbol in SYMBOLS {
        if let Some(object) = hooks.getattr_opt(symbol.name)? {
            symbol.set(object);
        }
    }
    Ok(())
}

/// A symbol by name, for Python code that runs without `rustalchemy.orm`.
#[pyfunction]
pub fn symbol<'py>(py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
    SYMBOLS.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.get(py))
}

macro_rules! interned {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        $($(#[$doc])* pub fn $name(py: Python<'_>) -> &Bound<'_, PyString> {
            static CELL: PyOnceLock<Py<PyString>> = PyOnceLock::new();
            CELL.get_or_init(py, || PyString::intern(py, $text).unbind()).bind(py)
        })*
    };
}

interned! {
    /// Where a class keeps its manager.
    sa_class_manager = "_sa_class_manager",
    /// Where an object of an external class keeps its state.
    sa_instance_state = "_sa_instance_state",
    /// Where an instrumented collection keeps its adapter.
    sa_adapter = "_sa_adapter",
    /// `object.__dict__`.
    dunder_dict = "__dict__",
    /// `object.__class__`.
    dunder_class = "__class__",
    /// Session method that begins a transaction on the first change.
    autobegin_t = "_autobegin_t",
    /// Keyword of the events of collections.
    key = "key",
    /// Keyword of `bulk_replace`.
    keys = "keys",
    /// Manager method that makes a manager for an unmapped subclass.
    subclass_manager = "_subclass_manager",
}
