//! Events of relationship attributes: both sides in step, who is whose parent, cascades into the session.
//!
//! Every function is one listener of SQLAlchemy's chain; `scalar_object.rs` and `collection.rs` call them in its order.
use std::rc::Rc;

use pyo3::exceptions::{PyIndexError, PyKeyError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::attribute::{self, AttrCore, AttrKind, Initiator, Op, is_no_state, related_state};
use crate::flags::{self, passive};
use crate::manager::ManagerCore;
use crate::state::{Parent, StateRef};
use crate::unit_of_work_core::UnitOfWorkCore;
use crate::{collection, errors, hooks, imports, scalar_object};

// ---- parents ----------------------------------------------------------------------------------------------------------

/// Does the state have a parent along the relationship? `optimistic` is the answer when nothing is known.
pub fn has_parent(state: StateRef, token: usize, optimistic: bool) -> bool {
    let known = state.extra().and_then(|extra| extra.parents.iter().find(|(at, _)| *at == token));
    match known {
        None => optimistic,
        Some((_, parent)) => !matches!(parent, Parent::Gone),
    }
}

fn same_key(py: Python<'_>, left: *mut ffi::PyObject, right: *mut ffi::PyObject) -> PyResult<bool> {
    if left == right {
        return Ok(true);
    }
    if left.is_null() || right.is_null() {
        return Ok(false);
    }
    // SAFETY: two living objects; held across the comparison, which may run Python code.
    let (left, right) = unsafe { (Bound::from_borrowed_ptr(py, left), Bound::from_borrowed_ptr(py, right)) };
    left.eq(right)
}

/// Records that `child` got (`held`) or lost `parent` along a relationship that tracks parents.
pub fn set_has_parent(py: Python<'_>, attr: &AttrCore, child: StateRef, parent: StateRef, held: bool) -> PyResult<()> {
    let token = attr.token.get();
    if held {
        remember_parent(child, token, Parent::Held(parent.tombstone()));
        return Ok(());
    }
    let last = child.extra().and_then(|extra| {
        extra.parents.iter().find(|(at, _)| *at == token).and_then(|(_, parent)| match parent {
            Parent::Held(handle) => Some(Rc::clone(handle)),
            Parent::Gone => None,
        })
    });
    if let Some(last) = last
        && last.state.get() != parent.as_ptr()
        && !same_key(py, last.key(), parent.key())?
    {
        if last.state.get().is_null() {
            let describe = |state: StateRef| {
                state.object(py).map_or_else(|| "<?>".to_owned(), |object| errors::instance_str(&object))
            };
            return Err(errors::of(
                py,
                &imports::STALE_DATA,
                format!(
                    "Removing state {} from parent state {} along attribute '{}', but the parent record has gone stale, \
                     can't be sure this is the most recent parent.",
                    describe(child),
                    describe(parent),
                    attr.key(py)
                ),
            ));
        }
        return Ok(());
    }
    remember_parent(child, token, Parent::Gone);
    Ok(())
}

/// The handle on the parent before goes last: with it may go the key of an object that is gone, which may run Python code.
fn remember_parent(child: StateRef, token: usize, parent: Parent) {
    let parents = &mut child.extra_mut().parents;
    let before = match parents.iter_mut().find(|(at, _)| *at == token) {
        Some(entry) => Some(std::mem::replace(&mut entry.1, parent)),
        None => {
            parents.push((token, parent));
            None
        }
    };
    drop(before);
}

/// `single_parent=True`: refuses an object that another parent holds.
pub fn check_single_parent(
    py: Python<'_>,
    attr: &AttrCore,
    value: &Bound<'_, PyAny>,
    old: Option<&Bound<'_, PyAny>>,
    initiator: Initiator,
) -> PyResult<()> {
    let is_single = attr.relationship.borrow().as_ref().is_some_and(|relationship| relationship.single_parent);
    if !is_single || value.is_none() || initiator.attr.key_ptr() != attr.key_ptr() {
        return Ok(());
    }
    let state = related_state(value)?;
    if !has_parent(state, attr.token.get(), false) || old.is_some_and(|old| old.is(value)) {
        return Ok(());
    }
    let class = attr.describe(py);
    let owner = class.split('.').next().unwrap_or_default();
    // SAFETY: the GIL is held.
    let parent_class = unsafe { attr.object(py) }
        .and_then(|object| object.getattr("class_").ok())
        .map_or_else(|| owner.to_owned(), |class| class.to_string());
    let message = format!(
        "Instance {} is already associated with an instance of {parent_class} via its {class} attribute, and is only \
         allowed a single parent.",
        errors::instance_str(value),
    );
    let error = errors::invalid_request(py, message);
    error.value(py).setattr("code", "bbf1")?;
    Err(error)
}

// ---- cascades ---------------------------------------------------------------------------------------------------------

/// Warns about changes while the session flushes (`_flush_warning`).
fn flush_warning(py: Python<'_>, state: StateRef, what: &str) -> PyResult<()> {
    let owner = state.owner();
    // SAFETY: an owner outlives its states' pointers to it.
    unsafe {
        if !owner.is_null()
            && (*owner).warn_on_events
            && let Some(session) = UnitOfWorkCore::session(py, owner)
        {
            session.call_method1("_flush_warning", (what,))?;
        }
    }
    Ok(())
}

fn cascade_save_update(
    py: Python<'_>,
    state: StateRef,
    attr: &AttrCore,
    item: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    let owner = state.owner();
    if owner.is_null() || initiator.attr.key_ptr() != attr.key_ptr() || !attr.cascades(crate::mapper::bits::SAVE_UPDATE)
    {
        return Ok(());
    }
    let item_state = related_state(item)?;
    // SAFETY: the owner is alive; the caller holds `item`.
    unsafe { UnitOfWorkCore::cascade_into(py, owner, item_state) }
}

/// Something was appended: into the owner's session with it.
pub fn cascade_append(
    py: Python<'_>,
    state: StateRef,
    attr: &AttrCore,
    item: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    if item.is_none() || state.owner().is_null() {
        return Ok(());
    }
    flush_warning(py, state, "collection append")?;
    cascade_save_update(py, state, attr, item, initiator)
}

fn is_orphan(py: Python<'_>, attr: &AttrCore, item_state: StateRef) -> bool {
    let target = attr.relationship().map(|relationship| relationship.target.clone_ref(py));
    target.is_some_and(|target| ManagerCore::of(target.bind(py)).is_orphan(py, item_state))
}

/// Something was removed: a pending orphan leaves the session at once.
pub fn cascade_remove(py: Python<'_>, state: StateRef, attr: &AttrCore, item: &Bound<'_, PyAny>) -> PyResult<()> {
    if item.is_none() {
        return Ok(());
    }
    let is_collection = attr.kind == AttrKind::Collection;
    flush_warning(py, state, if is_collection { "collection remove" } else { "related attribute delete" })?;
    if is_no_state(item.as_ptr()) || !attr.is_delete_orphan() {
        return Ok(());
    }
    let item_state = related_state(item)?;
    if is_orphan(py, attr, item_state) {
        let owner = state.owner();
        if !owner.is_null() && item_state.owner() == owner && item_state.has(flags::IN_NEW) {
            // SAFETY: the owner is alive; the caller holds `item`.
            unsafe { UnitOfWorkCore::expunge_orphan(py, owner, item_state)? }
        } else {
            item_state.add_flags(flags::ORPHANED_OUTSIDE);
        }
    }
    Ok(())
}

/// A related object was replaced: the new one into the session, a pending orphan out of it.
pub fn cascade_set(
    py: Python<'_>,
    state: StateRef,
    attr: &AttrCore,
    new: &Bound<'_, PyAny>,
    old: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    if old.is(new) || state.owner().is_null() {
        return Ok(());
    }
    flush_warning(py, state, "related attribute set")?;
    if !new.is_none() {
        cascade_save_update(py, state, attr, new, initiator)?;
    }
    let owner = state.owner();
    if !owner.is_null() && !old.is_none() && !is_no_state(old.as_ptr()) && attr.is_delete_orphan() {
        let old_state = related_state(old)?;
        if old_state.owner() == owner && old_state.has(flags::IN_NEW) && is_orphan(py, attr, old_state) {
            // SAFETY: the owner is alive; the caller holds `old`.
            unsafe { UnitOfWorkCore::expunge_orphan(py, owner, old_state)? }
        }
    }
    Ok(())
}

// ---- the other side ---------------------------------------------------------------------------------------------------

/// The other side's attribute on a related object; `None` when the relationship has no other side.
fn reverse_attr(
    py: Python<'_>,
    attr: &AttrCore,
    item: &Bound<'_, PyAny>,
    item_state: StateRef,
) -> PyResult<Option<&'static AttrCore>> {
    match attr.reverse_on(py, item_state.manager()) {
        None => Ok(None),
        Some(Some(reverse)) => Ok(Some(reverse)),
        Some(None) => {
            let wanted = attr
                .relationship()
                .and_then(|relationship| crate::manager::ManagerCore::of(relationship.target.bind(py)).class(py).ok())
                .map_or_else(|| "?".to_owned(), |class| class.to_string());
            Err(hooks::hook(py, "wrong_class").map_or_else(
                |_| {
                    errors::invalid_request(
                        py,
                        format!(
                            "Attribute '{}' accepts objects of {wanted}, not {} of {}",
                            attr.describe(py),
                            errors::instance_str(item),
                            item.get_type()
                        ),
                    )
                },
                |hook| hook.call1((attr.describe(py), item)).map_or_else(|error| error, PyErr::from_value),
            ))
        }
    }
}

