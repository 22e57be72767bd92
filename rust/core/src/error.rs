//! What planning can refuse; the binding crate turns it into `SQLAlchemy`'s exception classes.

use crate::flush::{Action, FlushPlan};

/// Why a flush cannot be planned. `E` is the caller's own error, passed through untouched.
#[derive(Debug)]
pub enum PlanError<E> {
    /// Rows depend on each other.
    Circular {
        /// The actions that form the cycle, in the order of a walk around it.
        actions: Vec<Action>,
        /// What has to come before what between them.
        edges: Vec<(Action, Action)>,
        /// The work that waits for no row of the cycle.
        before: FlushPlan,
    },
    /// The caller's callback failed while it answered which states are related.
    Caller(E),
}

impl<E> From<E> for PlanError<E> {
    fn from(error: E) -> Self {
        Self::Caller(error)
    }
}
