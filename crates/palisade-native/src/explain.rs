//! Errors of the kernel, in words that name the cause and the fix.

use std::io;
use std::path::Path;

use palisade_boundary::{BoundarySpec, StartError};
use palisade_protocol::{Changes, SetupStep, TreeEntry};
use rustix::io::Errno;

/// An error without a known fix.
pub(crate) fn cannot(what: String, cause: String) -> StartError {
    StartError {
        what,
        cause,
        fix: None,
    }
}

/// The system's words for an error.
pub(crate) fn os(error: &io::Error) -> String {
    error.to_string()
}

/// Why the namespaces could not be made.
pub(crate) fn refused_namespaces(error: &io::Error) -> StartError {
    let (cause, fix) = match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => refused_by(),
        Some(Errno::NOSPC) => namespaces_used_up(),
        Some(Errno::INVAL) => (
            "this kernel was built without one of the namespaces (user, mount, process, network, IPC, host name, \
             control group)"
                .into(),
            Some("use a kernel with CONFIG_NAMESPACES and all its parts".into()),
        ),
        Some(Errno::AGAIN) => (
            "the limit of processes is reached".into(),
            Some("end some processes or raise the limit (ulimit -u)".into()),
        ),
        _ => (os(error), None),
    };
    let what = "make the boundary's namespaces".into();
    StartError { what, cause, fix }
}

fn namespaces_used_up() -> (String, Option<String>) {
    (
        "the machine's limit of namespaces is reached".into(),
        Some("raise user.max_user_namespaces and user.max_net_namespaces (sysctl)".into()),
    )
}

/// Which of the known switches forbids user namespaces.
fn refused_by() -> (String, Option<String>) {
    let sysctl = |name: &str| {
        let value = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        value.trim().parse::<u64>().ok()
    };
    if sysctl("kernel/unprivileged_userns_clone") == Some(0) {
        return (
            "user namespaces are switched off for ordinary users".into(),
            Some("sysctl -w kernel.unprivileged_userns_clone=1".into()),
        );
    }
    if sysctl("user/max_user_namespaces") == Some(0) {
        return (
            "user namespaces are switched off".into(),
            Some("sysctl -w user.max_user_namespaces=15000".into()),
        );
    }
    if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return apparmor();
    }
    (
        "user namespaces are refused here, as the default system-call filters of Docker and Podman do".into(),
        Some(
            "run palisade outside of the container, or start the container with --security-opt seccomp=unconfined \
             --security-opt systempaths=unconfined"
                .into(),
        ),
    )
}

fn apparmor() -> (String, Option<String>) {
    (
        "AppArmor takes the rights of user namespaces made by programs without a profile".into(),
        Some(
            "install the profile packaging/apparmor/palisade (copy to /etc/apparmor.d and run apparmor_parser -r), or \
             sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
                .into(),
        ),
    )
}

/// Why the maps could not be written.
pub(crate) fn refused_maps(error: &io::Error) -> StartError {
    let (cause, fix) = match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => {
            let (cause, fix) = restricted();
            (format!("{} ({})", cause, os(error)), fix)
        }
        _ => (os(error), None),
    };
    let what = "map the agent's identity".into();
    StartError { what, cause, fix }
}

/// Namespaces can be made but give no rights.
fn restricted() -> (String, Option<String>) {
    let file = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    match std::fs::read_to_string(file) {
        Ok(value) if value.trim() == "1" => apparmor(),
        _ => (
            "the rights of the new user namespace were refused".into(),
            None,
        ),
    }
}

/// A step that failed inside.
pub(crate) fn failed_step(
    spec: &BoundarySpec,
    step: SetupStep,
    index: u32,
    errno: i32,
) -> StartError {
    let error = Errno::from_raw_os_error(errno);
    let entry = usize::try_from(index).ok().and_then(|i| spec.tree.get(i));
    let mut what = step.to_string();
    let mut cause = os(&error.into());
    let mut fix = None;
    match (step, error) {
        (SetupStep::Tree, _) => {
            if let Some(entry) = entry {
                what = describe(entry);
                (cause, fix) = tree(entry, error, cause);
            }
        }
        (SetupStep::Network, Errno::NOSPC) => (cause, fix) = namespaces_used_up(),
        (
            SetupStep::Network | SetupStep::Root | SetupStep::Hostname,
            Errno::PERM | Errno::ACCESS,
        ) => {
            (cause, fix) = restricted();
        }
        (_, Errno::NOSYS) => {
            cause = "this kernel is too old, or a filter hides the system call".into();
            fix = Some("use Linux 5.12 or newer, outside of a container".into());
        }
        (SetupStep::Directory, _) => {
            what = format!(
                "enter the working directory {}",
                spec.command.directory.display()
            );
        }
        (SetupStep::Listen, _) => what = format!("{what} (port {index})"),
        _ => {}
    }
    StartError { what, cause, fix }
}

