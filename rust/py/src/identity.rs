//! The identity map of one unit of work: borrowed states by base mapper and identity.
//!
//! Entries are borrowed: whoever ends a state's life takes it out with [`IdentityMap::remove`], which needs neither the key
//! nor Python. Keys hash and compare as Python does. Exact `int`, `bool`, `float`, `str`, `bytes`, `UUID` and tuples of them are
//! compared inside the table; for anything else the candidates are held, and compared with nothing borrowed.

use std::cell::{Cell, RefCell};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};
use rustalchemy_core::identity::{
    self as core, Candidates, IdentityTable, KeyEquality, KeyHash, TableAccess, Turn, Verdict,
};
use smallvec::SmallVec;

use crate::flags;
use crate::held::Held;
use crate::manager::ManagerCore;
use crate::state::StateRef;
use crate::unit_of_work_core::UnitOfWorkCore;

/// Objects of one session, by identity.
#[derive(Default)]
pub struct IdentityMap {
    tables: RefCell<Vec<BaseTable>>,
    /// The turn of the next object. Past the four billionth the order is the tables' own.
    turn: Cell<Turn>,
}

/// The table of one mapper hierarchy. `base` only names it; it is never followed.
struct BaseTable {
    base: *const ManagerCore,
    states: IdentityTable<StateRef>,
}

/// A state of the map, with a reference to its object that keeps it alive.
pub struct FoundState<'py> {
    /// The state.
    pub state: StateRef,
    /// Its object.
    pub object: Bound<'py, PyAny>,
}

/// An identity looked for: one value or the parts of a composite one, with the identity token. All pointers are borrowed
/// from whoever asks.
#[derive(Clone, Copy)]
pub struct KeyRef<'a> {
    parts: Parts<'a>,
    token: *mut ffi::PyObject,
}

#[derive(Clone, Copy)]
enum Parts<'a> {
    Single(*mut ffi::PyObject),
    Composite(&'a [*mut ffi::PyObject]),
}

impl<'a> KeyRef<'a> {
    /// An identity as states keep it: a value, or a tuple of values when composite.
    pub fn whole(key: *mut ffi::PyObject, token: *mut ffi::PyObject) -> Self {
        Self { parts: Parts::Single(key), token }
    }
    /// A composite identity in parts, equal to the tuple of these values.
    pub fn composite(parts: &'a [*mut ffi::PyObject], token: *mut ffi::PyObject) -> Self {
        Self { parts: Parts::Composite(parts), token }
    }
    /// Its hash. Hashing values of unknown types runs Python code.
    #[inline]
    pub fn hash(&self, py: Python<'_>) -> PyResult<KeyHash> {
        // SAFETY: the pointers are valid, kept alive by whoever asks.
        unsafe {
            let hash = match self.parts {
                Parts::Single(key) => value_hash(py, key)?,
                Parts::Composite(parts) => {
                    let mut hashes = SmallVec::<[u64; 4]>::new();
                    for &part in parts {
                        hashes.push(value_hash(py, part)?);
                    }
                    core::combine_hashes(hashes)
                }
            };
            if self.token.is_null() {
                return Ok(core::fold(hash));
            }
            Ok(core::fold(core::combine_hashes([hash, value_hash(py, self.token)?])))
        }
    }
}

/// The comparison of one key with the keys of states.
struct StateEquality<'a, 'py> {
    py: Python<'py>,
    key: KeyRef<'a>,
    held: SmallVec<[Bound<'py, PyAny>; 4]>,
}

impl KeyEquality<StateRef> for StateEquality<'_, '_> {
    type Error = PyErr;

