//! Why a state takes part in a flush, or a row is written: ids only, so that noting it costs next to nothing.

use crate::ids::{DependencyId, StateId};
use crate::schema::Schema;

/// One reason why a state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It is new in the session.
    New,
    /// It is new, and a relationship of another state cascades save-update to it.
    Reached(DependencyId, StateId),
    /// It is in the session's list of changed objects.
    Changed,
    /// It was marked for deletion.
    Marked,
    /// A relationship of another deleted state cascades delete to it.
    Cascaded(DependencyId, StateId),
    /// A delete-orphan parent outside of this flush let it go.
    LetGo,
    /// This delete-orphan parent let it go.
    Orphan(DependencyId, StateId),
    /// An orphan cascades delete to it.
    BelowOrphan(DependencyId, StateId),
    /// It was added to a state's relationship and takes its key.
    Added(DependencyId, StateId),
    /// It was removed from a state's relationship: its key becomes NULL.
    Removed(DependencyId, StateId),
    /// The state it refers to is deleted: its key becomes NULL.
    ParentDeleted(DependencyId, StateId),
    /// The state it refers to has a new primary key.
    KeyChanged(DependencyId, StateId),
    /// It refers to another state (or to none) now.
    Refers(DependencyId),
    /// It takes over the row of a deleted state with its identity.
    RowSwitch(StateId),
    /// It was linked to, or unlinked from, another state by an association row.
    Linked(DependencyId),
    /// It is deleted, and its association rows go first.
    Unlinked(DependencyId),
    /// A key that association rows hold has changed.
    Relinked(DependencyId),
    /// A foreign key that had to wait for the other row.
    Later(DependencyId),
    /// A foreign key that has to go before the other row goes.
    Before(DependencyId),
}

impl Cause {
    /// What a step's rows are written for, in a few words.
    #[must_use]
    pub fn text(self, schema: &Schema) -> String {
        let name = |dependency: DependencyId| &*schema.dependency(dependency).name;
        match self {
            Self::New => "new".to_owned(),
            Self::Reached(by, _) => format!("new, reached by {}", name(by)),
            Self::Changed => "changed".to_owned(),
            Self::Marked => "marked for deletion".to_owned(),
            Self::Cascaded(by, _) => format!("cascaded from {}", name(by)),
            Self::LetGo => "orphan".to_owned(),
            Self::Orphan(by, _) => format!("orphan of {}", name(by)),
            Self::BelowOrphan(by, _) => format!("cascaded from an orphan of {}", name(by)),
            Self::Added(by, _) => format!("added to {}", name(by)),
            Self::Removed(by, _) => format!("key to NULL: removed from {}", name(by)),
            Self::ParentDeleted(by, _) => format!("key to NULL: {} is deleted", parent(schema, by)),
            Self::KeyChanged(by, _) | Self::Relinked(by) => {
                format!("new key of {}", parent(schema, by))
            }
            Self::Refers(by) | Self::Linked(by) => format!("{} changed", name(by)),
            Self::RowSwitch(_) => "row switch: takes over a deleted object's row".to_owned(),
            Self::Unlinked(by) => format!("{} is deleted", parent(schema, by)),
            Self::Later(by) => format!("post update of {}", name(by)),
            Self::Before(by) => format!("post update of {}, key to NULL", name(by)),
        }
    }
}

impl Cause {
    /// The same without the state it came from: what rows of one step have in common.
    #[must_use]
    pub fn of_any_state(self) -> Self {
        const ANY: StateId = StateId(u32::MAX);
        match self {
            Self::Reached(by, _) => Self::Reached(by, ANY),
            Self::Cascaded(by, _) => Self::Cascaded(by, ANY),
            Self::Orphan(by, _) => Self::Orphan(by, ANY),
            Self::BelowOrphan(by, _) => Self::BelowOrphan(by, ANY),
            Self::Added(by, _) => Self::Added(by, ANY),
            Self::Removed(by, _) => Self::Removed(by, ANY),
            Self::ParentDeleted(by, _) => Self::ParentDeleted(by, ANY),
            Self::KeyChanged(by, _) => Self::KeyChanged(by, ANY),
            Self::RowSwitch(_) => Self::RowSwitch(ANY),
            other => other,
        }
    }

    /// The state it came from.
    #[must_use]
    pub fn state(self) -> Option<StateId> {
        match self {
            Self::Reached(_, state)
            | Self::Cascaded(_, state)
            | Self::Orphan(_, state)
            | Self::BelowOrphan(_, state)
            | Self::Added(_, state)
            | Self::Removed(_, state)
            | Self::ParentDeleted(_, state)
            | Self::KeyChanged(_, state)
            | Self::RowSwitch(state) => Some(state),
            _ => None,
        }
    }
}

fn parent(schema: &Schema, dependency: DependencyId) -> &str {
    &schema.mapper(schema.dependency(dependency).parent).name
}
