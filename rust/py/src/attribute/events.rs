//! Events of attributes: which there are, what a chain of them came from, and how listeners are called.
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::listeners::Firing;
use crate::names;
use crate::state::StateRef;

use super::core::{AttrCore, AttrKind};

/// The Python-level events of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrEvent {
    /// A scalar is about to be set.
    Set,
    /// A value is about to enter a collection.
    Append,
    /// A value was given to a collection that has it.
    AppendWoMutation,
    /// A value left.
    Remove,
    /// A collection is about to be replaced.
    BulkReplace,
    /// A scalar without a value was read.
    InitScalar,
    /// A collection was made.
    InitCollection,
    /// A collection was replaced.
    DisposeCollection,
    /// `flag_modified` was called.
    Modified,
}

impl AttrEvent {
    /// The names of the events, in the order of their numbers.
    pub const NAMES: [&'static str; 9] = [
        "set",
        "append",
        "append_wo_mutation",
        "remove",
        "bulk_replace",
        "init_scalar",
        "init_collection",
        "dispose_collection",
        "modified",
    ];
    /// What the listener's answer is: a new value of the first argument, unless it is None for `init_scalar`.
    fn replaces(self, answer: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::Set | Self::Append | Self::AppendWoMutation => true,
            Self::InitScalar => !answer.is_none(),
            _ => false,
        }
    }
    /// The keyword by which listeners may get the collection's key.
    fn keyword(self, py: Python<'_>) -> Option<&Bound<'_, PyString>> {
        match self {
            Self::Append | Self::AppendWoMutation | Self::Remove => Some(names::key(py)),
            Self::BulkReplace => Some(names::keys(py)),
            _ => None,
        }
    }
}

/// What a change of an attribute began with; with the attribute it identifies an event token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Removal.
    Remove,
    /// Append to a collection.
    Append,
    /// Assignment of a scalar.
    Replace,
    /// Assignment of a whole collection.
    BulkReplace,
    /// `flag_modified`.
    Modified,
}

/// Which attribute and operation a chain of events came from; stops both sides of a relationship from calling each other.
#[derive(Clone, Copy)]
pub struct Initiator {
    /// The attribute.
    pub attr: &'static AttrCore,
    /// The operation.
    pub op: Op,
}

impl Initiator {
    /// Is this the token of `attr` and `op`?
    pub fn is(self, attr: &AttrCore, op: Op) -> bool {
        std::ptr::eq(self.attr, attr) && self.op == op
    }
}

/// Calls the listeners of an event. `args` is what they get after the object; events of collections have the key last.
/// Returns the first of it as the listeners leave it.
pub fn fire<'py, const N: usize>(
    py: Python<'py>,
    event: AttrEvent,
    attr: &AttrCore,
    state: StateRef,
    mut args: [Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    const { assert!(N > 0, "an event has arguments") };
    let keyword = event.keyword(py).filter(|_| attr.kind == AttrKind::Collection);
    let positional = N - usize::from(keyword.is_some());
    for listener in attr.heard.present(py, event as usize)? {
        let (others, key) = args.split_at(positional);
        let firing = Firing { state, position: 0, others, keyword: keyword.zip(key.first()) };
        if let Some(answer) = firing.call(&listener)?.filter(|answer| event.replaces(answer)) {
            args[0] = answer;
        }
    }
    if attr.kind == AttrKind::Scalar && !attr.listens(event) {
        attr.update_plain_set(); // the last one has left
    }
    Ok(args[0].clone())
}
