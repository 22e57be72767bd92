//! Pure algorithms of rustalchemy: everything that can be decided without a Python object in hand.
#![forbid(unsafe_code)]

pub mod identity;
pub mod row_plan;