    #[inline]
    fn fast(&self, state: StateRef) -> Verdict {
        if state.object_ptr().is_null() || state.key().is_null() {
            return Verdict::Different;
        }
        // SAFETY: the state lives, and with it its key; no Python code runs in here.
        unsafe {
            let same_token = match (self.key.token.is_null(), state.identity_token().is_null()) {
                (true, true) => Verdict::Equal,
                (false, false) => compare_fast(self.py, self.key.token, state.identity_token()),
                _ => Verdict::Different,
            };
            if same_token == Verdict::Different {
                return Verdict::Different;
            }
            let same_key = match self.key.parts {
                Parts::Single(key) => compare_fast(self.py, key, state.key()),
                Parts::Composite(parts) => compare_parts(self.py, parts, state.key()),
            };
            both(same_token, same_key)
        }
    }

    fn pin(&mut self, candidates: &Candidates<StateRef>) {
        // Those of an earlier look stay held: letting go of one here, inside of the table, might deallocate it.
        self.held.extend(candidates.iter().filter_map(|state| state.object(self.py)));
    }

    fn slow(&mut self, state: StateRef) -> Result<bool, PyErr> {
        let py = self.py;
        // SAFETY: `pin` holds the state's object; its key and token are held here while they are compared.
        unsafe {
            let Some(other) = Bound::from_borrowed_ptr_or_opt(py, state.key()) else { return Ok(false) };
            let other_token = Bound::from_borrowed_ptr_or_opt(py, state.identity_token());
            let token = Bound::from_borrowed_ptr_or_opt(py, self.key.token);
            let is_same_token = match (&token, &other_token) {
                (None, None) => true,
                (Some(token), Some(other)) => token.is(other) || token.eq(other)?,
                _ => false,
            };
            if !is_same_token {
                return Ok(false);
            }
            match self.key.parts {
                Parts::Single(key) => {
                    let key = Bound::from_borrowed_ptr(py, key);
                    Ok(key.is(&other) || key.eq(&other)?)
                }
                Parts::Composite(parts) => {
                    let parts = parts.iter().map(|&part| Bound::from_borrowed_ptr(py, part));
                    PyTuple::new(py, parts.collect::<Vec<_>>())?.eq(&other)
                }
            }
        }
    }
}

/// One table of the map, lent to the pure algorithms.
struct Place<'a> {
    map: &'a IdentityMap,
    base: *const ManagerCore,
}

impl TableAccess<StateRef> for Place<'_> {
    #[inline]
    fn with_table<R>(&self, short: impl FnOnce(&mut IdentityTable<StateRef>) -> R) -> R {
        let mut tables = self.map.tables.borrow_mut();
        let at = tables.iter().position(|table| table.base == self.base);
        let at = at.unwrap_or_else(|| {
            tables.push(BaseTable { base: self.base, states: IdentityTable::new() });
            tables.len() - 1
        });
        short(&mut tables[at].states)
    }
    #[inline]
    fn next_turn(&self) -> Turn {
        let turn = self.map.turn.get();
        self.map.turn.set(turn.saturating_add(1));
        turn
    }
}

