//! What this machine's gVisor can do.

use std::path::Path;
use std::process::Command;

use palisade_boundary::{Capability, CapabilityState, Probe};

use super::platform::{Platform, default_of, kvm_opens};
use super::{GvisorSettings, not_run, rootless};
use crate::engine::{SHORT_PATIENCE, finish};
use crate::guest::installed;
use crate::probe::named;

/// Asks the program. Changes nothing.
pub(super) fn probe(settings: &GvisorSettings, guest: &Path) -> Probe {
    let program = version(&settings.runsc);
    let there = matches!(program, CapabilityState::Present(_));
    let mut capabilities: Vec<Capability> = vec![named("runsc", program)];
    if there {
        capabilities.push(named("platform", platform(settings)));
    }
    capabilities.push(named("root", root()));
    capabilities.push(named("limits", limits()));
    capabilities.push(named("guest", installed(guest)));
    Probe { capabilities }
}

fn version(runsc: &Path) -> CapabilityState {
    let output = finish(Command::new(runsc).arg("--version"), b"", SHORT_PATIENCE);
    let missing = |cause: String, fix: String| CapabilityState::Missing { cause, fix };
    match output {
        Ok(None) => missing(
            format!(
                "{} --version did not answer for {} s",
                runsc.display(),
                SHORT_PATIENCE.as_secs()
            ),
            "name gVisor's program in [boundary.gvisor] (runsc), or see what it waits for".into(),
        ),
        Ok(Some(output)) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let line = text.lines().next().unwrap_or_default();
            CapabilityState::Present(line.chars().filter(|c| !c.is_control()).collect())
        }
        Ok(Some(output)) => missing(
            format!("{} --version ends with {}", runsc.display(), output.status),
            "name gVisor's program in [boundary.gvisor], or install it (runsc)".into(),
        ),
        Err(error) => {
            let failure = not_run(runsc, &error);
            missing(failure.cause, failure.fix.unwrap_or_default())
        }
    }
}

fn platform(settings: &GvisorSettings) -> CapabilityState {
    let found = settings.platform.or_else(|| default_of(&settings.runsc));
    match found {
        Some(Platform::Kvm) if !kvm_opens() => CapabilityState::Missing {
            cause: "/dev/kvm cannot be opened for reading and writing".into(),
            fix: "set platform = \"auto\", or give your user access to it".into(),
        },
        Some(Platform::Ptrace) => CapabilityState::Present(
            "ptrace: a hundred times slower in system calls than the systrap of gVisor since 2023"
                .into(),
        ),
        Some(platform) => CapabilityState::Present(platform.name().into()),
        None => CapabilityState::Present("the program's own choice".into()),
    }
}

/// Files are opened for the agent by gVisor's gofer, which gives them to the agent and so has to be root of something.
fn root() -> CapabilityState {
    if rustix::process::geteuid().is_root() {
        return CapabilityState::Present("palisade runs as root; the agent does not".into());
    }
    match rootless::Ids::of_caller().and_then(|_| rootless::has_programs()) {
        Ok(()) => CapabilityState::Present(
            "root of a sandbox is a subordinate id of yours, and the agent has yours".into(),
        ),
        Err(error) => CapabilityState::Missing {
            cause: error.cause,
            fix: error.fix.unwrap_or_default(),
        },
    }
}

fn limits() -> CapabilityState {
    if rustix::process::geteuid().is_root() {
        return CapabilityState::Present("control groups".into());
    }
    CapabilityState::Degraded {
        cause: rootless::limits::MEMORY.into(),
        fix: rootless::limits::FIX.into(),
    }
}
