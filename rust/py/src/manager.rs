//! `ClassManager`, the class side: attribute numbers, attribute cores, and the mapper descriptor of one class.
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::PyTypeInfo;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::attribute::AttrCore;
use crate::mapper::{Direction, MapperDescriptor, RelationshipDescriptor};
use crate::state::StateRef;
use crate::symbolic::Symbolic;
use crate::{instance, instance_dict, instance_state, names, raw, relationship};

/// States count their slots in sixteen bits.
const MOST_ATTRIBUTES: u32 = u16::MAX as u32;

/// Counts changes of the set of mappers: a class checks its configuration again when it lags behind.
static MAPPER_GENERATION: AtomicU32 = AtomicU32::new(1);

/// Mappers were added or removed: every class calls `mapper._check_configure()` before its next new object.
#[pyfunction]
pub fn mappers_changed() {
    MAPPER_GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// The native part of a class manager. Its address is stable; states point to it.
pub struct ManagerCore {
    object: Cell<*mut ffi::PyObject>,
    /// The class, borrowed from `class_handle`.
    class: Cell<*mut ffi::PyTypeObject>,
    class_handle: RefCell<Option<Py<PyType>>>,
    is_inline: bool,
    /// Next attribute number of the hierarchy, shared by all its managers.
    next_index: Rc<Cell<u32>>,
    slot_count: Cell<u16>,
    parents: RefCell<Vec<Py<ClassManager>>>,
    /// Attribute name → number, of this class only.
    indexes: RefCell<Vec<(Py<PyString>, u32)>>,
    /// Attribute cores by number. They are never freed, so the borrowed pointers stay valid.
    attrs: UnsafeCell<Vec<*const AttrCore>>,
    /// The descriptors that own the Python side of `attrs`.
    descriptors: RefCell<Vec<(u32, Py<PyAny>)>>,
    mapper: RefCell<Option<Py<PyAny>>>,
    descriptor: RefCell<Option<Rc<MapperDescriptor>>>,
    /// The descriptor names a discriminator value for new objects.
    is_polymorphic: Cell<bool>,
    /// Relationships whose delete-orphan cascade leads here: the manager that has one, and its number there.
    delete_orphans: RefCell<Vec<(Py<ClassManager>, u32)>>,
    /// Attributes whose values many-to-ones of other objects copy.
    referred: RefCell<Rc<[u32]>>,
    checked_generation: Cell<u32>,
    /// What a query for the class is before anything is asked of it, and the generation in which the class was configured.
    query_start: RefCell<Option<(Py<Symbolic>, u32)>>,
}

// SAFETY: the module declares `gil_used`; every access happens with the GIL held.
unsafe impl Send for ManagerCore {}
// SAFETY: as above.
unsafe impl Sync for ManagerCore {}

impl ManagerCore {
    /// The core of a manager; also the one place where the core learns its object's address.
    #[inline]
    pub fn of<'a>(manager: &'a Bound<'_, ClassManager>) -> &'a Self {
        let core = &manager.get().0;
        core.object.set(manager.as_ptr());
        core
    }
    /// The core of the manager a class inherits or has; null when it has none.
    ///
    /// # Safety
    /// `class` is a living type and the GIL is held.
    pub unsafe fn lookup(py: Python<'_>, class: *mut ffi::PyTypeObject) -> *const Self {
        // SAFETY: promised by the caller; the result is checked before it is used as a manager.
        unsafe {
            let object = raw::_PyType_Lookup(class, names::sa_class_manager(py).as_ptr());
            if object.is_null() || ffi::PyObject_TypeCheck(object, ClassManager::type_object_raw(py)) == 0 {
                return ptr::null();
            }
            ptr::from_ref(Self::of(&Bound::from_borrowed_ptr(py, object).cast_into_unchecked::<ClassManager>()))
        }
    }
    /// The `ClassManager` object, borrowed.
    #[inline]
    pub fn object_ptr(&self) -> *mut ffi::PyObject {
        self.object.get()
    }
    /// The `ClassManager` object.
    pub fn object<'py>(&self, py: Python<'py>) -> Bound<'py, ClassManager> {
        // SAFETY: a core lives inside its object.
        unsafe { Bound::from_borrowed_ptr(py, self.object.get()).cast_into_unchecked() }
    }
    /// The managed class, borrowed; null once the collector cleared the manager.
    #[inline]
    pub fn class_ptr(&self) -> *mut ffi::PyTypeObject {
        self.class.get()
    }
    /// The managed class.
    pub fn class<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyType>> {
        self.class_handle
            .borrow()
            .as_ref()
            .map(|class| class.bind(py).clone())
            .ok_or_else(|| PyTypeError::new_err("the class of this manager is gone"))
    }
    /// Objects of this class carry their state themselves.
    #[inline]
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }
    /// How many slots an object of this class may need.
    #[inline]
    pub fn slot_count(&self) -> u16 {
        self.slot_count.get()
    }
    /// An attribute by number: this class' own, or the one it inherits.
    #[inline]
    pub fn attr(&self, index: u32) -> Option<&'static AttrCore> {
        // SAFETY: attribute cores are never freed; the vector is only changed while classes are set up.
        let own = unsafe { (&*self.attrs.get()).get(index as usize).and_then(|attr| attr.as_ref()) };
        if own.is_some() { own } else { self.inherited_attr(index) }
    }
    #[cold]
    fn inherited_attr(&self, index: u32) -> Option<&'static AttrCore> {
        self.parents.borrow().iter().find_map(|parent| parent.get().0.attr(index))
    }
    /// All attributes, in order of their numbers.
    pub fn attrs(&self) -> impl Iterator<Item = &'static AttrCore> {
        (0..self.next_index.get()).filter_map(|index| self.attr(index))
    }
    /// An attribute by name (any `str`).
    pub fn attr_by_key(&self, key: &Bound<'_, PyString>) -> Option<&'static AttrCore> {
        if let Some(attr) = self.attrs().find(|attr| attr.key_ptr() == key.as_ptr()) {
            return Some(attr);
        }
        let text = key.to_cow().ok()?;
        self.attrs().find(|attr| attr.key(key.py()).to_cow().is_ok_and(|other| other == text))
    }
    /// As `attr_by_key`, with Python's error for an unknown name.
    pub fn expect_attr(&self, key: &Bound<'_, PyString>) -> PyResult<&'static AttrCore> {
        self.attr_by_key(key).ok_or_else(|| pyo3::exceptions::PyKeyError::new_err(key.clone().unbind()))
    }
    /// The mapper's plain description, once configured.
    pub fn descriptor(&self) -> Option<Rc<MapperDescriptor>> {
        self.descriptor.borrow().clone()
    }
    /// The Python mapper.
    pub fn mapper<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.mapper.borrow().as_ref().map(|mapper| mapper.bind(py).clone())
    }
    /// Is this manager's class `other`'s class or derived from it?
    #[inline]
    pub fn is_subclass_of(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.is_derived_from(other)
    }
    fn is_derived_from(&self, other: &Self) -> bool {
        let (class, base) = (self.class.get(), other.class.get());
        // SAFETY: both classes are owned by their managers, or null.
        !class.is_null() && !base.is_null() && unsafe { ffi::PyType_IsSubtype(class, base) != 0 }
    }
    /// A new object of the class with an empty state, without `__init__`.
    pub fn new_instance<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if self.is_inline { instance::allocate(py, self) } else { instance_state::allocate_external(py, self) }
    }
    /// Before an object is made by Python code: let Python configure mappers that were added since.
    #[inline]
    pub fn check_configured(&self, py: Python<'_>) -> PyResult<()> {
        let generation = MAPPER_GENERATION.load(Ordering::Relaxed);
        if self.checked_generation.get() == generation {
            return Ok(());
        }
        if let Some(mapper) = self.mapper(py) {
            mapper.call_method0("_check_configure")?;
            self.checked_generation.set(MAPPER_GENERATION.load(Ordering::Relaxed));
        }
        Ok(())
    }

    /// What queries for the class start as; nothing if Python has to see first whether all mappers are configured.
    pub fn query_start<'py>(&self, py: Python<'py>) -> Option<Bound<'py, Symbolic>> {
        let start = self.query_start.borrow();
        let (start, generation) = start.as_ref()?;
        (*generation == MAPPER_GENERATION.load(Ordering::Relaxed)).then(|| start.bind(py).clone())
    }

    /// A new object of a class in a polymorphic hierarchy has its discriminator set.
    #[inline]
    pub fn set_polymorphic_identity(&self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        if !self.is_polymorphic.get() {
            return Ok(());
        }
        let Some(descriptor) = self.descriptor() else { return Ok(()) };
        let Some(identity) = &descriptor.polymorphic_identity else {
            // An abstract class: Python says so.
            return match self.mapper(py) {
                Some(mapper) => {
                    mapper.call_method1(pyo3::intern!(py, "_set_polymorphic_identity"), (state.view(py)?,)).map(drop)
                }
                None => Ok(()),
            };
        };
        match descriptor.polymorphic_attr.and_then(|index| self.attr(index)) {
            Some(attr) => crate::attribute::set(py, state, attr, identity.bind(py), None),
            None => Ok(()),
        }
    }

    fn find_index(&self, key: &Bound<'_, PyString>) -> PyResult<Option<u32>> {
        let py = key.py();
        let text = key.to_cow()?; // compared as text: a class derived from `str` may have an `__eq__` of its own
        for (name, index) in &*self.indexes.borrow() {
            if name.as_ptr() == key.as_ptr() || name.bind(py).to_cow()? == text {
                return Ok(Some(*index));
            }
        }
        for parent in &*self.parents.borrow() {
            if let Some(index) = Self::of(parent.bind(py)).find_index(key)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }
    /// `mapper._is_orphan`: did a parent that an object of this class cannot be without let it go?
    pub fn is_orphan(&self, py: Python<'_>, state: StateRef) -> bool {
        let is_legacy = self.descriptor().is_some_and(|descriptor| descriptor.legacy_is_orphan);
        let mut is_possible = false;
        let mut manager = self.object(py);
        loop {
            let core = Self::of(&manager);
            for (parent, index) in &*core.delete_orphans.borrow() {
                is_possible = true;
                let attr = Self::of(parent.bind(py)).attr(*index);
                let has_parent =
                    attr.is_none_or(|attr| relationship::has_parent(state, attr.token.get(), state.has_key()));
                if has_parent == is_legacy {
                    return !is_legacy;
                }
            }
            let inherited = core.descriptor().and_then(|descriptor| Some(descriptor.parent.as_ref()?.bind(py).clone()));
            match inherited {
                Some(inherited) => manager = inherited,
                None => return is_legacy && is_possible,
            }
        }
    }
    /// Attributes whose values many-to-ones to exactly this class copy.
    pub fn referred(&self) -> Rc<[u32]> {
        Rc::clone(&self.referred.borrow())
    }
    fn refer(&self, attr: u32) {
        let mut referred = self.referred.borrow_mut();
        if !referred.contains(&attr) {
            *referred = referred.iter().copied().chain([attr]).collect();
        }
    }
    /// The number of an attribute; made at first use.
    pub fn allocate(&self, key: &Bound<'_, PyString>) -> PyResult<u32> {
        let index = if let Some(index) = self.find_index(key)? {
            index
        } else {
            let index = self.next_index.get();
            if index >= MOST_ATTRIBUTES {
                let message = format!("a hierarchy of mapped classes has at most {MOST_ATTRIBUTES} attributes");
                return Err(crate::errors::invalid_request(key.py(), message));
            }
            self.next_index.set(index + 1);
            index
        };
        let mut indexes = self.indexes.borrow_mut();
        if !indexes.iter().any(|(_, known)| *known == index) {
            indexes.push((key.clone().unbind(), index));
        }
        self.count_slot(index);
        Ok(index)
    }
    /// Objects of this class need a slot of this number.
    fn count_slot(&self, index: u32) {
        let needed = u16::try_from(index + 1).unwrap_or(u16::MAX);
        self.slot_count.set(self.slot_count.get().max(needed));
    }
    /// Enters a bound attribute.
    pub fn install_attr(&self, attr: &'static AttrCore, descriptor: &Bound<'_, PyAny>) {
        let index = attr.index();
        self.count_slot(index);
        // SAFETY: no reference into the vector is alive across this push (accessors copy pointers out).
        unsafe {
            let attrs = &mut *self.attrs.get();
            if attrs.len() <= index as usize {
                attrs.resize(index as usize + 1, ptr::null());
            }
            attrs[index as usize] = ptr::from_ref(attr);
        }
        let mut descriptors = self.descriptors.borrow_mut();
        let entry = descriptors.iter_mut().find(|(at, _)| *at == index);
        let old = match entry {
            Some(entry) => Some(std::mem::replace(&mut entry.1, descriptor.clone().unbind())),
            None => {
                descriptors.push((index, descriptor.clone().unbind()));
                None
            }
        };
        drop(descriptors);
        drop(old); // may run Python code
    }
    /// The `AttributeDescriptor` of an attribute number.
    pub fn descriptor_object<'py>(&self, py: Python<'py>, index: u32) -> Option<Bound<'py, PyAny>> {
        let descriptors = self.descriptors.borrow();
        descriptors.iter().find(|(at, _)| *at == index).map(|(_, object)| object.bind(py).clone())
    }
}

