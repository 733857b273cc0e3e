//! The options of `create`: the whole hardening in one list, printed as it runs.

use std::path::{Path, PathBuf};

use palisade_boundary::{BoundarySpec, Limits};
use palisade_protocol::GUEST_FOLDER;

use crate::engine::Engine;
use crate::folder::GUEST;
use crate::podman::{self, Groups};
use crate::tree::{Mount, What};

/// What the guest needs until it gives it up: routes and the capture rule, another user, an empty bounding set, folders
/// for the agent.
const CAPABILITIES: [&str; 5] = ["CHOWN", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID"];

/// Ports below 1024. Docker opens them to everybody in a container, podman does not.
const BIND: &str = "NET_BIND_SERVICE";

/// What it needs in gVisor: the raw socket that rules go through there, and to be another user than the agent and signal it.
const IN_A_SANDBOX: [&str; 3] = ["DAC_READ_SEARCH", "KILL", "NET_RAW"];

/// All that the guest starts with.
pub(crate) fn capabilities(wanted: &Wanted) -> impl Iterator<Item = &'static str> {
    let bind = (wanted.engine == Engine::Podman).then_some(BIND);
    let more = IN_A_SANDBOX.into_iter().filter(|_| wanted.sandboxed);
    CAPABILITIES.into_iter().chain(bind).chain(more)
}

/// What every backend holds a session to where no policy names a number of processes.
pub(crate) const DEFAULT_PROCESSES: u32 = 4096;

/// What replaces the engine's own view of the host's control groups. That of the devices is replaced by a mount of a folder.
const HIDDEN: (&str, &str) = ("/sys/fs/cgroup", "ro,nosuid,nodev,noexec,size=4k,mode=0");

/// The switch of IPv6 on all interfaces, of which there is only loopback.
pub(crate) const IPV6: &str = "net.ipv6.conf.all.disable_ipv6";

/// Labels, by which what is left over is found: the session's folder, and where that lies.
pub(crate) const LABEL_SESSION: &str = "palisade.session";
pub(crate) const LABEL_BASE: &str = "palisade.base";

/// Everything about a container that is not the same for all.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) engine: Engine,
    /// The runtime that the engine is told to use, where one is named.
    pub(crate) runtime: Option<String>,
    /// Whether that is gVisor.
    pub(crate) sandboxed: bool,
    pub(crate) spec: BoundarySpec,
    /// Name of the session's folder, and where it lies.
    pub(crate) session: String,
    pub(crate) base: PathBuf,
    pub(crate) image: String,
    /// The profile's file and content.
    pub(crate) profile_file: PathBuf,
    pub(crate) profile: String,
    /// The guest on the host, and the folder it finds its plan in.
    pub(crate) guest: PathBuf,
    pub(crate) inside: PathBuf,
    /// What lies in place of `/sys`.
    pub(crate) system: PathBuf,
    /// The tree's mounts, with files in place of made-up contents.
    pub(crate) mounts: Vec<HostMount>,
    /// Whether this machine has IPv6. Engines switch it off in a container without network, and then what names an
    /// address of it is not caught.
    pub(crate) ipv6: bool,
    /// Whether the agent has a terminal.
    pub(crate) terminal: bool,
    pub(crate) by: StartedBy,
}

impl Wanted {
    /// Where overlays lie, and their options.
    pub(crate) fn overlays(&self) -> impl Iterator<Item = (&Path, String)> {
        self.mounts.iter().filter_map(|mount| match mount {
            HostMount::Overlay { target, layers } => Some((target.as_path(), layers.options())),
            HostMount::Bind { .. } | HostMount::Memory { .. } => None,
        })
    }
}

/// Who has the engine start the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartedBy {
    /// We do.
    Palisade,
    /// A person, by the line that was printed.
    Line,
    /// A compose file, which knows fewer words than the engine, and whose container stays.
    Compose,
}

/// A mount as the engine takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostMount {
    /// A path of the host.
    Bind {
        source: PathBuf,
        target: PathBuf,
        read_only: bool,
        /// With what is mounted below it, over which there are mounts of their own.
        recursive: bool,
    },
    /// A folder of the host whose changes land elsewhere. The engine mounts it, as a volume of the container's own.
    Overlay { target: PathBuf, layers: Layers },
    /// A file system in memory.
    Memory { target: PathBuf, options: String },
}

/// What an overlay is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layers {
    pub(crate) lower: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

impl Layers {
    /// As mount(8) takes them.
    pub(crate) fn options(&self) -> String {
        format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            self.lower.display(),
            self.upper.display(),
            self.work.display()
        )
    }
}

