//! Row plans as Python hands them over: how the rows of one statement become objects.
//!
//! Plans are values: made once per compiled statement, never changed, shared by all sessions.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, ffi};
use rustalchemy_core::row_plan::{ColumnLayout, EntityLayout, KeyPresence};

use crate::manager::{ClassManager, ManagerCore};
use crate::processors::Processor;

/// The strategy that a loader option chose for an attribute in place of the mapped one.
pub(crate) struct Override {
    /// Number of the attribute.
    pub attribute: u32,
    /// Its name.
    pub key: Py<PyAny>,
    /// Key of the strategy, and the option.
    pub choice: Py<PyAny>,
}

/// What one entity of a statement's rows becomes.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct EntityPlan {
    pub(crate) manager: Py<ClassManager>,
    layout: EntityLayout<Py<Processor>>,
    /// For every column: the key column at the same place of the row, whose processed value is shared.
    key_of_column: Box<[Option<usize>]>,
    width: usize,
    pub(crate) has_processors: bool,
    /// The core alone makes objects of rows, as far as the plan says.
    pub(crate) is_native: bool,
    /// Several rows may be about the same object, one after the other.
    pub(crate) repeats: bool,
    pub(crate) eager: Box<[EagerStep]>,
    identity_token: Option<Py<PyAny>>,
    pub(crate) polymorphic: Option<PolymorphicSwitch>,
    pub(crate) overrides: Box<[Override]>,
    /// `load_options` and `load_path` of the states.
    pub(crate) load_options: Option<(Py<PyAny>, Py<PyAny>)>,
    /// Options and path lead to no object, so that they cannot be part of a cycle with one.
    pub(crate) options_are_plain: bool,
    /// The list of the `LoadContext` that gathers this plan's objects.
    pub(crate) collect: Option<usize>,
    /// Called `(state, row, is_new)` for every object that was built or overwritten; with None for one that was there.
    pub(crate) on_new: Option<Py<PyAny>>,
}

/// Which plan a row has, by its discriminator.
pub struct PolymorphicSwitch {
    pub(crate) position: usize,
    pub(crate) processor: Option<Py<Processor>>,
    /// Discriminator to plan; None stands for the plan that has the switch.
    pub(crate) branches: Py<PyDict>,
    /// Called `(identity)` where the discriminator is NULL but the identity is not.
    pub(crate) on_missing: Option<Py<PyAny>>,
}

impl EntityPlan {
    /// The manager of the class.
    pub fn manager_core<'a>(&'a self, py: Python<'a>) -> &'a ManagerCore {
        ManagerCore::of(self.manager.bind(py))
    }
    /// The key columns.
    pub fn key(&self) -> &[ColumnLayout<Py<Processor>>] {
        &self.layout.key
    }
    /// The columns, each with the key column that shares its value.
    pub fn columns(&self) -> impl Iterator<Item = (&ColumnLayout<Py<Processor>>, Option<usize>)> {
        self.layout.columns.iter().zip(self.key_of_column.iter().copied())
    }
    /// Attributes that are expired where the row does not bring them.
    pub fn expired(&self) -> impl Iterator<Item = u32> + '_ {
        self.layout.expired.iter().map(|&attribute| index(attribute))
    }
    /// Attributes that a load gives back to their own loader.
    pub fn reset(&self) -> impl Iterator<Item = u32> + '_ {
        self.layout.reset.iter().map(|&attribute| index(attribute))
    }
    /// Number of values a row must have.
    pub fn width(&self) -> usize {
        self.width
    }
    /// Whether a key with so many NULLs stands for no object.
    pub fn is_absent(&self, null_count: usize) -> bool {
        self.layout.presence(null_count) == KeyPresence::Absent
    }
    /// The identity token.
    pub fn token<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.identity_token.as_ref().map(|token| token.bind(py).clone())
    }
    /// The identity token, borrowed; null for none.
    pub fn token_ptr(&self) -> *mut ffi::PyObject {
        self.identity_token.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr)
    }
}

/// An attribute number as states count them. Python gave it, so it fits; the largest number stands for what does not.
pub fn index(attribute: usize) -> u32 {
    u32::try_from(attribute).unwrap_or(u32::MAX)
}

/// Whether values are processed without code of the user's; no processor takes them as they are.
fn is_native(processor: Option<&Py<Processor>>) -> bool {
    processor.is_none_or(|processor| processor.get().is_native())
}

type ColumnArgument<'py> = (usize, usize, Option<Bound<'py, Processor>>);