impl IdentityMap {
    /// The state with this identity.
    pub fn lookup<'py>(
        &self,
        py: Python<'py>,
        base: *const ManagerCore,
        key: *mut ffi::PyObject,
        token: *mut ffi::PyObject,
    ) -> PyResult<Option<FoundState<'py>>> {
        let key = KeyRef::whole(key, token);
        self.find(py, base, key.hash(py)?, key)
    }

    /// As `lookup`, for a key whose hash is known.
    #[inline]
    pub fn find<'py>(
        &self,
        py: Python<'py>,
        base: *const ManagerCore,
        hash: KeyHash,
        key: KeyRef<'_>,
    ) -> PyResult<Option<FoundState<'py>>> {
        let mut equality = StateEquality { py, key, held: SmallVec::new() };
        let state = core::lookup(&Place { map: self, base }, hash, &mut equality)?;
        // The object gets its reference before `equality` lets go of the candidates.
        Ok(state.and_then(|state| state.object(py).map(|object| FoundState { state, object })))
    }

    /// Enters a state under its own identity, unless another living state has it: that one is returned and nothing happens.
    pub fn insert(&self, py: Python<'_>, state: StateRef) -> PyResult<Option<Held>> {
        // Held: comparing runs Python code, which may give the state another identity.
        // SAFETY: the state lives, and with it its key; token and key are valid objects or null.
        let (held_key, held_token) = unsafe {
            let token = Bound::from_borrowed_ptr_or_opt(py, state.identity_token());
            (Bound::from_borrowed_ptr_or_opt(py, state.key()), token)
        };
        let Some(held_key) = held_key else { return Ok(None) };
        let key = KeyRef::whole(held_key.as_ptr(), held_token.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr));
        let hash = key.hash(py)?;
        let place = Place { map: self, base: base_of(py, state) };
        if state.has(flags::IN_MAP) {
            if state.key_hash() == hash {
                return Ok(None);
            }
            self.remove(state);
        }
        let mut equality = StateEquality { py, key, held: SmallVec::new() };
        if let Some(existing) = core::insert(&place, hash, state, &mut equality)? {
            return Ok(Held::new(existing)); // before `equality` lets go of the candidates
        }
        state.set_key_hash(hash);
        state.add_flags(flags::IN_MAP);
        Ok(None)
    }

    /// Enters a state whose identity was just looked for, with this hash, and not found.
    pub fn insert_absent(&self, base: *const ManagerCore, hash: KeyHash, state: StateRef) {
        let place = Place { map: self, base };
        let turn = place.next_turn();
        place.with_table(|table| table.insert_absent(hash, turn, state));
        state.set_key_hash(hash);
        state.add_flags(flags::IN_MAP);
    }

    /// Enters a state under its own identity in any case. The state that had to give way, and gave its turn, is returned.
    pub fn replace(&self, py: Python<'_>, state: StateRef) -> PyResult<Option<Held>> {
        let existing = self.insert(py, state)?;
        if let Some(existing) = existing.as_ref().map(Held::state) {
            let hash = existing.key_hash();
            let place = Place { map: self, base: base_of(py, state) };
            if place.with_table(|table| table.replace(hash, existing, state)) {
                existing.clear_flags(flags::IN_MAP);
                state.set_key_hash(hash);
                state.add_flags(flags::IN_MAP);
            }
        }
        Ok(existing)
    }

    /// Takes this very state out. Whether it was in. Runs no Python code and needs no key.
    pub fn remove(&self, state: StateRef) -> bool {
        if !state.has(flags::IN_MAP) {
            return false;
        }
        state.clear_flags(flags::IN_MAP);
        // The class may have been unmapped in the meantime, so the table is searched by the state itself.
        let mut tables = self.tables.borrow_mut();
        tables.iter_mut().any(|table| table.states.remove(state.key_hash(), state))
    }

    /// Whether this very state is in.
    pub fn contains(&self, state: StateRef) -> bool {
        state.has(flags::IN_MAP)
            && self.tables.borrow().iter().any(|table| table.states.contains(state.key_hash(), state))
    }

    /// All living objects, held: what happens to the map afterwards does not matter to the result.
    pub fn snapshot<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyAny>> {
        self.states_in_turn(|_| true).filter_map(|state| state.object(py)).collect()
    }

    /// The states a condition holds for, with their objects.
    pub fn held(&self, is_wanted: impl Fn(StateRef) -> bool) -> Vec<Held> {
        self.states_in_turn(is_wanted).filter_map(Held::new).collect()
    }

    /// All states, those of dying objects included, in the tables' order.
    pub fn states(&self) -> Vec<StateRef> {
        self.tables.borrow().iter().flat_map(|table| table.states.handles()).map(|(_, state)| state).collect()
    }

    /// The states a condition holds for, in the order in which they came in.
    fn states_in_turn(&self, is_wanted: impl Fn(StateRef) -> bool) -> impl Iterator<Item = StateRef> {
        let tables = self.tables.borrow();
        let entries = tables.iter().flat_map(|table| table.states.handles());
        let mut wanted: Vec<_> = entries.filter(|&(_, state)| is_wanted(state)).collect();
        wanted.sort_by_key(|&(turn, _)| turn);
        wanted.into_iter().map(|(_, state)| state)
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.tables.borrow().iter().map(|table| table.states.len()).sum()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of changes of one table so far.
    pub fn epoch(&self, base: *const ManagerCore) -> u64 {
        Place { map: self, base }.with_table(|table| table.epoch())
    }

    /// Takes everything out.
    pub fn clear(&self) {
        for table in &mut *self.tables.borrow_mut() {
            for (_, state) in table.states.handles() {
                state.clear_flags(flags::IN_MAP);
            }
            table.states.clear();
        }
        self.turn.set(0);
    }
}

