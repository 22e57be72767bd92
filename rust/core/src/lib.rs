//! Pure algorithms of rustalchemy: everything that can be decided without a Python object in hand.

pub mod error;
pub mod flush;
pub mod graph;
pub mod identity;
pub mod ids;
pub mod lifecycle;
pub mod row_plan;
pub mod schema;
