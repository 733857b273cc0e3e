//! What podman can do here.

use palisade_boundary::{Capability, CapabilityState};
use serde_json::Value;

use super::{named, version};
use crate::engine::Engine;
use crate::podman::{Groups, NO_GROUP};
use crate::settings::Settings;

/// Oldest podman that the tests have seen.
const OLDEST: (u32, u32) = (4, 3);

/// Asks it.
pub(super) fn probe(settings: &Settings) -> Vec<Capability> {
    let engine = Engine::Podman;
    let mut all = vec![named(
        "engine",
        version(engine, "{{.Client.Version}}", OLDEST),
    )];
    if !matches!(all[0].state, CapabilityState::Present(_)) {
        return all;
    }
    let mut info = vec!["info", "--format", "{{json .}}"];
    if let Some(runtime) = &settings.runtime {
        info.extend(["--runtime", runtime]);
    }
    let account = match engine.ask_in_passing("ask the engine for its settings", &info) {
        Ok(account) => serde_json::from_str(&account).unwrap_or(Value::Null),
        Err(error) => {
            let fix = error.fix.unwrap_or_else(|| "see what it says".into());
            let cause = error.cause;
            all.push(named("settings", CapabilityState::Missing { cause, fix }));
            return all;
        }
    };
    let host = &account["host"];
    all.push(named("same-machine", same_machine(host)));
    all.push(named("user-namespaces", mapped(engine, host)));
    all.push(named("limits", limits(engine)));
    all.extend(
        settings
            .runtime
            .as_deref()
            .map(|wanted| named("runtime", runtime(host, wanted))),
    );
    all
}

fn same_machine(host: &Value) -> CapabilityState {
    if host["serviceIsRemote"] == true {
        return CapabilityState::Missing {
            cause: "podman works on another machine (CONTAINER_HOST, podman-remote)".into(),
            fix: "use podman on this machine: its files are shown inside, and its sockets are handed out".into(),
        };
    }
    CapabilityState::Present("podman has no daemon".into())
}

fn mapped(engine: Engine, host: &Value) -> CapabilityState {
    if !engine.is_rootless() {
        let present = "not remapped: root of a container is root, and the guest gives it up";
        return CapabilityState::Present(present.into());
    }
    let maps = &host["idMappings"];
    let ids = |kind: &str| {
        let map = maps[kind].as_array().into_iter().flatten();
        map.filter_map(|one| one["size"].as_u64()).sum::<u64>()
    };
    if ids("uidmap") > 1 && ids("gidmap") > 1 {
        let present = "root of a container is a subordinate id of yours, and the agent has yours";
        return CapabilityState::Present(present.into());
    }
    CapabilityState::Missing {
        cause: "podman has no subordinate ids to map, so a container could have no user but one".into(),
        fix: "install newuidmap (Debian: uidmap), give yourself ids (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \
              USER), then `podman system migrate`"
            .into(),
    }
}

fn limits(engine: Engine) -> CapabilityState {
    let groups = Groups::of(engine);
    if groups.memory && groups.cpu && groups.pids {
        return CapabilityState::Present("control groups".into());
    }
    let (cause, fix) = (NO_GROUP.0.into(), NO_GROUP.1.into());
    CapabilityState::Degraded { cause, fix }
}

fn runtime(host: &Value, wanted: &str) -> CapabilityState {
    let name = host["ociRuntime"]["name"].as_str().unwrap_or_default();
    if name == wanted {
        return CapabilityState::Present(wanted.to_owned());
    }
    CapabilityState::Missing {
        cause: format!("podman would use {name} and not {wanted}"),
        fix: "name a runtime that it has (`runtime` under [boundary.container])".into(),
    }
}
