//! gVisor through an engine: a container whose runtime is `runsc`.
//!
//! The engine makes it as any other container, with the same checks. Inside, the guest relays, as in a sandbox that palisade starts
//! itself; nothing is handed out, and no hand of ours reaches in.

use palisade_boundary::{
    Assessment, BoundarySpec, CapabilityState, Control, Enforcement, StartError, Weakness,
};
use palisade_protocol::{Changes, TreeEntry};
use serde_json::Value;

use crate::engine::cannot;
use crate::settings::Settings;

/// How the runtime is called where nobody says otherwise.
const USUAL: &str = "runsc";

/// What the daemon has to be told of it.
pub(crate) fn fix(settings: &Settings) -> String {
    let name = settings.runtime.as_deref().unwrap_or(USUAL);
    format!(
        "tell docker's daemon of it (/etc/docker/daemon.json): {{\"runtimes\": {{\"{name}\": {{\"path\": \"/usr/bin/runsc\", \"runtimeArgs\": \
         [\"--network=none\", \"--net-raw\", \"--host-uds=open\"]}}}}}}, and let it read that (systemctl reload docker)"
    )
}

/// Why nothing was heard of the guest: it calls through a socket of the host's, which gVisor has to be told to allow.
pub(crate) fn why_not(settings: &Settings, error: StartError) -> StartError {
    let what = "start the sandbox".to_owned();
    if error.cause.contains("does not have that runtime") {
        let fix = Some(fix(settings));
        return StartError { fix, ..error };
    }
    if error.fix.is_some() {
        return error;
    }
    let cause = "it ended before the guest could call; gVisor lets nobody inside call a socket of the host's unless it is told to";
    let mut told = cannot(what, cause.into());
    told.fix = Some(fix(settings));
    told
}

/// Why connections could not be led to the relay: the rule for that goes through a raw socket, which gVisor has to be told to allow.
pub(crate) fn no_filter(settings: &Settings) -> StartError {
    let cause = "gVisor lets nobody inside have a raw socket, by which its packet filter is told, unless it is told to";
    let mut error = cannot("lead connections to the gate".into(), cause.into());
    error.fix = Some(fix(settings));
    error
}

/// What cannot be had there.
pub(crate) fn check(spec: &BoundarySpec) -> Result<(), StartError> {
    if !in_memory(spec) {
        return Ok(());
    }
    let (why, fix) = NO_SCRATCH;
    let mut error = cannot("keep changes in memory".into(), why.into());
    error.fix = Some(fix.into());
    Err(error)
}

fn in_memory(spec: &BoundarySpec) -> bool {
    let mut tree = spec.tree.iter();
    tree.any(|entry| match entry {
        TreeEntry::Overlay { changes, .. } => matches!(changes, Changes::Memory { .. }),
        _ => false,
    })
}

const NO_SCRATCH: (&str, &str) = (
    "an engine mounts no overlay whose changes are in memory, and nobody mounts one in a sandbox that runs",
    "use access = \"review\" and discard what it leaves, or let palisade run gVisor itself (via = \"runsc\")",
);

/// Whether the engine knows the runtime, and what it says of how it is run. A program of the person's own may add options, which
/// the engine does not know of.
pub(crate) fn runtime(settings: &Settings) -> CapabilityState {
    let list = ["info", "--format", "{{json .Runtimes}}"];
    let engine = settings.engine;
    let found = engine.ask_in_passing("ask the engine for its runtimes", &list);
    let found: Value = serde_json::from_str(&found.unwrap_or_default()).unwrap_or_default();
    of_runtimes(settings, &found)
}

