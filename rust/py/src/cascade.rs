//! Which objects an operation spreads to along relationships, in SQLAlchemy's order: depth first, and all members of one
//! attribute are taken before any of them is descended into.
use std::rc::Rc;

use hashbrown::HashSet;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;

use crate::flags::passive;
use crate::held::Held;
use crate::manager::ManagerCore;
use crate::mapper::{MapperDescriptor, RelationshipDescriptor, bits};
use crate::related;
use crate::state::StateRef;

/// Which cascade rule is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cascade {
    /// Into the session.
    SaveUpdate,
    /// Towards deletion; loads what is not loaded.
    Delete,
    /// Towards deletion, as far as can be seen without loading.
    DeleteLoaded,
    /// Out of the session.
    Expunge,
    /// Expiry.
    RefreshExpire,
}

impl Cascade {
    fn bit(self) -> u32 {
        match self {
            Self::SaveUpdate => bits::SAVE_UPDATE,
            Self::Delete | Self::DeleteLoaded => bits::DELETE,
            Self::Expunge => bits::EXPUNGE,
            Self::RefreshExpire => bits::REFRESH_EXPIRE,
        }
    }
}

/// One mapper's relationships that are still to be looked at for one object.
struct Level {
    from: Held,
    descriptor: Rc<MapperDescriptor>,
    next_relationship: usize,
    members: std::vec::IntoIter<Held>,
}

/// The objects `state` spreads the operation to, itself excluded. States for which `halts` is true are left out, with
/// everything behind them.
pub fn collect(
    py: Python<'_>,
    state: StateRef,
    kind: Cascade,
    halts: impl Fn(StateRef) -> bool,
) -> PyResult<Vec<Held>> {
    let mut found = Vec::new();
    let Some(level) = Level::of(state, kind, &halts) else { return Ok(found) };
    let mut visited: HashSet<usize> = HashSet::new();
    let mut levels = vec![level];
    while let Some(level) = levels.last_mut() {
        if let Some(member) = level.members.next() {
            let below = Level::of(member.state(), kind, &halts);
            found.push(member);
            levels.extend(below);
            continue;
        }
        let descriptor = Rc::clone(&level.descriptor);
        let Some(relationship) = descriptor.relationships.get(level.next_relationship) else {
            levels.pop();
            continue;
        };
        level.next_relationship += 1;
        if relationship.cascade & kind.bit() == 0 {
            continue;
        }
        let from = level.from.clone();
        let members = members(py, from.state(), relationship, kind, &halts, &mut visited)?;
        if let Some(level) = levels.last_mut() {
            level.members = members.into_iter();
        }
    }
    Ok(found)
}

impl Level {
    /// `None` where the operation ends: the mapper does not spread it, or everything it leads to is left out.
    fn of(state: StateRef, kind: Cascade, halts: &impl Fn(StateRef) -> bool) -> Option<Self> {
        let descriptor = state.manager().descriptor()?;
        let goes_on = |relationship: &RelationshipDescriptor| {
            relationship.cascade & kind.bit() != 0
                && !(kind == Cascade::SaveUpdate && related::is_known_throughout(state, relationship, halts))
        };
        if !descriptor.relationships.iter().any(goes_on) {
            return None;
        }
        Some(Self { from: Held::new(state)?, descriptor, next_relationship: 0, members: Vec::new().into_iter() })
    }
}

/// The members of one attribute that the operation goes on to.
fn members(
    py: Python<'_>,
    state: StateRef,
    relationship: &RelationshipDescriptor,
    kind: Cascade,
    halts: &impl Fn(StateRef) -> bool,
    visited: &mut HashSet<usize>,
) -> PyResult<Vec<Held>> {
    let candidates = match kind {
        Cascade::SaveUpdate => related::all_pending(py, state, relationship, passive::NO_INITIALIZE)?,
        Cascade::Delete if relationship.passive_deletes == 0 => {
            related::current(py, state, relationship, passive::OFF | passive::NO_RAISE)?
        }
        _ => related::current(py, state, relationship, passive::NO_INITIALIZE)?,
    };
    let skips_pending = kind == Cascade::RefreshExpire && relationship.cascade & bits::DELETE_ORPHAN == 0;
    let target = ManagerCore::of(relationship.target.bind(py));
    let mut found = Vec::new();
    for member in candidates {
        let Some(member) = related::held(py, &member)? else { continue };
        let member_state = member.state();
        if visited.contains(&(member_state.as_ptr() as usize))
            || halts(member_state)
            || (skips_pending && !member_state.has_key())
        {
            continue;
        }
        if !member_state.manager().is_subclass_of(target) {
            return Err(PyAssertionError::new_err(format!(
                "Attribute '{}' on class '{}' doesn't handle objects of type '{}'",
                relationship.key,
                state.manager().class(py)?.repr()?,
                member.object(py).get_type().repr()?,
            )));
        }
        visited.insert(member_state.as_ptr() as usize);
        found.push(member);
    }
    Ok(found)
}
