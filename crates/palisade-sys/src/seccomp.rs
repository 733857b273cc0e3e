//! Attaching a system-call filter.

use std::io;

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter` (`linux/filter.h`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip where a comparison holds.
    pub jt: u8,
    /// How many instructions to skip where it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

const _: () = assert!(size_of::<Instruction>() == size_of::<libc::sock_filter>());
const _: () = assert!(align_of::<Instruction>() == align_of::<libc::sock_filter>());

/// Longest program the kernel takes (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Attaches the program to the calling thread, for good. Neither allocates nor locks.
///
/// The thread must have no-new-privileges set (or `CAP_SYS_ADMIN` in its user namespace).
///
/// # Errors
/// `EINVAL` for a program the kernel does not accept, `EACCES` without no-new-privileges.
pub fn install(program: &[Instruction]) -> io::Result<()> {
    let len =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let descriptor = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: needed because no wrapper takes a ready-made program without allocating. Sound because `descriptor`
    // and the `len` instructions it points to live through the call, have the kernel's layout (asserted above) and
    // are only read by it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const descriptor,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether this kernel offers filters with this return action, such as `SECCOMP_RET_ERRNO`.
pub fn action_available(action: u32) -> bool {
    // SAFETY: needed because no wrapper has this operation. Sound because the kernel only reads the four bytes of
    // `action`, which live through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            &raw const action,
        )
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: Instruction = Instruction {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };

    /// A filter belongs to one thread, so each test attaches it in a thread of its own.
    fn in_a_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(f).join().expect("thread")
    }

    #[test]
    fn an_accepted_program_is_attached_and_a_broken_one_refused() {
        in_a_thread(|| {
            rustix::thread::set_no_new_privs(true).expect("no_new_privs");
            let mode = || {
                std::fs::read_to_string("/proc/thread-self/status")
                    .expect("status")
                    .lines()
                    .find_map(|l| l.strip_prefix("Seccomp:").map(|v| v.trim().to_owned()))
            };
            let before = mode();
            install(&[ALLOW]).expect("an allow-all program");
            assert_eq!(mode().as_deref(), Some("2"), "was {before:?}");

            let falls_off_the_end = Instruction { code: 0, ..ALLOW };
            let error = install(&[falls_off_the_end]).expect_err("no return at the end");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
            let error = install(&[]).expect_err("an empty program");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        });
    }

    #[test]
    fn known_actions_are_told_from_unknown_ones() {
        assert!(action_available(libc::SECCOMP_RET_ERRNO));
        assert!(!action_available(0x1234_0000));
    }
}
