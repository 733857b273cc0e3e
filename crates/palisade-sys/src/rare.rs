//! Calls that honest programs hardly make, for trying whether they are refused. None of them leaves anything behind but what
//! ends with the calling process.

use std::ffi::{CStr, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;

use rustix::process::Pid;

/// Namespaces to unshare: the user's.
pub const NEW_USER: i32 = libc::CLONE_NEWUSER;
/// The mounts'.
pub const NEW_MOUNT: i32 = libc::CLONE_NEWNS;
/// The network's.
pub const NEW_NETWORK: i32 = libc::CLONE_NEWNET;
/// A family of sockets that rustix has no name for: to the hypervisor.
pub const AF_VSOCK: u16 = libc::AF_VSOCK as u16;
/// To the kernel's ciphers.
pub const AF_ALG: u16 = libc::AF_ALG as u16;

/// Puts the calling process, which has one thread, into namespaces of its own.
///
/// # Errors
/// The kernel's refusal.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: needed because the safe wrapper is deprecated for flags that these are not. Sound because the call takes no
    // pointer and leaves memory and descriptors alone.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes the calling process the first of a session of its own. Only whether it failed is looked at: gVisor of 2022 answers 0 where a
/// number of a session is expected.
///
/// # Errors
/// The kernel's refusal.
pub fn new_session() -> io::Result<()> {
    // SAFETY: needed because the safe wrapper expects a number. Sound because the call takes nothing and leaves memory and
    // descriptors alone.
    match unsafe { libc::setsid() } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Starts a process in a user namespace of its own by `clone3`, without falling back on `clone`, and waits for its end.
///
/// # Errors
/// The kernel's refusal.
pub fn clone3_user_namespace() -> io::Result<()> {
    let mut pidfd = -1;
    let raw = crate::clone::clone3(crate::clone::USER_NAMESPACE, &mut pidfd)?;
    let Some(pid) = Pid::from_raw(raw) else {
        crate::process::exit(0)
    };
    // SAFETY: needed to close the descriptor. Sound because the kernel made it for this call alone.
    drop(unsafe { OwnedFd::from_raw_fd(pidfd) });
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())?;
    Ok(())
}

/// Sets up a ring of `io_uring`.
///
/// # Errors
/// The kernel's refusal.
pub fn io_uring() -> io::Result<()> {
    let mut parameters = [0u8; 120];
    // SAFETY: needed because no wrapper has the call. Sound because the structure of 120 bytes (`linux/io_uring.h`) lives
    // through it.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    descriptor(result)
}

/// Makes a BPF map of one entry.
///
/// # Errors
/// The kernel's refusal.
pub fn bpf_map() -> io::Result<()> {
    const BPF_MAP_CREATE: c_long = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    let mut attributes = [0u32; 32];
    attributes[..4].copy_from_slice(&[BPF_MAP_TYPE_ARRAY, 4, 4, 1]);
    // SAFETY: needed because no wrapper has the call. Sound because the attributes live through it and are as long as said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_CREATE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    descriptor(result)
}

/// Opens a counter of the calling process's own processor time.
///
/// # Errors
/// The kernel's refusal.
pub fn performance_counter() -> io::Result<()> {
    const PERF_TYPE_SOFTWARE: u32 = 1;
    const SIZE: u32 = 128;
    let mut attributes = [0u32; 32];
    attributes[..2].copy_from_slice(&[PERF_TYPE_SOFTWARE, SIZE]);
    // SAFETY: needed because no wrapper has the call. Sound because the attributes live through it and name their size.
    let result =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) };
    descriptor(result)
}

/// Opens a descriptor by which page faults of user mode are handled.
///
/// # Errors
/// The kernel's refusal.
pub fn page_faults() -> io::Result<()> {
    const USER_MODE_ONLY: c_long = 1;
    // SAFETY: needed because the wrapper is unsafe as well. Sound because the call takes no pointer and nothing is
    // registered with the descriptor.
    let result = unsafe { libc::syscall(libc::SYS_userfaultfd, USER_MODE_ONLY) };
    descriptor(result)
}

/// Puts a key into the calling process's own keyring.
///
/// # Errors
/// The kernel's refusal.
pub fn add_key(name: &CStr) -> io::Result<()> {
    const PROCESS_KEYRING: c_long = -2;
    // SAFETY: needed because no wrapper has the call. Sound because the strings end in a zero and the payload is as long
    // as said; all live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            name.as_ptr(),
            1,
            PROCESS_KEYRING,
        )
    };
    done(result)
}

/// Begins to trace a process, without stopping it. Ends with the calling process.
///
/// # Errors
/// The kernel's refusal.
pub fn trace(pid: Pid) -> io::Result<()> {
    const PTRACE_SEIZE: c_long = 0x4206;
    let nothing = null::<u8>();
    // SAFETY: needed because no wrapper has the call. Sound because nothing of the caller's memory is named.
    let result = unsafe {
        libc::syscall(
            libc::SYS_ptrace,
            PTRACE_SEIZE,
            pid.as_raw_nonzero().get(),
            nothing,
            nothing,
        )
    };
    done(result)
}

/// Types one byte into a terminal (`TIOCSTI`).
///
/// # Errors
/// The kernel's refusal.
pub fn type_into(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let byte = b'x';
    // SAFETY: needed because no wrapper has the request. Sound because it reads one byte, which lives through the call.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI, &raw const byte) };
    done(c_long::from(result))
}

fn descriptor(result: c_long) -> io::Result<()> {
    let fd = i32::try_from(result).unwrap_or(-1);
    done(c_long::from(fd))?;
    // SAFETY: needed to close the descriptor. Sound because the kernel made it for this call alone.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

fn done(result: c_long) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
