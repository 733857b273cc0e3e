//! The registry of backends: the one place that names them.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_boundary::Backend;
use palisade_config::{
    ContainerEngine, ContainerRoot, ContainerSettings, Effective, Gvisor, GvisorPlatform, Sourced,
};
use palisade_native::NativeBackend;
use palisade_oci::{
    ClientSettings, ContainerBackend, Engine, GvisorBackend, GvisorSettings, Place, Platform,
    Remapped, ServedBackend, Settings, Tell,
};
use palisade_session::User;
use palisade_workspace::WorkspaceAccess;

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::harmless;

/// Names of all backends, for messages.
pub(crate) const NAMES: [&str; 3] = ["native", CONTAINER, GVISOR];

const CONTAINER: &str = "container";
const GVISOR: &str = "gvisor";

/// The backend of this name, with what is said of containers and of gVisor.
pub(crate) fn by_name(
    name: &str,
    here: &Surroundings,
    container: &ContainerSettings,
    gvisor: &Gvisor,
) -> Result<Box<dyn Backend>, Failure> {
    match name {
        "native" => Ok(Box::new(NativeBackend)),
        CONTAINER => Ok(Box::new(container_backend(here, container)?)),
        GVISOR if gvisor.via_docker.is_some() => {
            let base = here.state.path().join("containers");
            let settings = sandboxed_settings(gvisor)?;
            let client = docker_client(here);
            let backend = ContainerBackend::new(base, guest()?, settings, client);
            Ok(Box::new(backend))
        }
        GVISOR => {
            let base = here.state.path().join("sandboxes");
            let backend = GvisorBackend::new(gvisor_settings(gvisor), base, guest()?, helper()?);
            Ok(Box::new(backend))
        }
        other => Err(Failure::new(format!("unknown boundary `{other}`"))
            .hint(format!("known: {}", NAMES.join(", ")))),
    }
}

fn container_backend(
    here: &Surroundings,
    container: &ContainerSettings,
) -> Result<ContainerBackend, Failure> {
    let base = here.state.path().join("containers");
    let (settings, client) = (settings(container), docker_client(here));
    Ok(ContainerBackend::new(base, guest()?, settings, client))
}

/// Containers that somebody else starts, with the session's folder in that place.
pub(crate) fn served(
    policy: &Effective,
    here: &Surroundings,
    place: Place,
    tell: Tell,
) -> Result<ServedBackend, Failure> {
    let inner = container_backend(here, &policy.container)?;
    // Who pastes the line most often does it where it was printed.
    let terminal = std::io::stdin().is_terminal();
    Ok(ServedBackend::new(inner, place, terminal, tell))
}

/// The boundary of sessions whose container somebody else starts: there is no other.
pub(crate) fn check_served(policy: &Effective) -> Result<(), Failure> {
    let name = name_of(policy);
    if name == CONTAINER {
        return Ok(());
    }
    let name = harmless(name);
    Err(Failure::new(format!(
        "the boundary is {name}, and only a container can be started by somebody else"
    ))
    .hint("add `--boundary container`"))
}

/// The boundary where a container is meant and none is named.
pub(crate) const SERVED: &str = CONTAINER;

/// The backend a policy names, or the default.
pub(crate) fn of_policy(
    policy: &Effective,
    here: &Surroundings,
) -> Result<Box<dyn Backend>, Failure> {
    by_name(name_of(policy), here, &policy.container, &policy.gvisor)
}

fn settings(container: &ContainerSettings) -> Settings {
    let engine = container.engine.as_ref();
    Settings {
        engine: match engine.map(|engine| engine.value) {
            Some(ContainerEngine::Docker) => Engine::Docker,
            Some(ContainerEngine::Podman) => Engine::Podman,
            None => palisade_oci::choose(&palisade_oci::Surroundings {
                docker: is_installed(Engine::Docker),
                podman: is_installed(Engine::Podman),
                docker_host: std::env::var("DOCKER_HOST")
                    .ok()
                    .filter(|host| !host.is_empty()),
            }),
        },
        runtime: container
            .runtime
            .as_ref()
            .map(|runtime| runtime.value.clone()),
        sandboxed: false,
        keeps_owners: container.user.is_some(),
        image: container.root.as_ref().and_then(|root| match &root.value {
            ContainerRoot::Image(image) => Some(image.clone()),
            ContainerRoot::Host => None,
        }),
    }
}

