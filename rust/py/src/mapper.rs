//! Mapper descriptors: the plain data a configured mapper hands over once.
use std::cell::OnceCell;
use std::sync::Arc;

use pyo3::exceptions::PyKeyError;
use pyo3::ffi;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::flush::KnownWrites;
use crate::listeners::{Firing, Heard};
use crate::manager::{ClassManager, ManagerCore};
use crate::state::StateRef;

/// The row-level events of a mapper.
#[derive(Clone, Copy)]
pub enum RowEvent {
    /// Before an INSERT.
    BeforeInsert,
    /// After an INSERT.
    AfterInsert,
    /// Before an UPDATE.
    BeforeUpdate,
    /// After an UPDATE.
    AfterUpdate,
    /// Before a DELETE.
    BeforeDelete,
    /// After a DELETE.
    AfterDelete,
}

impl RowEvent {
    /// The names of the events, in the order of their numbers.
    pub const NAMES: [&'static str; 6] =
        ["before_insert", "after_insert", "before_update", "after_update", "before_delete", "after_delete"];
}

/// The events of single objects that the core fires.
#[derive(Clone, Copy)]
pub enum InstanceEvent {
    /// An object was built from a row.
    Load,
    /// It was filled again.
    Refresh,
    /// A flush got values that the database made.
    RefreshFlush,
    /// Its values were forgotten.
    Expire,
    /// Its state is being pickled.
    Pickle,
    /// Its state was unpickled.
    Unpickle,
}

impl InstanceEvent {
    /// The names of the events, in the order of their numbers.
    pub const NAMES: [&'static str; 6] = ["load", "refresh", "refresh_flush", "expire", "pickle", "unpickle"];

    /// Calls the listeners of the state's class; `others` is what they get after the object.
    pub fn fire<'py>(self, py: Python<'py>, state: StateRef, others: &[Bound<'py, PyAny>]) -> PyResult<()> {
        let Some(mapper) = state.manager().descriptor() else { return Ok(()) };
        let listeners = mapper.instance_events.present(py, self as usize)?;
        Firing { state, position: 0, others, keyword: None }.announce(py, listeners)
    }
}

/// Bits of `RelationshipDescriptor::cascade`.
pub mod bits {
    /// Cascade `save-update`.
    pub const SAVE_UPDATE: u32 = 1;
    /// Cascade `delete`.
    pub const DELETE: u32 = 2;
    /// Cascade `delete-orphan`.
    pub const DELETE_ORPHAN: u32 = 4;
    /// Cascade `merge`.
    pub const MERGE: u32 = 8;
    /// Cascade `expunge`.
    pub const EXPUNGE: u32 = 16;
    /// Cascade `refresh-expire`.
    pub const REFRESH_EXPIRE: u32 = 32;
}

/// How a relationship points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The other side holds the foreign key.
    OneToMany,
    /// This side holds the foreign key.
    ManyToOne,
    /// An association table holds both.
    ManyToMany,
}

/// Column of a mapped table.
pub struct ColumnDescriptor {
    /// `column.key`.
    pub key: Py<PyAny>,
    /// Attribute number.
    pub attr: u32,
    /// Part of the table's primary key.
    pub pk: bool,
    /// Left out of INSERT when unset: has a default of some kind.
    pub default: bool,
    /// The attribute has a default of its own, which may be another class' one for the same column.
    pub attribute_default: bool,
    /// `None` is a value of its own (`type.should_evaluate_none`).
    pub eval_none: bool,
    /// Python-side `onupdate`.
    pub onupdate: bool,
    /// Server-side `onupdate`.
    pub server_onupdate: bool,
    /// Server-side default.
    pub server_default: bool,
    /// Fetched or expired after INSERT when it was not sent.
    pub fetched: bool,
    /// The version column of the mapper.
    pub version: bool,
}

/// Table of a mapper.
pub struct TableDescriptor {
    /// The `Table`.
    pub table: Py<PyAny>,
    /// Its full name.
    pub name: String,
    /// Column numbers of the primary key, in the order of the identity.
    pub pk: Vec<u32>,
    /// Mapped columns.
    pub columns: Vec<ColumnDescriptor>,
    /// Attributes that joined inheritance makes equal.
    pub equated: Vec<Equated>,
}

/// An attribute of a table that has the value of one of an ancestor's table; mostly both are the same attribute.
pub struct Equated {
    /// The ancestor's attribute.
    pub source: u32,
    /// This table's attribute.
    pub own: u32,
    /// A primary key that the database changes by itself when the ancestor's changes.
    pub is_passed_on: bool,
}

/// Relationship of a mapper.
pub struct RelationshipDescriptor {
    /// Attribute number.
    pub attr: u32,
    /// Attribute name.
    pub key: String,
    /// Direction.
    pub direction: Direction,
    /// Manager of the target class.
    pub target: Py<ClassManager>,
    /// Holds a collection.
    pub uselist: bool,
    /// Never written.
    pub viewonly: bool,
    /// Key copies: (source attribute, destination attribute).
    pub sync: Vec<(u32, u32)>,
    /// A destination column belongs to the destination's primary key.
    pub dest_pk: bool,
    /// Destination columns may be NULL.
    pub nullable: bool,
    /// Cascade bits.
    pub cascade: u32,
    /// 0 no, 1 yes, 2 "all".
    pub passive_deletes: u8,
    /// The database changes foreign keys itself.
    pub passive_updates: bool,
    /// Written by a second UPDATE.
    pub post_update: bool,
    /// One parent only.
    pub single_parent: bool,
    /// Objects of other classes are refused at flush.
    pub enable_typechecks: bool,
    /// Association table, as its own dictionary.
    pub secondary: Option<Py<PyDict>>,
    /// The other sides.
    pub reverse: Vec<(Py<ClassManager>, u32)>,
    /// Old value is loaded before a change.
    pub active_history: bool,
    /// Target is in the same hierarchy.
    pub self_referential: bool,
    /// The `RelationshipProperty`.
    pub prop: Option<Py<PyAny>>,
    /// Other entries of the dictionary.
    pub dict: Py<PyDict>,
}

/// What a relationship of a mapper is called in a flush.
pub struct RelationshipName {
    /// Sort key of the flush order: the mapper's, with the attribute's name.
    pub sort_key: Arc<str>,
    /// `ClassName.key`, for people.
    pub label: Arc<str>,
}

/// An attribute that is read from a SQL expression and never written.
pub struct ReadonlyAttr {
    /// Attribute number.
    pub attr: u32,
    /// Every flush of the object makes it stale.
    pub expires_on_flush: bool,
    /// Loaded when it is read.
    pub is_deferred: bool,
}

fn readonly_attrs(py: Python<'_>, manager: &ManagerCore) -> PyResult<Vec<ReadonlyAttr>> {
    let Some(props) = manager.mapper(py).map(|mapper| mapper.getattr_opt("_readonly_props")).transpose()?.flatten()
    else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for prop in props.try_iter()? {
        let prop = prop?;
        let Some(attr) = manager.attr_by_key(prop.getattr("key")?.cast::<PyString>()?) else { continue };
        found.push(ReadonlyAttr {
            attr: attr.index(),
            expires_on_flush: prop.getattr("expire_on_flush")?.is_truthy()?,
            is_deferred: prop.getattr("deferred")?.is_truthy()?,
        });
    }
    Ok(found)
}

/// Mapper in plain form.
pub struct MapperDescriptor {
    /// Sort key of the flush order: `module.ClassName`.
    pub name: Arc<str>,
    /// The class name, for people.
    pub class_name: Arc<str>,
    /// Manager of the base mapper.
    pub base: Py<ClassManager>,
    /// Manager of the class that names identities: the base mapper's, unless the mapper keeps identities of its own (concrete
    /// inheritance, a class without polymorphic identity).
    pub identity: Py<ClassManager>,
    /// Manager of the inherited mapper.
    pub parent: Option<Py<ClassManager>>,
    /// Attribute numbers of the primary key.
    pub primary_key: Vec<u32>,
    /// Rows of one shape go out together.
    pub batch: bool,
    /// An orphan is what all delete-orphan parents let go, not one of them.
    pub legacy_is_orphan: bool,
    /// A DELETE that hits too few rows warns.
    pub confirm_deleted_rows: bool,
    /// Part-NULL composite keys are keys.
    pub allow_partial_pks: bool,
    /// Every load overwrites what is in memory.
    pub always_refresh: bool,
    /// "auto", True or False.
    pub eager_defaults: Option<Py<PyAny>>,
    /// Attribute number of the version id.
    pub version_id: Option<u32>,
    /// Version generator: callable; None means the default, False means the server's.
    pub version_generator: Option<Py<PyAny>>,
    /// Attribute number of the discriminator.
    pub polymorphic_attr: Option<u32>,
    /// The discriminator's value for this class.
    pub polymorphic_identity: Option<Py<PyAny>>,
    /// Objects of this very class are not made.
    pub polymorphic_abstract: bool,
    /// Listeners of row-level events, see `RowEvent`.
    pub row_events: Heard,
    /// Listeners of events of single objects, see `InstanceEvent`.
    pub instance_events: Heard,
    /// Tables, base first.
    pub tables: Vec<TableDescriptor>,
    /// Relationships, in order of configuration.
    pub relationships: Vec<RelationshipDescriptor>,
    /// What each of them is called in a flush.
    pub relationship_names: Vec<RelationshipName>,
    /// SQL expressions mapped as attributes, which a flush makes stale; asked for once.
    readonly: OnceCell<Vec<ReadonlyAttr>>,
    /// Statements of flushes.
    pub known_writes: KnownWrites,
    /// The dictionary itself, for entries that are read later.
    pub dict: Py<PyDict>,
}

fn required<'py>(dict: &Bound<'py, PyDict>, key: &'static str) -> PyResult<Bound<'py, PyAny>> {
    dict.get_item(key)?.ok_or_else(|| PyKeyError::new_err(key))
}

fn optional<'py>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    Ok(dict.get_item(key)?.filter(|value| !value.is_none()))
}

