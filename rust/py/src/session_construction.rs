//! Sessions made without a Python frame, as most are: what `Session.__init__` and `sessionmaker.__call__` come to when all
//! arguments are plain.
//!
//! The classes still show these Python functions, which say what has to happen. They are called wherever an argument is more
//! than a value to store, and for a class that has an `__init__` or a `__new__` of its own. Setting another `__call__` on
//! `sessionmaker` makes CPython fill the type slot anew.
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple, PyType};

use crate::raw::{self, guarded};
use crate::unit_of_work::UnitOfWork;

/// Arguments that are only stored, with what they are where they need not be: their default, that of the class.
const SWITCHES: [(&str, bool); 5] = [
    ("autoflush", true),
    ("expire_on_commit", true),
    ("autobegin", true),
    ("twophase", false),
    ("enable_baked_queries", true),
];
/// `bind` and the switches.
const PLAIN: usize = SWITCHES.len() + 1;

/// What the Python side has handed over.
struct Originals {
    session: Py<PyType>,
    init: Py<PyAny>,
    call: Py<PyAny>,
    names: [Py<PyString>; PLAIN],
}

static ORIGINALS: PyOnceLock<Originals> = PyOnceLock::new();

/// The plain arguments of one session.
#[derive(Default)]
struct Plain<'py> {
    is_given: [bool; PLAIN],
    stored: [Option<Bound<'py, PyAny>>; PLAIN],
}

impl<'py> Plain<'py> {
    /// Takes an argument; false if it is not plain. One that was given before stays.
    fn take(&mut self, originals: &Originals, name: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> bool {
        let Some(number) = originals.names.iter().position(|known| known.is(name)) else { return false };
        match number.checked_sub(1) {
            None => self.take_bind(value),
            Some(switch) => self.take_switch(switch, value),
        }
    }
    fn take_bind(&mut self, value: &Bound<'py, PyAny>) -> bool {
        if !std::mem::replace(&mut self.is_given[0], true) && !value.is_none() {
            self.stored[0] = Some(value.clone());
        }
        true
    }
    fn take_switch(&mut self, switch: usize, value: &Bound<'py, PyAny>) -> bool {
        let Ok(is_on) = value.cast_exact::<PyBool>() else { return false };
        if !std::mem::replace(&mut self.is_given[switch + 1], true) && is_on.is_true() != SWITCHES[switch].1 {
            self.stored[switch + 1] = Some(value.clone());
        }
        true
    }
}

impl Originals {
    /// Are objects of this class made by nobody but us?
    fn makes(&self, class: &Bound<'_, PyType>) -> bool {
        let (py, class) = (class.py(), class.as_type_ptr());
        let init = pyo3::intern!(py, "__init__");
        // SAFETY: living types; the look-up's result is only compared.
        unsafe {
            let called = (*ffi::Py_TYPE(class.cast())).tp_call.map(|call| call as usize);
            let original_call = ffi::PyType_Type.tp_call.map(|call| call as usize);
            let new = (*class).tp_new.map(|new| new as usize);
            let original_new = (*self.session.bind(py).as_type_ptr()).tp_new.map(|new| new as usize);
            called == original_call
                && new == original_new
                && raw::_PyType_Lookup(class, init.as_ptr()) == self.init.as_ptr()
        }
    }

    /// A new session of such a class.
    fn session<'py>(&self, class: &Bound<'py, PyType>, plain: Plain<'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = class.py();
        // SAFETY: `makes` has compared `tp_new` with the one of Session, which returns an object of this class.
        let session = unsafe {
            let Some(new) = (*class.as_type_ptr()).tp_new else {
                return Err(PyTypeError::new_err("cannot create sessions of this class"));
            };
            let object = new(class.as_type_ptr(), PyTuple::empty(py).as_ptr(), std::ptr::null_mut());
            Bound::from_owned_ptr_or_err(py, object)?
        };
        for (name, value) in self.names.iter().zip(plain.stored) {
            if let Some(value) = value {
                session.setattr(name, value)?;
            }
        }
        // SAFETY: as above: a subclass of Session.
        UnitOfWork::open(unsafe { session.cast_unchecked::<UnitOfWork>() })?;
        Ok(session)
    }

    /// What a sessionmaker makes with these arguments of its own call; None if Python has to.
    fn factory_session<'py>(
        &self,
        factory: &Bound<'py, PyAny>,
        local: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = factory.py();
        let (class, kw) = (factory.getattr(pyo3::intern!(py, "class_"))?, factory.getattr(pyo3::intern!(py, "kw"))?);
        let (Ok(class), Ok(kw)) = (class.cast::<PyType>(), kw.cast_exact::<PyDict>()) else { return Ok(None) };
        let mut plain = Plain::default();
        let mut given = local.into_iter().chain([kw]).flat_map(|arguments| arguments.iter());
        if !self.makes(class) || !given.all(|(name, value)| plain.take(self, &name, &value)) {
            return Ok(None);
        }
        self.session(class, plain).map(Some)
    }
}