impl HostMount {
    /// Where it lies inside.
    pub(crate) fn target(&self) -> &Path {
        match self {
            Self::Bind { target, .. }
            | Self::Overlay { target, .. }
            | Self::Memory { target, .. } => target,
        }
    }

    /// Of a mount of the tree; `source` says where something made up lies.
    pub(crate) fn new(
        engine: Engine,
        mount: &Mount,
        spec: &BoundarySpec,
        memory: u64,
        source: PathBuf,
    ) -> Self {
        let target = mount.target.clone();
        match &mount.what {
            What::Bind {
                source,
                read_only,
                recursive,
            } => Self::Bind {
                source: source.clone(),
                target,
                read_only: *read_only,
                recursive: *recursive,
            },
            What::Empty { .. } | What::Made { .. } => Self::Bind {
                source,
                target,
                read_only: true,
                recursive: false,
            },
            // The hand's own, for which the engine mounts something empty.
            What::Mapped { .. } | What::Layers { .. } => Self::Bind {
                source,
                target,
                read_only: true,
                recursive: false,
            },
            What::Overlay {
                source,
                upper,
                work,
            } => Self::Overlay {
                target,
                layers: Layers {
                    lower: source.clone(),
                    upper: upper.clone(),
                    work: work.clone(),
                },
            },
            What::Memory { size, mode, exec } => Self::Memory {
                target,
                options: memory_options(engine, spec, size.unwrap_or(memory), *mode, *exec),
            },
        }
    }
}

fn memory_options(engine: Engine, spec: &BoundarySpec, size: u64, mode: u32, exec: bool) -> String {
    let exec = if exec { "exec" } else { "noexec" };
    let same = format!("rw,nosuid,nodev,{exec},size={size},mode={mode:o}");
    match engine {
        Engine::Docker => format!("{same},uid={},gid={}", spec.identity.uid, spec.identity.gid),
        // Empty, whatever the image has there. The guest gives it to the agent.
        Engine::Podman => format!("{same},notmpcopyup"),
    }
}

/// The arguments, from the first option to the image.
pub(crate) fn arguments(wanted: &Wanted) -> Vec<String> {
    let fixed = HARDENING.iter().chain(&FIXED);
    let mut all: Vec<String> = fixed.map(|&option| option.to_owned()).collect();
    let mut add = |option: &str, value: String| all.push(format!("{option}={value}"));
    add("--label", format!("{LABEL_SESSION}={}", wanted.session));
    add("--label", format!("{LABEL_BASE}={}", wanted.base.display()));
    add("--hostname", wanted.spec.hostname.clone());
    for capability in capabilities(wanted) {
        add("--cap-add", capability.to_owned());
    }
    add(
        "--security-opt",
        format!("seccomp={}", wanted.profile_file.display()),
    );
    limits(
        &wanted.spec.limits,
        most_processes(wanted),
        Groups::of(wanted.engine),
        &mut add,
    );
    if let Some(runtime) = &wanted.runtime {
        add("--runtime", runtime.clone());
    }
    let (place, options) = hidden_mount(wanted.engine);
    add("--tmpfs", format!("{place}:{options}"));
    let mut overlays = 0;
    for mount in wanted.mounts.iter().chain(&own_mounts(wanted)) {
        match mount {
            HostMount::Bind {
                source,
                target,
                read_only,
                recursive,
            } => {
                let as_wanted = if *recursive { bind_recursively } else { bind };
                add("--mount", as_wanted(source, target, *read_only));
            }
            HostMount::Overlay { target, layers } => {
                let (option, value) = overlay(wanted, overlays, target, layers);
                add(option, value);
                overlays += 1;
            }
            HostMount::Memory { target, options } => {
                add("--tmpfs", format!("{}:{options}", target.display()));
            }
        }
    }
    if wanted.engine == Engine::Podman {
        all.extend(podman::arguments(wanted));
    }
    if wanted.ipv6 {
        all.push(format!("--sysctl={IPV6}=0"));
    }
    if wanted.terminal {
        all.push("--tty".into());
    }
    all.push(wanted.image.clone());
    all
}

/// The same for every session.
const FIXED: [&str; 5] = [
    "--interactive",
    "--ulimit=core=0",
    "--restart=no",
    "--workdir=/",
    "--stop-signal=KILL",
];

/// The same for everything that palisade starts, a session or a hand of its own.
pub(crate) const HARDENING: [&str; 13] = [
    "--rm",
    "--pull=never",
    "--init=false",
    "--no-healthcheck",
    // What the agent prints is the caller's alone.
    "--log-driver=none",
    "--network=none",
    "--ipc=private",
    "--cgroupns=private",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--user=0:0",
    "--entrypoint=/run/palisade/guest",
];

