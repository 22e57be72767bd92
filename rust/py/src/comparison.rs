//! `User.id == 5` as a copy of the first expression of its kind (`orm._comparison_template`).

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

/// A comparison of a column with a bound parameter: both states before anything was memoized in them.
///
/// A parameter's key has its `id()` in it, and an expression remembers the hashes of its sides.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct ComparisonTemplate {
    expression_class: Py<PyType>,
    expression: Py<PyDict>,
    parameter_class: Py<PyType>,
    parameter: Py<PyDict>,
    /// A text that is a name made up by Core.
    label_class: Py<PyType>,
    /// What follows the `id()` in such a name.
    body: Py<PyString>,
    left_hash: isize,
}

#[pymethods]
impl ComparisonTemplate {
    /// `expression`, `parameter`: what the copies' `__dict__` have in common.
    #[new]
    fn new(
        expression_class: Py<PyType>,
        expression: Py<PyDict>,
        parameter_class: Py<PyType>,
        parameter: Py<PyDict>,
        label_class: Py<PyType>,
        body: Py<PyString>,
        left_hash: isize,
    ) -> Self {
        Self { expression_class, expression, parameter_class, parameter, label_class, body, left_hash }
    }

    /// The comparison with a new unique parameter of this value.
    fn compared<'py>(slf: &Bound<'py, Self>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let parameter = bare(this.parameter_class.bind(py))?;
        let state = this.parameter.bind(py).copy()?;
        let (seed, body) = (parameter.as_ptr().addr(), this.body.bind(py).to_str()?);
        let key = this.label(py, &format!("%({seed} {body}"))?;
        state.set_item(intern!(py, "key"), &key)?;
        state.set_item(intern!(py, "_identifying_key"), &key)?;
        let map_key = intern!(py, "_anon_map_key");
        if state.contains(map_key)? {
            state.set_item(map_key, format!("{seed} {}", body.strip_suffix(")s").unwrap_or(body)))?;
        }
        state.set_item(intern!(py, "value"), value)?;
        parameter.setattr(intern!(py, "__dict__"), state)?;

        let expression = bare(this.expression_class.bind(py))?;
        let state = this.expression.bind(py).copy()?;
        state.set_item(intern!(py, "_orig"), (this.left_hash, parameter.hash()?))?;
        state.set_item(intern!(py, "right"), parameter)?;
        state.set_item(intern!(py, "modifiers"), PyDict::new(py))?;
        expression.setattr(intern!(py, "__dict__"), state)?;
        Ok(expression)
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.expression_class)?;
        visit.call(&self.expression)?;
        visit.call(&self.parameter_class)?;
        visit.call(&self.parameter)?;
        visit.call(&self.label_class)
    }
}

impl ComparisonTemplate {
    /// A name made up by Core, which says nothing about quotes.
    fn label<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
        let class = self.label_class.bind(py);
        let label = py.get_type::<PyString>().call_method1(intern!(py, "__new__"), (class, text))?;
        label.setattr(intern!(py, "quote"), py.None())?;
        Ok(label)
    }
}

/// An object of a class whose constructor is not run.
fn bare<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    class.call_method1(intern!(class.py(), "__new__"), (class,))
}