/// What is known about a `session.get(entity, ident)` without SQL.
pub enum LookedUp<'py> {
    /// An unexpired object of the class.
    Loaded(Bound<'py, PyAny>),
    /// The identity map has nothing under this key of the mapper.
    Absent {
        /// The class' mapper.
        mapper: Bound<'py, PyAny>,
        /// The primary key: a value, or a tuple where composite.
        key: Bound<'py, PyAny>,
    },
    /// Python decides.
    Unclear,
}

/// Looks for the object of a `session.get(entity, ident)`, where that is plain to see: asked for by a value (or a tuple of
/// them) of an exact built-in type.
pub fn look_up<'py>(
    uow: &UnitOfWorkCore,
    entity: &Bound<'py, PyAny>,
    ident: &Bound<'py, PyAny>,
) -> PyResult<LookedUp<'py>> {
    let py = entity.py();
    let Ok(class) = entity.cast::<PyType>() else { return Ok(LookedUp::Unclear) };
    // SAFETY: a living type; the manager found is kept alive by it.
    let manager = unsafe { ManagerCore::lookup(py, class.as_type_ptr()).as_ref() };
    let Some(mapper) = manager.and_then(ManagerCore::descriptor) else { return Ok(LookedUp::Unclear) };
    let arity = mapper.primary_key.len();
    let single;
    let key = if let Ok(tuple) = ident.cast_exact::<PyTuple>() {
        if tuple.len() != arity || !tuple.iter_borrowed().all(|part| is_plain(py, part.as_ptr())) {
            return Ok(LookedUp::Unclear);
        }
        if arity == 1 {
            single = tuple.get_item(0)?;
            &single
        } else {
            ident
        }
    } else if arity == 1 && is_plain(py, ident.as_ptr()) {
        ident
    } else {
        return Ok(LookedUp::Unclear);
    };
    let base = std::ptr::from_ref(ManagerCore::of(mapper.identity.bind(py)));
    let Some(FoundState { state, object }) = uow.identity.lookup(py, base, key.as_ptr(), std::ptr::null_mut())? else {
        return Ok(absent(class, key));
    };
    if state.is_outdated() || state.has(flags::EXPIRED) || mapper.always_refresh {
        return Ok(LookedUp::Unclear);
    }
    // SAFETY: two living types.
    let is_of_class = unsafe { ffi::PyType_IsSubtype(object.get_type_ptr(), class.as_type_ptr()) != 0 };
    Ok(if is_of_class { LookedUp::Loaded(object) } else { LookedUp::Unclear })
}

/// Nothing has this key. An unmapped class that inherits a manager is refused by Python.
fn absent<'py>(class: &Bound<'py, PyType>, key: &Bound<'py, PyAny>) -> LookedUp<'py> {
    let py = class.py();
    // SAFETY: as in `look_up`.
    let manager = unsafe { ManagerCore::lookup(py, class.as_type_ptr()).as_ref() };
    let own = manager.filter(|manager| manager.class_ptr() == class.as_type_ptr());
    match own.and_then(|manager| manager.mapper(py)) {
        Some(mapper) => LookedUp::Absent { mapper, key: key.clone() },
        None => LookedUp::Unclear,
    }
}

