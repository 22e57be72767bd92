//! `_core.Explanation`: why one object is written, or not. What it is made from is taken down when the plan is made, as later
//! changes must not show in it.
use std::fmt::Write as _;

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::flush::{Cause, Part, PlanStep, StatementKind};
use rustalchemy_core::ids::{DependencyId, StateId};
use rustalchemy_core::schema::Schema;
use smallvec::SmallVec;

use crate::attribute::{AttrCore, AttrKind};
use crate::flags::passive;
use crate::history::{self, History};
use crate::names;
use crate::related;
use crate::state::{StateRef, state_of};

use super::Flush;
use super::preview::committed;
use super::trace::{Note, Trace, loaded_value};

/// What a plan knows about one object.
pub(super) struct Facts {
    object: Py<PyAny>,
    label: String,
    causes: SmallVec<[Cause; 2]>,
    changes: Vec<Change>,
    steps: SmallVec<[usize; 2]>,
    /// The object that takes over its row.
    replaced_by: Option<StateId>,
}

/// Members that come to a collection, and those that leave it.
type Members = (Vec<Py<PyAny>>, Vec<Py<PyAny>>);

/// One attribute before and after.
struct Change {
    key: String,
    old: Option<Py<PyAny>>,
    new: Option<Py<PyAny>>,
    members: Option<Members>,
    /// The relationship that brings the value, and the state whose key it is.
    via: Option<(DependencyId, Option<StateId>)>,
}

/// One attribute of an explained object: its value in the database and the one that will be there.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PlannedChange {
    /// Name of the attribute.
    #[pyo3(get)]
    key: String,
    /// The old value; None also where it is not known or there was none.
    #[pyo3(get)]
    old: Option<Py<PyAny>>,
    /// The new value; None also where only the database will know it.
    #[pyo3(get)]
    new: Option<Py<PyAny>>,
    /// Members that come to a collection.
    #[pyo3(get)]
    added: Py<PyTuple>,
    /// Members that leave a collection.
    #[pyo3(get)]
    removed: Py<PyTuple>,
    /// The relationship that brings the value, if one does.
    #[pyo3(get)]
    via: Option<String>,
    text: String,
}

#[pymethods]
impl PlannedChange {
    fn __str__(&self) -> &str {
        &self.text
    }
    fn __repr__(&self) -> String {
        format!("<PlannedChange {}>", self.text)
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.old)?;
        visit.call(&self.new)?;
        visit.call(&self.added)?;
        visit.call(&self.removed)
    }
}

/// Why, how and when an object is written, or why not.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct Explanation {
    /// What happens to its row: "insert", "update", "delete", "row switch", "orphan delete", "cascaded delete",
    /// "post update", "association rows"; None: nothing.
    #[pyo3(get)]
    kind: Option<&'static str>,
    /// The reasons, as sentences.
    #[pyo3(get)]
    why: Py<PyTuple>,
    /// The attributes that change.
    #[pyo3(get)]
    changes: Py<PyTuple>,
    /// Numbers of the steps it is in.
    #[pyo3(get)]
    steps: Py<PyTuple>,
    /// What those steps wait for.
    #[pyo3(get)]
    waits_for: Py<PyTuple>,
    text: String,
}

#[pymethods]
impl Explanation {
    fn __bool__(&self) -> bool {
        self.kind.is_some()
    }
    fn __str__(&self) -> &str {
        &self.text
    }
    fn __repr__(&self) -> String {
        format!("<Explanation {}>", self.text.lines().next().unwrap_or_default())
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.changes)
    }
}

impl Explanation {
    fn new(
        py: Python<'_>,
        kind: Option<&'static str>,
        text: String,
        parts: (Vec<String>, Vec<PlannedChange>, Vec<usize>, Vec<String>),
    ) -> PyResult<Self> {
        let (why, changes, steps, waits_for) = parts;
        let changes = changes.into_iter().map(|change| Bound::new(py, change)).collect::<PyResult<Vec<_>>>()?;
        Ok(Self {
            kind,
            why: PyTuple::new(py, why)?.unbind(),
            changes: PyTuple::new(py, changes)?.unbind(),
            steps: PyTuple::new(py, steps)?.unbind(),
            waits_for: PyTuple::new(py, waits_for)?.unbind(),
            text,
        })
    }

