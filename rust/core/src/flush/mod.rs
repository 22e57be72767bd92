//! The pure stages of a flush: *register* → *graph* → *plan*, and the grouping of rows by statement *shape*.
//!
//! The binding crate fills a [`Register`] from the session, lets relationship processors presort it to a fixpoint, asks
//! [`plan()`] for the order of work, and executes the [`FlushPlan`] group by group.

mod dependency;
mod plan;
mod register;
mod shape;
mod steps;

pub use dependency::{Action, Relations};
pub use plan::{FlushPlan, Group, Reason, plan};
pub use register::{Entry, Presort, Register};
pub use shape::{ColumnSet, Shape, StatementKind, runs};
pub use steps::{PlanStep, steps};
