//! What the planner knows about mappers and relationships: a plain description, built by the binding crate per flush
//! from the mappers that take part. Names are shared with whoever keeps them, so that building it copies none.

use std::sync::Arc;

use crate::ids::{DependencyId, MapperId};

/// A mapper as the planner sees it.
#[derive(Clone, Debug)]
pub struct MapperSchema {
    /// `module.ClassName`: the order of actions between which no dependency stands.
    pub sort_key: Arc<str>,
    /// The class name, for people.
    pub name: Arc<str>,
    /// Root of the mapper hierarchy (itself without inheritance).
    pub base: MapperId,
    /// Dependency processors of this mapper's relationships, inherited ones included; none while it only is the target
    /// of another mapper's.
    pub dependencies: Vec<DependencyId>,
}

/// Who holds the foreign key of a relationship.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The related rows hold it.
    OneToMany,
    /// The row that has the relationship holds it.
    ManyToOne,
    /// Rows of a secondary table hold both.
    ManyToMany,
}

/// A dependency processor as the planner sees it.
#[derive(Clone, Debug)]
pub struct DependencySchema {
    /// Mapper that declares the relationship.
    pub parent: MapperId,
    /// Mapper the relationship leads to.
    pub target: MapperId,
    /// Who holds the foreign key.
    pub direction: Direction,
    /// The foreign key is written by a second UPDATE.
    pub post_update: bool,
    /// `module.ClassName_key`: its place among actions between which no dependency stands.
    pub sort_key: Arc<str>,
    /// `ClassName.key`, for people.
    pub name: Arc<str>,
}

/// Every mapper and dependency processor that one flush may meet.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    mappers: Vec<MapperSchema>,
    dependencies: Vec<DependencySchema>,
}

impl Schema {
    /// Adds a mapper; its number follows the ones already there.
    pub fn add_mapper(&mut self, mapper: MapperSchema) -> MapperId {
        let id = MapperId::from_index(self.mappers.len());
        self.mappers.push(mapper);
        id
    }

    /// Adds a dependency processor; the caller lists it in `MapperSchema::dependencies`.
    pub fn add_dependency(&mut self, dependency: DependencySchema) -> DependencyId {
        let id = DependencyId::from_index(self.dependencies.len());
        self.dependencies.push(dependency);
        id
    }

    /// The mapper of this number.
    #[must_use]
    pub fn mapper(&self, id: MapperId) -> &MapperSchema {
        &self.mappers[id.index()]
    }

    /// The mapper of this number, to complete it.
    pub fn mapper_mut(&mut self, id: MapperId) -> &mut MapperSchema {
        &mut self.mappers[id.index()]
    }

    /// The dependency processor of this number.
    #[must_use]
    pub fn dependency(&self, id: DependencyId) -> &DependencySchema {
        &self.dependencies[id.index()]
    }

    /// The dependency processor of this number, to complete it.
    pub fn dependency_mut(&mut self, id: DependencyId) -> &mut DependencySchema {
        &mut self.dependencies[id.index()]
    }

    /// Root of the hierarchy a mapper belongs to.
    #[must_use]
    pub fn base(&self, id: MapperId) -> MapperId {
        self.mapper(id).base
    }

    /// How many mappers there are.
    #[must_use]
    pub fn mapper_count(&self) -> usize {
        self.mappers.len()
    }

    /// How many dependency processors there are.
    #[must_use]
    pub fn dependency_count(&self) -> usize {
        self.dependencies.len()
    }

    /// Whether a mapper's objects are handled by a dependency processor.
    #[must_use]
    pub fn handles(&self, mapper: MapperId, dependency: DependencyId) -> bool {
        self.mapper(mapper).dependencies.contains(&dependency)
    }
}
