//! What podman does another way: who the agent is without root, which limits it can hold then, and volumes.

use std::path::Path;

use palisade_boundary::{BoundarySpec, Control, Limits, StartError};
use rustix::process::{Resource, getrlimit};

use crate::engine::{Engine, cannot};
use crate::flags::{LABEL_BASE, LABEL_SESSION, Wanted, processes};

/// The control groups that an engine may limit containers by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Groups {
    pub(crate) memory: bool,
    pub(crate) cpu: bool,
    pub(crate) pids: bool,
}

impl Groups {
    /// Those of this engine here. Without root they are what the system manager leaves to the user.
    pub(crate) fn of(engine: Engine) -> Self {
        if !engine.is_rootless() {
            return Self::of_words("memory cpu pids");
        }
        let uid = rustix::process::geteuid().as_raw();
        let own = format!(
            "/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers"
        );
        Self::of_words(&std::fs::read_to_string(own).unwrap_or_default())
    }

    fn of_words(controllers: &str) -> Self {
        let has = |name| controllers.split_whitespace().any(|found| found == name);
        Self {
            memory: has("memory"),
            cpu: has("cpu"),
            pids: has("pids"),
        }
    }

    /// Limits that were asked for and cannot be held.
    pub(crate) fn missing(self, limits: &Limits) -> impl Iterator<Item = Control> {
        let memory = (limits.memory.is_some() && !self.memory).then_some(Control::Memory);
        let cpus = (limits.cpus.is_some() && !self.cpu).then_some(Control::Cpus);
        memory.into_iter().chain(cpus)
    }
}

/// Why a limit cannot be held, and what to do.
pub(crate) const NO_GROUP: (&str, &str) = (
    "podman without root has no control group to limit it by: that takes the unified hierarchy (cgroup v2) and a system manager that \
     leaves this controller to users",
    "run podman as root, or let systemd delegate it (Delegate=yes for user@.service; check `podman info`)",
);

/// What cannot be had without root, and was not accepted.
pub(crate) fn check(engine: Engine, spec: &BoundarySpec) -> Result<(), StartError> {
    if !engine.is_rootless() {
        return Ok(());
    }
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    if (spec.identity.uid, spec.identity.gid) != own {
        let cause = "podman without root gives the agent no ids but yours";
        let mut error = cannot("choose the agent's identity".into(), cause.into());
        error.fix = Some("leave `user` out, or run podman as root".into());
        return Err(error);
    }
    let mut missing = Groups::of(engine).missing(&spec.limits);
    match missing.find(|control| !spec.accepted.contains(control)) {
        None => Ok(()),
        Some(control) => {
            let (why, fix) = NO_GROUP;
            let mut error = cannot(format!("hold {control}"), why.into());
            error.fix = Some(fix.into());
            Err(error)
        }
    }
}

/// Options of `create` that docker has no need of.
pub(crate) fn arguments(wanted: &Wanted) -> Vec<String> {
    let mut all: Vec<String> = [
        // Podman would make more of the root writable, prepare it for an init system, and add names and variables of its own.
        "--read-only-tmpfs=false",
        "--systemd=false",
        "--no-hosts",
        "--http-proxy=false",
        // Settings of the engine may say otherwise.
        "--pid=private",
        "--uts=private",
        // What an image declares as a volume is as the image has it.
        "--image-volume=ignore",
    ]
    .map(str::to_owned)
    .to_vec();
    if wanted.engine.is_rootless() {
        // Root of the container is a subordinate id of the caller's, and the caller is the same inside.
        all.push("--userns=keep-id".into());
    }
    all.extend(own_limits(wanted));
    all
}

/// The caller's own limits of each process, or less: what is not named podman raises to a default of its own, which takes a right
/// that the caller may not have. Without that right it also lowers its limit of processes to that of open files (4.3).
fn own_limits(wanted: &Wanted) -> [String; 2] {
    let (files, own) = (getrlimit(Resource::Nofile), getrlimit(Resource::Nproc));
    let rootless = wanted.engine.is_rootless();
    let most = rootless.then(|| processes(&wanted.spec.limits));
    let lowest = |limits: [Option<u64>; 3]| limits.into_iter().flatten().min();
    let hard = lowest([own.maximum, files.maximum, most]);
    let soft = lowest([own.current, hard, None]);
    let text = |limit: Option<u64>| limit.map_or("-1".to_owned(), |limit| limit.to_string());
    let option = |name: &str, soft, hard| format!("--ulimit={name}={}:{}", text(soft), text(hard));
    [
        option("nofile", files.current, files.maximum),
        option("nproc", soft, hard),
    ]
}