    /// For an object that takes no part.
    pub(super) fn of_bystander(
        py: Python<'_>,
        object: &Bound<'_, PyAny>,
        state: StateRef,
        is_inside: bool,
    ) -> PyResult<Self> {
        let label = label_of(object);
        let text = match (is_inside, state.has_key()) {
            (false, _) => format!("{label} is not in this session: a flush does not touch it."),
            (true, true) => format!("{label} is in the session and had no changes: nothing is written."),
            (true, false) => {
                format!("{label} was let go by its parent before it was written: a flush takes it out of the session.")
            }
        };
        Self::new(py, None, text.clone(), (vec![text], Vec::new(), Vec::new(), Vec::new()))
    }
}

impl Facts {
    /// The object's address; the facts hold the object.
    pub(super) fn address(&self) -> usize {
        self.object.as_ptr() as usize
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        for change in &self.changes {
            visit.call(&change.old)?;
            visit.call(&change.new)?;
            if let Some((added, removed)) = &change.members {
                added.iter().chain(removed).try_for_each(|member| visit.call(member))?;
            }
        }
        Ok(())
    }

    pub(super) fn explain(
        &self,
        py: Python<'_>,
        schema: &Schema,
        steps: &[PlanStep],
        all: &[Facts],
    ) -> PyResult<Explanation> {
        let kind = self.kind(steps);
        let label = |state: StateId| all.get(state.index()).map_or("another object", |facts| facts.label.as_str());
        let mut why: Vec<String> = self.causes.iter().map(|cause| sentence(*cause, schema, label)).collect();
        if let Some(state) = self.replaced_by {
            why.push(format!("{} takes over its row (row switch): no DELETE is sent", label(state)));
        }
        let mut changes = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            changes.push(change.planned(py, schema, label)?);
        }
        let mut waits_for: Vec<String> = Vec::new();
        for wait in self.steps.iter().flat_map(|&step| &steps[step].waits) {
            let before = &steps[wait.step];
            let name = wait.reason.label(schema);
            let text = format!("step {} ({} {}): {name}", wait.step + 1, before.kind.verb(), before.table);
            if !waits_for.contains(&text) {
                waits_for.push(text);
            }
        }
        let mut text = match kind {
            Some(kind) => {
                let places: Vec<String> = self.steps.iter().map(|&step| place(step, &steps[step])).collect();
                format!("{}: {kind} in {}", self.label, places.join(" and "))
            }
            None if self.replaced_by.is_some() => format!("{}: nothing is written for it", self.label),
            None => format!("{}: nothing is written, no column differs from the database", self.label),
        };
        for (head, lines) in [
            ("because", &why),
            ("changes", &changes.iter().map(|change| change.text.clone()).collect()),
            ("waits for", &waits_for),
        ] {
            for line in lines {
                let _ = write!(text, "\n  {head:<9} {line}");
            }
        }
        let numbers = self.steps.iter().map(|step| step + 1).collect();
        Explanation::new(py, kind, text, (why, changes, numbers, waits_for))
    }

    fn kind(&self, steps: &[PlanStep]) -> Option<&'static str> {
        let own = |kind: StatementKind| {
            self.steps.iter().any(|&step| steps[step].kind == kind && steps[step].part == Part::Row)
        };
        let has_cause = |wanted: fn(&Cause) -> bool| self.causes.iter().any(wanted);
        if self.steps.is_empty() {
            None
        } else if own(StatementKind::Delete) {
            Some(match self.causes.first() {
                Some(Cause::Cascaded(..) | Cause::BelowOrphan(..)) => "cascaded delete",
                _ if has_cause(|cause| matches!(cause, Cause::Marked | Cause::Cascaded(..))) => "delete",
                _ if has_cause(|cause| matches!(cause, Cause::Orphan(..) | Cause::LetGo)) => "orphan delete",
                _ => "delete",
            })
        } else if own(StatementKind::Insert) {
            Some("insert")
        } else if own(StatementKind::Update) {
            let is_switch = has_cause(|cause| matches!(cause, Cause::RowSwitch(_)));
            Some(if is_switch { "row switch" } else { "update" })
        } else if self.steps.iter().any(|&step| steps[step].part == Part::PostUpdate) {
            Some("post update")
        } else {
            Some("association rows")
        }
    }
}

