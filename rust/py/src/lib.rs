//! `rustalchemy._core`: the list of what Python sees of the native core.
use pyo3::prelude::*;

pub mod attach;
pub mod attribute;
pub mod bridge;
pub mod cascade;
pub mod errors;
pub mod flags;
pub mod flush;
pub mod held;
pub mod hooks;
pub mod hydrate;
pub mod identity;
pub mod identity_view;
pub mod imports;
pub mod instance;
pub mod instance_dict;
pub mod instance_state;
pub mod load_batch;
pub mod load_context;
pub mod loaded_values;
pub mod manager;
pub mod mapper;
pub mod names;
pub mod pickling;
pub mod processors;
pub mod raw;
pub mod related;
pub mod row_plan;
pub mod slots;
pub mod state;
pub mod transaction;
pub mod unit_of_work;
pub mod unit_of_work_core;

/// The native core of rustalchemy.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::flush::{Batch, FlushPlan, PlanStep};
    #[pymodule_export]
    use crate::hooks::install_hooks;
    #[pymodule_export]
    use crate::identity_view::IdentityMapView;
    #[pymodule_export]
    use crate::instance_state::InstanceState;
    #[pymodule_export]
    use crate::load_batch::{group_rows, read_loaded, store_loaded};
    #[pymodule_export]
    use crate::load_context::LoadContext;
    #[pymodule_export]
    use crate::manager::ClassManager;
    #[pymodule_export]
    use crate::manager::mappers_changed;
    #[pymodule_export]
    use crate::names::symbol;
    #[pymodule_export]
    use crate::processors::Processor;
    #[pymodule_export]
    use crate::row_plan::{EagerPlan, EntityPlan, RowPlan, ScalarPlan};

    #[pymodule_export]
    use crate::unit_of_work::{UnitOfWork, make_transient, make_transient_to_detached};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        crate::names::init_module(py)?;
        module.add("__opt_level__", env!("RUSTALCHEMY_OPT_LEVEL"))?;
        module.add("Instance", crate::instance::make_type(py)?)?;
        Ok(())
    }
}
