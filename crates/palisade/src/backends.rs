//! The registry of backends: the one place that names them.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use palisade_boundary::Backend;
use palisade_config::Effective;
use palisade_native::NativeBackend;
use palisade_oci::{ClientSettings, ContainerBackend};
use palisade_session::User;

use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// Names of all backends, for messages.
pub(crate) const NAMES: [&str; 2] = ["native", CONTAINER];

const CONTAINER: &str = "container";

/// The backend of this name.
pub(crate) fn by_name(name: &str, here: &Surroundings) -> Result<Box<dyn Backend>, Failure> {
    match name {
        "native" => Ok(Box::new(NativeBackend)),
        CONTAINER => {
            let base = here.state.path().join("containers");
            Ok(Box::new(ContainerBackend::new(
                base,
                guest()?,
                docker_client(here),
            )))
        }
        other => Err(Failure::new(format!("unknown boundary `{other}`"))
            .hint(format!("known: {}", NAMES.join(", ")))),
    }
}

/// The backend a policy names, or the default.
pub(crate) fn of_policy(
    policy: &Effective,
    here: &Surroundings,
) -> Result<Box<dyn Backend>, Failure> {
    by_name(name_of(policy), here)
}

/// Who the agent is with that backend. A container has no id-mapped mounts, so run by root the agent is the owner of the
/// workspace.
pub(crate) fn user_of(policy: &Effective, here: &Surroundings) -> Result<User, Failure> {
    let workspace = &policy.workspace.value;
    if name_of(policy) != CONTAINER || !rustix::process::geteuid().is_root() {
        return Ok(here.user.clone());
    }
    let found = std::fs::metadata(workspace).map_err(|error| {
        Failure::new(format!(
            "find the owner of {}: {error}",
            workspace.display()
        ))
    })?;
    let (uid, gid) = (found.uid(), found.gid());
    if uid == 0 || gid == 0 {
        let workspace = workspace.display();
        return Err(Failure::new(format!(
            "in a container the agent is the owner of its workspace, and {workspace} is owned by root, which an agent never is"
        ))
        .hint("give the folder to an ordinary user (chown), run palisade as one, or use the native boundary"));
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
    let own = std::env::current_exe();
    let own = own.map_err(|error| Failure::new(format!("find palisade's own program: {error}")))?;
    Ok(own.with_file_name("palisade-guest"))
}
