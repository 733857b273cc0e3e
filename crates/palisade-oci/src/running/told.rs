//! What a guest says, in the words of the boundary.

use std::io;

use palisade_boundary::{AgentEvent, BoundarySpec, StartError};
use palisade_guest::start::OTHER_NETWORK;
use palisade_protocol::{InitEvent, SetupStep};

use crate::engine::cannot;

/// What the guest says of the agent; none where it is gone.
pub(crate) fn agent_event(said: Option<InitEvent>, spec: &BoundarySpec) -> io::Result<AgentEvent> {
    Ok(match said {
        Some(InitEvent::Started) => AgentEvent::Started,
        Some(InitEvent::Stopped { signal }) => AgentEvent::Stopped(signal),
        Some(InitEvent::Exited { code }) => AgentEvent::Exited(code),
        Some(InitEvent::Killed { signal }) => AgentEvent::Killed(signal, None),
        Some(InitEvent::ExecFailed { errno }) => AgentEvent::ExecFailed(errno),
        Some(InitEvent::Failed { step, index, errno }) => {
            return Err(io::Error::other(failed_step(spec, step, index, errno)));
        }
        Some(InitEvent::Ready) => return Err(io::ErrorKind::InvalidData.into()),
        // Somebody ended the whole of it.
        None => AgentEvent::Killed(rustix::process::Signal::KILL.as_raw(), None),
    })
}

/// Whether nothing comes after it.
pub(crate) fn is_end(event: &AgentEvent) -> bool {
    matches!(
        event,
        AgentEvent::Exited(_) | AgentEvent::Killed(..) | AgentEvent::ExecFailed(_)
    )
}

/// What the guest could not do.
pub(crate) fn failed_step(
    spec: &BoundarySpec,
    step: SetupStep,
    index: u32,
    errno: i32,
) -> StartError {
    let error = io::Error::from_raw_os_error(errno);
    let what = match step {
        SetupStep::Directory => {
            let directory = spec.command.directory.display();
            format!("enter the working directory {directory}")
        }
        SetupStep::Listen => format!("{step} (port {index})"),
        SetupStep::Network if index == OTHER_NETWORK => {
            "have a network of the container's own: the engine gave it another".to_owned()
        }
        _ => step.to_string(),
    };
    cannot(what, error.to_string())
}