fn of_runtimes(settings: &Settings, found: &Value) -> CapabilityState {
    let name = settings.runtime.as_deref().unwrap_or(USUAL);
    let missing = |cause: String| CapabilityState::Missing {
        cause,
        fix: fix(settings),
    };
    let Some(runtime) = found.get(name) else {
        return missing(format!("docker has no runtime {name}"));
    };
    let arguments = runtime["runtimeArgs"].as_array();
    let arguments: Vec<&str> = arguments
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let says = |option: &str| arguments.iter().any(|one| one.starts_with(option));
    let path = runtime["path"].as_str().unwrap_or_default();
    if path.rsplit('/').next() != Some("runsc") {
        let detail = format!("{name} is {path}, whose options are seen at the start");
        return CapabilityState::Present(detail);
    }
    for (option, older) in [
        ("--host-uds=", "--fsgofer-host-uds"),
        ("--net-raw", "-net-raw"),
    ] {
        if !says(option) && !says(older) {
            return missing(format!("docker runs {name} without {option}"));
        }
    }
    CapabilityState::Present(format!("{name}: {path} {}", arguments.join(" ")))
}

/// As palisade's own sandbox, but for what the engine does.
pub(crate) fn assess(spec: &BoundarySpec) -> Vec<Assessment> {
    // The daemon does.
    let mut all = crate::runsc::assess(spec, true);
    let mut set = |control: Control, enforcement: Enforcement| {
        let found = all.iter_mut().find(|one| one.control == control);
        if let Some(found) = found {
            found.enforcement = enforcement;
        }
    };
    let held = |by: &str| Enforcement::Enforced(by.to_owned());
    let access = if in_memory(spec) {
        let (why, fix) = NO_SCRATCH;
        Enforcement::Unenforceable(Weakness {
            why: why.to_owned(),
            fix: Some(fix.to_owned()),
        })
    } else {
        held(
            "read-only and writable mounts of the engine's; with `review` an overlay that it mounts, whose changes are kept apart",
        )
    };
    set(Control::Access, access);
    set(
        Control::Network,
        held(
            "a container without network (--network none) and a network stack of gVisor's that has loopback alone; every socket in it that \
             answers is the relay's",
        ),
    );
    set(
        Control::Memory,
        held("the engine's control group around the sandbox, without swap"),
    );
    set(
        Control::Cpus,
        held("the engine's control group around the sandbox"),
    );
    set(
        Control::Lifetime,
        held(
            "the guest is the first process and ends with its connection to palisade; the engine removes the container",
        ),
    );
    if spec.late_masks {
        let why = "what is there at the start is covered by mounts; what appears on the host later is not, and what the agent makes \
                   itself that the host would run is not named at the end";
        let fix = "let palisade run gVisor itself (via = \"runsc\")";
        set(
            Control::Masks,
            Enforcement::Weaker(Weakness {
                why: why.to_owned(),
                fix: Some(fix.to_owned()),
            }),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_runtime_that_would_not_let_the_guest_call_is_told_apart() {
        let settings = Settings {
            engine: crate::engine::Engine::Docker,
            runtime: Some("sandbox".into()),
            image: None,
            sandboxed: true,
            keeps_owners: false,
        };
        let state = |runtimes: Value| match of_runtimes(&settings, &runtimes) {
            CapabilityState::Present(_) => Ok(()),
            CapabilityState::Missing { cause, fix } | CapabilityState::Degraded { cause, fix } => {
                assert!(fix.contains("\"sandbox\"") && fix.contains("--host-uds=open"));
                Err(cause)
            }
        };
        let of = |path: &str, options: &[&str]| {
            state(json!({ "sandbox": { "path": path, "runtimeArgs": options } }))
        };
        assert!(state(json!({ "runsc": {} })).is_err_and(|cause| cause.contains("no runtime")));
        let all = ["--network=none", "--net-raw", "--host-uds=open"];
        assert_eq!(of("/usr/bin/runsc", &all), Ok(()));
        for missing in [1, 2] {
            let mut some = all.to_vec();
            let option = some.remove(missing);
            let option = option.trim_end_matches("open");
            let cause = of("/usr/bin/runsc", &some).expect_err("missing");
            assert!(cause.ends_with(option), "{cause}");
        }
        assert_eq!(of("/opt/own", &[]), Ok(()));
    }
}
