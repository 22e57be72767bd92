//! The cheap key of a statement, read in one pass together with its parameters (`orm._statement_shape`).
//!
//! It is Core's cache key, made by the same descriptions of what a class of elements consists of, with two short cuts: what
//! lives as long as the mapping stands for itself, and all of it is one flat tuple. A token tells what follows it, so that two
//! keys are equal only if the statements are. Loader options that are the same objects each time are among what lasts.

use hashbrown::HashMap;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyList, PyString, PyTuple, PyType};
use smallvec::SmallVec;

use crate::element_description::{Description, Kind, Part};

/// A key, and the parameters in the order of Core's cache key.
pub type Shape<'py> = (Bound<'py, PyTuple>, SmallVec<[Bound<'py, PyAny>; 4]>);

/// Elements within elements; deeper ones are Core's business.
const DEEPEST: usize = 150;

/// Elements that are sooner looked through than looked up.
const FEW: usize = 16;

/// Where in the state of something the mapping made its own address is, if it lasts. A copy has the address of the original.
const LASTS: &str = "_rustalchemy_lasts";

/// Reads the shapes of statements.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct StatementShapes {
    /// By class.
    descriptions: Py<PyDict>,
    /// Asked about each class once.
    describe: Py<PyAny>,
    /// Names that are made of an element's identity.
    anonymous: Py<PyType>,
}

#[pymethods]
impl StatementShapes {
    #[new]
    fn new(py: Python<'_>, describe: Py<PyAny>, anonymous: Py<PyType>) -> Self {
        Self { descriptions: PyDict::new(py).unbind(), describe, anonymous }
    }

    /// The shape of a statement; None if there is something in it that has no cheap key.
    fn of<'py>(&self, statement: &Bound<'py, PyAny>) -> PyResult<Option<(Bound<'py, PyTuple>, Bound<'py, PyList>)>> {
        let Some((key, parameters)) = self.shape(statement)? else { return Ok(None) };
        Ok(Some((key, PyList::new(statement.py(), parameters)?)))
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.descriptions)?;
        visit.call(&self.describe)?;
        visit.call(&self.anonymous)
    }
}

impl StatementShapes {
    /// The shape of a statement; nothing if there is something in it that has no cheap key.
    pub fn shape<'py>(&self, statement: &Bound<'py, PyAny>) -> PyResult<Option<Shape<'py>>> {
        let mut reading = Reading::new(self);
        match reading.element(statement) {
            Ok(()) => Ok(Some((PyTuple::new(statement.py(), reading.key)?, reading.parameters))),
            Err(Stop::NoShape) => Ok(None),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn description<'py>(&self, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, Description>> {
        let descriptions = self.descriptions.bind(class.py());
        if let Some(known) = descriptions.get_item(class)? {
            return Ok(known.cast_into::<Description>()?);
        }
        let said = self.describe.bind(class.py()).call1((class,))?;
        let made = Bound::new(class.py(), Description::from_python(&said)?)?;
        descriptions.set_item(class, &made)?;
        Ok(made)
    }
}

/// Why there is no key.
enum Stop {
    NoShape,
    Failed(PyErr),
}

impl From<PyErr> for Stop {
    fn from(error: PyErr) -> Self {
        Self::Failed(error)
    }
}

impl From<pyo3::CastError<'_, '_>> for Stop {
    fn from(_: pyo3::CastError<'_, '_>) -> Self {
        Self::NoShape
    }
}

impl From<pyo3::CastIntoError<'_>> for Stop {
    fn from(_: pyo3::CastIntoError<'_>) -> Self {
        Self::NoShape
    }
}

