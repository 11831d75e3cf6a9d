//! A library in the cell process that shares the cells' standard library.
//!
//! The kernel's binary carries a copy of the standard library of its own, so it can neither flush the cells' standard output nor see
//! their panics. This file is compiled by the compiler that compiles the cells, linked to the same shared standard library.

use std::ffi::c_void;
use std::io::Write;

/// Takes a panic: whether it is on the thread of the cell, its place and message separated by a NUL.
type PanicSink = extern "C" fn(on_cell_thread: bool, text: *const c_void, length: usize);

#[no_mangle]
pub extern "C" fn cell_runtime_start(sink: PanicSink) {
    let cell_thread = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let message = match (panic.payload().downcast_ref::<&str>(), panic.payload().downcast_ref::<String>()) {
            (Some(text), _) => text,
            (None, Some(text)) => text.as_str(),
            (None, None) => "Box<dyn Any>",
        };
        let place = panic
            .location()
            .map(|place| format!("{}:{}:{}", place.file(), place.line(), place.column()))
            .unwrap_or_default();
        let thread = std::thread::current();
        if thread.id() == cell_thread {
            let text = format!("{place}\0{message}");
            sink(true, text.as_ptr().cast(), text.len());
        } else {
            let name = thread.name().unwrap_or("<unnamed>");
            let text = format!("thread '{name}' panicked at {place}:\n{message}\n");
            sink(false, text.as_ptr().cast(), text.len());
        }
    }));
}

#[no_mangle]
pub extern "C" fn cell_runtime_flush() {
    let _ = std::panic::catch_unwind(|| std::io::stdout().flush());
}
