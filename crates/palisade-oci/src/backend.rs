//! Starting a session in a container.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use palisade_boundary::{Assessment, Backend, BoundarySpec, Identity, Probe, Running, StartError};
use palisade_guest::filter::Options;
use palisade_guest::network::NetworkPlan;
use palisade_protocol::GuestPlan;

use crate::api::{Api, ClientSettings};
use crate::engine::{Engine, cannot};
use crate::flags::{HostMount, Wanted};
use crate::folder::SessionFolder;
use crate::guest::{self, real_guest};
use crate::image::{RootImage, named};
use crate::launch::{launch, name};
use crate::podman;
use crate::profile::profile;
use crate::running::{ContainerRunning, Parts};
use crate::sandboxed;
use crate::settings::Settings;
use crate::tree::{Layout, Mount, Reach, What, lay_out};

/// A container of docker or podman.
#[derive(Clone, Debug)]
pub struct ContainerBackend {
    /// Where sessions keep their folders, below palisade's own state.
    base: PathBuf,
    /// The guest, a static program.
    guest: PathBuf,
    settings: Settings,
    client: ClientSettings,
}

impl ContainerBackend {
    /// Sessions keep their folders below `base`, which nobody inside may see; `guest` is `palisade-guest` on the host;
    /// `client` says where docker is asked.
    pub fn new(base: PathBuf, guest: PathBuf, settings: Settings, client: ClientSettings) -> Self {
        Self {
            base,
            guest,
            settings,
            client,
        }
    }
}

impl Backend for ContainerBackend {
    fn name(&self) -> &'static str {
        if self.settings.sandboxed {
            "gvisor"
        } else {
            "container"
        }
    }

    fn probe(&self) -> Probe {
        crate::probe::probe(&self.settings, &self.guest)
    }

    fn assess(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        if self.settings.sandboxed {
            return sandboxed::assess(spec);
        }
        crate::assess::assess(spec, &self.settings)
    }

    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError> {
        let engine = self.settings.engine;
        let sandboxed = self.settings.sandboxed;
        let reach = if sandboxed {
            sandboxed::check(spec)?;
            Reach::Engine
        } else {
            reach(engine)
        };
        match reach {
            Reach::Host => check_not_root(&spec.identity)?,
            Reach::Inside | Reach::Engine => check_identity(&spec.identity)?,
        }
        podman::check(engine, spec)?;
        let guest = real_guest(&self.guest)?;
        let mut layout = lay_out(&spec.tree, reach)?;
        guest::check(&guest, &self.settings, spec, &layout, reach)?;
        let image = Root::new(&self.settings, &mut layout)?;
        let folder = SessionFolder::make(&self.base).map_err(|e| {
            cannot(
                format!("make a folder below {}", self.base.display()),
                e.to_string(),
            )
        })?;
        let plan = guest_plan(owned(engine, &layout), spec, &layout)?;
        let plan = GuestPlan {
            relayed: sandboxed,
            window: plan.window.filter(|_| !sandboxed),
            ..plan
        };
        let opened = |e: std::io::Error| cannot("open the session's socket".into(), e.to_string());
        let listener = folder.open(&plan).map_err(opened)?;
        let gate = sandboxed.then(|| folder.open_gate());
        let gate = gate.transpose().map_err(opened)?;
        let wanted = wanted(&self.settings, spec, &folder, &layout, guest, image.name())
            .map_err(|e| cannot("write the session's files".into(), e.to_string()))?;
        // Podman has no daemon to ask.
        let api = match engine {
            Engine::Docker => Api::of(&self.client),
            Engine::Podman => None,
        };
        let client = launch(engine, api.as_ref(), &wanted, &image)
            .inspect_err(|_| podman::remove_volumes(&wanted))?;
        let parts = Parts {
            engine,
            api,
            container: name(&wanted.session),
            client,
            folder,
            listener,
            gate,
            settings: self.settings.clone(),
            wanted,
            late: layout.late,
            reach,
            masked: layout.masked,
        };
        // From here on, dropping this ends the container.
        let running = ContainerRunning::new(parts)?;
        Ok(Box::new(running))
    }
}

/// Root may enter every container, and others those whose user namespace is theirs.
pub(crate) fn reach(engine: Engine) -> Reach {
    if rustix::process::geteuid().is_root() {
        Reach::Host
    } else if engine.is_rootless() {
        Reach::Inside
    } else {
        Reach::Engine
    }
}

/// The agent's ids are the same on both sides: there are no id-mapped mounts.
pub(crate) fn check_identity(identity: &Identity) -> Result<(), StartError> {
    check_not_root(identity)?;
    if (identity.uid, identity.gid) == (identity.host_uid, identity.host_gid) {
        return Ok(());
    }
    let cause = "a container gives the agent the same ids inside and outside".to_owned();
    Err(cannot(IDENTITY.into(), cause))
}

