//! Parts of the kernel that an agent has no use for.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use palisade_sys::rare;

use super::{Got, any};
use crate::stage::Stage;

/// Settings of the whole machine. Each makes the kernel run a program, or changes how memory or the network behave.
const SETTINGS: [&str; 6] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sysrq-trigger",
];
/// Where control groups are found, and by which file one gets out.
const GROUPS: [&str; 9] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/unified",
    "/sys/fs/cgroup/memory",
    "/sys/fs/cgroup/pids",
    "/sys/fs/cgroup/cpu",
    "/sys/fs/cgroup/devices",
    "/sys/fs/cgroup/freezer",
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/rdma",
];

pub(crate) fn io_uring(_: &Stage) -> Got {
    rare::io_uring()?;
    Ok("a ring was set up".to_owned())
}

pub(crate) fn bpf(_: &Stage) -> Got {
    rare::bpf_map()?;
    Ok("a map was made".to_owned())
}

pub(crate) fn performance_counter(_: &Stage) -> Got {
    rare::performance_counter()?;
    Ok("a counter was opened".to_owned())
}

pub(crate) fn page_faults(_: &Stage) -> Got {
    rare::page_faults()?;
    Ok("page faults can be held up".to_owned())
}

pub(crate) fn keyring(_: &Stage) -> Got {
    rare::add_key(c"palisade-verify")?;
    Ok("a key was added".to_owned())
}

/// Opened for writing, and nothing is written.
pub(crate) fn settings(_: &Stage) -> Got {
    any(SETTINGS, "", |path| writable(Path::new(path)))
}

/// As for settings, in the groups that are there and in that of this process.
pub(crate) fn control_groups(_: &Stage) -> Got {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let mount = Path::new("/sys/fs/cgroup").join(controllers);
        Some(mount.join(path.trim_start_matches('/')))
    });
    let folders = GROUPS.map(PathBuf::from).into_iter().chain(own);
    let files = folders.flat_map(|folder| {
        ["release_agent", "cgroup.procs", "memory.max", "pids.max"].map(|file| folder.join(file))
    });
    any(files, "", |path| writable(&path))
}

fn writable(path: &Path) -> Got {
    OpenOptions::new().write(true).open(path)?;
    Ok(format!("{} can be written", path.display()))
}