/// Where the programs of the image are that is the agent's root. None where the host's system is.
pub(crate) fn image_path(policy: &Effective) -> Result<Vec<PathBuf>, Failure> {
    let Some(image) = policy.image() else {
        return Ok(Vec::new());
    };
    let engine = settings(&policy.container).engine;
    palisade_oci::search_path(engine, image).map_err(|error| {
        let failure = Failure::new(&error);
        match &error.fix {
            Some(fix) => failure.hint(harmless(fix)),
            None => failure,
        }
    })
}

fn is_installed(engine: Engine) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(engine.program()).is_file())
}

fn gvisor_settings(written: &Gvisor) -> GvisorSettings {
    let mut settings = GvisorSettings::default();
    if let Some(runsc) = &written.runsc {
        settings.runsc.clone_from(&runsc.value);
    }
    // It gets nothing of the environment, and so no `PATH` to be looked for in.
    if !settings.runsc.is_absolute()
        && let Some(found) = in_path(&settings.runsc)
    {
        settings.runsc = found;
    }
    settings.platform = written.platform.as_ref().map(|chosen| match chosen.value {
        GvisorPlatform::Systrap => Platform::Systrap,
        GvisorPlatform::Kvm => Platform::Kvm,
        GvisorPlatform::Ptrace => Platform::Ptrace,
    });
    settings
}

/// Of docker, whose runtime is gVisor. What gVisor is told is the daemon's then.
fn sandboxed_settings(written: &Gvisor) -> Result<Settings, Failure> {
    if let Some(platform) = &written.platform {
        let source = &platform.source;
        return Err(Failure::new(format!(
            "{source}: gVisor's platform is for docker's daemon to say where docker starts it (`via`)"
        ))
        .hint("take `platform` out, and name it in the runtime's `runtimeArgs` (/etc/docker/daemon.json): \"--platform=systrap\""));
    }
    let runtime = match &written.runsc {
        None => "runsc".to_owned(),
        Some(name) => match name.value.to_str() {
            Some(text) if !text.contains('/') => text.to_owned(),
            _ => {
                return Err(Failure::new(format!(
                    "{}: with `via = \"docker\"` this is the name of docker's runtime and not a path",
                    name.source
                ))
                .hint("such as \"runsc\"; `docker info` lists them"));
            }
        },
    };
    Ok(Settings {
        engine: Engine::Docker,
        runtime: Some(runtime),
        image: None,
        sandboxed: true,
        keeps_owners: true,
    })
}

/// Docker has no id-mapped mounts, and nobody lays any in a sandbox: run by root the agent is the owner of the workspace.
fn sandboxed_user(policy: &Effective, here: &Surroundings) -> Result<User, Failure> {
    let user = with_the_hosts_ids(here.user.clone());
    if palisade_oci::remapped(Engine::Docker, &docker_client(here)).is_some() {
        return Err(Failure::new(
            "the docker daemon maps users (userns-remap), so the agent would not be the owner of its workspace in gVisor",
        )
        .hint("use a daemon without userns-remap, or let palisade run gVisor itself (`via = \"runsc\"`)"));
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(user);
    }
    let workspace = &policy.workspace.value;
    let shown = workspace.display();
    let found = std::fs::metadata(workspace)
        .map_err(|error| Failure::new(format!("find the owner of {shown}: {error}")))?;
    let (host_uid, host_gid) = (found.uid(), found.gid());
    if host_uid == 0 || host_gid == 0 {
        return Err(Failure::new(format!(
            "in a sandbox that docker starts the agent is the owner of its workspace, and {shown} is owned by root, which an agent never is"
        ))
        .hint("give the folder to an ordinary user (chown), run palisade as one, or let palisade run gVisor itself (`via = \"runsc\"`)"));
    }
    Ok(with_the_hosts_ids(User {
        host_uid,
        host_gid,
        ..user
    }))
}

/// Who the agent is with that backend. The ids of a container and of a sandbox are the host's.
pub(crate) fn user_of(policy: &Effective, here: &Surroundings) -> Result<User, Failure> {
    let user = here.user.clone();
    match name_of(policy) {
        CONTAINER => container_user(policy, here),
        GVISOR if policy.gvisor.via_docker.is_some() => sandboxed_user(policy, here),
        GVISOR => Ok(with_the_hosts_ids(user)),
        _ => Ok(user),
    }
}

