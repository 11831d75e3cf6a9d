//! Libraries that are opened while the program runs, because it must run without them too.

use std::{error::Error, ffi::CStr};

use libloading::os::unix::Library;

/// A function of a library, which must stay open as long as it is called.
///
/// # Safety
/// The symbol must be a function of type `T`.
#[expect(unsafe_code, reason = "symbols of a library have no types")]
pub unsafe fn function<T: Copy>(library: &Library, name: &CStr) -> Result<T, String> {
    // SAFETY: as for this function.
    unsafe { library.get::<T>(name.to_bytes_with_nul()) }
        .map(|symbol| *symbol)
        .map_err(|error| said(&error))
}

/// The dynamic linker's own words.
pub fn said(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
