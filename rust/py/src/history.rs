//! History of attributes: what was added, what stayed, what was deleted since the committed state.
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList, PyString, PyTuple};
use smallvec::SmallVec;

use crate::attribute::{self, AttrCore, AttrKind, is_no_state};
use crate::flags::passive;
use crate::state::StateRef;
use crate::{collection, expiry, names, write_only};

/// The three parts of one attribute's history.
#[derive(Default)]
pub struct History<'py> {
    /// New values.
    pub added: Vec<Bound<'py, PyAny>>,
    /// Values that stayed.
    pub unchanged: Vec<Bound<'py, PyAny>>,
    /// Values that went.
    pub deleted: Vec<Bound<'py, PyAny>>,
}

impl<'py> History<'py> {
    /// Nothing known at all?
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.unchanged.is_empty() && self.deleted.is_empty()
    }
    /// `(added, unchanged, deleted)`; an empty part is an empty tuple unless the history is a collection's.
    fn into_tuple(self, py: Python<'py>, lists: [bool; 3]) -> PyResult<Bound<'py, PyTuple>> {
        let part = |values: Vec<Bound<'py, PyAny>>, list: bool| -> PyResult<Bound<'py, PyAny>> {
            if values.is_empty() && !list {
                Ok(PyTuple::empty(py).into_any())
            } else {
                Ok(PyList::new(py, values)?.into_any())
            }
        };
        let parts = [part(self.added, lists[0])?, part(self.unchanged, lists[1])?, part(self.deleted, lists[2])?];
        PyTuple::new(py, parts)
    }
}

/// The committed value: `None` when the attribute is not modified, `NO_VALUE` when it had none.
fn original<'py>(py: Python<'py>, state: StateRef, attr: &AttrCore) -> Option<Bound<'py, PyAny>> {
    let committed = state.committed(attr.index())?;
    // SAFETY: owned by the state, or null.
    Some(unsafe { Bound::from_borrowed_ptr_or_opt(py, committed) }.unwrap_or_else(|| names::NO_VALUE.get(py)))
}

/// Does the attribute's type (or `==`) take both values for one? What its comparison raises is passed on.
pub fn is_equal<'py>(
    py: Python<'py>,
    attr: &AttrCore,
    current: &Bound<'py, PyAny>,
    original: &Bound<'py, PyAny>,
) -> PyResult<bool> {
    let compare = attr.compare.borrow().as_ref().map(|compare| compare.clone_ref(py));
    let is_plain = current.is_exact_instance_of::<PyInt>() || current.is_exact_instance_of::<PyString>();
    if is_plain && compare.is_none() && current.is(original) {
        return Ok(true);
    }
    let result = match compare {
        Some(compare) => compare.bind(py).call1((current, original))?,
        None => current.rich_compare(original, pyo3::class::basic::CompareOp::Eq)?,
    };
    Ok(result.is(pyo3::types::PyBool::new(py, true).as_any())) // SQL expressions compare to expressions
}

/// Was a column's known value replaced by another one?
pub fn has_changed(py: Python<'_>, state: StateRef, index: u32) -> PyResult<bool> {
    let Some(attr) = state.manager().attr(index) else { return Ok(false) };
    let Some(old) = original(py, state, attr).filter(|old| !names::NO_VALUE.is(old.as_ptr())) else {
        return Ok(false);
    };
    // SAFETY: the slot owns its value.
    match unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(index).value()) } {
        Some(new) => Ok(!is_equal(py, attr, &new, &old)?),
        None => Ok(true),
    }
}

