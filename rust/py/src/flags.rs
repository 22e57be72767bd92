//! Bits of `StateCore.flags` and of the passive argument of attribute access.

use crate::state::StateRef;

/// The carrier is the mapped object itself (`_core.Instance`), not a separate `InstanceState`.
pub const INLINE: u16 = 1;
/// The collector has been told about the carrier (inline carriers only).
pub const GC_TRACKED: u16 = 1 << 1;
/// The state has possible changes since it was committed.
pub const MODIFIED: u16 = 1 << 2;
/// The whole state was expired (`InstanceState.expired`).
pub const EXPIRED: u16 = 1 << 3;
/// The row was deleted by a flush (`was_deleted`).
pub const DELETED: u16 = 1 << 4;
/// The state is in `owner.new`.
pub const IN_NEW: u16 = 1 << 5;
/// The state is in `owner.dirty`.
pub const IN_DIRTY: u16 = 1 << 6;
/// In one of the two lists of objects to be saved.
pub const IN_LIST: u16 = IN_NEW | IN_DIRTY;
/// The state is in `owner.deleted` (marked for deletion, not flushed).
pub const IN_DELETED: u16 = 1 << 7;
/// The owner's identity table holds a borrowed pointer to this state.
pub const IN_MAP: u16 = 1 << 8;
/// Lost its last delete-orphan parent while outside of any session.
pub const ORPHANED_OUTSIDE: u16 = 1 << 9;
/// A lazy load was allowed for this pending or transient object (`enable_relationship_loading`).
pub const LOAD_PENDING: u16 = 1 << 10;
/// Was changed by a flush of the same savepoint before it was deleted.
pub const CHANGED_BEFORE_DELETE: u16 = 1 << 11;
/// Relationships without a value count as expired, since the whole state was expired and no expired attribute was loaded.
pub const EXPIRED_RELATED: u16 = 1 << 15;

/// How a detached state came out of its last session: one of the following, in these bits.
pub const DETACHED_MASK: u16 = 0b111 << 12;
/// By `expunge()`, or by a cascade of it.
pub const DETACHED_EXPUNGED: u16 = 1 << 12;
/// By `close()`, `reset()` or `expunge_all()`.
pub const DETACHED_CLOSED: u16 = 2 << 12;
/// The session itself was garbage collected.
pub const DETACHED_COLLECTED: u16 = 3 << 12;
/// The row was deleted, and that was committed.
pub const DETACHED_DELETED: u16 = 4 << 12;
/// By `make_transient_to_detached()`.
pub const DETACHED_MADE: u16 = 5 << 12;
/// The object was unpickled.
pub const DETACHED_UNPICKLED: u16 = 6 << 12;

/// Remembers how a state was detached, for the error of a load that comes too late.
pub fn note_detached(state: StateRef, how: u16) {
    state.clear_flags(DETACHED_MASK);
    state.add_flags(how);
}

/// Passive flags, with SQLAlchemy's bit values.
pub mod passive {
    /// No callable, no SQL, no state change.
    pub const NO_CHANGE: u32 = 0;
    /// Loader callables may run.
    pub const CALLABLES_OK: u32 = 1;
    /// Loaders may emit SQL.
    pub const SQL_OK: u32 = 2;
    /// Loaders may use SQL for related objects.
    pub const RELATED_OBJECT_OK: u32 = 4;
    /// An unset attribute becomes `None` or an empty collection.
    pub const INIT_OK: u32 = 8;
    /// Loaders may run for objects that are not persistent.
    pub const NON_PERSISTENT_OK: u32 = 16;
    /// Loaders use committed key values.
    pub const LOAD_AGAINST_COMMITTED: u32 = 32;
    /// Loaders must not autoflush.
    pub const NO_AUTOFLUSH: u32 = 64;
    /// Loaders must not raise.
    pub const NO_RAISE: u32 = 128;
    /// The load is for the old value of a change.
    pub const DEFERRED_HISTORY_LOAD: u32 = 256;
    /// History includes changes queued on an unloaded collection.
    pub const INCLUDE_PENDING_MUTATIONS: u32 = 512;
    /// Everything is allowed.
    pub const OFF: u32 = RELATED_OBJECT_OK | NON_PERSISTENT_OK | INIT_OK | CALLABLES_OK | SQL_OK;
    /// As `OFF`, but an unset attribute stays unset.
    pub const RETURN_NO_VALUE: u32 = OFF ^ INIT_OK;
    /// Nothing may be loaded or initialised.
    pub const NO_INITIALIZE: u32 = RETURN_NO_VALUE ^ CALLABLES_OK;
    /// No SQL.
    pub const NO_FETCH: u32 = OFF ^ SQL_OK;
    /// No SQL for related objects.
    pub const NO_FETCH_RELATED: u32 = OFF ^ RELATED_OBJECT_OK;
    /// Only persistent objects load.
    pub const ONLY_PERSISTENT: u32 = OFF ^ NON_PERSISTENT_OK;
}
