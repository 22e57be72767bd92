//! What the planner is told of mappers: those that have states in the flush with their dependency processors, and by name only
//! those that their relationships lead to. What a flush costs depends on what it flushes, not on how many classes are mapped.
use std::rc::Rc;
use std::sync::Arc;

use hashbrown::HashSet;
use pyo3::prelude::*;
use rustalchemy_core::flush::Presort;
use rustalchemy_core::ids::{DependencyId, MapperId};
use rustalchemy_core::schema::{DependencySchema, Direction, MapperSchema};
use smallvec::SmallVec;

use crate::manager::ManagerCore;
use crate::mapper::{self, MapperDescriptor, RelationshipDescriptor};

use super::{DependencyEntry, Flush, MapperEntry};

impl Flush {
    /// The number of a mapper whose objects take part, with its dependency processors and those of its base.
    pub(super) fn mapper(&mut self, py: Python<'_>, manager: &ManagerCore) -> Option<MapperId> {
        let id = self.target(py, manager)?;
        let entry = &mut self.mappers[id.index()];
        if std::mem::replace(&mut entry.takes_part, true) {
            return Some(id);
        }
        let descriptor = Rc::clone(&entry.descriptor);
        if self.schema.base(id) != id {
            // First, so that the relationships they share are named after the base.
            self.mapper(py, ManagerCore::of(descriptor.base.bind(py)));
        }
        for place in 0..descriptor.relationships.len() {
            if let Some(dependency) = self.dependency(py, id, &descriptor, place) {
                self.schema.mapper_mut(id).dependencies.push(dependency);
            }
        }
        Some(id)
    }

    /// The number of a mapper, whether its objects take part or not.
    fn target(&mut self, py: Python<'_>, manager: &ManagerCore) -> Option<MapperId> {
        let address = std::ptr::from_ref(manager) as usize;
        if let Some(&id) = self.mapper_ids.get(&address) {
            return Some(id);
        }
        let descriptor = manager.descriptor()?;
        let base_manager = ManagerCore::of(descriptor.base.bind(py));
        let is_base = std::ptr::eq(base_manager, manager);
        let base = if is_base { None } else { Some(self.target(py, base_manager)?) };
        let id = MapperId::from_index(self.schema.mapper_count());
        self.schema.add_mapper(MapperSchema {
            name: Arc::clone(&descriptor.class_name),
            sort_key: Arc::clone(&descriptor.name),
            base: base.unwrap_or(id),
            dependencies: Vec::new(),
        });
        self.mapper_ids.insert(address, id);
        self.mappers.push(MapperEntry {
            manager: manager.object(py).unbind(),
            descriptor,
            takes_part: false,
            event_arguments: None,
        });
        Some(id)
    }

    /// The number of a relationship's dependency processor; the same one for all mappers that inherit it.
    fn dependency(
        &mut self,
        py: Python<'_>,
        mapper: MapperId,
        descriptor: &Rc<MapperDescriptor>,
        place: usize,
    ) -> Option<DependencyId> {
        let relationship = &descriptor.relationships[place];
        let direction = match relationship.direction {
            _ if relationship.viewonly => return None,
            mapper::Direction::OneToMany => Direction::OneToMany,
            mapper::Direction::ManyToOne => Direction::ManyToOne,
            mapper::Direction::ManyToMany if relationship.secondary.is_none() => return None,
            mapper::Direction::ManyToMany => Direction::ManyToMany,
        };
        if let Some(id) = self.dependency_of(relationship) {
            return Some(id);
        }
        let target = self.target(py, ManagerCore::of(relationship.target.bind(py))).unwrap_or(mapper);
        let name = &descriptor.relationship_names[place];
        let id = self.schema.add_dependency(DependencySchema {
            parent: mapper,
            target,
            direction,
            post_update: relationship.post_update,
            sort_key: Arc::clone(&name.sort_key),
            name: Arc::clone(&name.label),
        });
        self.dependency_ids.insert(identity(relationship), id);
        self.dependencies.push(DependencyEntry {
            descriptor: Rc::clone(descriptor),
            place,
            target,
            presort: Presort::default(),
            had_turn: false,
            looked_up: HashSet::new(),
            children_added: HashSet::new(),
        });
        Some(id)
    }

    /// The tables of mappers of one hierarchy, each once, in the order in which their rows are written; by their addresses.
    pub(super) fn tables_of(
        &self,
        py: Python<'_>,
        rows: impl Iterator<Item = MapperId>,
    ) -> PyResult<SmallVec<[usize; 4]>> {
        let mut mappers: SmallVec<[MapperId; 4]> = SmallVec::new();
        for mapper in rows {
            if mappers.last() != Some(&mapper) && !mappers.contains(&mapper) {
                mappers.push(mapper);
            }
        }
        let mut tables: SmallVec<[usize; 4]> = SmallVec::new();
        for table in mappers.iter().flat_map(|&mapper| &self.descriptor(mapper).tables) {
            let address = table.table.as_ptr() as usize;
            if !tables.contains(&address) {
                tables.push(address);
            }
        }
        if mappers.len() > 1 {
            // Tables of sibling classes may refer to each other.
            let base = &self.mappers[self.schema.base(mappers[0]).index()];
            if let Some(mapper) = ManagerCore::of(base.manager.bind(py)).mapper(py)
                && let Some(sorted) = mapper.getattr_opt(pyo3::intern!(py, "_sorted_tables"))?
            {
                let sorted: Vec<_> = sorted.try_iter()?.collect::<PyResult<_>>()?;
                tables.sort_by_key(|&address| sorted.iter().position(|table| table.as_ptr() as usize == address));
            }
        }
        Ok(tables)
    }

    /// The number of a relationship's dependency processor, if it takes part already.
    pub(super) fn dependency_of(&self, relationship: &RelationshipDescriptor) -> Option<DependencyId> {
        self.dependency_ids.get(&identity(relationship)).copied()
    }
}

/// What tells relationships apart, whichever inheriting mapper describes them.
pub(super) fn identity(relationship: &RelationshipDescriptor) -> usize {
    match &relationship.prop {
        Some(prop) => prop.as_ptr() as usize,
        None => std::ptr::from_ref(relationship) as usize,
    }
}
