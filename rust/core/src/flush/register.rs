//! First stage: which states take part in a flush, and how. Everything keeps the order of registration.

use crate::ids::{MapperId, StateId};
use crate::schema::Schema;

/// How one state takes part in a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The state's own mapper.
    pub mapper: MapperId,
    /// Its row is deleted instead of saved.
    pub is_delete: bool,
    /// It is finished with the others, but no statement is sent for it.
    pub list_only: bool,
}

/// Room that a list of states gets at once: most flushes have few, and a list that grows by doubling asks for memory
/// once per step.
const FEW: usize = 16;

/// The states of one flush.
#[derive(Clone, Debug, Default)]
pub struct Register {
    entries: Vec<Entry>,
    members: Vec<Vec<StateId>>,
    mappers: Vec<MapperId>,
}

impl Register {
    /// An empty register with room for `states`.
    #[must_use]
    pub fn with_capacity(states: usize) -> Self {
        Self {
            entries: Vec::with_capacity(states),
            ..Self::default()
        }
    }

    /// Enters a state that is not registered yet.
    pub fn enter(&mut self, mapper: MapperId, is_delete: bool, list_only: bool) -> StateId {
        let state = StateId::from_index(self.entries.len());
        self.entries.push(Entry {
            mapper,
            is_delete,
            list_only,
        });
        if self.members.len() <= mapper.index() {
            self.members.resize_with(mapper.index() + 1, Vec::new);
        }
        let members = &mut self.members[mapper.index()];
        if members.is_empty() {
            self.mappers.push(mapper);
            members.reserve(self.entries.capacity().min(FEW));
        }
        members.push(state);
        state
    }

    /// Registers a state once more: only a delete, or its cancellation, changes what was decided before.
    pub fn enter_again(
        &mut self,
        state: StateId,
        is_delete: bool,
        list_only: bool,
        cancel_delete: bool,
    ) {
        if !list_only && (is_delete || cancel_delete) {
            let entry = &mut self.entries[state.index()];
            entry.is_delete = is_delete;
            entry.list_only = false;
        }
    }

    /// No statement is to be sent for this state any more (a row switch took its row over).
    pub fn remove_actions(&mut self, state: StateId) {
        self.entries[state.index()].list_only = true;
    }

    /// How a state takes part.
    #[must_use]
    pub fn entry(&self, state: StateId) -> Entry {
        self.entries[state.index()]
    }

    /// The number of states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The mappers that have states, in the order in which they appeared.
    #[must_use]
    pub fn mappers(&self) -> &[MapperId] {
        &self.mappers
    }

    /// The states of exactly this mapper.
    #[must_use]
    pub fn members(&self, mapper: MapperId) -> &[StateId] {
        self.members.get(mapper.index()).map_or(&[], Vec::as_slice)
    }

    /// Adds the states of a hierarchy that are to be saved (or deleted), in the order of registration within each mapper.
    pub fn work_of(
        &self,
        schema: &Schema,
        base: MapperId,
        is_delete: bool,
        found: &mut Vec<StateId>,
    ) {
        self.select(is_delete, |mapper| schema.base(mapper) == base, found);
    }

    /// Adds the saved (or deleted) states of the mappers that `includes` accepts.
    pub fn select(
        &self,
        is_delete: bool,
        includes: impl Fn(MapperId) -> bool,
        found: &mut Vec<StateId>,
    ) {
        for &mapper in &self.mappers {
            if includes(mapper) {
                found.extend(self.members(mapper).iter().copied().filter(|&state| {
                    let entry = self.entry(state);
                    entry.is_delete == is_delete && !entry.list_only
                }));
            }
        }
    }
}

/// How far one dependency processor has come in looking at the registered states.
#[derive(Clone, Debug, Default)]
pub struct Presort {
    seen: Vec<(MapperId, usize)>,
    waiting: Vec<StateId>,
    /// Its actions take part in the flush.
    pub is_active: bool,
}

impl Presort {
    /// States of the mappers `includes` accepts that were not handed out yet: (deletes, saves).
    ///
    /// A list-only state is looked at again in the next round: it may have become work by then.
    pub fn take(
        &mut self,
        register: &Register,
        includes: impl Fn(MapperId) -> bool,
    ) -> (Vec<StateId>, Vec<StateId>) {
        let (mut deletes, mut saves) = (Vec::new(), Vec::new());
        let mut still_waiting = Vec::new();
        let mut sort = |states: &[StateId]| {
            saves.reserve(states.len().min(FEW));
            for &state in states {
                let entry = register.entry(state);
                if entry.list_only {
                    still_waiting.push(state);
                } else if entry.is_delete {
                    deletes.push(state);
                } else {
                    saves.push(state);
                }
            }
        };
        sort(&std::mem::take(&mut self.waiting));
        for &mapper in register.mappers() {
            if !includes(mapper) {
                continue;
            }
            let position = self
                .seen
                .iter()
                .position(|&(seen, _)| seen == mapper)
                .unwrap_or_else(|| {
                    self.seen.push((mapper, 0));
                    self.seen.len() - 1
                });
            let members = register.members(mapper);
            sort(&members[self.seen[position].1..]);
            self.seen[position].1 = members.len();
        }
        self.waiting = still_waiting;
        (deletes, saves)
    }
}

#[cfg(test)]
mod tests {
    use super::{Presort, Register};
    use crate::ids::{MapperId, StateId};

    #[test]
    fn a_second_registration_only_deletes_or_cancels() {
        let mut register = Register::default();
        let state = register.enter(MapperId(0), false, false);
        register.enter_again(state, false, true, false);
        assert!(!register.entry(state).list_only);
        register.enter_again(state, true, false, false);
        assert!(register.entry(state).is_delete);
        register.enter_again(state, false, false, false);
        assert!(register.entry(state).is_delete);
        register.enter_again(state, false, false, true);
        assert!(!register.entry(state).is_delete);
    }

    #[test]
    fn every_state_is_presorted_once() {
        let mut register = Register::default();
        let mut presort = Presort::default();
        register.enter(MapperId(0), false, false);
        register.enter(MapperId(0), true, false);
        let listed = register.enter(MapperId(0), false, true);
        assert_eq!(
            presort.take(&register, |_| true),
            (vec![StateId(1)], vec![StateId(0)])
        );
        assert_eq!(presort.take(&register, |_| true), (vec![], vec![]));
        register.enter_again(listed, true, false, false);
        register.enter(MapperId(2), false, false);
        assert_eq!(
            presort.take(&register, |_| true),
            (vec![listed], vec![StateId(3)])
        );
    }
}
