//! Python objects of other packages that the core looks up, each once.
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// A class of another module, imported at first use.
pub struct ImportedType {
    module: &'static str,
    name: &'static str,
    cell: PyOnceLock<Py<PyType>>,
}

impl ImportedType {
    /// Names the class; nothing is imported yet.
    pub const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name, cell: PyOnceLock::new() }
    }
    /// The class.
    pub fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        self.cell.import(py, self.module, self.name)
    }
}

/// `sqlalchemy.exc` classes.
pub static INVALID_REQUEST: ImportedType = ImportedType::new("sqlalchemy.exc", "InvalidRequestError");
/// Wrong arguments.
pub static ARGUMENT: ImportedType = ImportedType::new("sqlalchemy.exc", "ArgumentError");
/// Warnings.
pub static SA_WARNING: ImportedType = ImportedType::new("sqlalchemy.exc", "SAWarning");
/// More rows than there should be.
pub static MULTIPLE_RESULTS: ImportedType = ImportedType::new("sqlalchemy.exc", "MultipleResultsFound");
/// Cycles among rows.
pub static CIRCULAR_DEPENDENCY: ImportedType = ImportedType::new("sqlalchemy.exc", "CircularDependencyError");
/// `rustalchemy.orm.exc` classes.
pub static OBJECT_DEREFERENCED: ImportedType = ImportedType::new("rustalchemy.orm.exc", "ObjectDereferencedError");
/// A row is not what the session remembers.
pub static STALE_DATA: ImportedType = ImportedType::new("rustalchemy.orm.exc", "StaleDataError");
/// Flush could not go on.
pub static FLUSH: ImportedType = ImportedType::new("rustalchemy.orm.exc", "FlushError");
/// The object's class is not mapped.
pub static UNMAPPED_INSTANCE: ImportedType = ImportedType::new("rustalchemy.orm.exc", "UnmappedInstanceError");
/// Lazy access on a detached object.
pub static DETACHED_INSTANCE: ImportedType = ImportedType::new("rustalchemy.orm.exc", "DetachedInstanceError");
/// The row of an expired object is gone.
pub static OBJECT_DELETED: ImportedType = ImportedType::new("rustalchemy.orm.exc", "ObjectDeletedError");
/// The cursor of the standard library's `SQLite` driver.
pub static SQLITE_CURSOR: ImportedType = ImportedType::new("sqlite3", "Cursor");
