//! The calling process: how it ends, what its memory tells of its start, what it kills.

use std::ffi::c_char;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::RawFd;

/// Ends the process at once: no destructors, no buffers, no exit handlers. For use after `clone`.
pub fn exit(code: u8) -> ! {
    // SAFETY: needed because `std::process::exit` runs handlers that may lock. Sound because the call takes no pointer
    // and does not return.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Sends `SIGKILL` to every other process of the calling process's namespace. For use after `clone`, by its first process.
///
/// # Errors
/// `ESRCH` when there is none; `EINVAL` outside of a process namespace of its own, where it would kill the host.
pub fn kill_everything_else() -> io::Result<()> {
    if !rustix::process::getpid().is_init() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: needed because no wrapper takes -1. Sound because the call takes no pointer.
    match unsafe { libc::kill(-1, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes every descriptor from `first` on except those of `kept`, which is in ascending order. For use after `clone`.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_all_from(first: RawFd, kept: &[RawFd]) -> io::Result<()> {
    let mut from = first;
    for fd in kept.iter().copied().filter(|fd| *fd >= first) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> io::Result<()> {
    // SAFETY: needed because only this call closes what nobody has listed. Sound for memory in any case; the callers run
    // in a child that owns none of the descriptors it closes through a value it still uses.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many threads the calling process has.
///
/// # Errors
/// `/proc/self/stat` cannot be read or lacks the field.
pub fn thread_count() -> io::Result<u64> {
    let mut line = [0; 1024];
    let text = own_status(&mut line)?;
    // `num_threads` is field 20 (proc_pid_stat(5)); the second field is the only one with blanks.
    let count = text.rsplit_once(')').and_then(|(_, rest)| {
        let field = rest.split_ascii_whitespace().nth(20 - 3)?;
        field.parse().ok()
    });
    count.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

/// One read: the line is some 300 bytes long, and the kernel makes it anew for each. The program's name in it, the only
/// part that need not be text, makes no difference to the fields behind it.
fn own_status(line: &mut [u8; 1024]) -> io::Result<std::borrow::Cow<'_, str>> {
    let length = File::open("/proc/self/stat")?.read(line)?;
    Ok(String::from_utf8_lossy(
        line.get(..length).unwrap_or_default(),
    ))
}

/// The memory that holds the arguments and the environment the process was started with, and that `/proc/PID/cmdline`
/// and `/proc/PID/environ` show.
#[derive(Clone, Copy, Debug)]
pub struct StartArea {
    start: usize,
    end: usize,
}

impl StartArea {
    /// Reads where it lies. Allocates, so it is called before `clone`.
    ///
    /// # Errors
    /// `/proc/self/stat` cannot be read or lacks the fields.
    pub fn locate() -> io::Result<Self> {
        let mut line = [0; 1024];
        Self::parse(&own_status(&mut line)?)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
    }

    /// `arg_start` to `env_end` are fields 48 to 51 (proc_pid_stat(5)); the second field is the only one with blanks.
    fn parse(stat: &str) -> Option<Self> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace().skip(48 - 3);
        let start = fields.next()?.parse().ok()?;
        let end = fields.nth(2)?.parse().ok()?;
        (start != 0 && start < end).then_some(Self { start, end })
    }

    /// Overwrites it with zeros and leaves `name` as the only argument, and empties the environment of the process.
    /// Strings borrowed from there are lost, so this is for a child that never looks at them again. For use after `clone`.
    pub fn wipe(self, name: &str) {
        let length = self.end - self.start;
        let kept = name.len().min(length - 1);
        let area = self.start as *mut u8;
        // SAFETY: needed because the kernel's view of the process is this memory. Sound because the kernel itself says
        // that the range is the mapped, writable top of our stack, and no reference to it is in use by the caller.
        unsafe { area.write_bytes(0, length) };
        // SAFETY: needed and sound as above; `kept` is shorter than the range and `name` lies elsewhere.
        unsafe { area.copy_from_nonoverlapping(name.as_ptr(), kept) };
        // SAFETY: needed so that nothing finds pointers into the wiped memory or to copies of the environment. Sound
        // because the process has one thread, and an empty environment is valid.
        unsafe { environ = std::ptr::null() };
    }
}

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_area_is_found_whatever_the_name_of_the_program() {
        let fields: Vec<String> = (3..=52).map(|n| format!("{}", n * 100)).collect();
        let stat = format!("12 (a ) b) {}", fields.join(" "));
        let area = StartArea::parse(&stat).expect("fields are there");
        assert_eq!((area.start, area.end), (4800, 5100));
        assert!(StartArea::parse("12 (a) 1 2").is_none());
    }

    #[test]
    fn a_wiped_child_shows_nothing_of_its_start() {
        let area = StartArea::locate().expect("area");
        let own = std::fs::read("/proc/self/cmdline").expect("cmdline");
        assert!(own.len() > 1, "the parent has a command line to hide");
        let (mut wake, stop) = io::pipe().expect("pipe");
        let (told, mut tell) = io::pipe().expect("pipe");
        let child = crate::clone::spawn(0, || {
            area.wipe("renamed");
            let _ = io::Write::write_all(&mut tell, b"x");
            let _ = io::Read::read(&mut wake, &mut [0]);
            0
        })
        .expect("spawn");
        io::Read::read_exact(&mut { told }, &mut [0]).expect("told");
        let path = format!("/proc/{}", child.pid.as_raw_nonzero());
        let cmdline = std::fs::read(format!("{path}/cmdline")).expect("cmdline");
        let environment = std::fs::read(format!("{path}/environ")).expect("environ");
        drop(stop);
        let _ = rustix::process::kill_process(child.pid, rustix::process::Signal::KILL);
        rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty())
            .expect("wait");
        assert_eq!(cmdline.split(|b| *b == 0).next(), Some(&b"renamed"[..]));
        assert!(cmdline[b"renamed".len()..].iter().all(|b| *b == 0));
        assert!(environment.iter().all(|b| *b == 0));
    }

    #[test]
    fn all_descriptors_but_the_kept_ones_are_closed() {
        let (first, second) = io::pipe().expect("pipe");
        let (third, _fourth) = io::pipe().expect("pipe");
        let mut kept = [first.as_raw_fd(), third.as_raw_fd()];
        kept.sort_unstable();
        let open = |fd: RawFd| {
            // SAFETY: needed to ask about a number; it is only asked whether it is open.
            unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
        };
        let child = crate::clone::spawn(0, || {
            let before = open(second.as_raw_fd());
            let closed = close_all_from(3, &kept).is_ok();
            let left = (3..64).filter(|fd| open(*fd)).count();
            u8::from(before && closed && left == 2 && kept.iter().all(|fd| open(*fd)))
        })
        .expect("spawn");
        let (_, status) =
            rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty())
                .expect("wait")
                .expect("status");
        assert_eq!(status.exit_status(), Some(1));
    }

    #[test]
    fn only_a_first_process_may_kill_all() {
        let error = kill_everything_else().expect_err("we are not the first");
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