fn place(number: usize, step: &PlanStep) -> String {
    let second = if step.part == Part::PostUpdate { ", post update" } else { "" };
    format!("step {} ({} {}{second})", number + 1, step.kind.verb(), step.table)
}

/// A reason as a sentence.
fn sentence<'a>(cause: Cause, schema: &Schema, label: impl Fn(StateId) -> &'a str) -> String {
    let name = |dependency: DependencyId| &*schema.dependency(dependency).name;
    match cause {
        Cause::New => "it is new in the session".to_owned(),
        Cause::Reached(by, from) => {
            format!("it is new in the session: {} of {} cascades save-update to it", name(by), label(from))
        }
        Cause::Changed => "it was changed".to_owned(),
        Cause::Marked => "it was marked for deletion".to_owned(),
        Cause::Cascaded(by, from) => {
            format!("{} of {}, which is deleted, cascades delete to it", name(by), label(from))
        }
        Cause::LetGo => "the parent without which it is an orphan let it go".to_owned(),
        Cause::Orphan(by, from) => format!("{} of {} let it go and deletes orphans", name(by), label(from)),
        Cause::BelowOrphan(by, from) => {
            format!("{}, an orphan of {}, cascades delete to it", label(from), name(by))
        }
        Cause::Added(by, from) => format!("it was added to {} of {} and takes its key", name(by), label(from)),
        Cause::Removed(by, from) => format!("it was removed from {} of {}", name(by), label(from)),
        Cause::ParentDeleted(by, from) => {
            format!("{} is deleted: its key along {} becomes NULL", label(from), name(by))
        }
        Cause::KeyChanged(by, from) => format!("{} has a new key, which {} copies to it", label(from), name(by)),
        Cause::Refers(by) => format!("{} refers to another object now", name(by)),
        Cause::RowSwitch(from) => {
            format!("it has the identity of {}, which is deleted, and takes over that row", label(from))
        }
        Cause::Linked(by) => format!("{} changed: association rows come or go", name(by)),
        Cause::Unlinked(by) => format!("association rows of {} go before a row that is deleted", name(by)),
        Cause::Relinked(by) => format!("association rows of {} take a new key", name(by)),
        Cause::Later(by) => format!("{} is written by a second UPDATE, when both rows are there", name(by)),
        Cause::Before(by) => format!("{} is set to NULL by an UPDATE of its own before a row goes", name(by)),
    }
}

impl Change {
    fn planned<'a>(
        &self,
        py: Python<'_>,
        schema: &Schema,
        label: impl Fn(StateId) -> &'a str,
    ) -> PyResult<PlannedChange> {
        let via = self.via.map(|(dependency, _)| schema.dependency(dependency).name.to_string());
        let shown = |value: &Option<Py<PyAny>>| -> String {
            value.as_ref().map_or_else(|| "nothing".to_owned(), |value| text_of(value.bind(py)))
        };
        let mut text = match (&self.members, &self.via) {
            (Some((added, removed)), _) => {
                let list = |sign: &str, members: &[Py<PyAny>]| {
                    let labels = members.iter().map(|member| format!("{sign}{}", text_of(member.bind(py))));
                    labels.collect::<Vec<_>>()
                };
                let both = [list("+", added), list("-", removed)].concat();
                format!("{}: {}", self.key, both.join(", "))
            }
            (None, Some((_, Some(source)))) if self.new.is_none() => {
                format!("{}: {} -> the key of {}", self.key, shown(&self.old), label(*source))
            }
            (None, _) => format!("{}: {} -> {}", self.key, shown(&self.old), shown(&self.new)),
        };
        if let Some(via) = &via {
            let _ = write!(text, " ({via})");
        }
        let (added, removed) = match &self.members {
            Some((added, removed)) => (PyTuple::new(py, added)?, PyTuple::new(py, removed)?),
            None => (PyTuple::empty(py), PyTuple::empty(py)),
        };
        let copy = |value: &Option<Py<PyAny>>| value.as_ref().map(|value| value.clone_ref(py));
        Ok(PlannedChange {
            key: self.key.clone(),
            old: copy(&self.old),
            new: copy(&self.new),
            added: added.unbind(),
            removed: removed.unbind(),
            via,
            text,
        })
    }
}

