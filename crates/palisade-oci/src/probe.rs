//! What this machine's engine can do.

mod podman;

use std::path::Path;

use palisade_boundary::{Capability, CapabilityState, Probe};

use crate::backend::reach;
use crate::engine::Engine;
use crate::guest::installed_for;
use crate::remap::{NO_REMAP, of_info};
use crate::sandboxed;
use crate::settings::Settings;
use crate::tree::Reach;

/// Asks the engine. Changes nothing.
pub(crate) fn probe(settings: &Settings, guest: &Path) -> Probe {
    let mut capabilities = match settings.engine {
        Engine::Docker => docker(settings),
        Engine::Podman => podman::probe(settings),
    };
    capabilities.push(named("guest", installed_for(settings, guest)));
    Probe { capabilities }
}

fn docker(settings: &Settings) -> Vec<Capability> {
    let engine = Engine::Docker;
    let mut capabilities = vec![named("engine", server(engine))];
    if capabilities
        .iter()
        .all(|c| matches!(c.state, CapabilityState::Present(_)))
    {
        capabilities.push(named("same-machine", same_machine(engine)));
        capabilities.push(named("user-namespaces", remapped(engine)));
        if settings.sandboxed {
            capabilities.push(named("runtime", sandboxed::runtime(settings)));
            return capabilities;
        }
        let runtime = settings.runtime.as_deref();
        capabilities.extend(runtime.map(|runtime| named("runtime", has_runtime(engine, runtime))));
    }
    capabilities
}

fn has_runtime(engine: Engine, runtime: &str) -> CapabilityState {
    let list = ["info", "--format", "{{json .Runtimes}}"];
    let found = engine.ask_in_passing("ask the engine for its runtimes", &list);
    let found: serde_json::Value =
        serde_json::from_str(&found.unwrap_or_default()).unwrap_or_default();
    let known = found.as_object().into_iter().flatten();
    let known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
    if known.contains(&runtime) {
        return CapabilityState::Present(runtime.to_owned());
    }
    CapabilityState::Missing {
        cause: format!("{} has no runtime {runtime}: {}", engine.program(), known.join(", ")),
        fix: "name another one (`runtime` under [boundary.container]), or add it to the daemon's settings".into(),
    }
}

pub(crate) fn named(name: &'static str, state: CapabilityState) -> Capability {
    Capability { name, state }
}

/// Oldest engine that knows all flags (`--cgroupns`, `--pull` of `create`).
const OLDEST: (u32, u32) = (20, 10);

fn server(engine: Engine) -> CapabilityState {
    version(engine, "{{.Server.Version}}", OLDEST)
}

fn version(engine: Engine, format: &str, oldest: (u32, u32)) -> CapabilityState {
    match engine.ask_in_passing(
        "ask the engine for its version",
        &["version", "--format", format],
    ) {
        Ok(version) if parsed(&version).is_some_and(|found| found >= oldest) => {
            CapabilityState::Present(format!("{} {version}", engine.program()))
        }
        Ok(version) => CapabilityState::Missing {
            cause: format!(
                "{} {version} lacks options that the hardening needs",
                engine.program()
            ),
            fix: format!(
                "use {} {}.{} or newer",
                engine.program(),
                oldest.0,
                oldest.1
            ),
        },
        Err(error) => CapabilityState::Missing {
            fix: error.fix.unwrap_or_else(|| "see what it says".into()),
            cause: error.cause,
        },
    }
}

fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Mounts and handed-out sockets need the engine on this machine.
fn same_machine(engine: Engine) -> CapabilityState {
    let endpoint = [
        "context",
        "inspect",
        "--format",
        "{{.Endpoints.docker.Host}}",
    ];
    match engine.ask_in_passing("ask where the engine listens", &endpoint) {
        Ok(place) if place.starts_with("unix://") => CapabilityState::Present(place),
        Ok(place) => CapabilityState::Missing {
            cause: format!("the engine is reached at {place}, and may be another machine's"),
            fix: "use one that listens at a Unix socket of this machine (DOCKER_HOST, docker context use)".into(),
        },
        Err(error) => CapabilityState::Missing {
            cause: error.cause,
            fix: "use docker 20.10 or newer".into(),
        },
    }
}

fn remapped(engine: Engine) -> CapabilityState {
    let info = ["info", "--format", "{{json .}}"];
    let found = match engine.ask_in_passing("ask the engine for its settings", &info) {
        Ok(found) => serde_json::from_str(&found).unwrap_or_default(),
        Err(error) => {
            return CapabilityState::Missing {
                cause: error.cause,
                fix: "see what it says".into(),
            };
        }
    };
    match of_info(&found) {
        None => CapabilityState::Present("not remapped: root of a container is root, and the guest gives it up".into()),
        Some(first) if reach(engine) == Reach::Host => CapabilityState::Present(format!(
            "remapped (userns-remap): root of a container is user {} of this machine",
            first.uid
        )),
        Some(_) => CapabilityState::Missing {
            cause: "the daemon maps users (userns-remap), so you would not be the owner of your workspace inside".into(),
            fix: NO_REMAP.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(parsed("20.10.24+dfsg1").expect("a version") >= OLDEST);
        assert!(parsed("19.03.15").expect("a version") < OLDEST);
        assert!(parsed("9.9").expect("a version") < OLDEST);
        assert_eq!(parsed("?"), None);
    }
}
