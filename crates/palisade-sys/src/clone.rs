//! Making processes: in new namespaces with a descriptor that stands for them, and cheaply for `execve`.

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

use rustix::process::Pid;

/// The namespaces of a full boundary: user, mount, process, network, IPC, host name and control group.
pub const EVERY_NAMESPACE: u64 = (libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP) as u64;

/// The same but the network's, which costs as much as all others together: a process can make it for itself
/// ([`enter_new_network`]) while another is at work on the rest.
pub const EVERY_NAMESPACE_BUT_NETWORK: u64 = EVERY_NAMESPACE & !(libc::CLONE_NEWNET as u64);

/// No namespace, but one root and working directory, so that a change of either is one for both.
pub const SHARED_ROOT: u64 = libc::CLONE_FS as u64;

/// A user namespace alone.
pub const USER_NAMESPACE: u64 = libc::CLONE_NEWUSER as u64;

/// A process made here, not yet waited for.
#[derive(Debug)]
pub struct Child {
    /// Its number, in the caller's process namespace.
    pub pid: Pid,
    /// The descriptor that stands for it, whatever becomes of the number. Closed on `execve`.
    pub pidfd: OwnedFd,
}

/// First version of the kernel's argument (`CLONE_ARGS_SIZE_VER0`, Linux 5.3), which holds all that is used here.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Runs `child` in a new process, made with these flags of this module, and ends that process with what it returns.
///
/// `child` runs in a copy of the calling thread alone: it must neither allocate nor take locks (see the crate's page).
/// Where a filter answers `clone3` with `ENOSYS`, as container engines do, the older call is used.
///
/// # Errors
/// `EPERM` where user namespaces are refused, `ENOSPC` past `user.max_user_namespaces`, `EAGAIN` past a process limit,
/// `EINVAL` for a namespace the kernel was built without.
pub fn spawn(flags: u64, child: impl FnOnce() -> u8) -> io::Result<Child> {
    let mut pidfd: i32 = -1;
    let pid = match clone3(flags, &mut pidfd) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => clone(flags, &mut pidfd)?,
        other => other?,
    };
    let Some(pid) = Pid::from_raw(pid) else {
        run_to_exit(child)
    };
    // SAFETY: needed to own the descriptor. Sound because the kernel made it for this call alone.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child { pid, pidfd })
}