/// The manager of one instrumented class. `orm.instrumentation.ClassManager` derives from it.
#[pyclass(subclass, frozen, module = "rustalchemy._core")]
pub struct ClassManager(ManagerCore);

impl ClassManager {
    /// The native part. (`ManagerCore::of` also tells it its object's address; every manager in use went through that.)
    pub fn core(&self) -> &ManagerCore {
        &self.0
    }
}

#[pymethods]
impl ClassManager {
    #[new]
    #[pyo3(signature = (class_, *_args, **_kw))]
    fn new(class_: &Bound<'_, PyType>, _args: &Bound<'_, PyTuple>, _kw: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let py = class_.py();
        let mut parents = Vec::new();
        for base in class_.mro().iter().skip(1) {
            if let Ok(dict) = base.getattr(names::dunder_dict(py))
                && let Ok(manager) = dict.get_item(names::sa_class_manager(py))
                && let Ok(manager) = manager.cast_into::<Self>()
            {
                parents.push(manager.unbind());
            }
        }
        let next_index = parents
            .first()
            .map_or_else(|| Rc::new(Cell::new(0)), |parent| Rc::clone(&ManagerCore::of(parent.bind(py)).next_index));
        // A second mapped root among the bases keeps its own numbers: start above them.
        for parent in &parents {
            let used = ManagerCore::of(parent.bind(py)).next_index.get();
            next_index.set(next_index.get().max(used));
        }
        let slot_count = parents.iter().map(|parent| ManagerCore::of(parent.bind(py)).slot_count()).max().unwrap_or(0);
        if !instance::is_instance_type(class_.as_type_ptr()) || instance_dict::is_hidden(class_)? {
            instance_dict::install(class_)?;
        }
        instance::construct_natively(class_)?;
        Ok(Self(ManagerCore {
            object: Cell::new(ptr::null_mut()),
            class: Cell::new(class_.as_type_ptr()),
            class_handle: RefCell::new(Some(class_.clone().unbind())),
            is_inline: instance::is_instance_type(class_.as_type_ptr()),
            next_index,
            slot_count: Cell::new(slot_count),
            parents: RefCell::new(parents),
            indexes: RefCell::default(),
            attrs: UnsafeCell::default(),
            descriptors: RefCell::default(),
            mapper: RefCell::default(),
            descriptor: RefCell::default(),
            is_polymorphic: Cell::new(false),
            delete_orphans: RefCell::default(),
            referred: RefCell::default(),
            checked_generation: Cell::new(0),
            query_start: RefCell::default(),
        }))
    }