fn truth(dict: &Bound<'_, PyDict>, key: &str, default: bool) -> PyResult<bool> {
    optional(dict, key)?.map_or(Ok(default), |value| value.is_truthy())
}

fn number(dict: &Bound<'_, PyDict>, key: &str) -> PyResult<u32> {
    optional(dict, key)?.map_or(Ok(0), |value| value.extract())
}

fn manager<'py>(value: Bound<'py, PyAny>) -> PyResult<Bound<'py, ClassManager>> {
    let manager = value.cast_into::<ClassManager>()?;
    ManagerCore::of(&manager); // learns its own address
    Ok(manager)
}

impl ColumnDescriptor {
    fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Self {
            key: required(dict, "key")?.unbind(),
            attr: required(dict, "attr")?.extract()?,
            pk: truth(dict, "pk", false)?,
            default: truth(dict, "default", false)?,
            attribute_default: truth(dict, "attribute_default", false)?,
            eval_none: truth(dict, "eval_none", false)?,
            onupdate: truth(dict, "onupdate", false)?,
            server_onupdate: truth(dict, "server_onupdate", false)?,
            server_default: truth(dict, "server_default", false)?,
            fetched: truth(dict, "fetched", false)?,
            version: truth(dict, "version", false)?,
        })
    }
}

