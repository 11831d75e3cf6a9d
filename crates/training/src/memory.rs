//! Settings of glibc's allocator that keep memory between batches.

/// Maximum number of allocations made by `mmap`, which are returned to the system when they are
/// freed.
const OWN: libc::c_int = 0;
/// Free bytes at the top of the heap above which memory is returned to the system.
const FREE: libc::c_int = 1 << 30;
/// Bytes by which the heap grows at least.
const TAKEN: libc::c_int = 64 << 20;

/// Keeps freed memory for the next batch, which needs the same amount. Otherwise up to a quarter of
/// a batch's time on the CPU is spent on page faults for memory that was just returned to the
/// system. glibc's own environment variables take precedence.
pub fn keep() {
    for (variable, setting, bytes) in [
        ("MALLOC_MMAP_MAX_", libc::M_MMAP_MAX, OWN),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, FREE),
        ("MALLOC_TOP_PAD_", libc::M_TOP_PAD, TAKEN),
    ] {
        if std::env::var_os(variable).is_none() {
            // SAFETY: it only changes the allocator's settings; glibc ignores invalid values.
            #[expect(unsafe_code, reason = "a function of the C library")]
            let _ = unsafe { libc::mallopt(setting, bytes) };
        }
    }
}