/// Calls the Session class.
unsafe extern "C" fn session_vectorcall(
    class: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    flagged_count: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter, with `count` positional arguments and then one for each name.
    unsafe {
        guarded(|py| {
            let class = Bound::from_borrowed_ptr(py, class).cast_into_unchecked::<PyType>();
            let keywords =
                Bound::from_borrowed_ptr_or_opt(py, keywords).map(|keywords| keywords.cast_into_unchecked::<PyTuple>());
            let count = usize::try_from(ffi::PyVectorcall_NARGS(flagged_count)).unwrap_or(0);
            let all = count + keywords.as_ref().map_or(0, |keywords| keywords.len());
            let values = if all == 0 { &[] } else { std::slice::from_raw_parts(arguments, all) };
            let (positional, named) = values.split_at(count);
            let value = |&value: &*mut ffi::PyObject| Bound::from_borrowed_ptr(py, value);
            let named = || keywords.iter().flat_map(|keywords| keywords.iter()).zip(named.iter().map(value));

            if let Some(originals) = ORIGINALS.get(py)
                && originals.makes(&class)
                && count <= 1
            {
                let mut plain = Plain::default();
                let bind_name = &originals.names[0];
                let is_plain = positional.iter().map(value).all(|bind| plain.take_bind(&bind))
                    && named().all(|(name, value)| {
                        !(count > 0 && bind_name.is(&name)) && plain.take(originals, &name, &value)
                    });
                if is_plain {
                    return originals.session(&class, plain).map(Bound::into_ptr);
                }
            }
            let args = PyTuple::new(py, positional.iter().map(value).collect::<Vec<_>>())?;
            let kwargs = PyDict::new(py);
            for (name, value) in named() {
                kwargs.set_item(name, value)?;
            }
            let Some(call) = (*ffi::Py_TYPE(class.as_ptr())).tp_call else {
                return Err(PyTypeError::new_err("this class cannot be called"));
            };
            Ok(Bound::from_owned_ptr_or_err(py, call(class.as_ptr(), args.as_ptr(), kwargs.as_ptr()))?.into_ptr())
        })
    }
}

/// Calls a sessionmaker.
unsafe extern "C" fn factory_call(
    factory: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with a sessionmaker, a tuple and a dict or null.
    unsafe {
        guarded(|py| {
            let factory = Bound::from_borrowed_ptr(py, factory);
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            let kwargs = Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|kw| kw.cast_into_unchecked::<PyDict>());
            let Some(originals) = ORIGINALS.get(py) else {
                return Err(PyTypeError::new_err("sessionmaker is not ready yet"));
            };
            if args.is_empty()
                && let Some(session) = originals.factory_session(&factory, kwargs.as_ref())?
            {
                return Ok(session.into_ptr());
            }
            let args = PyTuple::new(py, std::iter::once(factory).chain(args.iter()).collect::<Vec<_>>())?;
            Ok(originals.call.bind(py).call(args, kwargs.as_ref())?.into_ptr())
        })
    }
}

/// Names Session and sessionmaker: calling them runs `Session.__init__` and `sessionmaker.__call__` only where these have
/// more to do than to store arguments.
#[pyfunction]
pub fn construct_sessions_natively(session: &Bound<'_, PyType>, factory: &Bound<'_, PyType>) -> PyResult<()> {
    let py = session.py();
    if !session.is_subclass_of::<UnitOfWork>()? {
        return Err(PyTypeError::new_err("Session has to be a UnitOfWork"));
    }
    let made = Originals {
        session: session.clone().unbind(),
        init: session.getattr(pyo3::intern!(py, "__init__"))?.unbind(),
        call: factory.getattr(pyo3::intern!(py, "__call__"))?.unbind(),
        names: std::array::from_fn(|number| {
            let name = number.checked_sub(1).map_or("bind", |switch| SWITCHES[switch].0);
            PyString::intern(py, name).unbind()
        }),
    };
    if ORIGINALS.set(py, made).is_ok() {
        // SAFETY: living heap types; both functions fall back to what the types did before.
        unsafe {
            (*session.as_type_ptr()).tp_vectorcall = Some(session_vectorcall);
            (*factory.as_type_ptr()).tp_call = Some(factory_call);
        }
    }
    Ok(())
}
