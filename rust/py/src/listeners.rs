//! Listeners of events, called without a Python frame between the core and them.
//!
//! SQLAlchemy's event registry keeps the listeners of a target in collections: those of its class, then its own. The core
//! is handed the collections and looks into them at each firing, so it need not be told when a listener is removed.
use std::cell::{Cell, RefCell};
use std::iter::Chain;
use std::{option, vec};

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::raw;
use crate::state::StateRef;
use crate::token;
use crate::validator::Validator;

/// A program's function in the form its event calls it in: what the options of `listen()` say.
#[pyclass(frozen, weakref, module = "rustalchemy._core")]
pub struct Listener {
    function: Py<PyAny>,
    /// Where the event's `InstanceState` stands among the arguments.
    position: usize,
    /// The function gets the state itself, not the object.
    is_raw: bool,
    /// What the function returns counts; otherwise the value after the object stays as it is.
    returns_value: bool,
    /// The function gets the keyword that some events have.
    takes_keyword: bool,
    /// Not called once the object is gone.
    needs_object: bool,
}

#[pymethods]
impl Listener {
    #[new]
    #[pyo3(signature = (function, position=0, *, raw=false, retval=true, keyword=true, needs_object=false))]
    #[allow(clippy::fn_params_excessive_bools)] // the options of SQLAlchemy's `listen()`
    fn new(function: Py<PyAny>, position: usize, raw: bool, retval: bool, keyword: bool, needs_object: bool) -> Self {
        Self { function, position, is_raw: raw, returns_value: retval, takes_keyword: keyword, needs_object }
    }

    /// As the event's dispatcher calls it, with the `InstanceState` at `position`.
    #[pyo3(signature = (*args, **kwargs))]
    fn __call__<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = args.py();
        let mut arguments: Vec<_> = args.iter().collect();
        if let Some(place) = arguments.get_mut(self.position).filter(|_| !self.is_raw) {
            let object = place.call_method0("obj")?;
            if object.is_none() && self.needs_object {
                return Ok(object);
            }
            *place = object;
        }
        let kwargs = kwargs.filter(|_| self.takes_keyword);
        let answer = self.function.bind(py).call(PyTuple::new(py, arguments)?, kwargs)?;
        if self.returns_value {
            return Ok(answer);
        }
        Ok(args.get_item(self.position + 1).unwrap_or_else(|_| py.None().into_bound(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.function)
    }
}

/// One firing of an event about an object.
pub struct Firing<'a, 'py> {
    /// The object's state.
    pub state: StateRef,
    /// Where it stands among the arguments.
    pub position: usize,
    /// The other arguments, in order.
    pub others: &'a [Bound<'py, PyAny>],
    /// A keyword argument that only some listeners want.
    pub keyword: Option<(&'a Bound<'py, PyString>, &'a Bound<'py, PyAny>)>,
}

impl<'py> Firing<'_, 'py> {
    /// Calls a listener; returns what it says, if that counts.
    pub fn call(&self, listener: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = listener.py();
        let Ok(listener) = listener.cast_exact::<Listener>() else {
            if let (Ok(validator), Some(value)) = (listener.cast_exact::<Validator>(), self.others.first()) {
                return validator.get().validate(Some(self.state), value, token::initiator(self.others.last()));
            }
            return self.pass(listener, self.state.view(py)?, true).map(Some);
        };
        let listener = listener.get();
        let subject = if listener.is_raw {
            self.state.view(py)?
        } else {
            match self.state.object(py) {
                Some(object) => object,
                None if listener.needs_object => return Ok(None),
                None => py.None().into_bound(py),
            }
        };
        let answer = self.pass(listener.function.bind(py), subject, listener.takes_keyword)?;
        Ok(listener.returns_value.then_some(answer))
    }

    /// Calls all these; what they return does not count.
    pub fn announce(&self, py: Python<'py>, mut listeners: Present<'py>) -> PyResult<()> {
        // A listener may let go of the object before the next one is called.
        // SAFETY: the state's living carrier.
        let _held = unsafe { Bound::from_borrowed_ptr(py, self.state.carrier()) };
        listeners.try_for_each(|listener| self.call(&listener).map(drop))
    }

    fn pass(
        &self,
        function: &Bound<'py, PyAny>,
        subject: Bound<'py, PyAny>,
        takes_keyword: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (before, after) = self.others.split_at(self.position.min(self.others.len()));
        let arguments = before.iter().chain([&subject]).chain(after);
        match self.keyword.filter(|_| takes_keyword) {
            None => raw::call(function, arguments, None),
            Some((name, value)) => {
                let names = PyTuple::new(function.py(), [name])?;
                raw::call(function, arguments.chain([value]), Some(&names))
            }
        }
    }
}

