//! Starting a session in a container.

use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use palisade_boundary::{Assessment, Backend, BoundarySpec, Identity, Probe, Running, StartError};
use palisade_guest::filter::Options;
use palisade_guest::network::NetworkPlan;
use palisade_protocol::GuestPlan;

use crate::api::{Api, ClientSettings};
use crate::engine::{Engine, cannot};
use crate::flags::{HostMount, StartedBy, Wanted};
use crate::folder::{Place, SessionFolder};
use crate::guest::{self, real_guest};
use crate::image::{RootImage, named};
use crate::launch::{launch, name, provide};
use crate::podman;
use crate::profile::profile;
use crate::running::{ContainerRunning, Parts, Starter};
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
    pub(crate) settings: Settings,
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
        let laid = self.lay(spec)?;
        let folder = SessionFolder::make(&self.base).map_err(|e| {
            cannot(
                format!("make a folder below {}", self.base.display()),
                e.to_string(),
            )
        })?;
        let wanted = self.wanted(spec, &laid, &folder, StartedBy::Palisade);
        let listener = self.fill(&folder, &laid, &wanted)?;
        let gate = self.settings.sandboxed.then(|| folder.open_gate());
        let gate = gate.transpose().map_err(not_opened)?;
        let (engine, api) = (wanted.engine, self.api());
        provide(engine, api.as_ref(), &laid.image)?;
        let client = launch(&wanted).inspect_err(|_| podman::remove_volumes(&wanted))?;
        // From here on, dropping this ends the container.
        let starter = Starter::Ours(client);
        let mut parts = self.parts(laid, folder, listener, wanted, starter);
        parts.gate = gate;
        Ok(Box::new(ContainerRunning::new(parts)?))
    }
}

fn not_opened(error: std::io::Error) -> StartError {
    cannot("open the session's socket".into(), error.to_string())
}

/// What a container will be made of. Nothing is made yet.
pub(crate) struct Laid {
    pub(crate) layout: Layout,
    pub(crate) image: Root,
    guest: PathBuf,
    reach: Reach,
}

impl ContainerBackend {
    pub(crate) fn lay(&self, spec: &BoundarySpec) -> Result<Laid, StartError> {
        let engine = self.settings.engine;
        let reach = if self.settings.sandboxed {
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
        Ok(Laid {
            layout,
            image,
            guest,
            reach,
        })
    }

    /// Everything about the container, whose session's folder lies there.
    pub(crate) fn wanted(
        &self,
        spec: &BoundarySpec,
        laid: &Laid,
        place: &Place,
        by: StartedBy,
    ) -> Wanted {
        let engine = self.settings.engine;
        Wanted {
            engine,
            runtime: self.settings.runtime.clone(),
            sandboxed: self.settings.sandboxed,
            spec: spec.clone(),
            session: place.name().to_owned(),
            base: place.base(),
            image: laid.image.name().to_owned(),
            profile_file: place.profile(),
            profile: profile(Options::default()),
            guest: laid.guest.clone(),
            inside: place.inside(),
            system: place.system(),
            mounts: mounts(engine, spec, &laid.layout, place, by),
            // gVisor has no such settings.
            ipv6: !self.settings.sandboxed && Path::new("/proc/sys/net/ipv6").exists(),
            terminal: has_terminal(spec),
            by,
        }
    }

    /// Writes the session's files, and opens the socket that the guest calls.
    pub(crate) fn fill(
        &self,
        folder: &SessionFolder,
        laid: &Laid,
        wanted: &Wanted,
    ) -> Result<OwnedFd, StartError> {
        let owned = owned(wanted.engine, &laid.layout);
        let mut plan = guest_plan(owned, &wanted.spec, &laid.layout)?;
        if wanted.by != StartedBy::Palisade {
            // Whatever terminal there is, it is another one than ours, and all the container's.
            (plan.foreground, plan.window) = (true, None);
        }
        if wanted.sandboxed {
            (plan.relayed, plan.window) = (true, None);
        }
        self.write(folder, laid, wanted)?;
        folder.open(&plan).map_err(not_opened)
    }

    /// Writes what the container is made of.
    pub(crate) fn write(
        &self,
        folder: &SessionFolder,
        laid: &Laid,
        wanted: &Wanted,
    ) -> Result<(), StartError> {
        write_files(folder, laid, wanted)
            .map_err(|e| cannot("write the session's files".into(), e.to_string()))
    }

    pub(crate) fn parts(
        &self,
        laid: Laid,
        folder: SessionFolder,
        listener: OwnedFd,
        wanted: Wanted,
        starter: Starter,
    ) -> Parts {
        Parts {
            engine: wanted.engine,
            api: self.api(),
            container: name(&wanted.session),
            starter,
            folder,
            listener,
            gate: None,
            settings: self.settings.clone(),
            wanted,
            late: laid.layout.late,
            reach: laid.reach,
            masked: laid.layout.masked,
        }
    }

    /// Podman has no daemon to ask.
    pub(crate) fn api(&self) -> Option<Api> {
        match self.settings.engine {
            Engine::Docker => Api::of(&self.client),
            Engine::Podman => None,
        }
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

fn mounts(
    engine: Engine,
    spec: &BoundarySpec,
    layout: &Layout,
    place: &Place,
    by: StartedBy,
) -> Vec<HostMount> {
    let memory = spec.limits.memory.unwrap_or_else(half_of_memory);
    let mut overlays = 0..;
    let mount = |(number, mount): (usize, &Mount)| {
        let source = match &mount.what {
            What::Made { .. } => place.made(number),
            What::Empty { directory } => place.empty(*directory),
            What::Bind { source, .. } => source.clone(),
            What::Mapped { .. } | What::Layers { .. } => place.empty(true),
            What::Overlay { .. } | What::Memory { .. } => PathBuf::new(),
        };
        let mut mount = HostMount::new(engine, mount, spec, memory, source);
        if let HostMount::Overlay { layers, .. } = &mut mount
            && by != StartedBy::Palisade
        {
            let link = place.changes(overlays.next().unwrap_or_default());
            (layers.upper, layers.work) = (link.join("upper"), link.join("work"));
        }
        mount
    };
    layout.mounts.iter().enumerate().map(mount).collect()
}

fn write_files(folder: &SessionFolder, laid: &Laid, wanted: &Wanted) -> std::io::Result<()> {
    folder.write_profile(wanted.profile.as_bytes())?;
    let mut overlays = 0..;
    for (number, mount) in laid.layout.mounts.iter().enumerate() {
        match &mount.what {
            What::Made { content } => drop(folder.make_file(number, content)?),
            What::Overlay { upper, .. } if wanted.by != StartedBy::Palisade => {
                let kept = upper.parent().unwrap_or(upper);
                folder.link_changes(overlays.next().unwrap_or_default(), kept)?;
            }
            _ => {}
        }
    }
    Ok(())
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
