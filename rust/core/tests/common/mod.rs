//! A tiny model to plan for: mappers by name, relationships, states and links between them.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its own part

use rustalchemy_core::error::PlanError;
use rustalchemy_core::flush::{
    Action, Cause, FlushPlan, Part, PlanRow, PlanStep, Register, Relations, StatementKind, Waits,
    Work, mermaid, plan, plan_with_waits, steps, table,
};
use rustalchemy_core::ids::{DependencyId, MapperId, StateId};
use rustalchemy_core::schema::{DependencySchema, Direction, MapperSchema, Schema};
use std::fmt::Write as _;

/// Schema, states and links of one flush.
#[derive(Default)]
pub struct Model {
    pub schema: Schema,
    /// Tables of each mapper, in dependency order.
    tables: Vec<Vec<String>>,
    pub register: Register,
    active: Vec<DependencyId>,
    links: Vec<(DependencyId, StateId, Option<StateId>)>,
    updates: Vec<StateId>,
    switches: Vec<(StateId, StateId)>,
}

impl Model {
    /// A class with a table of the same name in lower case.
    pub fn mapper(&mut self, name: &str) -> MapperId {
        let base = MapperId::from_index(self.schema.mapper_count());
        self.tables.push(vec![name.to_lowercase()]);
        self.schema.add_mapper(MapperSchema {
            sort_key: format!("app.{name}").into(),
            name: name.into(),
            base,
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
            sort_key: format!("app.{class}_{key}").into(),
            name: format!("{class}.{key}").into(),
        });
        self.schema.mapper_mut(parent).dependencies.push(id);
        self.active.push(id);
        id
    }

    pub fn insert(&mut self, mapper: MapperId) -> StateId {
        self.register.enter(mapper, false, false)
    }

    /// A subclass with a table of its own (joined inheritance) or, without a name, its base's only.
    pub fn subclass(&mut self, name: &str, base: MapperId, table: Option<&str>) -> MapperId {
        let id = self.mapper(name);
        let mut tables = self.tables[base.index()].clone();
        tables.extend(table.map(str::to_owned));
        let root = self.schema.base(base);
        self.tables[id.index()] = tables;
        self.schema.mapper_mut(id).base = root;
        let inherited = self.schema.mapper(base).dependencies.clone();
        self.schema.mapper_mut(id).dependencies = inherited;
        id
    }

    /// A new state that takes over the row of a deleted one.
    pub fn switch_row(&mut self, mapper: MapperId) -> (StateId, StateId) {
        let old = self.delete(mapper);
        let new = self.insert(mapper);
        self.switches.push((new, old));
        (new, old)
    }

    pub fn update(&mut self, mapper: MapperId) -> StateId {
        let state = self.register.enter(mapper, false, false);
        self.updates.push(state);
        state
    }

    pub fn delete(&mut self, mapper: MapperId) -> StateId {
        self.register.enter(mapper, true, false)
    }

