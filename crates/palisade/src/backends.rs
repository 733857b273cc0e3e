//! The registry of backends: the one place that names them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use palisade_boundary::Backend;
use palisade_config::{Effective, Gvisor, GvisorPlatform};
use palisade_native::NativeBackend;
use palisade_oci::{ContainerBackend, GvisorBackend, GvisorSettings, Platform};
use palisade_session::User;

use crate::failure::Failure;
use crate::surroundings::Surroundings;

/// Names of all backends, for messages.
pub(crate) const NAMES: [&str; 3] = ["native", CONTAINER, GVISOR];

const CONTAINER: &str = "container";
const GVISOR: &str = "gvisor";

/// The backend of this name, as it is without a policy.
pub(crate) fn by_name(name: &str, here: &Surroundings) -> Result<Box<dyn Backend>, Failure> {
    make(name, &Gvisor::default(), here)
}

fn make(name: &str, gvisor: &Gvisor, here: &Surroundings) -> Result<Box<dyn Backend>, Failure> {
    match name {
        "native" => Ok(Box::new(NativeBackend)),
        CONTAINER => {
            let base = here.state.path().join("containers");
            Ok(Box::new(ContainerBackend::new(base, guest()?)))
        }
        GVISOR => {
            let base = here.state.path().join("sandboxes");
            let backend = GvisorBackend::new(gvisor_settings(gvisor), base, guest()?);
            Ok(Box::new(backend))
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
    make(name_of(policy), &policy.gvisor, here)
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

/// Who the agent is with that backend. Containers and gVisor have no id-mapped mounts, so run by root the agent is the owner of the
/// workspace.
pub(crate) fn user_of(policy: &Effective, here: &Surroundings) -> Result<User, Failure> {
    let workspace = &policy.workspace.value;
    if ![CONTAINER, GVISOR].contains(&name_of(policy)) || !rustix::process::geteuid().is_root() {
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
            "with this boundary the agent is the owner of its workspace, and {workspace} is owned by root, which an agent never is"
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

/// The first program of this name that `PATH` leads to.
fn in_path(name: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut all = std::env::split_paths(&path).map(|folder| folder.join(name));
    all.find(|place| {
        let found = std::fs::metadata(place);
        found.is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
    })
}

/// `palisade-guest` lies beside `palisade`.
fn guest() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe();
    let own = own.map_err(|error| Failure::new(format!("find palisade's own program: {error}")))?;
    Ok(own.with_file_name("palisade-guest"))
}
