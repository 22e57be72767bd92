//! Who is inside a session: one thread, and on asynchronous drivers one greenlet, at a time.
//!
//! What may let other threads run (a statement, a commit, the stages of a flush) happens between `enter` and the end of the
//! [`Inside`] that it returns. Everything else only looks. With nobody inside that is one comparison.
use std::ffi::c_ulong;

use pyo3::prelude::*;

use crate::hooks;
use crate::unit_of_work_core::UowRef;

unsafe extern "C" {
    fn PyThread_get_thread_ident() -> c_ulong;
}

/// `threading.get_ident()`.
#[inline]
fn this_thread() -> c_ulong {
    // SAFETY: takes nothing, and may be called by any thread.
    unsafe { PyThread_get_thread_ident() }
}

/// The user of a session.
#[derive(Default)]
pub struct User {
    /// The thread inside; zero if nobody is.
    thread: c_ulong,
    /// How often it entered.
    depth: u32,
    /// The session has connections of an asynchronous driver: greenlets may take turns within one statement.
    switches_tasks: bool,
    /// The greenlet and task inside, where they are told apart.
    task: Option<Py<PyAny>>,
}

/// Held while a thread is inside a session, which its holder keeps alive.
pub struct Inside(UowRef);

impl Drop for Inside {
    fn drop(&mut self) {
        let user = &mut self.0.core().user;
        user.depth -= 1;
        if user.depth == 0 {
            user.thread = 0;
            let task = user.task.take();
            drop(task); // may run Python code
        }
    }
}

impl UowRef {
    /// Refuses the use of a session that somebody else is inside.
    #[inline]
    pub fn check_use(self, py: Python<'_>) -> PyResult<()> {
        if self.core().user.thread == 0 { Ok(()) } else { self.check_user(py) }
    }

    /// Goes inside.
    #[inline]
    pub fn enter(self, py: Python<'_>) -> PyResult<Inside> {
        self.check_use(py)?;
        if self.core().user.switches_tasks && self.core().user.depth == 0 {
            self.note_task(py)?;
        }
        let user = &mut self.core().user;
        user.thread = this_thread();
        user.depth += 1;
        Ok(Inside(self))
    }

    /// From now on the session has connections of an asynchronous driver; who is inside is the one that connects.
    pub fn tell_tasks_apart(self, py: Python<'_>) -> PyResult<()> {
        self.core().user.switches_tasks = true;
        if self.core().user.depth > 0 && self.core().user.task.is_none() {
            self.note_task(py)?;
        }
        Ok(())
    }

    fn note_task(self, py: Python<'_>) -> PyResult<()> {
        let task = hooks::hook(py, "current_task")?.call0()?.unbind();
        self.core().user.task = Some(task);
        Ok(())
    }

    #[cold]
    fn check_user(self, py: Python<'_>) -> PyResult<()> {
        let user = &self.core().user;
        let (thread, is_this) = (user.thread, user.thread == this_thread());
        let task = user.task.as_ref().map(|task| task.clone_ref(py));
        if is_this {
            let is_same = match &task {
                Some(task) => hooks::hook(py, "is_current_task")?.call1((task,))?.is_truthy()?,
                None => true,
            };
            if is_same {
                return Ok(());
            }
        }
        Err(PyErr::from_value(hooks::hook(py, "concurrent_use")?.call1((thread, task))?))
    }
}
