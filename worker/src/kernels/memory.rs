//! Large buffers in huge pages, and what the allocator keeps of those that are gone.
//!
//! A pass over the channels of a map goes from row to row in steps of many kilobytes, each into another page of 4 KiB;
//! with pages of 2 MiB the processor's table of pages holds whole maps.

/// Grows or shrinks a buffer to `len` elements, new ones being `value`, and asks for huge pages where it allocates.
pub(crate) fn resize<T: Copy>(buffer: &mut Vec<T>, len: usize, value: T) {
    if len > buffer.capacity() {
        buffer.reserve_exact(len - buffer.len());
        advise(buffer);
    }
    buffer.resize(len, value);
}

/// Asks for huge pages in the part of an allocation that has room for whole ones.
#[cfg(target_os = "linux")]
fn advise<T>(buffer: &mut Vec<T>) {
    const HUGE_PAGE: usize = 2 << 20;
    let start = buffer.as_mut_ptr();
    let before = start.addr().next_multiple_of(HUGE_PAGE) - start.addr();
    let bytes = (buffer.capacity() * size_of::<T>()).saturating_sub(before) / HUGE_PAGE * HUGE_PAGE;
    if bytes > 0 {
        // SAFETY: the range lies inside the allocation, and this advice changes no content. Where the system has no huge
        // pages it says so, and nothing is lost.
        #[allow(unsafe_code)]
        unsafe {
            nix::libc::madvise(start.wrapping_byte_add(before).cast(), bytes, nix::libc::MADV_HUGEPAGE);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_: &mut Vec<T>) {}

/// Gives the memory that nothing uses back to the system, where the allocator still has it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: the call asks nothing of its callers; the allocator takes its own locks.
    #[allow(unsafe_code)]
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::resize;

    #[test]
    fn a_buffer_keeps_its_content_when_it_grows_into_huge_pages() {
        let mut buffer = vec![3.0f32; 5];
        for len in [7, 3 << 20, 2, 5 << 20] {
            let kept = buffer.len().min(len);
            let before = buffer[..kept].to_vec();
            resize(&mut buffer, len, 4.0);
            assert_eq!((buffer.len(), &buffer[..kept]), (len, &before[..]));
            assert!(buffer[kept..].iter().all(|&value| value == 4.0));
        }
    }
}
