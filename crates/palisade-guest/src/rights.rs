//! Taking on the agent's identity and giving up every right.

use palisade_protocol::SetupStep;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, remove_capability_from_bounding_set,
    set_capabilities, set_capabilities_secure_bits, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::{At, Fault};

/// Lets capabilities outlive a change from user 0 to another, which would take them (capabilities(7)). They are given up
/// afterwards.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn keep_for_now() -> Result<(), Fault> {
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .at(SetupStep::Privileges, 5)
}

/// Becomes the agent's user and group, without any other group. For a caller who is another user outside.
///
/// # Errors
/// The kernel refused one of the changes.
pub fn take_identity(identity: Option<(Uid, Gid)>) -> Result<(), Fault> {
    let Some((uid, gid)) = identity else {
        return Ok(());
    };
    set_thread_groups(&[]).at(SetupStep::Identity, 0)?;
    set_thread_res_gid(gid, gid, gid).at(SetupStep::Identity, 1)?;
    set_thread_res_uid(uid, uid, uid).at(SetupStep::Identity, 2)
}

/// Init's memory is a copy of the supervisor's. From here on nobody inside may look at it: not by `ptrace`, and its
/// `environ`, `mem`, `maps` and `fd` in `/proc` belong to the host's root, who does not exist inside.
///
/// # Errors
/// None that the kernel documents for this use.
pub fn close_own_memory() -> Result<(), Fault> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).at(SetupStep::Privileges, 0)
}

/// Gives up every capability of the namespace, for init and all that it starts.
///
/// # Errors
/// The kernel refused one of the steps.
pub fn give_up() -> Result<(), Fault> {
    set_no_new_privs(true).at(SetupStep::Privileges, 1)?;
    empty_bounding_set()?;
    // Even a user 0 of some namespace would gain nothing by execve.
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    set_capabilities_secure_bits(bits).at(SetupStep::Privileges, 2)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).at(SetupStep::Privileges, 3)
}

/// Becomes this user and gives up every right, on a kernel without secure bits (gVisor). A user 0 would gain nothing by `execve` there
/// either: there is nothing left in the bounding set.
///
/// # Errors
/// The kernel refused one of the steps.
pub fn become_without_any(identity: (Uid, Gid)) -> Result<(), Fault> {
    become_with(identity, CapabilitySet::empty())
}

/// Gives up every right but that to signal others, and becomes somebody whom the agent is not: it can neither signal nor trace
/// this process then.
///
/// # Errors
/// The kernel refused one of the steps.
pub fn stand_aside(identity: (Uid, Gid)) -> Result<(), Fault> {
    set_keep_capabilities(true).at(SetupStep::Privileges, 6)?;
    become_with(identity, CapabilitySet::KILL)?;
    close_own_memory()
}

fn become_with(identity: (Uid, Gid), kept: CapabilitySet) -> Result<(), Fault> {
    set_no_new_privs(true).at(SetupStep::Privileges, 1)?;
    // As the sandbox was told to make it; a call for each capability takes long there.
    if !has_empty_bounding_set() {
        empty_bounding_set()?;
    }
    take_identity(Some(identity))?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).at(SetupStep::Privileges, 3)
}

/// By the kernel's own account (proc_pid_status(5)); where there is none, it is taken for not empty.
fn has_empty_bounding_set() -> bool {
    let mut text = [0; 4096];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let opened = open(c"/proc/self/status", flags, Mode::empty());
    let read = opened.and_then(|file| rustix::io::read(&file, &mut text));
    let text = text.get(..read.unwrap_or(0)).unwrap_or_default();
    says_empty(text)
}

fn says_empty(status: &[u8]) -> bool {
    let mut lines = status.split(|byte| *byte == b'\n');
    let set = lines.find_map(|line| line.strip_prefix(b"CapBnd:\t"));
    set.is_some_and(|digits| !digits.is_empty() && digits.iter().all(|digit| *digit == b'0'))
}

/// No capability could be gained by execve even without no-new-privileges.
fn empty_bounding_set() -> Result<(), Fault> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no more of them.
            Err(Errno::INVAL) if bit > 0 => return Ok(()),
            Err(errno) => return Err(errno).at(SetupStep::Privileges, 4),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounding_set_is_empty_only_where_that_is_said() {
        assert!(says_empty(
            b"Name:\tx\nCapBnd:\t0000000000000000\nSeccomp:\t0\n"
        ));
        assert!(!says_empty(b"CapBnd:\t0000000000000100\n"));
        assert!(!says_empty(b"CapBnd:\t\n"));
        assert!(!says_empty(b"CapEff:\t0000000000000000\n"));
        assert!(!says_empty(b""));
    }
}
