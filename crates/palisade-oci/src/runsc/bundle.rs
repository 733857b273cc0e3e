//! What `runsc` is told of a session: `config.json` of an OCI bundle.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, LinuxBuilder, LinuxCapabilitiesBuilder, LinuxCpuBuilder, LinuxMemoryBuilder,
    LinuxNamespaceBuilder, LinuxNamespaceType, LinuxPidsBuilder, LinuxResources,
    LinuxResourcesBuilder, Mount, MountBuilder, PosixRlimitBuilder, PosixRlimitType, Process,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use palisade_boundary::{BoundarySpec, Limits};
use palisade_protocol::GUEST_FOLDER;
use rustix::process::{Resource, getrlimit};

use super::layers::MERGED;
use super::place::Place;
use crate::flags::{DEFAULT_PROCESSES, OF_GVISOR};
use crate::folder::GUEST;
use crate::tree::{self, Layout, What};

/// What the guest needs until it gives it up: addresses, rules and the raw socket for them, another user for the agent and
/// for itself, signals to the agent, folders for it.
const CAPABILITIES: [Capability; 8] = [
    Capability::Chown,
    Capability::DacReadSearch,
    Capability::Kill,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
];

/// The period of the quota of processor time.
const PERIOD_US: u64 = 100_000;

/// Everything the file is made of.
pub(super) struct Bundle<'a> {
    pub(super) spec: &'a BoundarySpec,
    pub(super) layout: &'a Layout,
    pub(super) place: &'a Place,
    /// The guest on the host.
    pub(super) guest: &'a Path,
    pub(super) terminal: bool,
}

impl Bundle<'_> {
    /// Writes it, and the files of the tree with it.
    pub(super) fn write(&self) -> Result<(), String> {
        let mounts = self.mounts()?;
        let spec = self.spec_of(mounts).map_err(|e| e.to_string())?;
        let file = self.place.bundle().join("config.json");
        let bytes = serde_json::to_vec(&spec).map_err(|e| e.to_string())?;
        fs::write(file, bytes).map_err(|e| e.to_string())
    }

    fn spec_of(&self, mounts: Vec<Mount>) -> Result<Spec, OciSpecError> {
        let namespaces = [
            LinuxNamespaceType::Pid,
            LinuxNamespaceType::Network,
            LinuxNamespaceType::Ipc,
            LinuxNamespaceType::Uts,
            LinuxNamespaceType::Mount,
        ];
        let namespaces = namespaces.map(|typ| LinuxNamespaceBuilder::default().typ(typ).build());
        let linux = LinuxBuilder::default()
            .namespaces(namespaces.into_iter().collect::<Result<Vec<_>, _>>()?)
            .masked_paths(Vec::new())
            .readonly_paths(Vec::new())
            .cgroups_path(PathBuf::from("/").join(self.place.name()))
            .resources(resources(&self.spec.limits)?);
        SpecBuilder::default()
            .version("1.0.2")
            .process(self.process()?)
            .root(
                RootBuilder::default()
                    .path(self.place.root())
                    .readonly(true)
                    .build()?,
            )
            .hostname(self.spec.hostname.clone())
            .mounts(mounts)
            .linux(linux.build()?)
            .build()
    }

    /// The first process is the guest, as root of the sandbox, which is nobody outside of it.
    fn process(&self) -> Result<Process, OciSpecError> {
        let all: HashSet<Capability> = CAPABILITIES.into_iter().collect();
        let capabilities = LinuxCapabilitiesBuilder::default()
            // The guest has its own; what it starts can gain none.
            .bounding(HashSet::new())
            .effective(all.clone())
            .permitted(all)
            .inheritable(HashSet::new())
            .ambient(HashSet::new())
            .build()?;
        let files = getrlimit(Resource::Nofile);
        let files = PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitNofile)
            .hard(files.maximum.unwrap_or(u64::MAX))
            .soft(files.current.unwrap_or(u64::MAX))
            .build()?;
        let cores = PosixRlimitBuilder::default()
            .typ(PosixRlimitType::RlimitCore)
            .hard(0u64)
            .soft(0u64)
            .build()?;
        ProcessBuilder::default()
            .terminal(self.terminal)
            .user(UserBuilder::default().uid(0u32).gid(0u32).build()?)
            .args(vec![format!("{GUEST_FOLDER}/{GUEST}")])
            .env(Vec::new())
            .cwd("/")
            .capabilities(capabilities)
            .rlimits(vec![files, cores])
            .no_new_privileges(true)
            .build()
    }

    fn mounts(&self) -> Result<Vec<Mount>, String> {
        let said = |e: OciSpecError| e.to_string();
        let folder = Path::new(GUEST_FOLDER);
        let own = self.place.folder();
        let mut all = vec![
            kernel("/proc", "proc", &["nosuid", "nodev", "noexec"]).map_err(said)?,
            kernel("/dev", "tmpfs", &["nosuid", "noexec", "mode=755"]).map_err(said)?,
            kernel("/dev/pts", "devpts", &["nosuid", "noexec"]).map_err(said)?,
            kernel("/dev/shm", "tmpfs", &["nosuid", "nodev", "mode=1777"]).map_err(said)?,
            bind(&own.system(), Path::new("/sys"), true).map_err(said)?,
        ];
        for (number, mount) in self.layout.mounts.iter().enumerate() {
            all.push(self.mount(number, mount)?);
        }
        // Last, so that nothing of the tree lies over it.
        all.push(bind(&own.inside(), folder, true).map_err(said)?);
        all.push(bind(self.guest, &folder.join(GUEST), true).map_err(said)?);
        Ok(all)
    }

    fn mount(&self, number: usize, mount: &tree::Mount) -> Result<Mount, String> {
        let own = self.place.folder();
        let target = &mount.target;
        let built = match &mount.what {
            // In a user namespace of a caller's own, a mount with others in it is copied with these or not at all.
            What::Bind {
                source, read_only, ..
            } => bind_as("rbind", source, target, *read_only),
            What::Mapped { read_only, .. } => self.laid(number, target, *read_only),
            What::Overlay { .. } | What::Layers { .. } => self.laid(number, target, false),
            What::Empty { directory } => bind(&own.empty(*directory), target, true),
            What::Made { content } => {
                let file = own.make_file(number, content).map_err(|e| e.to_string())?;
                bind(&file, target, true)
            }
            What::Memory { size, mode, exec } => {
                let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
                if !exec {
                    options.push("noexec".into());
                }
                options.push(format!("mode={mode:o}"));
                options.push(format!("uid={}", self.spec.identity.uid));
                options.push(format!("gid={}", self.spec.identity.gid));
                options.extend(size.map(|bytes| format!("size={bytes}")));
                MountBuilder::default()
                    .destination(target)
                    .typ("tmpfs")
                    .source("tmpfs")
                    .options(options)
                    .build()
            }
        };
        built.map_err(|e| e.to_string())
    }

    /// What palisade has mounted, with all that lies in it.
    fn laid(&self, number: usize, target: &Path, read_only: bool) -> Result<Mount, OciSpecError> {
        let merged = self.place.layer(number).join(MERGED);
        bind_as("rbind", &merged, target, read_only)
    }
}