/// A value as a reader sees it: mapped objects by class and key.
fn text_of(value: &Bound<'_, PyAny>) -> String {
    if state_of(value).is_some() {
        return label_of(value);
    }
    value.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string())
}

/// `Class(key)`, or `Class(new)` for an object without identity.
fn label_of(object: &Bound<'_, PyAny>) -> String {
    let class = object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let key = state_of(object).filter(|state| state.has_key()).map(|state| {
        // SAFETY: a state owns its key.
        unsafe { Bound::from_borrowed_ptr(object.py(), state.key()) }
    });
    match key.map(|key| (key.is_instance_of::<PyTuple>(), key.repr())) {
        None => format!("{class}(new)"),
        Some((true, Ok(text))) => format!("{class}{text}"),
        Some((_, Ok(text))) => format!("{class}({text})"),
        Some((_, Err(_))) => format!("{class}(?)"),
    }
}

impl Flush {
    /// What is to be told about every object that takes part.
    pub(super) fn facts(&self, py: Python<'_>, steps: &[PlanStep]) -> PyResult<Vec<Facts>> {
        let Some(trace) = self.trace.as_deref() else { return Ok(Vec::new()) };
        let mut found = Vec::with_capacity(self.states.len());
        for (number, held) in self.states.iter().enumerate() {
            let id = StateId::from_index(number);
            let object = held.object(py);
            found.push(Facts {
                label: label_of(&object),
                object: object.unbind(),
                causes: trace.causes(id).iter().copied().collect(),
                changes: self.changes(py, trace, id)?,
                steps: SmallVec::new(),
                replaced_by: None,
            });
        }
        for (number, step) in steps.iter().enumerate() {
            for row in &step.rows {
                for state in [Some(row.state), row.other].into_iter().flatten() {
                    let facts = &mut found[state.index()];
                    if facts.steps.last() != Some(&number) {
                        facts.steps.push(number);
                    }
                    if !facts.causes.contains(&row.cause) {
                        facts.causes.push(row.cause);
                    }
                }
                if let Cause::RowSwitch(replaced) = row.cause {
                    found[replaced.index()].replaced_by = Some(row.state);
                }
            }
        }
        Ok(found)
    }

    fn changes(&self, py: Python<'_>, trace: &Trace, id: StateId) -> PyResult<Vec<Change>> {
        let state = self.state(id);
        let is_delete = self.register.entry(id).is_delete;
        let mut found = Vec::new();
        for attr in state.manager().attrs() {
            let copy = trace.copies.get(&(id, attr.index()));
            let change = match (copy, attr.kind) {
                (Some(copy), _) => {
                    let old = committed(py, state, attr.index()).map(Bound::unbind);
                    let new = copy.value.as_ref().map(|value| value.clone_ref(py));
                    let is_same = match (&old, &new) {
                        (Some(old), Some(new)) => old.bind(py).eq(new)?,
                        _ => false,
                    };
                    let via = Some((copy.dependency, copy.source));
                    (!is_same).then(|| Change { key: key_of(py, attr), old, new, members: None, via })
                }
                (None, _) if is_delete || state.is_outdated() => None,
                (None, AttrKind::Scalar) => value_change(py, state, attr)?,
                (None, _) => self.members_change(py, state, attr)?,
            };
            found.extend(change);
        }
        Ok(found)
    }