impl TableDescriptor {
    fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Self> {
        let columns = required(dict, "columns")?
            .try_iter()?
            .map(|column| ColumnDescriptor::from_dict(&column?.cast_into::<PyDict>()?))
            .collect::<PyResult<_>>()?;
        Ok(Self {
            table: required(dict, "table")?.unbind(),
            name: required(dict, "name")?.extract()?,
            pk: required(dict, "pk")?.extract()?,
            columns,
            equated: optional(dict, "equated")?
                .map_or_else(|| Ok(Vec::new()), |value| value.extract::<Vec<_>>())?
                .into_iter()
                .map(|(source, own, is_passed_on)| Equated { source, own, is_passed_on })
                .collect(),
        })
    }
}

impl RelationshipDescriptor {
    /// Reads a relationship entry.
    pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Self> {
        let direction = match required(dict, "direction")?.str()?.to_cow()?.rsplit('.').next() {
            Some("ONETOMANY") => Direction::OneToMany,
            Some("MANYTOONE") => Direction::ManyToOne,
            _ => Direction::ManyToMany,
        };
        let mut reverse = Vec::new();
        if let Some(pairs) = optional(dict, "reverse")? {
            for pair in pairs.try_iter()? {
                let pair = pair?.cast_into::<PyTuple>()?;
                reverse.push((manager(pair.get_item(0)?)?.unbind(), pair.get_item(1)?.extract()?));
            }
        }
        Ok(Self {
            attr: required(dict, "attr")?.extract()?,
            key: required(dict, "key")?.extract()?,
            direction,
            target: manager(required(dict, "target")?)?.unbind(),
            uselist: truth(dict, "uselist", false)?,
            viewonly: truth(dict, "viewonly", false)?,
            sync: optional(dict, "sync")?.map_or_else(|| Ok(Vec::new()), |value| value.extract())?,
            dest_pk: truth(dict, "dest_pk", false)?,
            nullable: truth(dict, "nullable", true)?,
            cascade: number(dict, "cascade")?,
            passive_deletes: optional(dict, "passive_deletes")?.map_or(Ok(0), |value| {
                if value.is_instance_of::<pyo3::types::PyBool>() {
                    value.is_truthy().map(u8::from)
                } else {
                    value.extract()
                }
            })?,
            passive_updates: truth(dict, "passive_updates", true)?,
            post_update: truth(dict, "post_update", false)?,
            single_parent: truth(dict, "single_parent", false)?,
            enable_typechecks: truth(dict, "enable_typechecks", true)?,
            secondary: optional(dict, "secondary")?
                .map(|value| value.cast_into::<PyDict>())
                .transpose()?
                .map(Bound::unbind),
            reverse,
            active_history: truth(dict, "active_history", false)?,
            self_referential: truth(dict, "self_referential", false)?,
            prop: optional(dict, "prop")?.map(Bound::unbind),
            dict: dict.clone().unbind(),
        })
    }