/// As `has_changed`, for any of several columns.
pub fn has_any_changed(py: Python<'_>, state: StateRef, indexes: impl IntoIterator<Item = u32>) -> PyResult<bool> {
    for index in indexes {
        if has_changed(py, state, index)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Is there a column value to write: another one than before, or one where nothing was known?
pub fn is_net_change(py: Python<'_>, state: StateRef, index: u32) -> PyResult<bool> {
    let is_known = state.committed(index).is_some_and(|old| !old.is_null() && !names::NO_VALUE.is(old));
    Ok(state.slot(index).is_modified() && (!is_known || has_changed(py, state, index)?))
}

fn difference<'py>(
    py: Python<'py>,
    current: Bound<'py, PyAny>,
    original: Bound<'py, PyAny>,
    drop_none: bool,
) -> History<'py> {
    let mut current = current;
    let mut history = History::default();
    if is_no_state(original.as_ptr()) || (drop_none && original.is_none()) {
        if is_no_state(current.as_ptr()) {
            current = py.None().into_bound(py); // a deletion whose old value is not known
        }
    } else {
        history.deleted.push(original);
    }
    if !names::NO_VALUE.is(current.as_ptr()) {
        history.added.push(current);
    }
    history
}

fn unchanged<'py>(current: Bound<'py, PyAny>) -> History<'py> {
    History { unchanged: vec![current], ..History::default() }
}

/// The present value, loaded as `passive` allows; nothing where that is not enough.
fn present<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    passive: u32,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: owned by the slot, or null.
    if let Some(value) = unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(attr.index()).value()) } {
        return Ok(Some(value));
    }
    let value = attribute::get(py, state, attr, passive & !passive::INIT_OK)?;
    Ok((!names::PASSIVE_NO_RESULT.is(value.as_ptr())).then_some(value))
}

fn scalar<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore, passive: u32) -> PyResult<History<'py>> {
    let slot = state.slot(attr.index());
    let current = if slot.is_modified() && slot.value().is_null() {
        names::NO_VALUE.get(py)
    } else {
        let Some(current) = present(py, state, attr, passive)? else { return Ok(History::default()) };
        current
    };
    let has_value = !names::NO_VALUE.is(current.as_ptr());
    let Some(original) = original(py, state, attr) else {
        return Ok(if has_value { unchanged(current) } else { History::default() });
    };
    if has_value && is_equal(py, attr, &current, &original)? {
        return Ok(unchanged(current));
    }
    Ok(difference(py, current, original, false))
}

fn object<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore, passive: u32) -> PyResult<History<'py>> {
    let Some(current) = present(py, state, attr, passive)? else { return Ok(History::default()) };
    let has_value = !names::NO_VALUE.is(current.as_ptr());
    let Some(mut original) = original(py, state, attr) else {
        return Ok(if has_value { unchanged(current) } else { History::default() });
    };
    if names::PASSIVE_NO_RESULT.is(original.as_ptr()) {
        // The old value was not at hand when it was replaced; a simple many-to-one looks it up now.
        let deferred = passive
            | passive::ONLY_PERSISTENT
            | passive::NO_AUTOFLUSH
            | passive::LOAD_AGAINST_COMMITTED
            | passive::NO_RAISE
            | passive::DEFERRED_HISTORY_LOAD;
        original = deferred_original(py, state, attr, deferred)?;
    }
    if has_value && current.is(&original) {
        return Ok(unchanged(current));
    }
    Ok(difference(py, current, original, true))
}

fn deferred_original<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    passive: u32,
) -> PyResult<Bound<'py, PyAny>> {
    if attr.deferred_history.get() {
        attribute::fire_loader_callables(py, state, attr, passive)
    } else {
        Ok(names::PASSIVE_NO_RESULT.get(py))
    }
}

