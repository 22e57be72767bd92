//! Second stage: what must come before what. One function per rule of `SQLAlchemy`'s dependency processors.

use crate::ids::{DependencyId, MapperId, StateId};
use crate::schema::{DependencySchema, Direction, Schema};

/// A piece of work that the plan puts in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// INSERT and UPDATE of a whole mapper hierarchy.
    SaveUpdateAll(MapperId),
    /// DELETE of a whole mapper hierarchy.
    DeleteAll(MapperId),
    /// A dependency processor's copying or clearing of keys, for all its states.
    ProcessAll(DependencyId, bool),
    /// The second UPDATE of rows with post-update relationships; `true`: those that are deleted.
    PostUpdateAll(MapperId, bool),
    /// INSERT or UPDATE of one state's row, where mappers form a cycle.
    SaveUpdate(StateId),
    /// DELETE of one state's row, where mappers form a cycle.
    Delete(StateId),
    /// A dependency processor's work for one state, where mappers form a cycle.
    Process(DependencyId, bool, StateId),
}

/// Answers, for mappers inside a cycle, which states a relationship connects.
pub trait Relations {
    /// The caller's own error.
    type Error;

    /// Appends the states that `state` is or was related to; `None` for one that takes no part in the flush.
    fn related(
        &mut self,
        dependency: DependencyId,
        state: StateId,
        is_delete: bool,
        found: &mut Vec<Option<StateId>>,
    ) -> Result<(), Self::Error>;
}

/// Takes edges as they are found, with the dependency they come from.
pub(super) trait EdgeSink {
    fn edge(&mut self, before: Action, after: Action, because: DependencyId);
}

/// The six actions around one dependency processor.
struct Around {
    parent_saves: Action,
    target_saves: Action,
    parent_deletes: Action,
    target_deletes: Action,
    after_save: Action,
    before_delete: Action,
}

/// Edges between whole mappers for one active dependency processor.
pub(super) fn mapper_edges(schema: &Schema, id: DependencyId, sink: &mut impl EdgeSink) {
    let dependency = schema.dependency(id);
    let (parent, target) = (
        schema.base(dependency.parent),
        schema.base(dependency.target),
    );
    let around = Around {
        parent_saves: Action::SaveUpdateAll(parent),
        target_saves: Action::SaveUpdateAll(target),
        parent_deletes: Action::DeleteAll(parent),
        target_deletes: Action::DeleteAll(target),
        after_save: Action::ProcessAll(id, false),
        before_delete: Action::ProcessAll(id, true),
    };
    let edges: &[(Action, Action)] = match (dependency.direction, dependency.post_update) {
        (Direction::OneToMany, false) => &one_to_many(&around),
        (Direction::ManyToOne, false) => &many_to_one(&around),
        (Direction::OneToMany, true) => &one_to_many_post(&around, target),
        (Direction::ManyToOne, true) => &many_to_one_post(&around, parent),
        (Direction::ManyToMany, _) => &many_to_many(&around),
    };
    for &(before, after) in edges {
        sink.edge(before, after, id);
    }
}

fn one_to_many(a: &Around) -> [(Action, Action); 7] {
    [
        (a.parent_saves, a.after_save),
        (a.after_save, a.target_saves),
        (a.after_save, a.target_deletes),
        (a.target_saves, a.parent_deletes),
        (a.target_deletes, a.parent_deletes),
        (a.before_delete, a.target_saves),
        (a.before_delete, a.target_deletes),
    ]
}

fn many_to_one(a: &Around) -> [(Action, Action); 4] {
    [
        (a.target_saves, a.after_save),
        (a.after_save, a.parent_saves),
        (a.parent_saves, a.target_deletes),
        (a.parent_deletes, a.target_deletes),
    ]
}

fn one_to_many_post(a: &Around, target: MapperId) -> [(Action, Action); 9] {
    let (after_saves, before_deletes) = (
        Action::PostUpdateAll(target, false),
        Action::PostUpdateAll(target, true),
    );
    [
        (a.target_saves, a.after_save),
        (a.parent_saves, a.after_save),
        (a.after_save, after_saves),
        (a.target_saves, a.before_delete),
        (a.before_delete, after_saves),
        (after_saves, a.parent_deletes),
        (a.before_delete, before_deletes),
        (before_deletes, a.parent_deletes),
        (before_deletes, a.target_deletes),
    ]
}

