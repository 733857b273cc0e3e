//! Landlock: file access rules a process puts on itself. Raw calls, without allocation, for use after `clone`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// File rights (`linux/landlock.h`), named as the kernel names them.
pub mod rights {
    /// Execute a file.
    pub const EXECUTE: u64 = 1;
    /// Open a file for writing.
    pub const WRITE_FILE: u64 = 1 << 1;
    /// Open a file for reading.
    pub const READ_FILE: u64 = 1 << 2;
    /// List a directory.
    pub const READ_DIR: u64 = 1 << 3;
    /// Remove or rename an empty directory.
    pub const REMOVE_DIR: u64 = 1 << 4;
    /// Remove or rename a file.
    pub const REMOVE_FILE: u64 = 1 << 5;
    /// Make a character device.
    pub const MAKE_CHAR: u64 = 1 << 6;
    /// Make a directory.
    pub const MAKE_DIR: u64 = 1 << 7;
    /// Make a regular file.
    pub const MAKE_REG: u64 = 1 << 8;
    /// Make a Unix socket.
    pub const MAKE_SOCK: u64 = 1 << 9;
    /// Make a named pipe.
    pub const MAKE_FIFO: u64 = 1 << 10;
    /// Make a block device.
    pub const MAKE_BLOCK: u64 = 1 << 11;
    /// Make a symbolic link.
    pub const MAKE_SYM: u64 = 1 << 12;
    /// Link or rename across directories (ABI 2).
    pub const REFER: u64 = 1 << 13;
    /// Truncate a file (ABI 3).
    pub const TRUNCATE: u64 = 1 << 14;
    /// `ioctl` on a device opened later (ABI 5).
    pub const IOCTL_DEV: u64 = 1 << 15;

    /// What a read-only place grants.
    pub const READ_ONLY: u64 = EXECUTE | READ_FILE | READ_DIR;
    /// The rights that make sense on a file that is not a directory; the kernel refuses others there.
    pub const FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
    /// What a writable place grants: everything but making devices.
    pub const READ_WRITE: u64 = READ_ONLY
        | WRITE_FILE
        | REMOVE_DIR
        | REMOVE_FILE
        | MAKE_DIR
        | MAKE_REG
        | MAKE_SOCK
        | MAKE_FIFO
        | MAKE_SYM
        | REFER
        | TRUNCATE;

    /// Every file right this ABI knows. The kernel refuses a rule set that handles a right it does not know.
    pub const fn of_abi(abi: u32) -> u64 {
        match abi {
            0 => 0,
            1 => REFER - 1,
            2 => TRUNCATE - 1,
            3 | 4 => IOCTL_DEV - 1,
            _ => (IOCTL_DEV << 1) - 1,
        }
    }
}

/// Scopes: what may not be reached outside the rule set's own processes (ABI 6).
pub mod scopes {
    /// Connecting to abstract Unix sockets.
    pub const ABSTRACT_UNIX_SOCKET: u64 = 1;
    /// Sending signals.
    pub const SIGNAL: u64 = 1 << 1;

    /// Every scope this ABI knows.
    pub const fn of_abi(abi: u32) -> u64 {
        if abi >= 6 {
            ABSTRACT_UNIX_SOCKET | SIGNAL
        } else {
            0
        }
    }
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// Packed in the kernel's header.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

/// The Landlock ABI of the running kernel; 0 where Landlock is absent or off.
pub fn abi() -> u32 {
    // SAFETY: needed because no wrapper has this call. Sound because the version query takes no pointer.
    let result = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(result).unwrap_or(0)
}

/// A rule set under construction.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
}