fn of_collection<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    passive: u32,
) -> PyResult<(History<'py>, [bool; 3])> {
    if attr.write_only.get() {
        return Ok((write_only::history(py, state, attr, passive)?, [true; 3]));
    }
    let current = attribute::get(py, state, attr, passive)?;
    let mut history = History::default();
    if names::PASSIVE_NO_RESULT.is(current.as_ptr()) {
        if passive & passive::INCLUDE_PENDING_MUTATIONS != 0
            && let Some(rare) = state.rare()
            && let Some((_, pending)) = rare.pending.iter().find(|(at, _)| *at == attr.index())
        {
            // SAFETY: queued objects are owned by the state.
            let own =
                |objects: &[_]| objects.iter().map(|object| unsafe { Bound::from_borrowed_ptr(py, *object) }).collect();
            history.added = own(&pending.added);
            history.deleted = own(&pending.removed);
            return Ok((history, [true, false, true]));
        }
        return Ok((history, [false; 3]));
    }
    if names::NO_VALUE.is(current.as_ptr()) {
        return Ok((history, [false; 3]));
    }
    let members = collection::items(&current)?;
    let Some(original) = original(py, state, attr) else {
        history.unchanged = members;
        return Ok((history, [false, true, false]));
    };
    if names::NO_VALUE.is(original.as_ptr()) {
        history.added = members;
        return Ok((history, [true, false, false]));
    }
    Ok((of_members(members, collection::items(&original)?), [true; 3]))
}

/// The history of a collection: members are told apart by identity, in the orders in which they are and were.
pub fn of_members<'py>(current: Vec<Bound<'py, PyAny>>, original: Vec<Bound<'py, PyAny>>) -> History<'py> {
    if original.is_empty() {
        return History { added: current, ..History::default() };
    }
    let before = Members::of(&original);
    let was_there: SmallVec<[bool; Members::FEW]> = current.iter().map(|member| before.has(member)).collect();
    let now = Members::of(&current);
    let is_there: SmallVec<[bool; Members::FEW]> = original.iter().map(|member| now.has(member)).collect();
    let staying = was_there.iter().filter(|&&was| was).count();
    let going = is_there.iter().filter(|&&is| !is).count();
    let mut history = History {
        added: Vec::with_capacity(current.len() - staying),
        unchanged: Vec::with_capacity(staying),
        deleted: Vec::with_capacity(going),
    };
    for (member, was) in current.into_iter().zip(was_there) {
        if was { history.unchanged.push(member) } else { history.added.push(member) }
    }
    for (member, is) in original.into_iter().zip(is_there) {
        if !is {
            history.deleted.push(member);
        }
    }
    history
}

/// Members of a collection, to look for objects among: few are gone along, many looked up.
enum Members<'a, 'py> {
    Few(&'a [Bound<'py, PyAny>]),
    Many(hashbrown::HashSet<usize>),
}

impl<'a, 'py> Members<'a, 'py> {
    /// Up to this many a walk is faster.
    const FEW: usize = 24;

    fn of(members: &'a [Bound<'py, PyAny>]) -> Self {
        if members.len() <= Self::FEW {
            Self::Few(members)
        } else {
            Self::Many(members.iter().map(|member| member.as_ptr() as usize).collect())
        }
    }
    fn has(&self, object: &Bound<'py, PyAny>) -> bool {
        match self {
            Self::Few(members) => members.iter().any(|member| member.is(object)),
            Self::Many(members) => members.contains(&(object.as_ptr() as usize)),
        }
    }
}

/// The history of one attribute; may load, as `passive` allows.
pub fn of<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore, passive: u32) -> PyResult<History<'py>> {
    expiry::apply_pending(py, state)?;
    match attr.kind {
        AttrKind::Scalar => scalar(py, state, attr, passive),
        AttrKind::Object => object(py, state, attr, passive),
        AttrKind::Collection => Ok(of_collection(py, state, attr, passive)?.0),
    }
}

/// The history as Python's `(added, unchanged, deleted)`.
pub fn tuple_of<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    passive: u32,
) -> PyResult<Bound<'py, PyTuple>> {
    expiry::apply_pending(py, state)?;
    match attr.kind {
        AttrKind::Scalar => scalar(py, state, attr, passive)?.into_tuple(py, [false; 3]),
        AttrKind::Object => object(py, state, attr, passive)?.into_tuple(py, [false; 3]),
        AttrKind::Collection => {
            let (history, lists) = of_collection(py, state, attr, passive)?;
            history.into_tuple(py, lists)
        }
    }
}
