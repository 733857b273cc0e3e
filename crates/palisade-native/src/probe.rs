//! What this machine can do, found out by doing it.
//!
//! Each capability that is missing names its cause and the exact setting, profile or package that gives it.

mod attempt;

use std::io;
use std::os::fd::AsFd;

use palisade_boundary::{Capability, CapabilityState, Limits, Probe, StartError};
use palisade_sys::idmap::{IdPair, user_namespace};
use palisade_sys::mount::{Attributes, set_attributes};
use palisade_sys::{landlock, seccomp};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{PidfdFlags, geteuid, getpid, pidfd_open};

use self::attempt::{Attempt, Refused, attempt};
use crate::explain::{refused_maps, refused_namespaces};
use crate::limits::{Surroundings, judge};

/// Tries everything the native boundary needs or can use, the necessary things first. Nothing outlives the call.
///
/// Takes a few milliseconds: one child in new namespaces, and a short-lived user namespace if run by root.
pub fn probe() -> Probe {
    let mut capabilities = vec![
        named("kernel", kernel()),
        named("process-descriptors", process_descriptors()),
        named("system-call-filter", filter()),
    ];
    match attempt() {
        Ok(attempt) => capabilities.extend(tried(&attempt)),
        Err(refused) => {
            capabilities.push(named("user-namespaces", user_namespaces_refused(refused)))
        }
    }
    if geteuid().is_root() {
        capabilities.push(named("id-mapped-mounts", id_mapped_mounts()));
    }
    capabilities.push(named("landlock", landlock_state(landlock::abi())));
    capabilities.push(named("limits", limits()));
    Probe { capabilities }
}

fn named(name: &'static str, state: CapabilityState) -> Capability {
    Capability { name, state }
}

fn present(detail: impl Into<String>) -> CapabilityState {
    CapabilityState::Present(detail.into())
}

fn missing(cause: impl Into<String>, fix: impl Into<String>) -> CapabilityState {
    CapabilityState::Missing {
        cause: cause.into(),
        fix: fix.into(),
    }
}

fn degraded(cause: impl Into<String>, fix: impl Into<String>) -> CapabilityState {
    CapabilityState::Degraded {
        cause: cause.into(),
        fix: fix.into(),
    }
}

/// `mount_setattr`, the youngest call that is needed, came with Linux 5.12.
const OLDEST_KERNEL: (u32, u32) = (5, 12);
const NEWER_KERNEL: &str = "use Linux 5.12 or newer";

fn kernel() -> CapabilityState {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    if Surroundings::default().kernel < OLDEST_KERNEL {
        return missing(format!("Linux {release} is older than 5.12"), NEWER_KERNEL);
    }
    present(format!("Linux {release}"))
}

fn process_descriptors() -> CapabilityState {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => present("pidfd_open"),
        Err(errno) => missing(format!("pidfd_open is refused: {errno}"), NEWER_KERNEL),
    }
}

fn filter() -> CapabilityState {
    if seccomp::action_available(libc::SECCOMP_RET_ERRNO) {
        present("seccomp")
    } else {
        missing(
            "the kernel was built without system-call filters, or hides them here",
            "use a kernel with CONFIG_SECCOMP_FILTER",
        )
    }
}

fn user_namespaces_refused(refused: Refused) -> CapabilityState {
    if let Refused::Maps(error) = &refused
        && error.kind() == io::ErrorKind::PermissionDenied
        && geteuid().is_root()
    {
        return missing(
            "root here may not map another user: it is the root of a user namespace with few users, as in a rootless \
             container",
            "run palisade as an ordinary user, or outside of the container",
        );
    }
    match &refused {
        Refused::Namespaces(error) => as_missing(refused_namespaces(error)),
        Refused::Maps(error) => rights_refused(error),
        Refused::Other(error) => missing(error.to_string(), "try again"),
    }
}

/// Namespaces that can be made and give no rights.
fn rights_refused(error: &io::Error) -> CapabilityState {
    as_missing(refused_maps(error))
}

fn as_missing(error: StartError) -> CapabilityState {
    let fix = error
        .fix
        .unwrap_or_else(|| "run palisade outside of the container".into());
    missing(error.cause, fix)
}

fn tried(attempt: &Attempt) -> Vec<Capability> {
    vec![
        named("user-namespaces", user_namespaces(attempt)),
        named("proc", proc_state(attempt.proc)),
        named("pseudo-terminals", terminals(attempt.terminals)),
        named("network-capture", capture(attempt.capture)),
        named("ipv6", ipv6(attempt.ipv6)),
        named("overlays", overlays(attempt.overlay)),
    ]
}

/// Whether every port could be caught; `None` where nothing could be tried, and so nothing would start.
pub(crate) fn catches_every_port() -> Option<bool> {
    Some(attempt().ok()?.capture.is_ok())
}

/// Made they are; what counts is whether they give their rights.
fn user_namespaces(attempt: &Attempt) -> CapabilityState {
    let worst = attempt.loopback.and(attempt.memory_file_system);
    match worst {
        Ok(()) => present("with their rights: loopback and a file system were made in one"),
        Err(Errno::NOSYS) => missing("the mount calls of Linux 5.12 are not there", NEWER_KERNEL),
        Err(errno) => rights_refused(&errno.into()),
    }
}

