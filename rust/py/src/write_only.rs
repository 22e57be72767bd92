//! Collections that are never loaded (`lazy="write_only"` and `"dynamic"`): what is appended and removed is recorded until
//! the next flush, and everything else is a query. Their implementation objects in `orm.writeonly` make the queries.
use hashbrown::HashSet;
use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;
use pyo3::types::PyBool;

use crate::attribute::{AttrCore, Initiator, related_state};
use crate::collection::{self, fire_append, fire_remove};
use crate::flags::passive;
use crate::history::History;
use crate::names;
use crate::pending::{IdentityList, PendingMutations};
use crate::state::StateRef;

/// What is known of a collection: the recorded changes and, if it was asked for, what the database has.
pub struct Known<'py> {
    /// Appended since the last flush.
    pub added: Vec<Bound<'py, PyAny>>,
    /// Removed since the last flush.
    pub removed: Vec<Bound<'py, PyAny>>,
    /// The rows' objects; `None` if they were not looked up.
    pub existing: Option<Vec<Bound<'py, PyAny>>>,
}

fn implementation<'py>(py: Python<'py>, attr: &AttrCore) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the GIL is held.
    unsafe { attr.object(py) }.into_pyobject(py)?.getattr("impl")
}

fn own<'py>(py: Python<'py>, list: &IdentityList) -> Vec<Bound<'py, PyAny>> {
    // SAFETY: queued objects are owned by the state.
    list.iter().map(|&object| unsafe { Bound::from_borrowed_ptr(py, object) }).collect()
}

fn queue(state: StateRef, index: u32) -> Option<&'static PendingMutations> {
    state.rare().and_then(|rare| rare.pending.iter().find(|(at, _)| *at == index)).map(|(_, pending)| pending)
}

/// The recorded changes, with the rows' objects where the passive flags ask for them and there is a row to belong to.
pub fn known<'py>(py: Python<'py>, state: StateRef, attr: &AttrCore, passive: u32) -> PyResult<Known<'py>> {
    let mut existing = None;
    if state.has_key() && passive & passive::INIT_OK != 0 {
        // before the queue is read: the query may run anything
        let rows = implementation(py, attr)?.call_method1("_existing", (state.view(py)?, passive))?;
        if !rows.is_none() {
            existing = Some(rows.try_iter()?.collect::<PyResult<_>>()?);
        }
    }
    let (added, removed) =
        queue(state, attr.index()).map_or_else(Default::default, |it| (own(py, &it.added), own(py, &it.removed)));
    Ok(Known { added, removed, existing })
}

fn address(object: &Bound<'_, PyAny>) -> usize {
    object.as_ptr() as usize
}

fn pointers(list: &[Bound<'_, PyAny>]) -> HashSet<usize> {
    list.iter().map(address).collect()
}

impl<'py> Known<'py> {
    /// The members as cascades see them.
    pub fn members(self) -> Vec<Bound<'py, PyAny>> {
        let mut members = self.added;
        let known = pointers(&members);
        members.extend(self.existing.unwrap_or_default().into_iter().filter(|row| !known.contains(&address(row))));
        members
    }
    fn into_history(self) -> History<'py> {
        let Some(existing) = self.existing else {
            return History { added: self.added, unchanged: Vec::new(), deleted: self.removed };
        };
        let (rows, removed) = (pointers(&existing), pointers(&self.removed));
        let is_row = |member: &Bound<'py, PyAny>| rows.contains(&address(member));
        History {
            added: self.added.into_iter().filter(|member| !is_row(member)).collect(),
            deleted: self.removed.into_iter().filter(is_row).collect(),
            unchanged: existing.into_iter().filter(|row| !removed.contains(&address(row))).collect(),
        }
    }
}

/// The history of such a collection.
pub fn history<'py>(py: Python<'py>, state: StateRef, attr: &AttrCore, passive: u32) -> PyResult<History<'py>> {
    known(py, state, attr, passive).map(Known::into_history)
}

/// Reading the attribute: an object that queries and writes.
pub fn read<'py>(py: Python<'py>, state: StateRef, attr: &AttrCore, passive: u32) -> PyResult<Bound<'py, PyAny>> {
    if passive & passive::SQL_OK == 0 {
        return Ok(names::PASSIVE_NO_RESULT.get(py));
    }
    implementation(py, attr)?.call_method1("_writer", (state.view(py)?,))
}

/// `__dict__` shows that the collection was changed since the object was loaded or expired: with True, as SQLAlchemy does.
pub fn mark(py: Python<'_>, state: StateRef, attr: &AttrCore) -> PyResult<()> {
    let slot = state.slot(attr.index());
    if !slot.value().is_null() {
        return Ok(());
    }
    state.store(attr.index(), PyBool::new(py, true).to_owned().into_ptr(), slot.flags())
}

/// Assigning a whole collection.
pub fn replace(
    py: Python<'_>,
    state: StateRef,
    attr: &AttrCore,
    value: &Bound<'_, PyAny>,
    passive: u32,
) -> PyResult<()> {
    implementation(py, attr)?.call_method1("_replace", (state.view(py)?, value, passive))?;
    Ok(())
}

/// The error for a value that is to look loaded.
pub fn refuse_population() -> PyErr {
    PyNotImplementedError::new_err("Dynamic attributes don't support collection population.")
}

/// Records an append.
pub fn append<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    item: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
) -> PyResult<()> {
    if !item.is_none() {
        related_state(item)?;
    }
    state.track(item.as_ptr());
    if state.pending_mutations(attr.index()).added.push(item.as_ptr()) {
        let _owned_by_queue = item.clone().into_ptr();
    }
    fire_append(py, state, attr, item.clone(), initiator, None)?;
    Ok(())
}

/// Records a removal, or takes back an append.
pub fn remove<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    item: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
) -> PyResult<()> {
    collection::queue(state, attr, item.clone(), false);
    fire_remove(py, state, attr, item, initiator, None)
}