fn key_column(
    entry: &Bound<'_, PyAny>,
    columns: &[ColumnLayout<Py<Processor>>],
) -> PyResult<ColumnLayout<Py<Processor>>> {
    let py = entry.py();
    let (position, processor) = if let Ok(pair) = entry.cast::<PyTuple>() {
        let (position, processor): (usize, Option<Bound<'_, Processor>>) = pair.extract()?;
        (position, processor.map(Bound::unbind))
    } else {
        let position = entry.extract()?;
        let column = columns.iter().find(|column| column.position == position);
        (position, column.and_then(|column| column.processor.as_ref()).map(|processor| processor.clone_ref(py)))
    };
    Ok(ColumnLayout { position, attribute: 0, processor })
}

#[pymethods]
impl EntityPlan {
    #[new]
    #[pyo3(signature = (manager, pk, columns, *, expired=Vec::new(), reset=Vec::new(), overrides=None, eager=Vec::new(),
        identity_token=None, polymorphic=None, load_options=None, options_are_plain=false, collect=None, on_new=None,
        allow_partial_pks=None))]
    #[allow(clippy::too_many_arguments, clippy::type_complexity, clippy::needless_pass_by_value)] // the contract's keywords
    fn new(
        manager: &Bound<'_, ClassManager>,
        pk: Vec<Bound<'_, PyAny>>,
        columns: Vec<ColumnArgument<'_>>,
        expired: Vec<usize>,
        reset: Vec<usize>,
        overrides: Option<Bound<'_, PyDict>>,
        eager: Vec<EagerStep>,
        identity_token: Option<Py<PyAny>>,
        polymorphic: Option<(usize, Option<Py<Processor>>, Py<PyDict>, Option<Py<PyAny>>)>,
        load_options: Option<(Py<PyAny>, Py<PyAny>)>,
        options_are_plain: bool,
        collect: Option<usize>,
        on_new: Option<Py<PyAny>>,
        allow_partial_pks: Option<bool>,
    ) -> PyResult<Self> {
        let columns: Box<[_]> = columns
            .into_iter()
            .map(|(position, attribute, processor)| ColumnLayout {
                position,
                attribute,
                processor: processor.map(Bound::unbind),
            })
            .collect();
        let key = pk.iter().map(|entry| key_column(entry, &columns)).collect::<PyResult<Box<[_]>>>()?;
        let allow_partial_key = allow_partial_pks
            .unwrap_or_else(|| ManagerCore::of(manager).descriptor().is_none_or(|mapper| mapper.allow_partial_pks));
        let key_of_column = columns
            .iter()
            .map(|column| key.iter().position(|part: &ColumnLayout<_>| part.position == column.position))
            .collect();
        let layout = EntityLayout { key, columns, expired: expired.into(), reset: reset.into(), allow_partial_key };
        let layout = layout.check().map_err(|error| PyValueError::new_err(error.to_string()))?;
        let polymorphic = polymorphic.map(|(position, processor, branches, on_missing)| PolymorphicSwitch {
            position,
            processor,
            branches,
            on_missing,
        });
        let mut chosen = Vec::new();
        for (key, choice) in overrides.iter().flatten() {
            let attr = ManagerCore::of(manager).expect_attr(key.cast::<PyString>()?)?;
            chosen.push(Override { attribute: attr.index(), key: key.unbind(), choice: choice.unbind() });
        }
        let is_native = on_new.is_none()
            && polymorphic.is_none()
            && layout.key.iter().chain(&layout.columns).all(|column| is_native(column.processor.as_ref()))
            && eager.iter().all(|step| step.joined().is_some_and(|eager| eager.entity.get().is_native));
        let repeats =
            eager.iter().filter_map(EagerStep::joined).any(|eager| eager.uselist || eager.entity.get().repeats);
        Ok(Self {
            is_native,
            repeats,
            manager: manager.clone().unbind(),
            overrides: chosen.into(),
            width: layout
                .row_width()
                .max(polymorphic.as_ref().map_or(0, |switch| switch.position + 1))
                .max(eager.iter().map(EagerStep::width).max().unwrap_or(0)),
            has_processors: layout.columns.iter().any(|column| column.processor.is_some()),
            layout,
            key_of_column,
            eager: eager.into(),
            identity_token,
            polymorphic,
            load_options,
            options_are_plain,
            collect,
            on_new,
        })
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.manager)?;
        for column in self.layout.key.iter().chain(&self.layout.columns) {
            visit.call(&column.processor)?;
        }
        for chosen in &self.overrides {
            visit.call(&chosen.key)?;
            visit.call(&chosen.choice)?;
        }
        for step in &self.eager {
            match step {
                EagerStep::Joined(plan) => visit.call(plan)?,
                EagerStep::Subquery(plan) => visit.call(plan)?,
            }
        }
        visit.call(&self.identity_token)?;
        if let Some(switch) = &self.polymorphic {
            visit.call(&switch.processor)?;
            visit.call(&switch.branches)?;
            visit.call(&switch.on_missing)?;
        }
        if let Some((options, path)) = &self.load_options {
            visit.call(options)?;
            visit.call(path)?;
        }
        visit.call(&self.on_new)
    }
}

/// A relationship that is filled row by row.
pub(crate) enum EagerStep {
    /// From the same row.
    Joined(Py<EagerPlan>),
    /// From a second statement's result.
    Subquery(Py<SubqueryPlan>),
}