fn kernel(target: &str, kind: &str, options: &[&str]) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(target)
        .typ(kind)
        .source(kind)
        .options(options.iter().map(ToString::to_string).collect::<Vec<_>>())
        .build()
}

fn bind(source: &Path, target: &Path, read_only: bool) -> Result<Mount, OciSpecError> {
    bind_as("bind", source, target, read_only)
}

fn bind_as(
    kind: &str,
    source: &Path,
    target: &Path,
    read_only: bool,
) -> Result<Mount, OciSpecError> {
    let access = if read_only { "ro" } else { "rw" };
    let options = [kind, "rprivate", "nosuid", "nodev", access];
    MountBuilder::default()
        .destination(target)
        .typ("bind")
        .source(source)
        .options(options.map(str::to_owned).to_vec())
        .build()
}

/// Most processes and threads of the host's.
pub(super) fn processes(limits: &Limits) -> u64 {
    u64::from(limits.processes.unwrap_or(DEFAULT_PROCESSES)) + u64::from(OF_GVISOR)
}

/// Without swap, as everywhere.
fn resources(limits: &Limits) -> Result<LinuxResources, OciSpecError> {
    let most = i64::try_from(processes(limits)).unwrap_or(i64::MAX);
    let pids = LinuxPidsBuilder::default().limit(most);
    let mut resources = LinuxResourcesBuilder::default().pids(pids.build()?);
    if let Some(bytes) = limits.memory {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let memory = LinuxMemoryBuilder::default().limit(bytes).swap(bytes);
        resources = resources.memory(memory.build()?);
    }
    if let Some(cpus) = limits.cpus {
        #[allow(clippy::cast_possible_truncation)]
        let quota = (cpus * PERIOD_US as f64).ceil() as i64;
        let cpu = LinuxCpuBuilder::default().quota(quota).period(PERIOD_US);
        resources = resources.cpu(cpu.build()?);
    }
    resources.build()
}