const IDENTITY: &str = "choose the agent's identity";

/// Where the daemon maps users they are others outside. Which, is looked at once the container is there (`remap`).
fn check_not_root(identity: &Identity) -> Result<(), StartError> {
    let Identity {
        uid,
        gid,
        host_uid,
        host_gid,
    } = *identity;
    if [uid, gid, host_uid, host_gid].contains(&0) {
        let cause = "the agent is never root, neither inside nor outside".to_owned();
        return Err(cannot(IDENTITY.into(), cause));
    }
    Ok(())
}

/// `owned` are folders that are to be given to the agent.
pub(crate) fn guest_plan(
    owned: Vec<PathBuf>,
    spec: &BoundarySpec,
    layout: &Layout,
) -> Result<GuestPlan, StartError> {
    let (count, most) = (spec.egress.fallback_ports.len(), NetworkPlan::MOST_PORTS);
    if count > most {
        let cause = format!("{count} ports are to be caught, at most {most} can be");
        return Err(cannot("open the gate's listening sockets".into(), cause));
    }
    Ok(GuestPlan {
        identity: Some((spec.identity.uid, spec.identity.gid)),
        foreground: spec.foreground,
        window: has_terminal(spec).then(window).flatten(),
        relayed: false,
        egress: spec.egress.clone(),
        owned,
        writable: layout.writable.clone(),
        directory: spec.command.directory.clone(),
        argv: spec.command.argv.clone(),
        environment: spec.command.environment.clone(),
    })
}

/// What the guest gives to the agent: what the engine makes as root.
fn owned(engine: Engine, layout: &Layout) -> Vec<PathBuf> {
    let mut owned = layout.owned.clone();
    let roots = |mount: &&Mount| match (engine, &mount.what) {
        (Engine::Docker, _) => false,
        // It has no option for whom a file system in memory belongs to.
        (Engine::Podman, What::Memory { .. }) => true,
        // With root it gives a fresh volume to the container's first user.
        (Engine::Podman, What::Overlay { .. }) => !engine.is_rootless(),
        (Engine::Podman, _) => false,
    };
    let mounts = layout.mounts.iter().filter(roots);
    owned.extend(mounts.map(|mount| mount.target.clone()));
    owned.sort();
    owned.dedup();
    owned
}

fn wanted(
    settings: &Settings,
    spec: &BoundarySpec,
    folder: &SessionFolder,
    layout: &Layout,
    guest: PathBuf,
    image: &str,
) -> std::io::Result<Wanted> {
    let profile = profile(Options::default());
    let memory = spec.limits.memory.unwrap_or_else(half_of_memory);
    let mut mounts = Vec::with_capacity(layout.mounts.len());
    for (number, mount) in layout.mounts.iter().enumerate() {
        let source = match &mount.what {
            What::Made { content } => folder.make_file(number, content)?,
            What::Empty { directory } => folder.empty(*directory),
            What::Bind { source, .. } => source.clone(),
            What::Mapped { .. } | What::Layers { .. } => folder.empty(true),
            What::Overlay { .. } | What::Memory { .. } => PathBuf::new(),
        };
        mounts.push(HostMount::new(settings.engine, mount, spec, memory, source));
    }
    Ok(Wanted {
        engine: settings.engine,
        runtime: settings.runtime.clone(),
        sandboxed: settings.sandboxed,
        spec: spec.clone(),
        session: folder.name().to_owned(),
        base: folder.base(),
        image: image.to_owned(),
        profile_file: folder.write("profile.json", profile.as_bytes())?,
        profile,
        guest,
        inside: folder.inside(),
        system: folder.system(),
        mounts,
        // gVisor has no such settings.
        ipv6: !settings.sandboxed && Path::new("/proc/sys/net/ipv6").exists(),
        terminal: has_terminal(spec),
    })
}

pub(crate) fn has_terminal(spec: &BoundarySpec) -> bool {
    spec.foreground && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

pub(crate) fn window() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// What the kernel gives a file system in memory that names no size.
pub(crate) fn half_of_memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit) * info.totalram / 2
}

/// What the root is made of.
pub(crate) enum Root {
    /// An image of the person's own, by its name.
    Named(String),
    /// The host's system: an image of links, and mounts.
    Host(RootImage),
}

impl Root {
    fn new(settings: &Settings, layout: &mut Layout) -> Result<Self, StartError> {
        let Some(name) = &settings.image else {
            return RootImage::new(&layout.skeleton).map(Self::Host);
        };
        if let Some((path, _)) = layout.skeleton.first() {
            let cause = "an image is what it is, and gets no links".to_owned();
            return Err(cannot(format!("make {} inside", path.display()), cause));
        }
        named::cover_volumes(settings.engine, name, layout)?;
        Ok(Self::Named(name.clone()))
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Named(name) => name,
            Self::Host(image) => &image.name,
        }
    }
}