fn container_user(policy: &Effective, here: &Surroundings) -> Result<User, Failure> {
    let engine = settings(&policy.container).engine;
    let user = here.user.clone();
    if let Some(first) = palisade_oci::remapped(engine, &docker_client(here)) {
        return mapped_user(first, policy, here);
    }
    match &policy.container.user {
        Some(named) => named_user(named, policy, here),
        None => Ok(with_the_hosts_ids(user)),
    }
}

fn with_the_hosts_ids(user: User) -> User {
    User {
        uid: user.host_uid,
        gid: user.host_gid,
        ..user
    }
}

/// One of the daemon's own, like the agents of root one for each session. The workspace is laid with its owner's files as the
/// agent's, which takes root.
fn mapped_user(first: Remapped, policy: &Effective, here: &Surroundings) -> Result<User, Failure> {
    if let Some(named) = &policy.container.user {
        let (source, (uid, gid)) = (&named.source, named.value);
        return Err(Failure::new(format!(
            "{source}: the docker daemon maps users (userns-remap), and {uid}:{gid} inside would be somebody else on this machine"
        ))
        .hint("take `user` out, or use a daemon without userns-remap"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(
            "the docker daemon maps users (userns-remap), so you would not be the owner of your workspace inside",
        )
        .hint(palisade_oci::NO_REMAP));
    }
    // A daemon has 65,536 ids, unless it is told otherwise.
    let id = FIRST_MAPPED + here.number % MAPPED;
    Ok(User {
        uid: id,
        gid: id,
        host_uid: first.uid.saturating_add(id),
        host_gid: first.gid.saturating_add(id),
        ..here.user.clone()
    })
}

/// The agents' ids in a container whose users are mapped, above those of an image's own users.
const FIRST_MAPPED: u32 = 1 << 14;
const MAPPED: u32 = 1 << 15;

/// The user that the policy names. What is kept for the agent is made by whoever runs palisade, and only root can give it away.
fn named_user(
    named: &Sourced<(u32, u32)>,
    policy: &Effective,
    here: &Surroundings,
) -> Result<User, Failure> {
    let (uid, gid) = named.value;
    let is_own = (uid, gid) == (here.user.host_uid, here.user.host_gid);
    let by_root = rustix::process::geteuid().is_root();
    let kept = policy.access.value == WorkspaceAccess::Review || !policy.volumes.is_empty();
    if kept && !is_own && !by_root {
        let source = &named.source;
        return Err(Failure::new(format!(
            "{source}: what `access = \"review\"` and volumes keep for the agent is yours, and {uid}:{gid} could not write it"
        ))
        .hint("take `user` out, run palisade as that user or as root, or use another access and no volumes"));
    }
    Ok(User {
        uid,
        gid,
        host_uid: uid,
        host_gid: gid,
        ..here.user.clone()
    })
}

fn name_of(policy: &Effective) -> &str {
    let named = policy.backend.as_ref();
    named.map_or("native", |named| &named.value)
}

/// The first program of this name that `PATH` leads to.
fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).map(|folder| folder.join(name));
    all.find(|place| {
        let found = std::fs::metadata(place);
        found.is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
    })
}

/// What docker's command line is told by its environment.
fn docker_client(here: &Surroundings) -> ClientSettings {
    let folder = std::env::var_os("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
    ClientSettings {
        host: std::env::var_os("DOCKER_HOST"),
        context: std::env::var_os("DOCKER_CONTEXT"),
        folder: folder.map_or_else(|| here.home.join(".docker"), PathBuf::from),
    }
}

/// `palisade-guest` lies beside `palisade`.
fn guest() -> Result<PathBuf, Failure> {
    Ok(own_program()?.with_file_name("palisade-guest"))
}

/// Words that start [`crate::commands::sandbox`].
fn helper() -> Result<Vec<OsString>, Failure> {
    Ok(vec![own_program()?.into(), "sandbox".into()])
}

fn own_program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe();
    own.map_err(|error| Failure::new(format!("find palisade's own program: {error}")))
}
