//! Libraries opened at run time, because the program must also run without them.

use std::{error::Error, ffi::CStr};

use libloading::os::unix::Library;

/// Looks up a function of a library, which must stay open as long as the function is used.
///
/// # Safety
/// The symbol must be a function of type `T`.
#[expect(unsafe_code, reason = "symbols of a library have no types")]
pub unsafe fn function<T: Copy>(library: &Library, name: &CStr) -> Result<T, String> {
    // SAFETY: guaranteed by the caller.
    unsafe { library.get::<T>(name.to_bytes_with_nul()) }
        .map(|symbol| *symbol)
        .map_err(|error| said(&error))
}

/// Returns the dynamic linker's error message.
pub fn said(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