    /// Members that come or go; related objects of a many-to-one before and after.
    fn members_change(&self, py: Python<'_>, state: StateRef, attr: &AttrCore) -> PyResult<Option<Change>> {
        let Some(descriptor) = state.manager().descriptor() else { return Ok(None) };
        let Some(relationship) = descriptor.relationships.iter().find(|relationship| relationship.attr == attr.index())
        else {
            return Ok(None);
        };
        if related::is_untouched(state, relationship) {
            return Ok(None);
        }
        let flags = passive::NO_INITIALIZE | passive::INCLUDE_PENDING_MUTATIONS | self.preview_flags();
        let History { added, deleted, .. } = related::links(py, state, relationship, flags)?;
        if added.is_empty() && deleted.is_empty() {
            return Ok(None);
        }
        let key = key_of(py, attr);
        let unbound = |members: Vec<Bound<'_, PyAny>>| members.into_iter().map(Bound::unbind).collect::<Vec<_>>();
        let (added, deleted) = (unbound(added), unbound(deleted));
        Ok(Some(if relationship.uselist {
            Change { key, old: None, new: None, members: Some((added, deleted)), via: None }
        } else {
            let (old, new) = (deleted.into_iter().next(), added.into_iter().next());
            Change { key, old, new, members: None, via: None }
        }))
    }

    /// What a reader should know beside the steps.
    pub(super) fn notes(&self, py: Python<'_>) -> Vec<String> {
        let Some(trace) = self.trace.as_deref() else { return Vec::new() };
        let name = |id: DependencyId| &self.schema.dependency(id).name;
        let times = |count: usize| if count == 1 { "1 object".to_owned() } else { format!("{count} objects") };
        let note = |(note, count): (&Note, usize)| match note {
            Note::Unloaded(id) => format!(
                "{} of {} to be deleted is not loaded: a flush loads it first and writes what it finds",
                name(*id),
                times(count)
            ),
            Note::Unresolved(id) => format!(
                "what {} of {} held before is not known: a flush looks it up first and writes what follows",
                name(*id),
                times(count)
            ),
            Note::UnloadedKeys(id) => format!(
                "{} of {} with a new key is not loaded: a flush loads it first and copies the key",
                name(*id),
                times(count)
            ),
            Note::UnloadedHolders(id) => format!(
                "{} of {} is not loaded: a flush loads it first, to find those that refer to a new key",
                name(*id),
                times(count)
            ),
            Note::Outside { class, operation, relationship } => format!(
                "{} of class {class} not in the session: the {operation} operation along '{relationship}' will not proceed",
                times(count)
            ),
            Note::Conflict(id) => format!(
                "{} has the identity of another object in the session: its INSERT conflicts with that row",
                label_of(&self.states[id.index()].object(py))
            ),
            Note::PendingOrphan(class) => {
                format!(
                    "{} of class {class} let go by the parent before it was written: it leaves the session",
                    times(count)
                )
            }
        };
        trace.notes().map(note).collect()
    }
}

fn key_of(py: Python<'_>, attr: &AttrCore) -> String {
    attr.key(py).to_string()
}

/// A column before and after; nothing for one without a net change.
fn value_change(py: Python<'_>, state: StateRef, attr: &AttrCore) -> PyResult<Option<Change>> {
    let index = attr.index();
    if !state.slot(index).is_modified() {
        return Ok(None);
    }
    let new = loaded_value(py, state, index);
    let old = committed(py, state, index);
    if let (Some(old), Some(new)) = (&old, &new)
        && history::is_equal(py, attr, new, old)?
    {
        return Ok(None);
    }
    let new = new.filter(|new| !names::NO_VALUE.is(new.as_ptr())).map(Bound::unbind);
    Ok(Some(Change { key: key_of(py, attr), old: old.map(Bound::unbind), new, members: None, via: None }))
}