    /// The links of a relationship: (from, to).
    pub fn links(&self) -> impl Iterator<Item = (DependencyId, StateId, StateId)> + '_ {
        let links = self.links.iter();
        links.filter_map(|&(by, from, to)| to.map(|to| (by, from, to)))
    }

    pub fn link(&mut self, dependency: DependencyId, from: StateId, to: StateId) {
        self.links.push((dependency, from, Some(to)));
    }

    pub fn plan(&self) -> Result<FlushPlan, PlanError<()>> {
        self.plan_by(&mut Links::new(self))
    }

    pub fn plan_by(&self, links: &mut Links) -> Result<FlushPlan, PlanError<()>> {
        plan(&self.schema, &self.register, &self.active, links)
    }

    pub fn plan_with_waits(&self) -> Result<(FlushPlan, Waits), PlanError<()>> {
        plan_with_waits(
            &self.schema,
            &self.register,
            &self.active,
            &mut Links::new(self),
        )
    }

    /// What each group would send: rows of the tables of a hierarchy, association rows of linked states, second UPDATEs.
    fn work(&self, plan: &FlushPlan) -> Vec<Vec<Work>> {
        plan.groups()
            .map(|group| match group.action {
                Action::SaveUpdateAll(_) => self.saves(group.states),
                Action::DeleteAll(_) => self.deletes(group.states),
                Action::ProcessAll(dependency, is_delete) => {
                    self.association_rows(dependency, group.states, is_delete)
                }
                Action::PostUpdateAll(mapper, is_delete) => {
                    self.second_updates(plan, mapper, is_delete)
                }
                _ => Vec::new(),
            })
            .collect()
    }

    fn tables(&self, states: &[StateId]) -> Vec<String> {
        let mut tables: Vec<String> = Vec::new();
        for state in states {
            for table in &self.tables[self.register.entry(*state).mapper.index()] {
                if !tables.contains(table) {
                    tables.push(table.clone());
                }
            }
        }
        tables
    }

    fn has_table(&self, state: StateId, table: &String) -> bool {
        self.tables[self.register.entry(state).mapper.index()].contains(table)
    }

    fn saves(&self, states: &[StateId]) -> Vec<Work> {
        let mut found = Vec::new();
        for table in self.tables(states) {
            for kind in [StatementKind::Update, StatementKind::Insert] {
                let is_kind = |state: &StateId| {
                    let is_update = self.updates.contains(state) || self.switch(*state).is_some();
                    self.has_table(*state, &table) && is_update == (kind == StatementKind::Update)
                };
                let rows = states.iter().copied().filter(is_kind).map(|state| {
                    let cause = match (kind, self.switch(state)) {
                        (_, Some(old)) => Cause::RowSwitch(old),
                        (StatementKind::Insert, _) => Cause::New,
                        _ => Cause::Changed,
                    };
                    row(state, None, cause)
                });
                found.push(work(kind, Part::Row, &table, rows.collect()));
            }
        }
        found
    }

    fn deletes(&self, states: &[StateId]) -> Vec<Work> {
        let mut found = Vec::new();
        for table in self.tables(states).into_iter().rev() {
            let rows = states
                .iter()
                .filter(|&&state| self.has_table(state, &table));
            let rows = rows.map(|&state| row(state, None, Cause::Marked)).collect();
            found.push(work(StatementKind::Delete, Part::Row, &table, rows));
        }
        found
    }

    fn association_rows(
        &self,
        dependency: DependencyId,
        states: &[StateId],
        is_delete: bool,
    ) -> Vec<Work> {
        let schema = self.schema.dependency(dependency);
        if schema.direction != Direction::ManyToMany {
            return Vec::new();
        }
        let (kind, cause) = if is_delete {
            (StatementKind::Delete, Cause::Unlinked(dependency))
        } else {
            (StatementKind::Insert, Cause::Linked(dependency))
        };
        let links = self.links.iter();
        let rows = links.filter(|(by, from, _)| *by == dependency && states.contains(from));
        let rows = rows.map(|&(_, from, to)| row(from, to, cause)).collect();
        let table = schema.name.to_lowercase().replace('.', "_");
        vec![work(kind, Part::Secondary(dependency), &table, rows)]
    }

    fn second_updates(&self, plan: &FlushPlan, mapper: MapperId, is_delete: bool) -> Vec<Work> {
        let mut rows = Vec::new();
        for group in plan.groups() {
            let Action::ProcessAll(dependency, deletes) = group.action else {
                continue;
            };
            let schema = self.schema.dependency(dependency);
            if !schema.post_update || deletes != is_delete {
                continue;
            }
            for &(by, from, to) in &self.links {
                let written = match schema.direction {
                    Direction::ManyToOne => Some(from),
                    _ => to,
                };
                let Some(written) = written.filter(|_| by == dependency) else {
                    continue;
                };
                let entry = self.register.entry(written);
                if self.schema.base(entry.mapper) == mapper && entry.is_delete == is_delete {
                    let cause = if is_delete {
                        Cause::Before(dependency)
                    } else {
                        Cause::Later(dependency)
                    };
                    rows.push(row(written, None, cause));
                }
            }
        }
        let table = self.tables[mapper.index()][0].clone();
        vec![work(StatementKind::Update, Part::PostUpdate, &table, rows)]
    }

    fn switch(&self, state: StateId) -> Option<StateId> {
        let found = self.switches.iter().find(|(new, _)| *new == state);
        found.map(|&(_, old)| old)
    }

    pub fn steps(&self) -> Result<Vec<PlanStep>, PlanError<()>> {
        let (plan, waits) = self.plan_with_waits()?;
        Ok(steps(&self.schema, &plan, &waits, self.work(&plan)))
    }

    /// The plan as text: its statements, how they wait for each other, then its groups.
    pub fn text(&self) -> String {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(PlanError::Circular { actions, edges, .. }) => return self.cycle(&actions, &edges),
            Err(PlanError::Caller(())) => return "the caller failed\n".to_owned(),
        };
        let steps = self.steps().unwrap();
        let mut text = table(&steps, &[]);
        text += "\n--\n";
        text += &mermaid(&self.schema, &steps);
        text += "--\n";
        for group in plan.groups() {
            let states: Vec<u32> = group.states.iter().map(|state| state.0).collect();
            let _ = writeln!(text, "{} {states:?}", self.name(group.action));
        }
        text
    }

    fn cycle(&self, actions: &[Action], edges: &[(Action, Action)]) -> String {
        let mut text = "circular\n".to_owned();
        for &action in actions {
            let _ = writeln!(text, "    {}", self.name(action));
        }
        for &(before, after) in edges {
            let _ = writeln!(text, "{} -> {}", self.name(before), self.name(after));
        }
        text
    }

    fn name(&self, action: Action) -> String {
        let mapper = |id| &self.schema.mapper(id).name;
        match action {
            Action::SaveUpdateAll(id) => format!("save {}", mapper(id)),
            Action::DeleteAll(id) => format!("delete {}", mapper(id)),
            Action::ProcessAll(id, is_delete) => {
                let what = if is_delete { "deletes" } else { "saves" };
                format!("process {what} of {}", self.schema.dependency(id).name)
            }
            Action::PostUpdateAll(id, is_delete) => {
                let what = if is_delete { "deleted " } else { "" };
                format!("post update {what}{}", mapper(id))
            }
            Action::SaveUpdate(state) => format!("save {}", state.0),
            Action::Delete(state) => format!("delete {}", state.0),
            Action::Process(id, is_delete, state) => {
                let what = if is_delete { "delete" } else { "save" };
                let name = &self.schema.dependency(id).name;
                format!("process {what} of {name} for {}", state.0)
            }
        }
    }
}