fn many_to_one_post(a: &Around, parent: MapperId) -> [(Action, Action); 7] {
    let (after_saves, before_deletes) = (
        Action::PostUpdateAll(parent, false),
        Action::PostUpdateAll(parent, true),
    );
    [
        (a.target_saves, a.after_save),
        (a.parent_saves, a.after_save),
        (a.after_save, after_saves),
        (a.after_save, before_deletes),
        (a.before_delete, before_deletes),
        (before_deletes, a.target_deletes),
        (before_deletes, a.parent_deletes),
    ]
}

fn many_to_many(a: &Around) -> [(Action, Action); 7] {
    [
        (a.parent_saves, a.after_save),
        (a.target_saves, a.after_save),
        (a.after_save, a.target_deletes),
        // a row switch of the parent: its old secondary rows go before its row is written again
        (a.before_delete, a.parent_saves),
        (a.before_delete, a.parent_deletes),
        (a.before_delete, a.target_deletes),
        (a.before_delete, a.target_saves),
    ]
}

/// The actions around one state of a mapper inside a cycle and one state it is related to.
#[derive(Clone, Copy)]
pub(super) struct StatePair {
    /// Save (or delete) of the state that has the relationship: itself, or its whole mapper.
    pub parent: Action,
    /// What happens to the related state, and whether that is a DELETE; `None`: it takes no part.
    pub target: Option<(Action, bool)>,
    /// The dependency processor's work for this state.
    pub process: Action,
    /// The state that has the relationship is deleted.
    pub is_delete: bool,
}

/// Edges between single states for one dependency processor.
pub(super) fn state_edges(
    dependency: &DependencySchema,
    id: DependencyId,
    bases: (MapperId, MapperId),
    pair: StatePair,
    sink: &mut impl EdgeSink,
) {
    let StatePair {
        parent,
        target,
        process,
        is_delete,
    } = pair;
    let mut edge = |before: Action, after: Action| sink.edge(before, after, id);
    match (dependency.direction, dependency.post_update) {
        (Direction::OneToMany, false) => {
            if is_delete {
                if let Some((target, _)) = target {
                    edge(process, target);
                    edge(target, parent);
                }
            } else {
                edge(parent, process);
                if let Some((target, _)) = target {
                    edge(process, target);
                    edge(parent, target);
                }
            }
        }
        (Direction::ManyToOne, false) => match (is_delete, target) {
            (false, Some((target, false))) => {
                edge(target, process);
                edge(process, parent);
            }
            (false, _) => edge(process, parent),
            (true, Some((target, true))) => edge(parent, target),
            (true, _) => {}
        },
        (Direction::OneToMany, true) => {
            if is_delete {
                let post = Action::PostUpdateAll(bases.1, true);
                edge(process, post);
                edge(post, parent);
            } else {
                let post = Action::PostUpdateAll(bases.1, false);
                if let Some((target, target_is_delete)) = target {
                    edge(target, process);
                    if !target_is_delete {
                        edge(parent, process);
                    }
                }
                edge(process, post);
            }
        }
        (Direction::ManyToOne, true) => {
            if is_delete {
                let post = Action::PostUpdateAll(bases.0, true);
                edge(process, post);
                edge(post, parent);
                if let Some((target, _)) = target {
                    edge(post, target);
                }
            } else {
                let post = Action::PostUpdateAll(bases.0, false);
                edge(process, post);
                match target {
                    Some((target, true)) => edge(post, target),
                    Some((target, false)) => {
                        edge(parent, process);
                        edge(target, process);
                    }
                    None => edge(parent, process),
                }
            }
        }
        (Direction::ManyToMany, _) => match (is_delete, target) {
            (false, Some((target, true))) => {
                edge(parent, process);
                edge(process, target);
            }
            (false, Some((target, false))) => {
                edge(parent, process);
                edge(target, process);
            }
            (false, None) => edge(parent, process),
            (true, target) => {
                edge(process, parent);
                if let Some((target, _)) = target {
                    edge(process, target);
                }
            }
        },
    }
}
