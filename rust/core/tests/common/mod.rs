//! A tiny model to plan for: mappers by name, relationships, states and links between them.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part

use rustalchemy_core::error::PlanError;
use rustalchemy_core::flush::{
    FlushPlan, PlanStep, Register, Relations, StatementKind, plan, steps,
};
use rustalchemy_core::ids::{DependencyId, MapperId, StateId};
use rustalchemy_core::schema::{DependencySchema, Direction, MapperSchema, Schema};
use std::fmt::Write as _;

/// Schema, states and links of one flush.
#[derive(Default)]
pub struct Model {
    pub schema: Schema,
    pub register: Register,
    active: Vec<DependencyId>,
    links: Vec<(DependencyId, StateId, Option<StateId>)>,
    updates: Vec<StateId>,
}

impl Model {
    /// A class with a table of the same name in lower case.
    pub fn mapper(&mut self, name: &str) -> MapperId {
        let base = MapperId::from_index(self.schema.mapper_count());
        self.schema.add_mapper(MapperSchema {
            sort_key: format!("app.{name}"),
            name: name.to_owned(),
            base,
            tables: vec![name.to_lowercase()],
            dependencies: Vec::new(),
        })
    }

    /// A relationship; its processor is active.
    pub fn relationship(
        &mut self,
        parent: MapperId,
        key: &str,
        target: MapperId,
        direction: Direction,
        post_update: bool,
    ) -> DependencyId {
        let class = self.schema.mapper(parent).name.clone();
        let id = self.schema.add_dependency(DependencySchema {
            parent,
            target,
            direction,
            post_update,
            sort_key: format!("app.{class}_{key}"),
            name: format!("{class}.{key}"),
        });
        self.schema.mapper_mut(parent).dependencies.push(id);
        self.active.push(id);
        id
    }

    pub fn insert(&mut self, mapper: MapperId) -> StateId {
        self.register.enter(mapper, false, false)
    }

    pub fn update(&mut self, mapper: MapperId) -> StateId {
        let state = self.register.enter(mapper, false, false);
        self.updates.push(state);
        state
    }

    pub fn delete(&mut self, mapper: MapperId) -> StateId {
        self.register.enter(mapper, true, false)
    }

    pub fn link(&mut self, dependency: DependencyId, from: StateId, to: StateId) {
        self.links.push((dependency, from, Some(to)));
    }

    pub fn plan(&self) -> Result<FlushPlan, PlanError<()>> {
        plan(
            &self.schema,
            &self.register,
            &self.active,
            &mut Links::new(self),
        )
    }

    pub fn steps(&self, plan: &FlushPlan) -> Vec<PlanStep> {
        let updates: std::collections::HashSet<_> = self.updates.iter().collect();
        steps(plan, &self.schema, |state, _| {
            Some(if updates.contains(&state) {
                StatementKind::Update
            } else {
                StatementKind::Insert
            })
        })
    }

    /// The plan as text: its statements, then its groups.
    pub fn text(&self) -> String {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(error) => return format!("{error:?}\n"),
        };
        let mut text = String::new();
        for step in self.steps(&plan) {
            let _ = writeln!(
                text,
                "{} {} ({}) rows={}: {}",
                step.kind.verb(),
                step.table,
                step.mapper,
                step.rows,
                step.reason
            );
        }
        text += "--\n";
        for group in &plan.groups {
            let states: Vec<u32> = group.states.iter().map(|state| state.0).collect();
            let _ = writeln!(text, "{:?} {states:?}", group.action);
        }
        text
    }
}

struct Links {
    by_state: std::collections::HashMap<(DependencyId, StateId), Vec<Option<StateId>>>,
}

impl Links {
    fn new(model: &Model) -> Self {
        let mut by_state = std::collections::HashMap::<_, Vec<_>>::new();
        for &(dependency, from, to) in &model.links {
            by_state.entry((dependency, from)).or_default().push(to);
        }
        Self { by_state }
    }
}

impl Relations for Links {
    type Error = ();

    fn related(
        &mut self,
        dependency: DependencyId,
        state: StateId,
        _is_delete: bool,
        found: &mut Vec<Option<StateId>>,
    ) -> Result<(), ()> {
        if let Some(related) = self.by_state.get(&(dependency, state)) {
            found.extend(related);
        }
        Ok(())
    }
}
