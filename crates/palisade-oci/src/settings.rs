//! What a person may choose about containers, and which engine it is where nobody chose.

use std::net::Shutdown;
use std::path::Path;

use crate::api::connect;
use crate::engine::{Engine, SHORT_PATIENCE};

/// What a person may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who makes the containers.
    pub engine: Engine,
    /// The runtime the engine is told to use, where one is named.
    pub runtime: Option<String>,
    /// The image that is the root, where it is not the host's system.
    pub image: Option<String>,
    /// Whether that runtime is gVisor, which passes no descriptors: connections are relayed, and no hand reaches inside.
    pub sandboxed: bool,
    /// Whether files are whose they are on the host: the agent is a user that the person named.
    pub keeps_owners: bool,
}

/// What the choice of an engine depends on, as far as it is the caller's surroundings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Whether there is a program of this name to run.
    pub docker: bool,
    /// The same.
    pub podman: bool,
    /// `DOCKER_HOST`, where it is set.
    pub docker_host: Option<String>,
}

/// Where docker listens where nothing says otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The engine where none is named: docker where it answers or the person says where it is, else podman. Nothing is asked
/// where there is but one of the two.
pub fn choose(here: &Surroundings) -> Engine {
    match (here.docker, here.podman) {
        (_, false) => Engine::Docker,
        (false, true) => Engine::Podman,
        (true, true) if here.docker_host.is_some() => Engine::Docker,
        (true, true) if listens() || answers() => Engine::Docker,
        (true, true) => Engine::Podman,
    }
}

/// Whether somebody listens where docker does: the quick answer, since its program takes some 25 ms for the same.
fn listens() -> bool {
    let stream = connect(Path::new(DOCKER_SOCKET), SHORT_PATIENCE);
    stream.is_ok_and(|stream| stream.shutdown(Shutdown::Both).is_ok())
}

/// Whether docker's own program finds its daemon, which may be one that a context names.
fn answers() -> bool {
    let version = ["version", "--format", "{{.Server.Version}}"];
    let asked = Engine::Docker.ask_in_passing("ask the engine for its version", &version);
    asked.is_ok_and(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_says_where_docker_is_means_docker() {
        let of = |docker, podman, host: Option<&str>| Surroundings {
            docker,
            podman,
            docker_host: host.map(str::to_owned),
        };
        assert_eq!(choose(&of(true, false, None)), Engine::Docker);
        assert_eq!(choose(&of(false, true, None)), Engine::Podman);
        assert_eq!(choose(&of(false, false, None)), Engine::Docker);
        // Nobody listens there, and that is to be said, not passed over.
        let host = Some("unix:///nowhere/socket");
        assert_eq!(choose(&of(true, true, host)), Engine::Docker);
        assert_eq!(choose(&of(false, true, host)), Engine::Podman);
    }
}