/// The listeners of one firing.
pub type Present<'py> = Chain<option::IntoIter<Bound<'py, PyAny>>, vec::IntoIter<Bound<'py, PyAny>>>;

/// Which events of a target have listeners, by number, and where these are kept.
#[derive(Default)]
pub struct Heard {
    bits: Cell<u32>,
    collections: RefCell<Vec<Option<Py<PyTuple>>>>,
}

impl Heard {
    /// Reads `{event: collections of its listeners}`; events are numbered by their place in `names`.
    pub fn from_dict(dict: &Bound<'_, PyDict>, names: &[&str]) -> PyResult<Self> {
        let heard = Self::default();
        for (number, name) in names.iter().enumerate() {
            if let Some(collections) = dict.get_item(name)? {
                heard.listen(number, collections.cast_into::<PyTuple>()?);
            }
        }
        Ok(heard)
    }

    /// Takes over what another one knows.
    pub fn replace(&self, other: Self) {
        self.bits.set(other.bits.get());
        let old = self.collections.replace(other.collections.into_inner());
        drop(old); // may run Python code
    }

    /// An event has listeners, in these collections.
    pub fn listen(&self, event: usize, collections: Bound<'_, PyTuple>) {
        let mut known = self.collections.borrow_mut();
        if known.len() <= event {
            known.resize_with(event + 1, || None);
        }
        let old = known[event].replace(collections.unbind());
        drop(known);
        drop(old);
        self.bits.set(self.bits.get() | 1 << event);
    }

    /// These events have listeners; where is asked later.
    pub fn expect(&self, bits: u32) {
        self.replace(Self { bits: Cell::new(bits), collections: RefCell::default() });
    }

    /// Does an event have listeners?
    #[inline]
    pub fn listens(&self, event: usize) -> bool {
        self.bits.get() & 1 << event != 0
    }

    /// Does any event have listeners?
    #[inline]
    pub fn is_silent(&self) -> bool {
        self.bits.get() == 0
    }

    /// The collections of an event's listeners.
    pub fn collections<'py>(&self, py: Python<'py>, event: usize) -> Option<Bound<'py, PyTuple>> {
        self.collections.borrow().get(event)?.as_ref().map(|found| found.bind(py).clone())
    }

    /// Those who listen to an event now, in order: they may add or remove listeners while they are called. When the last
    /// one is gone, the event is silent.
    pub fn present<'py>(&self, py: Python<'py>, event: usize) -> PyResult<Present<'py>> {
        let (mut first, mut further) = (None, Vec::new());
        if let Some(collections) = self.collections(py, event) {
            for collection in collections.iter_borrowed() {
                for index in 0..raw::sequence_len(&collection)? {
                    let listener = raw::sequence_item(&collection, index)?;
                    match &first {
                        None => first = Some(listener),
                        Some(_) => further.push(listener),
                    }
                }
            }
        }
        if first.is_none() {
            self.bits.set(self.bits.get() & !(1 << event));
        }
        Ok(first.into_iter().chain(further))
    }

    /// Visits owned references.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(collections) = self.collections.try_borrow() else { return Ok(()) };
        collections.iter().try_for_each(|found| visit.call(found))
    }

    /// As `traverse`, for raw types.
    pub fn traverse_raw(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> std::ffi::c_int {
        let Ok(collections) = self.collections.try_borrow() else { return 0 };
        for found in collections.iter().flatten() {
            // SAFETY: called by the collector; an owned reference.
            let result = unsafe { visit(found.as_ptr(), arg) };
            if result != 0 {
                return result;
            }
        }
        0
    }
}
