//! `rustalchemy._core`: the list of what Python sees of the native core.
#![allow(
    clippy::needless_pass_by_value, // arguments of Python functions arrive as owned handles
    clippy::unused_self,            // Python methods have a receiver whether or not they look at it
    clippy::not_unsafe_ptr_arg_deref, // who owns a pointer that moves through a slot is said at each function
    clippy::elidable_lifetime_names, // the interpreter's lifetime is named 'py wherever it appears
    clippy::redundant_closure_for_method_calls, // a closure says what is asked, PyAnyMethods::is_none does not
    clippy::single_match_else, // both arms of "found or made" read alike
    clippy::cast_ptr_alignment, // offsets inside structs of known layout
    clippy::option_option,          // "no such side" and "a side the object's class lacks" are different answers
    clippy::fn_params_excessive_bools,
    clippy::struct_excessive_bools  // flags of descriptors have SQLAlchemy's names
)]
use pyo3::prelude::*;

pub mod access;
pub mod adapter;
pub mod attach;
pub mod attribute;
pub mod bridge;
pub mod cascade;
pub mod collection;
pub mod committed;
pub mod comparison;
pub mod criteria;
pub mod descriptor;
pub mod driver;
mod element_description;
mod errors;
pub mod expiry;
pub mod flags;
pub mod flush;
pub mod following;
pub mod held;
pub mod history;
pub mod hooks;
pub mod hydrate;
pub mod identity;
pub mod identity_key;
pub mod identity_view;
pub mod imports;
pub mod instance;
pub mod instance_dict;
pub mod instance_state;
pub mod lane;
pub mod list;
mod listeners;
mod live_sessions;
pub mod load_batch;
pub mod load_context;
pub mod loaded_values;
pub mod manager;
pub mod mapper;
mod merge;
pub mod names;
mod overrides;
pub mod peers;
pub mod pending;
pub mod pickling;
pub mod prepared;
pub mod processors;
pub mod raw;
pub mod related;
pub mod related_rows;
pub mod relationship;
pub mod result_rows;
pub mod row_plan;
pub mod scalar_object;
pub mod session_construction;
pub mod short_select;
pub mod slots;
pub mod state;
pub mod state_view;
pub mod statement_shape;
pub mod symbolic;
pub mod token;
pub mod transaction;
pub mod unit_of_work;
pub mod unit_of_work_core;
pub mod usage;
pub mod validator;
pub mod write_only;

/// The native core of rustalchemy.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::access::{
        append_attribute, collection_append_event, collection_append_wo_mutation_event, collection_pre_remove_event,
        collection_remove_event, del_attribute, flag_dirty, flag_modified, get_attribute, get_history, init_collection,
        instance_dict, instance_state, pop_attribute, remove_attribute, set_attribute, set_committed_value,
    };
    #[pymodule_export]
    use crate::adapter::CollectionAdapter;
    #[pymodule_export]
    use crate::collection::{collection_adapter, warn_invalidated};
    #[pymodule_export]
    use crate::committed::{committed_values, expired_names, forget_committed, mark_expired, set_committed};
    #[pymodule_export]
    use crate::comparison::ComparisonTemplate;
    #[pymodule_export]
    use crate::flush::{
        Batch, CycleMember, Explanation, FlushPlan, PlanStep, PlannedChange, PreparedWrite, RegisteredFlush,
        RowIterator, RowStream,
    };
    #[pymodule_export]
    use crate::following::FollowingLoad;
    #[pymodule_export]
    use crate::hooks::install_hooks;
    #[pymodule_export]
    use crate::identity_view::IdentityMapView;
    #[pymodule_export]
    use crate::instance::set_declarative_constructor;
    #[pymodule_export]
    use crate::instance_dict::InstanceDict;
    #[pymodule_export]
    use crate::instance_state::{InstanceState, new_state};
    #[pymodule_export]
    use crate::lane::DriverLane;
    #[pymodule_export]
    use crate::listeners::Listener;
    #[pymodule_export]
    use crate::live_sessions::live_sessions;
    #[pymodule_export]
    use crate::load_batch::{group_rows, read_loaded, store_groups, store_loaded, store_synchronized};
    #[pymodule_export]
    use crate::load_context::LoadContext;
    #[pymodule_export]
    use crate::manager::ClassManager;
    #[pymodule_export]
    use crate::manager::mappers_changed;
    #[pymodule_export]
    use crate::merge::MergePlan;
    #[pymodule_export]
    use crate::names::symbol;
    #[pymodule_export]
    use crate::pickling::{describe_state, restore_state};
    #[pymodule_export]
    use crate::prepared::{KeyedRelation, PreparedRow};
    #[pymodule_export]
    use crate::processors::Processor;
    #[pymodule_export]
    use crate::related_rows::RelatedRows;
    #[pymodule_export]
    use crate::result_rows::{MadeRows, RowMaker};
    #[pymodule_export]
    use crate::row_plan::{EagerPlan, EntityPlan, RowPlan, ScalarPlan, SubqueryPlan};
    #[pymodule_export]
    use crate::session_construction::construct_sessions_natively;
    #[pymodule_export]
    use crate::short_select::{FetchedRows, ReadySelect};
    #[pymodule_export]
    use crate::statement_shape::StatementShapes;
    #[pymodule_export]
    use crate::symbolic::{QueryShape, Symbolic, symbolic_query};
    #[pymodule_export]
    use crate::token::EventToken;

    #[pymodule_export]
    use crate::unit_of_work::{UnitOfWork, make_transient, make_transient_to_detached};
    #[pymodule_export]
    use crate::validator::Validator;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        crate::names::init_module(py)?;
        module.add("__opt_level__", env!("RUSTALCHEMY_OPT_LEVEL"))?;
        module.add("AttributeDescriptor", crate::descriptor::make_type(py)?)?;
        module.add("InstrumentedList", crate::list::make_type(py)?)?;
        module.add("Instance", crate::instance::make_type(py)?)?;
        Ok(())
    }
}
