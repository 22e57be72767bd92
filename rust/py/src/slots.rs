//! Slot arrays: the attribute values of one state, one word each.
use pyo3::ffi;

/// Changed since the committed state.
pub const MODIFIED: usize = 1;
/// No value; to be loaded together with the other expired attributes at the next access.
pub const EXPIRED: usize = 2;
const FLAGS: usize = 7;

/// One attribute value: an owned `PyObject*` with two flags in its low bits.
#[repr(transparent)]
#[derive(Clone, Copy, Default)]
pub struct Slot(usize);

impl Slot {
    /// The value, borrowed; null when not loaded.
    #[inline]
    pub fn value(self) -> *mut ffi::PyObject {
        (self.0 & !FLAGS) as *mut ffi::PyObject
    }
    /// The flag bits.
    #[inline]
    pub fn flags(self) -> usize {
        self.0 & FLAGS
    }
    /// Changed since the committed state?
    #[inline]
    pub fn is_modified(self) -> bool {
        self.0 & MODIFIED != 0
    }
    /// Expired and not reloaded yet?
    #[inline]
    pub fn is_expired(self) -> bool {
        self.0 & EXPIRED != 0
    }
    /// The slot as a commit leaves it: not modified, and expired only where the value is missing.
    #[inline]
    #[must_use]
    pub fn committed(self) -> Self {
        if self.value().is_null() { Self(self.0 & EXPIRED) } else { Self(self.0 & !FLAGS) }
    }
    /// A slot of a value (may be null) and flags.
    #[inline]
    pub fn new(value: *mut ffi::PyObject, flags: usize) -> Self {
        Self(value as usize | (flags & FLAGS))
    }
}

/// Allocates `len` empty slots; null when `len` is zero or memory is short.
pub fn allocate(len: u16) -> *mut Slot {
    if len == 0 {
        return std::ptr::null_mut();
    }
    let bytes = usize::from(len) * size_of::<Slot>();
    // SAFETY: PyObject_Malloc returns null or at least `bytes` writable bytes; zeroed words are empty slots.
    unsafe {
        let array = ffi::PyObject_Malloc(bytes).cast::<Slot>();
        if !array.is_null() {
            std::ptr::write_bytes(array, 0, len.into());
        }
        array
    }
}

/// Grows an array to `new_len` slots, the added ones empty. Returns false when memory is short (nothing changed then).
///
/// # Safety
/// `array` is null or came from this module and has `old_len` slots.
pub unsafe fn grow(array: &mut *mut Slot, old_len: u16, new_len: u16) -> bool {
    debug_assert!(new_len >= old_len);
    let bytes = usize::from(new_len) * size_of::<Slot>();
    // SAFETY: PyObject_Realloc keeps the first `old_len` words; the rest is zeroed below.
    unsafe {
        let bigger = ffi::PyObject_Realloc((*array).cast(), bytes).cast::<Slot>();
        if bigger.is_null() {
            return false;
        }
        std::ptr::write_bytes(bigger.add(old_len.into()), 0, usize::from(new_len - old_len));
        *array = bigger;
    }
    true
}

/// Frees an array without touching its values.
///
/// # Safety
/// `array` is null or came from this module, and nobody uses it any more.
pub unsafe fn free(array: *mut Slot) {
    // SAFETY: promised by the caller.
    unsafe { ffi::PyObject_Free(array.cast()) }
}
