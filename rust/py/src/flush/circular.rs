//! The error for rows that wait for each other, in the words of SQLAlchemy's own unit of work.
use pyo3::prelude::*;
use rustalchemy_core::flush::Action;
use rustalchemy_core::ids::{DependencyId, StateId};
use rustalchemy_core::schema::Direction;

use crate::attach::state_str;
use crate::imports;

use super::Flush;

/// One piece of work inside a cycle; its `repr()` names the objects and the relationship.
#[pyclass(frozen, eq, hash, module = "rustalchemy._core")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CycleMember {
    text: String,
}

#[pymethods]
impl CycleMember {
    #[new]
    fn new(text: String) -> Self {
        Self { text }
    }
    fn __getnewargs__(&self) -> (&str,) {
        (&self.text,)
    }
    fn __repr__(&self) -> &str {
        &self.text
    }
}

impl Flush {
    /// `CircularDependencyError`, with the actions in the order of a walk around the cycle.
    pub(super) fn circular(&self, py: Python<'_>, actions: &[Action], edges: &[(Action, Action)]) -> PyErr {
        let member = |action: &Action| CycleMember { text: self.action_str(py, *action) };
        let members: Vec<CycleMember> = actions.iter().map(member).collect();
        let pairs: Vec<(CycleMember, CycleMember)> =
            edges.iter().map(|(before, after)| (member(before), member(after))).collect();
        match imports::CIRCULAR_DEPENDENCY.get(py) {
            Ok(class) => PyErr::from_type(class.clone(), ("Circular dependency detected.", members, pairs)),
            Err(error) => error,
        }
    }

    fn action_str(&self, py: Python<'_>, action: Action) -> String {
        let object = |state: StateId| state_str(py, self.state(state));
        let mapper = |id: rustalchemy_core::ids::MapperId| {
            let manager = crate::manager::ManagerCore::of(self.mappers[id.index()].manager.bind(py));
            manager.mapper(py).map_or_else(|| self.schema.mapper(id).name.to_string(), |mapper| mapper.to_string())
        };
        match action {
            Action::SaveUpdate(state) => format!("_SaveUpdateState({})", object(state)),
            Action::Delete(state) => format!("_DeleteState({})", object(state)),
            Action::Process(id, is_delete, state) => format!(
                "_ProcessState({}, {}, delete={})",
                self.processor_str(id),
                object(state),
                python_bool(is_delete)
            ),
            Action::SaveUpdateAll(id) => format!("_SaveUpdateAll({})", mapper(id)),
            Action::DeleteAll(id) => format!("_DeleteAll({})", mapper(id)),
            Action::ProcessAll(id, is_delete) => {
                format!("_ProcessAll({}, isdelete={})", self.processor_str(id), python_bool(is_delete))
            }
            Action::PostUpdateAll(id, is_delete) => {
                format!("_PostUpdateAll({}, isdelete={})", mapper(id), python_bool(is_delete))
            }
        }
    }

    fn processor_str(&self, id: DependencyId) -> String {
        let dependency = self.schema.dependency(id);
        let kind = match dependency.direction {
            Direction::OneToMany => "_OneToManyDP",
            Direction::ManyToOne => "_ManyToOneDP",
            Direction::ManyToMany => "_ManyToManyDP",
        };
        format!("{kind}({})", dependency.name)
    }
}

const fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
