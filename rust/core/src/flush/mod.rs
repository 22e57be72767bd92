//! The pure stages of a flush: *register* → *graph* → *plan*, and the grouping of rows by statement *shape*.
//!
//! The binding crate fills a [`Register`] from the session, lets relationship processors presort it to a fixpoint, asks
//! [`plan()`] for the order of work, and executes the [`FlushPlan`] group by group.

mod cause;
mod dependency;
mod mapper_graph;
mod plan;
mod register;
mod render;
mod shape;
mod state_graph;
mod steps;
mod waits;

pub use cause::Cause;
pub use dependency::{Action, Relations};
pub use plan::{FlushPlan, Group, plan, plan_with_waits};
pub use register::{Entry, Presort, Register};
pub use render::{mermaid, table};
pub use shape::{ColumnSet, Shape, StatementKind, runs};
pub use steps::{Part, PlanRow, PlanStep, Wait, WaitReason, Work, steps};
pub use waits::{Reason, Waits};
