//! Starting a session in a container.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use palisade_boundary::{Assessment, Backend, BoundarySpec, Identity, Probe, Running, StartError};
use palisade_guest::filter::Options;
use palisade_guest::network::NetworkPlan;
use palisade_protocol::GuestPlan;

use crate::engine::{Engine, cannot};
use crate::flags::{HostMount, Wanted, arguments};
use crate::folder::SessionFolder;
use crate::image::RootImage;
use crate::profile::profile;
use crate::running::{ContainerRunning, Parts};
use crate::tree::{Layout, What, lay_out};

/// A container of docker.
#[derive(Clone, Debug)]
pub struct ContainerBackend {
    /// Where sessions keep their folders, below palisade's own state.
    base: PathBuf,
    /// The guest, a static program.
    guest: PathBuf,
}

impl ContainerBackend {
    /// Sessions keep their folders below `base`, which nobody inside may see; `guest` is `palisade-guest` on the host.
    pub fn new(base: PathBuf, guest: PathBuf) -> Self {
        Self { base, guest }
    }
}

impl Backend for ContainerBackend {
    fn name(&self) -> &'static str {
        "container"
    }

    fn probe(&self) -> Probe {
        crate::probe::probe(Engine::Docker, &self.guest)
    }

    fn assess(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        crate::assess::assess(spec)
    }

    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError> {
        let engine = Engine::Docker;
        check_identity(&spec.identity)?;
        let guest = real_guest(&self.guest)?;
        let layout = lay_out(&spec.tree, false)?;
        let folder = SessionFolder::make(&self.base).map_err(|e| {
            cannot(
                format!("make a folder below {}", self.base.display()),
                e.to_string(),
            )
        })?;
        let listener = folder
            .open(&guest_plan(spec, &layout)?)
            .map_err(|e| cannot("open the session's socket".into(), e.to_string()))?;
        let image = RootImage::new(&layout.skeleton)?;
        let wanted = wanted(spec, &folder, &layout, guest, &image)
            .map_err(|e| cannot("write the session's files".into(), e.to_string()))?;
        let container = create(engine, &wanted, &image)?;
        let client = attach(engine, &container)?;
        let parts = Parts {
            engine,
            container,
            client,
            folder,
            listener,
            wanted,
        };
        // From here on, dropping this ends the container.
        let running = ContainerRunning::new(parts)?;
        Ok(Box::new(running))
    }
}

/// The agent's ids are the same on both sides of a container: engines have no id-mapped mounts.
pub(crate) fn check_identity(identity: &Identity) -> Result<(), StartError> {
    let what = || "choose the agent's identity".to_owned();
    if [
        identity.uid,
        identity.gid,
        identity.host_uid,
        identity.host_gid,
    ]
    .contains(&0)
    {
        let cause = "the agent is never root, neither inside nor outside".to_owned();
        return Err(cannot(what(), cause));
    }
    if (identity.uid, identity.gid) != (identity.host_uid, identity.host_gid) {
        let cause = "a container gives the agent the same ids inside and outside".to_owned();
        return Err(cannot(what(), cause));
    }
    Ok(())
}

pub(crate) fn real_guest(guest: &Path) -> Result<PathBuf, StartError> {
    guest.canonicalize().map_err(|e| StartError {
        what: format!("find the guest {}", guest.display()),
        cause: e.to_string(),
        fix: Some("install palisade-guest beside palisade".into()),
    })
}

pub(crate) fn guest_plan(spec: &BoundarySpec, layout: &Layout) -> Result<GuestPlan, StartError> {
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
        owned: layout.owned.clone(),
        writable: layout.writable.clone(),
        directory: spec.command.directory.clone(),
        argv: spec.command.argv.clone(),
        environment: spec.command.environment.clone(),
    })
}

fn wanted(
    spec: &BoundarySpec,
    folder: &SessionFolder,
    layout: &Layout,
    guest: PathBuf,
    image: &RootImage,
) -> std::io::Result<Wanted> {
    let profile = profile(Options::default());
    let memory = spec.limits.memory.unwrap_or_else(half_of_memory);
    let mut mounts = Vec::with_capacity(layout.mounts.len());
    for (number, mount) in layout.mounts.iter().enumerate() {
        let source = match &mount.what {
            What::Made { content } => folder.make_file(number, content)?,
            What::Empty { directory } => folder.empty(*directory),
            What::Bind { source, .. } => source.clone(),
            What::Overlay { .. } | What::Scratch { .. } | What::Memory { .. } => PathBuf::new(),
        };
        mounts.push(HostMount::new(mount, spec, memory, source));
    }
    Ok(Wanted {
        spec: spec.clone(),
        session: folder.name().to_owned(),
        base: folder.base(),
        image: image.name.clone(),
        profile_file: folder.write("profile.json", profile.as_bytes())?,
        profile,
        guest,
        inside: folder.inside(),
        system: folder.system(),
        mounts,
        ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        terminal: has_terminal(spec),
    })
}

pub(crate) fn has_terminal(spec: &BoundarySpec) -> bool {
    spec.foreground && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

fn window() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdin()).ok()?;
    Some((size.ws_row, size.ws_col))
}

/// What the kernel gives a file system in memory that names no size.
fn half_of_memory() -> u64 {
    let info = rustix::system::sysinfo();
    u64::from(info.mem_unit) * info.totalram / 2
}

/// Makes the container; its image is made where the engine does not know it yet.
fn create(engine: Engine, wanted: &Wanted, image: &RootImage) -> Result<String, StartError> {
    let what = "make the container";
    let mut command = vec!["create".to_owned()];
    command.extend(arguments(wanted));
    match engine.ask(what, &command) {
        Err(error) if error.cause.contains("No such image") => {
            image.import(engine)?;
            engine.ask(what, &command)
        }
        other => other,
    }
}

/// Starts the container, attached to our standard streams.
fn attach(engine: Engine, container: &str) -> Result<Child, StartError> {
    let client = engine
        .command()
        .args(["start", "--attach", "--interactive", container])
        .stdin(Stdio::inherit())
        .spawn();
    client.map_err(|e| {
        let _ = engine.ask(
            "remove the container",
            &["rm", "--force", "--volumes", container],
        );
        engine.not_run("start the container", &e)
    })
}
