//! Are the values of a state valid, and where does it stand in the lists of its session? One word says both.
use crate::flags;

use super::StateRef;

impl StateRef {
    /// Is the whole state waiting to be expired by an `expire_all` or commit?
    #[inline]
    pub fn is_outdated(self) -> bool {
        let owner = self.owner();
        // SAFETY: contract of `StateRef`; a unit of work clears `owner` of its states before it goes away.
        unsafe { !owner.is_null() && (*owner).generation != (*self.0.as_ptr()).stamp && !self.has_any(flags::IN_LIST) }
    }
    /// The values are valid from now on. In a list they are anyway.
    #[inline]
    pub fn mark_current(self) {
        let owner = self.owner();
        if !owner.is_null() && !self.has_any(flags::IN_LIST) {
            // SAFETY: as above.
            unsafe { (*self.0.as_ptr()).stamp = (*owner).generation }
        }
    }
    /// Position in `owner.new` or `owner.dirty`; means nothing for a state that is in neither.
    #[inline]
    pub fn list_pos(self) -> u32 {
        // SAFETY: contract of `StateRef`.
        unsafe { (*self.0.as_ptr()).stamp }
    }
    /// The state stands in a list now; `list` is its flag.
    #[inline]
    pub fn enter_list(self, list: u16, position: u32) {
        self.add_flags(list);
        // SAFETY: contract of `StateRef`.
        unsafe { (*self.0.as_ptr()).stamp = position }
    }
    /// The state counts as out of its list, with the values it has.
    #[inline]
    pub fn leave_list(self) {
        self.clear_flags(flags::IN_LIST);
        self.mark_current();
    }
}