fn conflict(py: Python<'_>, state: StateRef, initiator: Initiator, attr: &AttrCore, reverse: &AttrCore) -> PyErr {
    let object = state.object(py).map_or_else(|| "<?>".to_owned(), |object| errors::instance_str(&object));
    PyValueError::new_err(format!(
        "Bidirectional attribute conflict detected: Passing object {object} to attribute \"{}\" triggers a modify event on \
         attribute \"{}\" via the backref \"{}\".",
        initiator.attr.describe(py),
        reverse.describe(py),
        attr.describe(py)
    ))
}

fn add_on_other_side(
    py: Python<'_>,
    state: StateRef,
    attr: &AttrCore,
    child: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    if !attr.has_reverse() {
        return Ok(());
    }
    let child_state = related_state(child)?;
    let Some(reverse) = reverse_attr(py, attr, child, child_state)? else { return Ok(()) };
    let token = initiator.attr.token.get();
    if token != attr.token.get() && token != reverse.token.get() {
        return Err(conflict(py, state, initiator, attr, reverse));
    }
    let own = if reverse.kind == AttrKind::Collection { Op::Append } else { Op::Replace };
    if initiator.is(reverse, own) || (reverse.kind == AttrKind::Collection && initiator.is(reverse, Op::BulkReplace)) {
        return Ok(());
    }
    let Some(object) = state.object(py) else { return Ok(()) };
    append(py, child_state, reverse, &object, Some(initiator), passive::NO_FETCH)
}

