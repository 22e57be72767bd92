//! What the elements of a class consist of, as far as the cheap key of a statement goes (`statement_shape.rs`).

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// So many attributes, and most of them are absent.
const MANY: usize = 12;

/// How elements of a class enter the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No SQL element but a value.
    Value,
    /// It has no cheap key.
    Refused,
    /// It lasts, and is equal only to itself.
    Itself,
    /// It lasts, and can be asked for its identity only.
    Identity,
    /// A column, which lasts if its table does.
    Column,
    /// A table of some annotations, which lasts if the mapping made it.
    AnnotatedTable,
    /// By its description, unless the mapping made it.
    Annotated,
    Parameter,
    Lambda,
    Described,
}

/// How an attribute of an element enters the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Refused,
    Value,
    /// A value that is equal only to itself, and whose hash is Python's business.
    Singleton,
    Type,
    Name,
    Element,
    Elements,
    /// Elements that have a cache key.
    Options,
    /// Pairs, or longer tuples, of elements.
    Tuples,
    Annotations,
    PropagateAttributes,
    /// An element or a value.
    Any,
    Anys,
    /// By name: elements or values.
    Named,
    /// An entity by what it is given as.
    Entity,
    Joins,
    Prefixes,
    /// Columns and values of a DML statement.
    Values,
    /// Values of parameters, which the caller looks after.
    Given,
}

/// An attribute by which elements enter the key.
pub struct Attribute {
    pub name: Py<PyString>,
    pub part: Part,
    /// Whether it is absent unless the element's own state has it.
    pub in_state: bool,
}

/// What `_statement_shape` says of a class.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct Description {
    pub kind: Kind,
    pub attributes: Vec<Attribute>,
    /// Numbers of the attributes by name, where there are many and a state has few of them.
    pub numbers: Option<Py<PyDict>>,
}

#[pymethods]
impl Description {
    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.numbers)?;
        self.attributes.iter().try_for_each(|attribute| visit.call(&attribute.name))
    }
}

impl Description {
    /// As `_statement_shape` gives it.
    pub fn from_python(said: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (kind, attributes): (String, Vec<(Py<PyString>, String, bool)>) = said.extract()?;
        let kind = match kind.as_str() {
            "value" => Kind::Value,
            "itself" => Kind::Itself,
            "identity" => Kind::Identity,
            "column" => Kind::Column,
            "annotated table" => Kind::AnnotatedTable,
            "annotated" => Kind::Annotated,
            "parameter" => Kind::Parameter,
            "lambda" => Kind::Lambda,
            "described" => Kind::Described,
            _ => Kind::Refused,
        };
        let attributes: Vec<Attribute> = attributes
            .into_iter()
            .map(|(name, part, in_state)| Attribute { name, part: part_of(&part), in_state })
            .collect();
        let mut numbers = None;
        if attributes.len() > MANY && attributes.iter().all(|attribute| attribute.in_state) {
            let by_name = PyDict::new(said.py());
            for (number, attribute) in attributes.iter().enumerate() {
                by_name.set_item(&attribute.name, number)?;
            }
            numbers = Some(by_name.unbind());
        }
        Ok(Self { kind, attributes, numbers })
    }
}

/// What Core calls a part of an element (`InternalTraversal`).
fn part_of(name: &str) -> Part {
    match name {
        "dp_string" | "dp_boolean" | "dp_operator" | "dp_plain_obj" | "dp_statement_hint_list" => Part::Value,
        "singleton" => Part::Singleton,
        "dp_type" => Part::Type,
        "dp_anon_name" => Part::Name,
        "dp_clauseelement" | "dp_has_cache_key" => Part::Element,
        "dp_clauseelement_list"
        | "dp_clauseelement_tuple"
        | "dp_has_cache_key_list"
        | "dp_fromclause_ordered_set"
        | "dp_memoized_select_entities" => Part::Elements,
        "dp_executable_options" => Part::Options,
        "dp_clauseelement_tuples" | "dp_has_cache_key_tuples" => Part::Tuples,
        "dp_annotations_key" => Part::Annotations,
        "dp_propagate_attrs" => Part::PropagateAttributes,
        "dp_multi" => Part::Any,
        "dp_multi_list" | "dp_string_list" => Part::Anys,
        "dp_plain_dict" | "dp_string_clauseelement_dict" | "dp_string_multi_dict" => Part::Named,
        "dp_inspectable" => Part::Entity,
        "dp_setup_join_tuple" => Part::Joins,
        "dp_prefix_sequence" => Part::Prefixes,
        "dp_dml_values" => Part::Values,
        "dp_params" => Part::Given,
        _ => Part::Refused,
    }
}