impl Ruleset {
    /// A rule set that forbids the handled file rights everywhere until a path is added, and holds the scopes.
    ///
    /// # Errors
    /// `EINVAL` or `E2BIG` for a right or scope the kernel does not know (see [`rights::of_abi`]), `ENOSYS` or
    /// `EOPNOTSUPP` where Landlock is absent or off, `ENOMSG` when both sets are empty.
    pub fn create(handled_fs: u64, scoped: u64) -> io::Result<Self> {
        let attr = RulesetAttr {
            handled_access_fs: handled_fs,
            handled_access_net: 0,
            scoped,
        };
        // SAFETY: needed because no wrapper has this call. Sound because `attr` lives through the call, is as long as
        // stated and is only read; an older kernel takes the longer form as long as the rest is zero.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attr,
                size_of::<RulesetAttr>(),
                0u32,
            )
        };
        let raw = i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: needed to own the descriptor. Sound because the kernel just made it for us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(raw) };
        Ok(Self { fd })
    }

    /// Grants rights on a path and all below it. The rights must be among the handled ones.
    ///
    /// # Errors
    /// `EINVAL` for rights that are not handled, or a directory right on a file (see [`rights::FILE`]).
    pub fn add_path(&self, path: BorrowedFd<'_>, rights: u64) -> io::Result<()> {
        let attr = PathBeneathAttr {
            allowed_access: rights,
            parent_fd: path.as_raw_fd(),
        };
        // SAFETY: needed because no wrapper has this call. Sound because `attr` has the kernel's layout, lives through
        // the call and is only read; both descriptors are borrowed and so open.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.fd.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const attr,
                0u32,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Puts the rule set on the calling thread, for good. Needs no-new-privileges.
    ///
    /// # Errors
    /// `EPERM` without no-new-privileges, `E2BIG` when 16 rule sets are stacked already.
    pub fn restrict_self(self) -> io::Result<()> {
        // SAFETY: needed because no wrapper has this call. Sound because it takes no pointer and the descriptor is ours.
        let result =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0u32) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn each_abi_adds_its_rights() {
        assert_eq!(rights::of_abi(0), 0);
        assert_eq!(rights::of_abi(1), 0x1fff);
        assert_eq!(rights::of_abi(2), 0x3fff);
        assert_eq!(rights::of_abi(4), 0x7fff);
        assert_eq!(rights::of_abi(5), 0xffff);
        assert_eq!(rights::of_abi(99), 0xffff);
        assert_eq!(scopes::of_abi(5), 0);
        assert_eq!(scopes::of_abi(6), 3);
    }

    /// The rules bind one thread, so the test puts them on a thread of its own.
    #[test]
    fn a_ruleset_holds_files_back_and_lets_the_granted_ones_through() {
        let abi = abi();
        assert!(abi > 0, "this test needs a kernel with Landlock on");
        let name = format!("palisade-landlock-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(root.join("open")).expect("directory");
        fs::create_dir_all(root.join("shut")).expect("directory");
        let inside = root.clone();
        let results = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).expect("no_new_privs");
            let both = || {
                (
                    fs::write(inside.join("open/f"), "x"),
                    fs::write(inside.join("shut/f"), "x"),
                )
            };
            let before = both();
            let rules =
                Ruleset::create(rights::of_abi(abi), scopes::of_abi(abi)).expect("rule set");
            let handled = rights::of_abi(abi);
            let open = File::open(inside.join("open")).expect("directory");
            let everything = File::open("/").expect("root");
            rules
                .add_path(everything.as_fd(), rights::READ_ONLY)
                .expect("read rule");
            rules
                .add_path(open.as_fd(), rights::READ_WRITE & handled)
                .expect("write rule");
            let unknown = rules
                .add_path(open.as_fd(), 1 << 40)
                .expect_err("unknown right");
            assert_eq!(unknown.raw_os_error(), Some(libc::EINVAL));
            rules.restrict_self().expect("restrict");
            (before, both())
        })
        .join()
        .expect("thread");
        let (before, after) = results;
        assert!(
            before.0.is_ok() && before.1.is_ok(),
            "without rules: {before:?}"
        );
        assert!(after.0.is_ok(), "granted path: {after:?}");
        let error = after
            .1
            .expect_err("path that was not granted")
            .raw_os_error();
        assert_eq!(error, Some(libc::EACCES));
        fs::remove_dir_all(&root).expect("clean up");
    }
}