/// Whether two keys are equal as far as can be told without Python code.
#[inline]
pub fn is_surely_equal(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> bool {
    // SAFETY: two living objects.
    unsafe { compare_fast(one.py(), one.as_ptr(), other.as_ptr()) == Verdict::Equal }
}

/// Whether a value's class is one of those that make up most keys, and has no say in how it compares.
fn is_plain(py: Python<'_>, value: *mut ffi::PyObject) -> bool {
    // SAFETY: `value` is a valid object.
    let class = unsafe { ffi::Py_TYPE(value) };
    compares_natively(class) || class == uuid_class(py)
}

/// The manager that names the identity table of a state.
pub fn base_of(py: Python<'_>, state: StateRef) -> *const ManagerCore {
    base_of_manager(py, state.manager())
}

/// The manager that names the identities of a class; its own one while it is not configured.
pub fn base_of_manager(py: Python<'_>, manager: &ManagerCore) -> *const ManagerCore {
    manager
        .descriptor()
        .map_or(std::ptr::from_ref(manager), |mapper| std::ptr::from_ref(ManagerCore::of(mapper.identity.bind(py))))
}

/// Both must hold.
fn both(one: Verdict, other: Verdict) -> Verdict {
    match (one, other) {
        (Verdict::Different, _) | (_, Verdict::Different) => Verdict::Different,
        (Verdict::Equal, Verdict::Equal) => Verdict::Equal,
        _ => Verdict::Unknown,
    }
}

/// `uuid.UUID`, borrowed; null if it cannot be imported.
fn uuid_class(py: Python<'_>) -> *mut ffi::PyTypeObject {
    static CLASS: PyOnceLock<Option<Py<PyType>>> = PyOnceLock::new();
    let class = CLASS.get_or_init(py, || {
        let class = py.import("uuid").and_then(|module| module.getattr("UUID")).ok()?;
        Some(class.cast_into::<PyType>().ok()?.unbind())
    });
    class.as_ref().map_or(std::ptr::null_mut(), |class| class.as_ptr().cast())
}

/// The number of an exact `UUID`: a plain slot of the class, so reading it runs no Python code.
///
/// # Safety
/// `uuid` is a valid object of exactly the class `uuid.UUID`.
unsafe fn uuid_number(py: Python<'_>, uuid: *mut ffi::PyObject) -> Option<Bound<'_, PyAny>> {
    // SAFETY: promised by the caller.
    unsafe {
        let number = ffi::PyObject_GenericGetAttr(uuid, pyo3::intern!(py, "int").as_ptr());
        if number.is_null() {
            ffi::PyErr_Clear();
        }
        Bound::from_owned_ptr_or_opt(py, number)
    }
}

/// Whether a class hashes as tuples do.
fn is_tuple_hash(hash: Option<ffi::hashfunc>) -> bool {
    // SAFETY: reading a field of a static type.
    let of_tuple = unsafe { ffi::PyTuple_Type.tp_hash };
    hash.map(|function| function as usize) == of_tuple.map(|function| function as usize)
}

/// Hash of one value of a key, the same for values that are equal in Python.
///
/// # Safety
/// `value` is a valid object, kept alive by the caller.
#[inline]
unsafe fn value_hash(py: Python<'_>, value: *mut ffi::PyObject) -> PyResult<u64> {
    // SAFETY: promised by the caller; tuples hold their items.
    unsafe {
        let class = ffi::Py_TYPE(value);
        if class != &raw mut ffi::PyLong_Type && class != &raw mut ffi::PyUnicode_Type {
            if ffi::PyTuple_Check(value) != 0 && is_tuple_hash((*class).tp_hash) {
                let mut hashes = SmallVec::<[u64; 4]>::new();
                for at in 0..ffi::PyTuple_GET_SIZE(value) {
                    hashes.push(value_hash(py, ffi::PyTuple_GET_ITEM(value, at))?);
                }
                return Ok(core::combine_hashes(hashes));
            }
            if class == uuid_class(py)
                && let Some(number) = uuid_number(py, value)
            {
                return value_hash(py, number.as_ptr());
            }
        }
        let hash = ffi::PyObject_Hash(value);
        if hash == -1 && !ffi::PyErr_Occurred().is_null() {
            return Err(PyErr::fetch(py));
        }
        #[allow(clippy::cast_sign_loss)] // all bits of a hash are equal
        Ok(hash as u64)
    }
}

/// Whether values of this class compare with each other without Python code.
#[inline]
fn compares_natively(class: *mut ffi::PyTypeObject) -> bool {
    class == &raw mut ffi::PyLong_Type
        || class == &raw mut ffi::PyUnicode_Type
        || class == &raw mut ffi::PyBytes_Type
        || class == &raw mut ffi::PyFloat_Type
        || class == &raw mut ffi::PyBool_Type
}

/// Compares two values as far as no Python code is needed.
///
/// # Safety
/// Both are valid objects, kept alive by the caller.
#[inline]
unsafe fn compare_fast(py: Python<'_>, one: *mut ffi::PyObject, other: *mut ffi::PyObject) -> Verdict {
    if one == other {
        return Verdict::Equal;
    }
    // SAFETY: promised by the caller; comparing these built-in classes runs no Python code and cannot fail.
    unsafe {
        let (class, other_class) = (ffi::Py_TYPE(one), ffi::Py_TYPE(other));
        if compares_natively(class) && compares_natively(other_class) {
            // Bytes and text are never equal, but comparing them may warn.
            let bytes = &raw mut ffi::PyBytes_Type;
            if class != other_class && (class == bytes || other_class == bytes) {
                return Verdict::Different;
            }
            return match ffi::PyObject_RichCompareBool(one, other, ffi::Py_EQ) {
                1 => Verdict::Equal,
                _ => Verdict::Different,
            };
        }
        let tuple = &raw mut ffi::PyTuple_Type;
        if class == tuple && other_class == tuple {
            let size = ffi::PyTuple_GET_SIZE(one);
            if size != ffi::PyTuple_GET_SIZE(other) {
                return Verdict::Different;
            }
            let mut verdict = Verdict::Equal;
            for at in 0..size {
                let items = compare_fast(py, ffi::PyTuple_GET_ITEM(one, at), ffi::PyTuple_GET_ITEM(other, at));
                verdict = both(verdict, items);
                if verdict == Verdict::Different {
                    break;
                }
            }
            return verdict;
        }
        if class == other_class && class == uuid_class(py) {
            return match (uuid_number(py, one), uuid_number(py, other)) {
                (Some(one), Some(other)) => compare_fast(py, one.as_ptr(), other.as_ptr()),
                _ => Verdict::Unknown,
            };
        }
    }
    Verdict::Unknown
}

/// Compares the parts of a composite key with a stored key.
///
/// # Safety
/// As `compare_fast`.
unsafe fn compare_parts(py: Python<'_>, parts: &[*mut ffi::PyObject], key: *mut ffi::PyObject) -> Verdict {
    // SAFETY: promised by the caller.
    unsafe {
        if ffi::PyTuple_CheckExact(key) == 0 {
            return Verdict::Unknown;
        }
        if usize::try_from(ffi::PyTuple_GET_SIZE(key)) != Ok(parts.len()) {
            return Verdict::Different;
        }
        let mut verdict = Verdict::Equal;
        for (at, &part) in (0..).zip(parts) {
            verdict = both(verdict, compare_fast(py, part, ffi::PyTuple_GET_ITEM(key, at)));
            if verdict == Verdict::Different {
                break;
            }
        }
        verdict
    }
}