fn proc_state(result: Result<(), Errno>) -> CapabilityState {
    match result {
        Ok(()) => present("a fresh /proc can be mounted"),
        Err(Errno::PERM | Errno::ACCESS) => missing(
            "the /proc here is partly masked, as in a container, and then the kernel refuses a fresh one",
            "run palisade outside of the container, or start the container with --security-opt systempaths=unconfined",
        ),
        Err(errno) => missing(format!("a fresh /proc is refused: {errno}"), NEWER_KERNEL),
    }
}

fn terminals(result: Result<(), Errno>) -> CapabilityState {
    match result {
        Ok(()) => present("devpts"),
        Err(errno) => missing(
            format!("devpts cannot be mounted: {errno}"),
            "use a kernel with CONFIG_UNIX98_PTYS",
        ),
    }
}

fn capture(result: Result<(), Errno>) -> CapabilityState {
    match result {
        Ok(()) => present("every TCP port, by nftables"),
        Err(errno) => degraded(
            format!(
                "the kernel offers no nftables TPROXY here ({errno}); only the ports named by the policy are caught, \
                 others are refused"
            ),
            "modprobe -a nf_tables nft_tproxy (as root, once after each start; or list them in /etc/modules-load.d)",
        ),
    }
}

fn ipv6(there: bool) -> CapabilityState {
    if there {
        present("every IPv6 address is caught")
    } else {
        degraded(
            "the kernel has no IPv6 here; inside, only IPv4 addresses can be reached",
            "start the kernel without ipv6.disable=1, or modprobe ipv6",
        )
    }
}

/// Tried in memory. Where changes are kept, the file system of the state folder counts too; a session says so.
fn overlays(result: Result<(), Errno>) -> CapabilityState {
    match result {
        Ok(()) => present("a workspace can be used with access scratch and review"),
        Err(Errno::OPNOTSUPP) => degraded(
            "a file system in memory keeps no user attributes before Linux 6.6, so there is no access scratch",
            "use access review, or Linux 6.6 or newer",
        ),
        Err(Errno::NODEV) => degraded(
            "this kernel has no overlay file system, so there is no access scratch or review",
            "modprobe overlay (as root, once after each start; or list it in /etc/modules-load.d)",
        ),
        Err(errno) => degraded(
            format!(
                "an overlay in a user namespace is refused ({errno}), so there is no access scratch or review"
            ),
            "use Linux 5.11 or newer, or access read or write",
        ),
    }
}

/// How to get Landlock.
pub(crate) const LANDLOCK_FIX: &str =
    "add landlock to the kernel's lsm= parameter, or use a kernel with CONFIG_SECURITY_LANDLOCK";

fn landlock_state(abi: u32) -> CapabilityState {
    match abi {
        0 => degraded(
            "Landlock is absent or switched off; the tree alone decides which files are reached, and sessions start only \
             with `accept_weaker = [\"landlock\"]`",
            LANDLOCK_FIX,
        ),
        abi => present(format!("ABI {abi}")),
    }
}

/// Tried on the root file system; others, such as network file systems, may differ, and a session then says so.
fn id_mapped_mounts() -> CapabilityState {
    match try_id_mapped_mount() {
        Ok(()) => present("on the root file system"),
        Err(error) => degraded(
            format!(
                "the root file system does not let owners be mapped ({error}); run by root, palisade cannot give \
                 the agent a workspace there"
            ),
            "keep the workspace on ext4, xfs, btrfs or tmpfs, or run palisade as an ordinary user",
        ),
    }
}

fn try_id_mapped_mount() -> io::Result<()> {
    // Any pair does; the mount is never attached anywhere.
    let pair = IdPair {
        inside: 0,
        outside: 65534,
    };
    let owners = user_namespace(pair, pair)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, c"/", flags)?;
    let mapped = Attributes {
        owners: Some(owners.as_fd()),
        ..Attributes::default()
    };
    set_attributes(tree.as_fd(), mapped, false)
}

/// What memory and processor limits would rest on, were they asked for.
fn limits() -> CapabilityState {
    let here = match Surroundings::read() {
        Ok(here) => here,
        Err(error) => return degraded(format!("/proc cannot be read: {error}"), "mount /proc"),
    };
    limits_state(&here)
}

fn limits_state(here: &Surroundings) -> CapabilityState {
    let asked = Limits {
        memory: Some(1 << 30),
        cpus: Some(0.5),
        processes: Some(512),
    };
    let judged = judge(&asked, here);
    let soft: Vec<&str> = judged
        .iter()
        .filter(|a| a.enforcement.weakness().is_some())
        .map(|a| a.control.name())
        .collect();
    if soft.is_empty() {
        let by: Vec<String> = judged
            .iter()
            .map(|a| {
                format!(
                    "{} {}",
                    a.control.name().trim_start_matches("limits."),
                    a.enforcement
                )
            })
            .collect();
        return present(by.join(", "));
    }
    degraded(
        format!(
            "no control group for {} can be made here; a session with such a limit starts only where the policy accepts \
             that it is weaker (`accept_weaker`)",
            soft.join(", ")
        ),
        "run palisade as `systemd-run --user --scope -p Delegate=yes palisade …`",
    )
}

#[cfg(test)]
mod tests;