fn row(state: StateId, other: Option<StateId>, cause: Cause) -> PlanRow {
    PlanRow {
        state,
        other,
        cause,
    }
}

fn work(kind: StatementKind, part: Part, table: &str, rows: Vec<PlanRow>) -> Work {
    Work {
        kind,
        part,
        table: table.to_owned(),
        columns: Vec::new(),
        rows,
    }
}

/// The links, ready to answer the planner.
pub struct Links {
    by_dependency: Vec<Neighbours>,
}

/// The states that each state is linked to, packed: planning is timed with it.
#[derive(Default)]
struct Neighbours {
    starts: Vec<u32>,
    states: Vec<Option<StateId>>,
}

impl Links {
    pub fn new(model: &Model) -> Self {
        let mut links = vec![Vec::new(); model.schema.dependency_count()];
        for &(dependency, from, to) in &model.links {
            links[dependency.index()].push((from, to));
        }
        let by_dependency = links.into_iter().map(|mut links: Vec<_>| {
            links.sort_by_key(|&(from, _)| from);
            let mut packed = Neighbours::default();
            for (from, to) in links {
                packed.starts.resize(from.index() + 1, packed.len());
                packed.states.push(to);
            }
            packed.starts.resize(model.register.len() + 1, packed.len());
            packed
        });
        Self {
            by_dependency: by_dependency.collect(),
        }
    }
}

impl Neighbours {
    fn len(&self) -> u32 {
        u32::try_from(self.states.len()).unwrap()
    }

    fn of(&self, state: StateId) -> &[Option<StateId>] {
        let ends = &self.starts[state.index()..];
        &self.states[ends[0] as usize..ends[1] as usize]
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
        found.extend(self.by_dependency[dependency.index()].of(state));
        Ok(())
    }
}