/// The session's folder, the guest in it, and what lies in place of `/sys`.
pub(crate) fn own_mounts(wanted: &Wanted) -> [HostMount; 3] {
    let bind = |source: &Path, target: &Path| HostMount::Bind {
        source: source.to_path_buf(),
        target: target.to_path_buf(),
        read_only: true,
        recursive: false,
    };
    let folder = Path::new(GUEST_FOLDER);
    [
        bind(&wanted.inside, folder),
        bind(&wanted.guest, &folder.join(GUEST)),
        bind(&wanted.system, Path::new("/sys")),
    ]
}

/// The file system in memory that is there for every session.
pub(crate) fn hidden_mount(engine: Engine) -> (&'static str, String) {
    let (place, options) = HIDDEN;
    let copies = engine == Engine::Podman;
    let empty = if copies { ",notmpcopyup" } else { "" };
    (place, format!("{options}{empty}"))
}

/// What there is no control group for is not asked for: the session would not have come here unless that was accepted.
fn limits(limits: &Limits, most: u64, groups: Groups, add: &mut impl FnMut(&str, String)) {
    if groups.pids {
        add("--pids-limit", most.to_string());
    }
    if let Some(bytes) = limits.memory.filter(|_| groups.memory) {
        add("--memory", format!("{bytes}b"));
        // The same figure means that nothing is swapped out.
        add("--memory-swap", format!("{bytes}b"));
    }
    if let Some(cpus) = limits.cpus.filter(|_| groups.cpu) {
        add("--cpus", format!("{cpus:.3}"));
    }
}

/// Room for processes and threads of gVisor's own in the group: by `ptrace` 200 to 300 were seen.
pub(crate) const OF_GVISOR: u32 = 1024;

/// How many processes the engine's control group may hold.
pub(crate) fn most_processes(wanted: &Wanted) -> u64 {
    let own = if wanted.sandboxed { OF_GVISOR } else { 0 };
    processes(&wanted.spec.limits) + u64::from(own)
}

/// How many processes there may be; init is one more.
pub(crate) fn processes(limits: &Limits) -> u64 {
    u64::from(limits.processes.unwrap_or(DEFAULT_PROCESSES)) + 1
}

/// Fields are separated by commas, and one that holds a comma or a quote is quoted (RFC 4180).
fn field(key: &str, value: impl std::fmt::Display) -> String {
    let field = format!("{key}={value}");
    if field.contains([',', '"']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

/// An overlay as an option and its value.
fn overlay(
    wanted: &Wanted,
    number: usize,
    target: &Path,
    layers: &Layers,
) -> (&'static str, String) {
    if wanted.engine == Engine::Docker {
        let value = format!(
            "type=volume,{},volume-nocopy=true,volume-driver=local,volume-opt=type=overlay,volume-opt=device=overlay,{}",
            field("target", target.display()),
            field("volume-opt=o", layers.options())
        );
        return ("--mount", value);
    }
    // What an overlay's names may hold was checked: nothing that has a meaning here.
    let target = target.display();
    if !wanted.engine.is_rootless() {
        let volume = podman::volume_name(&wanted.session, number);
        return ("--volume", format!("{volume}:{target}:nocopy"));
    }
    // Without root podman mounts it with `userxattr`, because there is no other way.
    let Layers { lower, upper, work } = layers;
    let value = format!(
        "{}:{target}:O,upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    ("--volume", value)
}

/// A path of the host as the value of `--mount`, without what is mounted below it.
pub(crate) fn bind(source: &Path, target: &Path, read_only: bool) -> String {
    bind_recursively(source, target, read_only) + ",bind-nonrecursive=true"
}

fn bind_recursively(source: &Path, target: &Path, read_only: bool) -> String {
    let access = if read_only { ",readonly" } else { "" };
    format!(
        "type=bind,{},{},bind-propagation=rprivate{access}",
        field("source", source.display()),
        field("target", target.display())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_quoted() {
        let text = bind(Path::new("/a,b\"c"), Path::new("/d"), true);
        assert_eq!(
            text,
            "type=bind,\"source=/a,b\"\"c\",target=/d,bind-propagation=rprivate,readonly,bind-nonrecursive=true"
        );
    }

    #[test]
    fn a_limit_of_memory_leaves_no_swap() {
        let mut found = Vec::new();
        let of = Limits {
            memory: Some(1 << 20),
            cpus: Some(1.5),
            processes: Some(10),
        };
        let all = Groups::of(Engine::Docker);
        limits(&of, processes(&of), all, &mut |option, value| {
            found.push(format!("{option}={value}"))
        });
        let expected = [
            "--pids-limit=11",
            "--memory=1048576b",
            "--memory-swap=1048576b",
            "--cpus=1.500",
        ];
        assert_eq!(found, expected);
    }
}