    /// The managed class.
    #[getter]
    fn class_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyType>> {
        ManagerCore::of(slf).class(slf.py())
    }
    /// Objects of this class carry their state themselves.
    #[getter(is_inline)]
    fn py_is_inline(&self) -> bool {
        self.0.is_inline
    }
    /// The mapper, or None.
    #[getter(mapper)]
    fn py_mapper<'py>(slf: &Bound<'py, Self>) -> Option<Bound<'py, PyAny>> {
        ManagerCore::of(slf).mapper(slf.py())
    }
    #[setter]
    fn set_mapper(slf: &Bound<'_, Self>, mapper: Option<Py<PyAny>>) {
        let core = ManagerCore::of(slf);
        let old = core.mapper.replace(mapper);
        core.checked_generation.set(0);
        drop(old);
    }
    /// The number of an attribute, the same in the whole class hierarchy; made at first use.
    #[pyo3(name = "allocate")]
    fn py_allocate(slf: &Bound<'_, Self>, key: &Bound<'_, PyString>) -> PyResult<u32> {
        ManagerCore::of(slf).allocate(key)
    }
    /// Objects of this class are orphans once that relationship of another class let them go.
    fn add_delete_orphan(slf: &Bound<'_, Self>, parent: &Bound<'_, Self>, key: &Bound<'_, PyString>) -> PyResult<()> {
        let attr = ManagerCore::of(parent).allocate(key)?;
        ManagerCore::of(slf).delete_orphans.borrow_mut().push((parent.clone().unbind(), attr));
        Ok(())
    }
    /// Takes over the mapper's description. A mapper that changes later calls this again.
    fn configure_mapper(slf: &Bound<'_, Self>, descriptor: &Bound<'_, PyDict>) -> PyResult<()> {
        let core = ManagerCore::of(slf);
        let new = Rc::new(MapperDescriptor::from_dict(descriptor)?);
        core.is_polymorphic
            .set(new.polymorphic_attr.is_some() && (new.polymorphic_identity.is_some() || new.polymorphic_abstract));
        let is_holder = |relationship: &&RelationshipDescriptor| {
            relationship.direction == Direction::ManyToOne && !relationship.viewonly
        };
        for relationship in new.relationships.iter().filter(is_holder) {
            let target = ManagerCore::of(relationship.target.bind(slf.py()));
            relationship.sync.iter().for_each(|&(source, _)| target.refer(source));
        }
        let old = core.descriptor.replace(Some(new));
        drop(old);
        Ok(())
    }
    /// From now on queries for the class start as this one, until there are other mappers.
    fn set_query_start(slf: &Bound<'_, Self>, start: Py<Symbolic>) {
        let generation = MAPPER_GENERATION.load(Ordering::Relaxed);
        let old = ManagerCore::of(slf).query_start.replace(Some((start, generation)));
        drop(old);
    }
    /// A new object with an empty state, without calling `__init__`.
    #[pyo3(name = "new_instance")]
    fn py_new_instance<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        ManagerCore::of(slf).new_instance(slf.py())
    }
    /// Gives an external object its state, before its `__init__`; False when it has one.
    fn _new_state<'py>(slf: &Bound<'py, Self>, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let core = ManagerCore::of(slf);
        core.check_configured(py)?;
        if instance_state::has_state(object) {
            return Ok(pyo3::types::PyBool::new(py, false).to_owned().into_any());
        }
        let state = match crate::state::state_of(object) {
            Some(state) => state,
            None => instance_state::attach_carrier(object, core)?,
        };
        core.set_polymorphic_identity(py, state)?;
        state.view(py)
    }
    /// As `_new_state`, for an object made without `__init__`; returns its state.
    #[pyo3(signature = (object, _state=None))]
    fn setup_instance<'py>(
        slf: &Bound<'py, Self>,
        object: &Bound<'py, PyAny>,
        _state: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match crate::state::state_of(object) {
            Some(state) => state.view(slf.py()),
            None => instance_state::attach_carrier(object, ManagerCore::of(slf))?.view(slf.py()),
        }
    }
    /// The class is no longer instrumented: forget mapper, description and attributes.
    fn uninstall(slf: &Bound<'_, Self>) -> PyResult<()> {
        let core = ManagerCore::of(slf);
        instance_dict::uninstall(&core.class(slf.py())?)?;
        let mapper = core.mapper.take();
        let descriptor = core.descriptor.take();
        let descriptors = core.descriptors.take();
        let query_start = core.query_start.take();
        drop((mapper, descriptor, descriptors, query_start));
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let core = &self.0;
        if let Ok(class) = core.class_handle.try_borrow() {
            visit.call(&*class)?;
        }
        if let Ok(parents) = core.parents.try_borrow() {
            for parent in &*parents {
                visit.call(parent)?;
            }
        }
        if let Ok(relations) = core.delete_orphans.try_borrow() {
            for (parent, _) in &*relations {
                visit.call(parent)?;
            }
        }
        if let Ok(descriptors) = core.descriptors.try_borrow() {
            for (_, descriptor) in &*descriptors {
                visit.call(descriptor)?;
            }
        }
        if let Ok(mapper) = core.mapper.try_borrow() {
            visit.call(&*mapper)?;
        }
        if let Ok(start) = core.query_start.try_borrow()
            && let Some((start, _)) = &*start
        {
            visit.call(start)?;
        }
        if let Ok(descriptor) = core.descriptor.try_borrow()
            && let Some(descriptor) = descriptor.as_deref()
        {
            descriptor.traverse(&visit)?;
        }
        Ok(())
    }
    fn __clear__(&self) {
        let core = &self.0;
        let parents = (core.parents.take(), core.delete_orphans.take());
        let descriptors = core.descriptors.take();
        let mapper = core.mapper.take();
        let descriptor = core.descriptor.take();
        core.class.set(ptr::null_mut());
        let class = core.class_handle.take();
        let query_start = core.query_start.take();
        drop((parents, descriptors, mapper, descriptor, class, query_start));
    }
}

/// The manager of a state's class as an object.
pub fn manager_object(py: Python<'_>, state: StateRef) -> Bound<'_, ClassManager> {
    state.manager().object(py)
}