/// `set` on this side: take this object from the old value's other side, give it to the new one's.
pub fn backref_set(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    child: &Bound<'_, PyAny>,
    old: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    if old.is(child) || !attr.has_reverse() {
        return Ok(());
    }
    if !old.is_none() && !is_no_state(old.as_ptr()) {
        let old_state = related_state(old)?;
        if let Some(reverse) = reverse_attr(py, attr, old, old_state)? {
            let own = if reverse.kind == AttrKind::Collection { Op::Remove } else { Op::Replace };
            if !initiator.is(reverse, own)
                && let Some(object) = state.object(py)
            {
                let from = Initiator { attr, op: Op::Replace };
                pop(py, old_state, reverse, &object, Some(from), passive::NO_FETCH)?;
            }
        }
    }
    if child.is_none() { Ok(()) } else { add_on_other_side(py, state, attr, child, initiator) }
}

/// `append` on this side: give this object to the item's other side.
pub fn backref_append(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    child: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    if child.is_none() { Ok(()) } else { add_on_other_side(py, state, attr, child, initiator) }
}

/// `remove` on this side: take this object from the item's other side.
pub fn backref_remove(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    child: &Bound<'_, PyAny>,
    initiator: Initiator,
) -> PyResult<()> {
    if child.is_none() || is_no_state(child.as_ptr()) || !attr.has_reverse() {
        return Ok(());
    }
    let child_state = related_state(child)?;
    let Some(reverse) = reverse_attr(py, attr, child, child_state)? else { return Ok(()) };
    let replace = if reverse.kind == AttrKind::Collection { Op::BulkReplace } else { Op::Replace };
    if initiator.is(reverse, Op::Remove) || initiator.is(reverse, replace) {
        return Ok(());
    }
    // The item may be in the list twice: the other side is only cleared with the last of them.
    if reverse.kind != AttrKind::Collection
        && attr.kind == AttrKind::Collection
        && collection::has_duplicate(py, state, attr, child)?
    {
        return Ok(());
    }
    let Some(object) = state.object(py) else { return Ok(()) };
    pop(py, child_state, reverse, &object, Some(initiator), passive::NO_FETCH)
}

/// `impl.append` of any relationship attribute.
pub fn append(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'_, PyAny>,
    initiator: Option<Initiator>,
    passive: u32,
) -> PyResult<()> {
    match attr.kind {
        AttrKind::Collection => collection::append(py, state, attr, value, initiator, passive),
        AttrKind::Object => scalar_object::set(py, state, attr, value, initiator, passive, None, false),
        AttrKind::Scalar => attribute::set(py, state, attr, value, initiator),
    }
}

/// `impl.remove`: an object that is not there is an error.
pub fn remove(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'_, PyAny>,
    initiator: Option<Initiator>,
    passive: u32,
) -> PyResult<()> {
    let none = py.None().into_bound(py);
    match attr.kind {
        AttrKind::Collection => collection::remove(py, state, attr, value, initiator, passive),
        AttrKind::Object => scalar_object::set(py, state, attr, &none, initiator, passive, Some(value), false),
        AttrKind::Scalar => attribute::set(py, state, attr, &none, initiator),
    }
}

/// `impl.pop`: as `remove`, tolerant of an object that is not there.
pub fn pop(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'_, PyAny>,
    initiator: Option<Initiator>,
    passive: u32,
) -> PyResult<()> {
    let none = py.None().into_bound(py);
    match attr.kind {
        AttrKind::Collection => match collection::remove(py, state, attr, value, initiator, passive) {
            Err(error)
                if error.is_instance_of::<PyValueError>(py)
                    || error.is_instance_of::<PyKeyError>(py)
                    || error.is_instance_of::<PyIndexError>(py) =>
            {
                Ok(())
            }
            result => result,
        },
        AttrKind::Object => scalar_object::set(py, state, attr, &none, initiator, passive, Some(value), true),
        AttrKind::Scalar => attribute::set(py, state, attr, &none, initiator),
    }
}