fn describe(entry: &TreeEntry) -> String {
    match entry {
        TreeEntry::Dir { path } => format!("make the directory {} inside", path.display()),
        TreeEntry::Bind { source, target, .. } => {
            format!("show {} inside as {}", source.display(), target.display())
        }
        TreeEntry::Overlay { source, target, .. } => format!(
            "lay an overlay over {} inside as {}",
            source.display(),
            target.display()
        ),
        TreeEntry::Mask { path, .. } => format!("hide {} inside", path.display()),
        TreeEntry::Tmpfs { path, .. } => {
            format!("make a file system in memory at {} inside", path.display())
        }
        TreeEntry::Symlink { path, .. } => format!("make the link {} inside", path.display()),
        TreeEntry::File { path, .. } => format!("write {} inside", path.display()),
        TreeEntry::Scratch { path, .. } => format!("make {} inside", path.display()),
        TreeEntry::Proc => "mount /proc inside".into(),
        TreeEntry::Dev => "make /dev inside".into(),
    }
}

fn tree(entry: &TreeEntry, error: Errno, words: String) -> (String, Option<String>) {
    match (entry, error) {
        (TreeEntry::Proc, Errno::PERM | Errno::ACCESS) => (
            "the /proc here is partly masked, as in a container, and then the kernel refuses a fresh one".into(),
            Some(
                "run palisade outside of the container, or start the container with --security-opt \
                 systempaths=unconfined"
                    .into(),
            ),
        ),
        (TreeEntry::Overlay { source, changes, .. }, _) => overlay(source, changes, error, words),
        (TreeEntry::Mask { .. }, Errno::LOOP) => (
            "it, or a folder on the way to it, has become a symbolic link since the masks were looked up".into(),
            Some("start the session again".into()),
        ),
        (TreeEntry::Mask { .. }, Errno::NOSPC) => (
            "the machine's limit of mounts is reached, and each mask is one".into(),
            Some("raise fs.mount-max (sysctl), or mask the folders that hold these files instead of each file".into()),
        ),
        (TreeEntry::Bind { .. }, Errno::LOOP) => {
            ("the host path leads through a symbolic link".into(), None)
        }
        (TreeEntry::Bind { .. } | TreeEntry::Tmpfs { .. }, Errno::INVAL | Errno::NOTDIR) => {
            ("what is at this path inside is a file and not a folder, or the other way round".into(), None)
        }
        (_, Errno::NOENT) => {
            ("a path on the way does not exist, and nothing is created on the host".into(), None)
        }
        _ => (words, None),
    }
}

/// Why an overlay could not be mounted.
fn overlay(
    source: &Path,
    changes: &Changes,
    error: Errno,
    words: String,
) -> (String, Option<String>) {
    let place = match changes {
        Changes::Kept(folder) => folder.display().to_string(),
        Changes::Memory { .. } => "memory".into(),
    };
    match (changes, error) {
        (Changes::Memory { .. }, Errno::OPNOTSUPP) => (
            "a file system in memory keeps no user attributes before Linux 6.6, and an overlay needs them".into(),
            Some("use access = \"review\" or \"write\"".into()),
        ),
        (Changes::Kept(_), Errno::OPNOTSUPP) => (
            format!("the file system of {place} keeps no user attributes, and an overlay needs them"),
            Some(ELSEWHERE.into()),
        ),
        (Changes::Kept(folder), Errno::INVAL) if is_overlay(folder) => (
            format!("{place} is on an overlay itself, as in a container, and an overlay's changes cannot lie on another"),
            Some(ELSEWHERE.into()),
        ),
        (_, Errno::INVAL) => (
            format!(
                "the file system of {}, or that of its changes in {place}, cannot be part of an overlay: one that is remote or \
                 ignores case, for example, or, run by root, any before Linux 5.19",
                source.display()
            ),
            Some(format!("{ELSEWHERE}; or use access = \"read\" or \"write\"")),
        ),
        (_, Errno::NODEV) => (
            "this kernel has no overlay file system".into(),
            Some("load the module (modprobe overlay), or use access = \"read\" or \"write\"".into()),
        ),
        (_, Errno::PERM | Errno::ACCESS) => (
            "this kernel does not let an overlay be mounted in a user namespace: Linux 5.11 does, unless its distribution forbids it"
                .into(),
            Some("use access = \"read\" or \"write\"".into()),
        ),
        (_, Errno::LOOP) => (
            format!(
                "{} and the folder of its changes lie within one another, or a path to one leads through a symbolic link",
                source.display()
            ),
            Some(ELSEWHERE.into()),
        ),
        _ => (words, None),
    }
}

/// What to do about a file system that cannot hold changes.
const ELSEWHERE: &str = "keep palisade's state on ext4, xfs, btrfs or, from Linux 6.6, tmpfs (XDG_STATE_HOME; a volume, in a container)";

fn is_overlay(folder: &Path) -> bool {
    /// `OVERLAYFS_SUPER_MAGIC` (linux/magic.h).
    const OVERLAY: u64 = 0x794c_7630;
    rustix::fs::statfs(folder).is_ok_and(|found| found.f_type.cast_unsigned() == OVERLAY)
}
