//! Taking a variable out of the process's own environment, so that its value is left in one place alone.

use std::ffi::{CStr, CString, c_char};
use std::io;

use crate::process::thread_count;

/// Takes a variable: yields its value, overwrites every copy of it in the environment the process was started with (what
/// `/proc/PID/environ` shows) and removes its name.
///
/// Strings that were borrowed from the environment before are lost; owned copies, as `std::env::var_os` makes them, are
/// the caller's to look after.
///
/// # Errors
/// `EBUSY` in a process of more than one thread: another one could be reading the environment. `EINVAL` for a name that
/// cannot be one.
pub fn take(name: &str) -> io::Result<Option<Vec<u8>>> {
    if name.is_empty() || name.contains('=') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    if thread_count()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut taken = None;
    for entry in entries() {
        if let Some(value) = value_of(entry, &name) {
            let bytes = copy(value);
            overwrite(value, bytes.len());
            taken.get_or_insert(bytes);
        }
    }
    // SAFETY: needed so that nobody finds an empty variable where there was one. Sound because the name is null-ended
    // and has no `=`, and there is no other thread.
    unsafe { libc::unsetenv(name.as_ptr()) };
    Ok(taken)
}

/// Empties the environment, and overwrites it with zeros where others could read it (`/proc/PID/environ`).
///
/// # Errors
/// `EBUSY` in a process of more than one thread.
pub fn clear() -> io::Result<()> {
    if thread_count()? != 1 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    for entry in entries() {
        overwrite(entry, copy(entry).len());
    }
    // SAFETY: needed so that nobody finds empty strings. Sound because there is no other thread.
    unsafe { libc::clearenv() };
    Ok(())
}

/// The strings of the environment, `NAME=value` as a rule.
fn entries() -> Vec<*mut c_char> {
    let mut found = Vec::new();
    // SAFETY: needed because the standard library yields copies alone, and a copy of a secret is what is to be avoided.
    // Sound because there is no other thread that could change it.
    let mut at = unsafe { environ };
    if at.is_null() {
        return found;
    }
    loop {
        // SAFETY: needed to follow the list. Sound because the list ends with a null pointer, which ends the loop.
        let entry = unsafe { at.read() };
        if entry.is_null() {
            return found;
        }
        found.push(entry);
        // SAFETY: needed and sound as above: the entry was not the last one.
        at = unsafe { at.add(1) };
    }
}

/// Where the value begins, if this is an entry of that name.
fn value_of(entry: *mut c_char, name: &CStr) -> Option<*mut c_char> {
    let name = name.to_bytes();
    // SAFETY: needed to look at the entry. Sound because each entry of the environment is null-ended.
    let text = unsafe { CStr::from_ptr(entry) }.to_bytes();
    let rest = text.strip_prefix(name)?;
    rest.starts_with(b"=")
        // The entry is longer than that by its final zero, so this stays within it.
        .then(|| entry.wrapping_add(name.len() + 1))
}

fn copy(value: *const c_char) -> Vec<u8> {
    // SAFETY: needed to read the value. Sound because it is the tail of a null-ended string.
    unsafe { CStr::from_ptr(value) }.to_bytes().to_vec()
}

fn overwrite(value: *mut c_char, length: usize) {
    for at in 0..length {
        // SAFETY: needed because the kernel shows this memory to others. Sound because it is the tail of an entry of this
        // length in the writable top of our stack, or in memory that `setenv` made; volatile so that it is done although
        // nothing reads it again.
        unsafe { value.wrapping_add(at).write_volatile(0) };
    }
}

unsafe extern "C" {
    static mut environ: *const *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused_and_so_is_a_process_with_threads() {
        for name in ["", "A=B", "A\0B"] {
            let error = take(name).expect_err(name);
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }
        let (wait, stop) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || stop.recv().is_ok());
        let error = take("PALISADE_T_AKE").expect_err("there are two threads");
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
        drop(wait);
        assert!(!other.join().expect("join"));
    }
}
