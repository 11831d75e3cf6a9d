//! Keeps glibc from giving memory back to the system between batches.

/// So many tensors may have memory of their own from the system: whatever has is given back with it.
const OWN: libc::c_int = 0;
/// How much that is free at the heap's end may stay.
const FREE: libc::c_int = 1 << 30;
/// How much is taken at a time.
const TAKEN: libc::c_int = 64 << 20;

/// Every batch needs the same memory as the one before it; without this, a quarter of a batch's time on the CPU can go into
/// getting it from the system again, page by page. Whoever sets glibc's own environment variables is obeyed.
pub fn keep() {
    for (variable, setting, bytes) in [
        ("MALLOC_MMAP_MAX_", libc::M_MMAP_MAX, OWN),
        ("MALLOC_TRIM_THRESHOLD_", libc::M_TRIM_THRESHOLD, FREE),
        ("MALLOC_TOP_PAD_", libc::M_TOP_PAD, TAKEN),
    ] {
        if std::env::var_os(variable).is_none() {
            // SAFETY: it only changes how the allocator behaves; a value that it does not take is ignored.
            #[expect(unsafe_code, reason = "a function of the C library")]
            let _ = unsafe { libc::mallopt(setting, bytes) };
        }
    }
}