/// With root, changes are kept apart by a volume, since its own overlay mounts are told no options.
fn volumes(wanted: &Wanted) -> impl Iterator<Item = (String, String)> {
    let by_volume = wanted.engine == Engine::Podman && !wanted.engine.is_rootless();
    let overlays = wanted.overlays().filter(move |_| by_volume);
    let name = |(number, (_, options))| (volume_name(&wanted.session, number), options);
    overlays.enumerate().map(name)
}

/// The name of a session's volume.
pub(crate) fn volume_name(session: &str, number: usize) -> String {
    format!("{VOLUME}{session}-{number}")
}

const VOLUME: &str = "palisade-";

/// Makes the volumes that `create` will name.
pub(crate) fn make_volumes(wanted: &Wanted) -> Result<(), StartError> {
    for (name, options) in volumes(wanted) {
        let label = |name: &str, value: &str| format!("--label={name}={value}");
        let command = [
            "volume".to_owned(),
            "create".to_owned(),
            "--driver=local".to_owned(),
            label(LABEL_SESSION, &wanted.session),
            label(LABEL_BASE, &wanted.base.display().to_string()),
            "--opt=type=overlay".to_owned(),
            "--opt=device=overlay".to_owned(),
            format!("--opt=o={options}"),
            name,
        ];
        let what = "make the volume of the changes";
        let made = wanted.engine.ask(what, &command)?;
        check_volume(wanted.engine, &made, &options)?;
    }
    Ok(())
}

/// Whether a volume is the overlay that was asked for.
pub(crate) fn check_volume(engine: Engine, name: &str, options: &str) -> Result<(), StartError> {
    let what = "look at the volume of the changes";
    let look = ["volume", "inspect", "--format", "{{json .Options}}", name];
    let found = engine.ask(what, &look)?;
    let found: serde_json::Value = serde_json::from_str(&found).unwrap_or_default();
    let asked = serde_json::json!({ "type": "overlay", "device": "overlay", "o": options });
    if found == asked {
        return Ok(());
    }
    let program = engine.program();
    let cause = format!("{program} made another one than was asked for: {found}");
    let mut error = cannot(what.into(), cause);
    error.fix = Some(format!("`{program} volume rm {name}`, and try again"));
    Err(error)
}

/// Removes them, once the container is gone.
pub(crate) fn remove_volumes(wanted: &Wanted) {
    for (name, _) in volumes(wanted) {
        let remove = ["volume", "rm", "--force", &name];
        let _ = wanted.engine.ask("remove the volume", &remove);
    }
}

/// Removes those of sessions that are gone.
pub(crate) fn remove_stale_volumes(engine: Engine, base: &Path, lives: impl Fn(&str) -> bool) {
    if engine != Engine::Podman || engine.is_rootless() {
        return;
    }
    let of_this_base = format!("label={LABEL_BASE}={}", base.display());
    let list = ["volume", "ls", "--quiet", "--filter", &of_this_base];
    let found = engine.ask("look for what is left over", &list);
    for name in found.unwrap_or_default().lines() {
        let session = name.strip_prefix(VOLUME);
        let session = session.and_then(|rest| rest.rsplit_once('-'));
        if session.is_some_and(|(session, _)| !lives(session)) {
            let remove = ["volume", "rm", "--force", name];
            let _ = engine.ask("remove what is left over", &remove);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_control_group_is_missing_only_where_it_was_asked_for() {
        let limits = Limits {
            memory: Some(1 << 30),
            cpus: Some(1.5),
            processes: Some(10),
        };
        let missing = |words: &str, limits: &Limits| -> Vec<Control> {
            Groups::of_words(words).missing(limits).collect()
        };
        assert_eq!(missing("cpu memory pids", &limits), []);
        assert_eq!(missing("memory pids", &limits), [Control::Cpus]);
        assert_eq!(missing("", &limits), [Control::Memory, Control::Cpus]);
        assert_eq!(missing("", &Limits::default()), []);
    }
}