/// Puts the calling thread into a network namespace of its own. For use after `clone`.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` past `user.max_net_namespaces`, `EINVAL` without network namespaces.
pub fn enter_new_network() -> io::Result<()> {
    // SAFETY: needed because the safe wrapper is deprecated for flags that this is not. Sound because the call takes no
    // pointer and leaves memory and descriptors alone.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts the calling process into a user namespace of its own, which has no maps yet. It may have one thread alone.
///
/// # Errors
/// `EPERM` where user namespaces are refused, `ENOSPC` past `user.max_user_namespaces`, `EINVAL` beside other threads.
pub fn enter_new_user() -> io::Result<()> {
    // SAFETY: needed because the safe wrapper is deprecated for flags that this is not. Sound because the call takes no
    // pointer and leaves memory and descriptors alone.
    match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Puts the calling thread into a mount namespace of its own, with a working directory of its own. What it starts is there too.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` past `user.max_mnt_namespaces`.
pub fn enter_new_mounts() -> io::Result<()> {
    // SAFETY: needed because the safe wrapper is deprecated for flags that these are not. Sound because the call takes no
    // pointer and leaves memory and descriptors alone.
    match unsafe { libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(crate) fn clone3(flags: u64, pidfd: &mut i32) -> io::Result<i32> {
    let args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut *pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: needed because no wrapper makes namespaces on the way. Sound because without CLONE_VM the child has its own
    // copy of all memory and goes on on its own copy of this stack, as after fork; the pointers live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    process_id(result)
}

fn clone(flags: u64, pidfd: &mut i32) -> io::Result<i32> {
    let flags = flags | libc::CLONE_PIDFD as u64 | libc::SIGCHLD as u64;
    let no_stack = std::ptr::null::<c_void>();
    // SAFETY: needed where clone3 is filtered. Sound as for clone3; the flags and the place of the descriptor come first
    // and third on every architecture we build for, and the last two arguments are unused with these flags.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone,
            flags,
            no_stack,
            &raw mut *pidfd,
            no_stack,
            no_stack,
        )
    };
    process_id(result)
}

fn process_id(result: i64) -> io::Result<i32> {
    match i32::try_from(result) {
        Ok(pid) if pid >= 0 => Ok(pid),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A panic cannot leave an `extern "C"` function: it aborts, so that a child never runs on in its parent's code.
extern "C" fn run_to_exit<F: FnOnce() -> u8>(child: F) -> ! {
    crate::process::exit(child())
}

/// Memory for the stack of a process made by [`spawn_sharing_memory`].
#[derive(Debug)]
pub struct Stack(Box<[MaybeUninit<u128>]>);

impl Stack {
    /// Room for system calls and a few frames, in builds without optimisation too. Untouched pages cost nothing.
    const BYTES: usize = 64 * 1024;

    /// Reserves the memory. Allocates, so it is made before `clone`.
    pub fn new() -> Self {
        Self(Box::new_uninit_slice(Self::BYTES / size_of::<u128>()))
    }
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs `child` in a new process, in these new namespaces (0 for none), that shares this one's memory while this one waits, until it calls `execve` or returns
/// (the way of `vfork`). What `child` writes into borrowed variables is seen here. For use after `clone`.
///
/// It copies no page tables, which is what makes `fork` dear.
///
/// # Errors
/// `EAGAIN` past a process limit.
pub fn spawn_sharing_memory(
    namespaces: u64,
    stack: &mut Stack,
    mut child: &mut dyn FnMut(),
) -> io::Result<Pid> {
    let end = stack.0.as_mut_ptr_range().end;
    let argument = &raw mut child;
    // SAFETY: needed because vfork cannot be called from Rust (it returns twice on one stack). Sound because CLONE_VFORK
    // holds this thread until the child has let go of the memory, so nothing is used from two sides at once; the stack is
    // exclusively borrowed, aligned, and grows down from its end; `argument` outlives the child's use of it.
    let result = unsafe {
        libc::clone(
            call,
            end.cast(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | namespaces as i32,
            argument.cast(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // 0 is told to nobody: the child runs `call` instead.
    Pid::from_raw(result).ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
}

extern "C" fn call(argument: *mut c_void) -> i32 {
    // SAFETY: needed to get the closure through the C interface. Sound because the only caller passes a pointer to a
    // live `&mut dyn FnMut()` that nobody else touches meanwhile.
    let child = unsafe { &mut *argument.cast::<&mut dyn FnMut()>() };
    child();
    crate::process::exit(0)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::{WaitId, WaitIdOptions, WaitOptions, waitid, waitpid};

    use super::*;

    #[test]
    fn a_child_ends_with_its_status_and_is_seen_through_its_descriptor() {
        let child = spawn(0, || 7).expect("spawn");
        let status = waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)
            .expect("wait")
            .expect("status");
        assert_eq!(status.exit_status(), Some(7));
    }

    #[test]
    fn the_older_call_does_the_same() {
        let mut pidfd = -1;
        let pid = clone(0, &mut pidfd).expect("clone");
        let Some(pid) = Pid::from_raw(pid) else {
            crate::process::exit(9)
        };
        assert!(pidfd > 2, "a descriptor for the child");
        let (_, status) = waitpid(Some(pid), WaitOptions::empty())
            .expect("wait")
            .expect("status");
        assert_eq!(status.exit_status(), Some(9));
    }

    #[test]
    fn a_refusal_is_an_error() {
        // A new user namespace and one root directory for both exclude each other (clone(2)).
        let flags = USER_NAMESPACE | SHARED_ROOT;
        for error in [
            spawn(flags, || 0).map(|_| ()),
            spawn_sharing_memory(flags, &mut Stack::new(), &mut || {}).map(|_| ()),
        ] {
            assert_eq!(
                error.expect_err("refused").raw_os_error(),
                Some(libc::EINVAL)
            );
        }
    }

    #[test]
    fn memory_is_shared_until_the_child_ends() {
        let mut told = 0;
        let pid = spawn_sharing_memory(0, &mut Stack::new(), &mut || told = 42).expect("spawn");
        assert_eq!(told, 42);
        let (_, status) = waitpid(Some(pid), WaitOptions::empty())
            .expect("wait")
            .expect("status");
        assert_eq!(status.exit_status(), Some(0));
    }
}