impl EagerStep {
    /// What the same row brings.
    pub(crate) fn joined(&self) -> Option<&EagerPlan> {
        match self {
            Self::Joined(plan) => Some(plan.get()),
            Self::Subquery(_) => None,
        }
    }
    /// Number of values that a row must have for it; what the same row brings is checked by the plan of the entity.
    fn width(&self) -> usize {
        match self {
            Self::Joined(_) => 0,
            Self::Subquery(plan) => plan.get().key.iter().map(|column| column.position + 1).max().unwrap_or(0),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for EagerStep {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(plan) = object.cast::<EagerPlan>() {
            return Ok(Self::Joined(plan.to_owned().unbind()));
        }
        match object.cast::<SubqueryPlan>() {
            Ok(plan) => Ok(Self::Subquery(plan.to_owned().unbind())),
            Err(_) => Err(PyTypeError::new_err("eager loads are made of EagerPlan and SubqueryPlan")),
        }
    }
}

/// A relationship that the same rows bring (joined eager loading).
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct EagerPlan {
    /// Attribute number of the relationship.
    pub(crate) attr: u32,
    pub(crate) entity: Py<EntityPlan>,
    pub(crate) uselist: bool,
    /// What warnings call it by.
    pub(crate) relationship: Py<PyAny>,
}

#[pymethods]
impl EagerPlan {
    #[new]
    fn new(attr: u32, entity: Py<EntityPlan>, uselist: bool, relationship: Py<PyAny>) -> Self {
        Self { attr, entity, uselist, relationship }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.entity)?;
        visit.call(&self.relationship)
    }
}

/// A relationship that a second statement brings, which is sent with the first row that asks for it (subquery eager
/// loading).
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct SubqueryPlan {
    /// Attribute number of the relationship.
    pub(crate) attr: u32,
    pub(crate) uselist: bool,
    /// What warnings call it by.
    pub(crate) relationship: Py<PyAny>,
    /// What the second statement's objects are found by.
    pub(crate) key: Box<[ColumnLayout<Py<Processor>>]>,
    /// Number of the second statement among those of the execution.
    pub(crate) number: usize,
    /// Called with the context of the execution; has a dict of lists of objects by key.
    pub(crate) load: Py<PyAny>,
}

#[pymethods]
impl SubqueryPlan {
    #[new]
    fn new(
        attr: u32,
        uselist: bool,
        relationship: Py<PyAny>,
        key: Vec<(usize, Option<Py<Processor>>)>,
        number: usize,
        load: Py<PyAny>,
    ) -> Self {
        let key = key.into_iter().map(|(position, processor)| ColumnLayout { position, attribute: 0, processor });
        Self { attr, uselist, relationship, key: key.collect(), number, load }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.relationship)?;
        for column in &self.key {
            visit.call(&column.processor)?;
        }
        visit.call(&self.load)
    }
}

/// A plain value of a row.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct ScalarPlan {
    pub(crate) position: usize,
    pub(crate) processor: Option<Py<Processor>>,
}

#[pymethods]
impl ScalarPlan {
    #[new]
    #[pyo3(signature = (position, processor=None))]
    fn new(position: usize, processor: Option<Py<Processor>>) -> Self {
        Self { position, processor }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.processor)
    }
}

/// One thing a row has.
pub enum RowItem {
    /// An object.
    Entity(Py<EntityPlan>),
    /// A value.
    Scalar(Py<ScalarPlan>),
}

/// What the rows of one statement become.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct RowPlan {
    pub(crate) items: Box<[RowItem]>,
    /// Rows are single things instead of tuples.
    pub(crate) single: bool,
    /// Every item is the raw value at its own place: a row of that width is its own result.
    pub(crate) is_identity: bool,
    /// The core alone makes results of rows, as far as the plan says.
    pub(crate) is_native: bool,
}

#[pymethods]
impl RowPlan {
    #[new]
    #[pyo3(signature = (entities, *, single))]
    fn new(entities: Vec<Bound<'_, PyAny>>, single: bool) -> PyResult<Self> {
        let items = entities
            .into_iter()
            .map(|entity| match entity.cast_into::<EntityPlan>() {
                Ok(entity) => Ok(RowItem::Entity(entity.unbind())),
                Err(error) => match error.into_inner().cast_into::<ScalarPlan>() {
                    Ok(scalar) => Ok(RowItem::Scalar(scalar.unbind())),
                    Err(_) => Err(PyTypeError::new_err("a row plan is made of EntityPlan and ScalarPlan")),
                },
            })
            .collect::<PyResult<Box<[_]>>>()?;
        if single && items.len() != 1 {
            return Err(PyValueError::new_err("rows that are single things have one plan"));
        }
        let is_own_place = |(place, item): (usize, &RowItem)| match item {
            RowItem::Entity(_) => false,
            RowItem::Scalar(scalar) => scalar.get().position == place && scalar.get().processor.is_none(),
        };
        let is_identity = !single && items.iter().enumerate().all(is_own_place);
        let is_native = items.iter().all(|item| match item {
            RowItem::Entity(entity) => entity.get().is_native,
            RowItem::Scalar(scalar) => is_native(scalar.get().processor.as_ref()),
        });
        Ok(Self { items, single, is_identity, is_native })
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.items.iter().try_for_each(|item| match item {
            RowItem::Entity(entity) => visit.call(entity),
            RowItem::Scalar(scalar) => visit.call(scalar),
        })
    }
}