    /// Visits owned references.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.target)?;
        visit.call(&self.secondary)?;
        visit.call(&self.prop)?;
        visit.call(&self.dict)?;
        for (manager, _) in &self.reverse {
            visit.call(manager)?;
        }
        Ok(())
    }
}

impl RelationshipDescriptor {
    /// As `traverse`, for a raw type.
    ///
    /// # Safety
    /// Called from a `tp_traverse` only.
    pub unsafe fn traverse_raw(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> std::ffi::c_int {
        let reverse = self.reverse.iter().map(|(manager, _)| manager.as_ptr());
        let held = [
            self.target.as_ptr(),
            self.dict.as_ptr(),
            self.secondary.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr),
            self.prop.as_ref().map_or(std::ptr::null_mut(), Py::as_ptr),
        ];
        for object in held.into_iter().chain(reverse).filter(|object| !object.is_null()) {
            // SAFETY: the collector's own function on an owned object.
            let result = unsafe { visit(object, arg) };
            if result != 0 {
                return result;
            }
        }
        0
    }
}

impl MapperDescriptor {
    /// Reads the dictionary of the contract's section 4.
    pub fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Self> {
        let dicts = |key: &'static str| -> PyResult<Vec<Bound<'_, PyDict>>> {
            optional(dict, key)?.map_or_else(
                || Ok(Vec::new()),
                |list| list.try_iter()?.map(|entry| Ok(entry?.cast_into::<PyDict>()?)).collect(),
            )
        };
        let heard = |key: &str, names: &[&str]| match optional(dict, key)? {
            Some(listeners) => Heard::from_dict(&listeners.cast_into::<PyDict>()?, names),
            None => Ok(Heard::default()),
        };
        let instance_events = heard("instance_events", &InstanceEvent::NAMES)?;
        crate::expiry::note_events(&instance_events);
        let name: String = required(dict, "name")?.extract()?;
        let class_name = name.rsplit('.').next().unwrap_or_default();
        let relationships =
            dicts("relationships")?.iter().map(RelationshipDescriptor::from_dict).collect::<PyResult<Vec<_>>>()?;
        let relationship_names = relationships.iter().map(|relationship| RelationshipName {
            sort_key: format!("{name}_{}", relationship.key).into(),
            label: format!("{class_name}.{}", relationship.key).into(),
        });
        Ok(Self {
            relationship_names: relationship_names.collect(),
            relationships,
            class_name: class_name.into(),
            name: name.into(),
            identity: match optional(dict, "identity")? {
                Some(identity) => manager(identity)?.unbind(),
                None => manager(required(dict, "base")?)?.unbind(),
            },
            base: manager(required(dict, "base")?)?.unbind(),
            parent: optional(dict, "parent")?.map(manager).transpose()?.map(Bound::unbind),
            primary_key: required(dict, "primary_key")?.extract()?,
            batch: truth(dict, "batch", true)?,
            legacy_is_orphan: truth(dict, "legacy_is_orphan", false)?,
            confirm_deleted_rows: truth(dict, "confirm_deleted_rows", true)?,
            allow_partial_pks: truth(dict, "allow_partial_pks", true)?,
            always_refresh: truth(dict, "always_refresh", false)?,
            eager_defaults: optional(dict, "eager_defaults")?.map(Bound::unbind),
            version_id: optional(dict, "version_id")?.map(|value| value.extract()).transpose()?,
            version_generator: optional(dict, "version_generator")?.map(Bound::unbind),
            polymorphic_attr: optional(dict, "polymorphic_attr")?.map(|value| value.extract()).transpose()?,
            polymorphic_identity: optional(dict, "polymorphic_identity")?.map(Bound::unbind),
            polymorphic_abstract: truth(dict, "polymorphic_abstract", false)?,
            row_events: heard("row_events", &RowEvent::NAMES)?,
            instance_events,
            tables: dicts("tables")?.iter().map(TableDescriptor::from_dict).collect::<PyResult<_>>()?,
            readonly: OnceCell::new(),
            known_writes: KnownWrites::default(),
            dict: dict.clone().unbind(),
        })
    }

    /// The mapper's read-only attributes; none for a mapper that does not tell.
    pub fn readonly(&self, py: Python<'_>, manager: &ManagerCore) -> &[ReadonlyAttr] {
        if self.readonly.get().is_none() {
            // not from inside of the cell: Python code runs, which may come here again
            let found = readonly_attrs(py, manager).unwrap_or_default();
            let _ = self.readonly.set(found);
        }
        self.readonly.get().map_or(&[], Vec::as_slice)
    }

    /// Visits owned references.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        visit.call(&self.base)?;
        visit.call(&self.identity)?;
        visit.call(&self.parent)?;
        visit.call(&self.eager_defaults)?;
        visit.call(&self.version_generator)?;
        visit.call(&self.polymorphic_identity)?;
        self.row_events.traverse(visit)?;
        self.instance_events.traverse(visit)?;
        visit.call(&self.dict)?;
        for table in &self.tables {
            visit.call(&table.table)?;
        }
        for relationship in &self.relationships {
            relationship.traverse(visit)?;
        }
        self.known_writes.traverse(visit)
    }
}
