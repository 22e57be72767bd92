//! The five lifecycle states of an instance and the names of the changes between them.

/// Where an instance stands between Python and the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// No identity, no session.
    Transient,
    /// In a session, waiting for its INSERT.
    Pending,
    /// In a session, with an identity.
    Persistent,
    /// DELETE was sent, the transaction is still open.
    Deleted,
    /// Has an identity, but no session.
    Detached,
}

impl Lifecycle {
    /// Derives the state from the three facts that an instance keeps.
    #[must_use]
    pub const fn of(has_identity: bool, is_attached: bool, is_deleted: bool) -> Self {
        match (has_identity, is_attached, is_deleted) {
            (false, false, _) => Self::Transient,
            (false, true, _) => Self::Pending,
            (true, true, false) => Self::Persistent,
            (true, true, true) => Self::Deleted,
            (true, false, _) => Self::Detached,
        }
    }

    /// The word `SQLAlchemy`'s documentation uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Pending => "pending",
            Self::Persistent => "persistent",
            Self::Deleted => "deleted",
            Self::Detached => "detached",
        }
    }

    /// The session event that announces the change from `self` to `to`, if there is one.
    #[must_use]
    pub const fn event(self, to: Self) -> Option<&'static str> {
        match (self, to) {
            (Self::Transient, Self::Pending) => Some("transient_to_pending"),
            (Self::Pending, Self::Transient) => Some("pending_to_transient"),
            (Self::Pending, Self::Persistent) => Some("pending_to_persistent"),
            (Self::Persistent, Self::Transient) => Some("persistent_to_transient"),
            (Self::Persistent, Self::Deleted) => Some("persistent_to_deleted"),
            (Self::Persistent, Self::Detached) => Some("persistent_to_detached"),
            (Self::Deleted, Self::Persistent) => Some("deleted_to_persistent"),
            (Self::Deleted, Self::Detached) => Some("deleted_to_detached"),
            (Self::Detached, Self::Persistent) => Some("detached_to_persistent"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lifecycle;

    #[test]
    fn facts_decide_the_state() {
        assert_eq!(Lifecycle::of(false, false, false), Lifecycle::Transient);
        assert_eq!(Lifecycle::of(false, true, false), Lifecycle::Pending);
        assert_eq!(Lifecycle::of(true, true, false), Lifecycle::Persistent);
        assert_eq!(Lifecycle::of(true, true, true), Lifecycle::Deleted);
        assert_eq!(Lifecycle::of(true, false, true), Lifecycle::Detached);
    }

    #[test]
    fn only_real_changes_have_events() {
        let pending = Lifecycle::Pending;
        assert_eq!(
            pending.event(Lifecycle::Persistent),
            Some("pending_to_persistent")
        );
        assert_eq!(pending.event(pending), None);
        assert_eq!(Lifecycle::Transient.event(Lifecycle::Deleted), None);
    }
}
