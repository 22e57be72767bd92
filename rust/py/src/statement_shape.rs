//! The key of a plain SELECT, read in one pass together with its parameters (`orm._statement_shape`).
//!
//! Plain is what has entities or columns, and comparisons of attributes with values, and nothing else.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyFunction, PyInt, PyList, PyTuple};

use crate::imports::ImportedType;

static BINARY: ImportedType = ImportedType::new("sqlalchemy.sql.elements", "BinaryExpression");
static PARAMETER: ImportedType = ImportedType::new("sqlalchemy.sql.elements", "BindParameter");

/// A key, and the parameters in the order of Core's cache key.
pub type Shape<'py> = (Bound<'py, PyTuple>, Bound<'py, PyList>);

/// Reads the shapes of plain statements.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PlainShapes {
    /// By class: whether its elements live as long as the mapping, so that their identities say what they are.
    lasting: Py<PyDict>,
    /// Asked about each class once.
    is_lasting: Py<PyAny>,
}

#[pymethods]
impl PlainShapes {
    #[new]
    fn new(py: Python<'_>, is_lasting: Py<PyAny>) -> Self {
        Self { lasting: PyDict::new(py).unbind(), is_lasting }
    }

    /// The shape of a SELECT; None if it has anything that is not plain.
    fn of<'py>(slf: &Bound<'py, Self>, statement: &Bound<'py, PyAny>) -> PyResult<Option<Shape<'py>>> {
        Parts::of(statement)?.map_or(Ok(None), |parts| slf.get().shape(&parts))
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lasting)?;
        visit.call(&self.is_lasting)
    }
}

/// What a plain SELECT has.
pub struct Parts<'py> {
    label_style: Bound<'py, PyAny>,
    columns: Bound<'py, PyAny>,
    criteria: Option<Bound<'py, PyAny>>,
}

impl<'py> Parts<'py> {
    /// Those of a SELECT; nothing if it has more, be it only what Core remembers of an execution.
    pub fn of(statement: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let py = statement.py();
        let state = statement.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
        let label_style = state.get_item(intern!(py, "_label_style"))?;
        let columns = state.get_item(intern!(py, "_raw_columns"))?;
        let criteria = state.get_item(intern!(py, "_where_criteria"))?;
        let known = 2 + usize::from(criteria.is_some()) + usize::from(state.contains(intern!(py, "_propagate_attrs"))?);
        let (Some(label_style), Some(columns)) = (label_style, columns) else { return Ok(None) };
        Ok((state.len() == known).then_some(Self { label_style, columns, criteria }))
    }
}

impl PlainShapes {
    /// The shape of these parts; nothing if one of them is not plain.
    pub fn shape<'py>(&self, parts: &Parts<'py>) -> PyResult<Option<Shape<'py>>> {
        let py = parts.columns.py();
        let mut key: Vec<Bound<'py, PyAny>> = Vec::with_capacity(8);
        key.push(identity(&parts.label_style));
        for column in parts.columns.try_iter()? {
            let column = column?;
            if !self.lasts(&column)? {
                return Ok(None);
            }
            key.push(identity(&column));
        }
        let parameters = PyList::empty(py);
        if let Some(criteria) = &parts.criteria {
            for criterion in criteria.try_iter()? {
                match self.comparison(&criterion?, &mut key)? {
                    Some(parameter) => parameters.append(parameter)?,
                    None => return Ok(None),
                }
            }
        }
        Ok(Some((PyTuple::new(py, key)?, parameters)))
    }

    /// The parameter that something lasting is compared with, entered into the key; nothing for any other criterion.
    fn comparison<'py>(
        &self,
        criterion: &Bound<'py, PyAny>,
        key: &mut Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = criterion.py();
        if !criterion.get_type().is(BINARY.get(py)?) || criterion.getattr(intern!(py, "modifiers"))?.is_truthy()? {
            return Ok(None);
        }
        let left = criterion.getattr(intern!(py, "left"))?;
        let right = criterion.getattr(intern!(py, "right"))?;
        let operator = criterion.getattr(intern!(py, "operator"))?;
        let is_plain = right.get_type().is(PARAMETER.get(py)?)
            && (operator.is_exact_instance_of::<PyCFunction>() || operator.is_exact_instance_of::<PyFunction>())
            && self.lasts(&left)?
            && right.getattr(intern!(py, "unique"))?.is_truthy()?
            && right.getattr(intern!(py, "callable"))?.is_none()
            && !right.getattr(intern!(py, "expanding"))?.is_truthy()?
            && !right.getattr(intern!(py, "literal_execute"))?.is_truthy()?
            && !right.getattr(intern!(py, "isoutparam"))?.is_truthy()?;
        if !is_plain {
            return Ok(None);
        }
        key.push(identity(&left));
        key.push(operator);
        key.push(identity(&right.getattr(intern!(py, "type"))?));
        key.push(right.getattr(intern!(py, "required"))?);
        Ok(Some(right))
    }

    fn lasts(&self, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (class, lasting) = (element.get_type(), self.lasting.bind(element.py()));
        if let Some(known) = lasting.get_item(&class)? {
            return known.is_truthy();
        }
        let answer = self.is_lasting.bind(element.py()).call1((&class,))?;
        lasting.set_item(class, &answer)?;
        answer.is_truthy()
    }
}

/// `id()`
fn identity<'py>(object: &Bound<'py, PyAny>) -> Bound<'py, PyAny> {
    let address = PyInt::new(object.py(), object.as_ptr().addr());
    address.into_any()
}