/// A statement on the way to its key.
struct Reading<'a, 'py> {
    shapes: &'a StatementShapes,
    key: SmallVec<[Bound<'py, PyAny>; 32]>,
    parameters: SmallVec<[Bound<'py, PyAny>; 4]>,
    /// The elements that were met, by number; held, so that no other one gets an address meanwhile.
    met: SmallVec<[Bound<'py, PyAny>; FEW]>,
    /// Their numbers by address, once they are more than a few.
    numbers: HashMap<usize, usize>,
    /// Numbers of anonymous names.
    names: HashMap<String, usize>,
    depth: usize,
}

impl<'a, 'py> Reading<'a, 'py> {
    fn new(shapes: &'a StatementShapes) -> Self {
        Self {
            shapes,
            key: SmallVec::new(),
            parameters: SmallVec::new(),
            met: SmallVec::new(),
            numbers: HashMap::new(),
            names: HashMap::new(),
            depth: 0,
        }
    }

    fn number(&mut self, py: Python<'py>, number: usize) {
        self.key.push(PyInt::new(py, number).into_any());
    }

    fn nothing(&mut self, py: Python<'py>) {
        self.key.push(py.None().into_bound(py));
    }

    /// An element, or something else that Core knows a cache key of.
    fn element(&mut self, element: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let class = element.get_type();
        let description = self.shapes.description(&class)?;
        if description.get().kind == Kind::Value {
            // options of a statement are a class where nothing was said
            let class = element.cast::<PyType>()?;
            self.key.push(class.py().NotImplemented().into_bound(class.py()));
            self.key.push(element.clone());
            return Ok(());
        }
        self.of_kind(element, class, description.get())
    }

    /// An element or a value.
    fn any(&mut self, value: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let class = value.get_type();
        let description = self.shapes.description(&class)?;
        if description.get().kind == Kind::Value {
            self.key.push(value.clone());
            return Ok(());
        }
        self.of_kind(value, class, description.get())
    }

    fn of_kind(
        &mut self,
        element: &Bound<'py, PyAny>,
        class: Bound<'py, PyType>,
        description: &Description,
    ) -> Result<(), Stop> {
        let py = element.py();
        match description.kind {
            Kind::Value | Kind::Refused => return Err(Stop::NoShape),
            Kind::Itself => {
                self.key.push(element.clone());
                return Ok(());
            }
            Kind::Identity => {
                self.key.push(identity(element));
                return Ok(());
            }
            Kind::Column if self.table_lasts(element)? => {
                self.key.push(identity(element));
                return Ok(());
            }
            Kind::Annotated | Kind::AnnotatedTable => {
                let state = element.getattr(intern!(py, "__dict__"))?;
                if let Some(address) = state.cast::<PyDict>()?.get_item(intern!(py, LASTS))?
                    && address.extract::<usize>()? == element.as_ptr().addr()
                {
                    self.key.push(address);
                    return Ok(());
                }
            }
            Kind::Lambda => return self.lambda(element, class),
            Kind::Column | Kind::Parameter | Kind::Described => {}
        }
        if let Some(number) = self.meet(element) {
            self.key.push(py.Ellipsis().into_bound(py));
            self.number(py, number);
            return Ok(());
        }
        self.key.push(class.into_any());
        if description.kind == Kind::Parameter {
            return self.parameter(element);
        }
        if description.kind == Kind::AnnotatedTable {
            self.key.push(identity(&element.getattr(intern!(py, "_Annotated__element"))?));
            return self.annotations(&element.getattr(intern!(py, "_annotations"))?);
        }
        if self.depth == DEEPEST {
            return Err(Stop::NoShape);
        }
        self.depth += 1;
        self.attributes(element, description)?;
        self.depth -= 1;
        Ok(())
    }

    /// The number of an element that was met before; the others are given theirs.
    fn meet(&mut self, element: &Bound<'py, PyAny>) -> Option<usize> {
        let address = element.as_ptr().addr();
        let known = if self.met.len() > FEW {
            self.numbers.get(&address).copied()
        } else {
            self.met.iter().position(|met| met.is(element))
        };
        if known.is_none() {
            self.met.push(element.clone());
            if self.met.len() == FEW + 1 {
                self.numbers.extend(self.met.iter().enumerate().map(|(number, met)| (met.as_ptr().addr(), number)));
            } else if self.met.len() > FEW {
                self.numbers.insert(address, self.met.len() - 1);
            }
        }
        known
    }

    /// Whether a column is of a table, and not of a subquery.
    fn table_lasts(&self, column: &Bound<'py, PyAny>) -> PyResult<bool> {
        let table = column.getattr(intern!(column.py(), "table"))?;
        Ok(self.shapes.description(&table.get_type())?.get().kind == Kind::Itself)
    }

    /// Which attributes an element has, and they.
    fn attributes(&mut self, element: &Bound<'py, PyAny>, description: &Description) -> Result<(), Stop> {
        let py = element.py();
        let mut parts: SmallVec<[(usize, Bound<'py, PyAny>); 8]> = SmallVec::new();
        if let Some(numbers) = &description.numbers {
            // one of many attributes that has few of them
            for (name, value) in element.getattr(intern!(py, "__dict__"))?.cast::<PyDict>()? {
                if let Some(number) = numbers.bind(py).get_item(name)? {
                    parts.push((number.extract()?, value));
                }
            }
            parts.sort_by_key(|(number, _)| *number);
        } else {
            let state = if description.attributes.iter().any(|attribute| attribute.in_state) {
                Some(element.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?)
            } else {
                None
            };
            for (number, attribute) in description.attributes.iter().enumerate() {
                let name = attribute.name.bind(py);
                match &state {
                    Some(state) if attribute.in_state => {
                        parts.extend(state.get_item(name)?.map(|value| (number, value)));
                    }
                    _ => parts.push((number, element.getattr(name)?)),
                }
            }
        }
        let mut present: u64 = 0;
        let place = self.key.len();
        self.nothing(py);
        for (number, value) in &parts {
            let part = description.attributes[*number].part;
            let is_present = match part {
                Part::Type | Part::Name | Part::Element | Part::Entity | Part::Any => !value.is_none(),
                // a clause where a name is expected, say
                _ => value.is_truthy().map_err(|_| Stop::NoShape)?,
            };
            if is_present {
                present |= 1 << number;
                self.part(part, value)?;
            }
        }
        self.key[place] = PyInt::new(py, present).into_any();
        Ok(())
    }

    fn part(&mut self, part: Part, value: &Bound<'py, PyAny>) -> Result<(), Stop> {
        match part {
            Part::Value => {
                self.key.push(value.clone());
                Ok(())
            }
            Part::Singleton => {
                self.key.push(identity(value));
                Ok(())
            }
            Part::Type => self.type_(value),
            Part::Name => self.name(value),
            Part::Element => self.element(value),
            Part::Elements => self.each(value, Self::element),
            Part::Options => self.options(value),
            Part::Tuples => self.each(value, |this, tuple| this.each(tuple, Self::element)),
            Part::Annotations => self.annotations(value),
            Part::PropagateAttributes => self.propagate_attributes(value),
            Part::Any => self.any(value),
            Part::Anys => self.each(value, Self::any),
            Part::Named => self.named(value),
            Part::Entity => self.entity(value),
            Part::Joins => self.joins(value),
            Part::Prefixes => self.each(value, |this, prefix| {
                let prefix = prefix.cast::<PyTuple>()?;
                this.element(&prefix.get_item(0)?)?;
                this.key.push(prefix.get_item(1)?);
                Ok(())
            }),
            Part::Values => self.values(value),
            Part::Given if self.depth == 1 => Ok(()),
            Part::Refused | Part::Given => Err(Stop::NoShape),
        }
    }

    /// How many there are, and they.
    fn each(
        &mut self,
        values: &Bound<'py, PyAny>,
        add: impl Fn(&mut Self, &Bound<'py, PyAny>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        self.number(values.py(), values.len()?);
        for value in values.try_iter()? {
            add(self, &value?)?;
        }
        Ok(())
    }

    fn options(&mut self, options: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let py = options.py();
        let mut keyed = Vec::new();
        for option in options.try_iter()? {
            let option = option?;
            if option.getattr(intern!(py, "_is_has_cache_key"))?.is_truthy()? {
                keyed.push(option);
            }
        }
        self.number(py, keyed.len());
        for option in &keyed {
            let is_shared = option.getattr_opt(intern!(py, "is_shared"))?;
            match is_shared {
                Some(is_shared) if is_shared.is_truthy()? => self.key.push(identity(option)),
                _ => self.element(option)?,
            }
        }
        Ok(())
    }

    /// Core's own key of a type.
    fn type_(&mut self, type_: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let key = type_.getattr(intern!(type_.py(), "_static_cache_key"))?.cast_into::<PyTuple>()?;
        self.key.push(if key.len() == 1 { key.get_item(0)? } else { key.into_any() });
        Ok(())
    }

    /// A name; one that is made of an element's identity is another each time, but always the same of one element.
    fn name(&mut self, name: &Bound<'py, PyAny>) -> Result<(), Stop> {
        if !name.get_type().is(self.shapes.anonymous.bind(name.py())) {
            self.key.push(name.clone());
            return Ok(());
        }
        let text = name.cast::<PyString>()?.to_str()?;
        if !(text.starts_with("%(") && text.ends_with(")s") && text.matches("%(").count() == 1) {
            return Err(Stop::NoShape);
        }
        let next = self.names.len();
        let number = *self.names.entry(text.to_owned()).or_insert(next);
        self.number(name.py(), number);
        Ok(())
    }

    fn parameter(&mut self, parameter: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let py = parameter.py();
        self.type_(&parameter.getattr(intern!(py, "type"))?)?;
        let name = parameter.getattr(intern!(py, "key"))?;
        let anonymous = self.shapes.anonymous.bind(py);
        if name.get_type().is(anonymous) {
            self.nothing(py);
            let given = parameter.getattr(intern!(py, "_orig_key"))?;
            if given.get_type().is(anonymous) {
                self.nothing(py);
            } else {
                self.key.push(given);
            }
        } else {
            self.key.push(name);
        }
        self.key.push(parameter.getattr(intern!(py, "literal_execute"))?);
        self.parameters.push(parameter.clone());
        Ok(())
    }

    /// A part of a statement that is made by a function: its code, and what it takes from around it.
    fn lambda(&mut self, lambda: &Bound<'py, PyAny>, class: Bound<'py, PyType>) -> Result<(), Stop> {
        let py = lambda.py();
        self.key.push(class.into_any());
        let mut made_by = Some(lambda.clone());
        while let Some(lambda) = made_by {
            self.key.push(lambda.getattr(intern!(py, "fn"))?.getattr(intern!(py, "__code__"))?);
            self.key.push(lambda.getattr(intern!(py, "closure_cache_key"))?.cast_into::<PyTuple>()?.into_any());
            made_by = Some(lambda.getattr(intern!(py, "parent_lambda"))?).filter(|parent| !parent.is_none());
        }
        self.nothing(py);
        for parameter in lambda.getattr(intern!(py, "_resolved_bindparams"))?.try_iter()? {
            self.parameters.push(parameter?);
        }
        Ok(())
    }

    /// Annotations; they have no parameters.
    fn annotations(&mut self, annotations: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let before = self.parameters.len();
        let annotations = annotations.cast::<PyDict>()?;
        self.number(annotations.py(), annotations.len());
        for (name, value) in annotations {
            self.key.push(name);
            self.any(&value)?;
        }
        self.parameters.truncate(before);
        Ok(())
    }

    /// Whose statement it is.
    fn propagate_attributes(&mut self, attributes: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let py = attributes.py();
        self.key.push(attributes.get_item(intern!(py, "compile_state_plugin"))?);
        let subject = attributes.get_item(intern!(py, "plugin_subject"))?;
        if subject.is_none() {
            self.nothing(py);
            return Ok(());
        }
        self.element(&subject)
    }

    /// In the order of the names.
    fn named(&mut self, values: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let mut named: Vec<(String, Bound<'py, PyAny>, Bound<'py, PyAny>)> = Vec::new();
        for (name, value) in values.cast::<PyDict>()? {
            named.push((name.cast::<PyString>()?.to_str()?.to_owned(), name, value));
        }
        named.sort_by(|one, other| one.0.cmp(&other.0));
        self.number(values.py(), named.len());
        for (_, name, value) in named {
            self.key.push(name);
            self.any(&value)?;
        }
        Ok(())
    }

    /// A mapped class, or an alias.
    fn entity(&mut self, given: &Bound<'py, PyAny>) -> Result<(), Stop> {
        if given.is_instance_of::<PyType>() {
            self.key.push(identity(given));
            return Ok(());
        }
        self.element(&given.getattr(intern!(given.py(), "_aliased_insp"))?)
    }

    fn joins(&mut self, joins: &Bound<'py, PyAny>) -> Result<(), Stop> {
        self.each(joins, |this, join| {
            let join = join.cast::<PyTuple>()?;
            this.element(&join.get_item(0)?)?;
            for part in [join.get_item(1)?, join.get_item(2)?] {
                if part.is_none() {
                    this.nothing(part.py());
                } else {
                    this.element(&part)?;
                }
            }
            this.named(&join.get_item(3)?)
        })
    }

    fn values(&mut self, values: &Bound<'py, PyAny>) -> Result<(), Stop> {
        let values = values.cast::<PyDict>()?;
        self.number(values.py(), values.len());
        for (column, value) in values {
            self.any(&column)?;
            self.element(&value)?;
        }
        Ok(())
    }
}

/// `id()`
fn identity<'py>(object: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    let address = PyInt::new(object.py(), object.as_ptr().addr());
    address.into_any()
}
