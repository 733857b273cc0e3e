//! What engines say when they refuse, and what to do about it.

use std::time::Duration;

use palisade_boundary::StartError;

use super::Engine;

/// How one comes by an engine.
pub(super) const INSTALL: &str = "install docker (Debian: docker.io) or podman (Debian: podman, and uidmap for use without root), or use the \
                                  native boundary";

/// What is said of an engine that says nothing.
pub(super) const SILENT: &str = "did not answer for";

/// Of somebody who did not answer for so long.
pub(super) fn silent(engine: Engine, what: &str, who: &str, patience: Duration) -> StartError {
    let fix = match engine {
        Engine::Docker => {
            "see whether `docker version` answers, and start its daemon anew if not (systemctl restart docker), say where another \
             listens (DOCKER_HOST, docker context use), or use the native boundary"
        }
        Engine::Podman => {
            "see whether `podman info` answers; it waits for other podmans that hold its storage; or use the native boundary"
        }
    };
    StartError {
        what: what.to_owned(),
        cause: format!("{who} {SILENT} {} s", patience.as_secs()),
        fix: Some(fix.to_owned()),
    }
}

/// The engine's own words, and what to do where they are known.
pub(super) fn explained(engine: Engine, what: &str, words: &str) -> StartError {
    let known = match engine {
        Engine::Docker => of_docker(words),
        Engine::Podman => of_podman(words),
    };
    let (cause, fix) = match known.or_else(|| of_both(engine, words)) {
        Some((cause, fix)) => (cause, Some(fix)),
        None => (
            format!("{} says: {}", engine.program(), last_line(words)),
            None,
        ),
    };
    StartError {
        what: what.to_owned(),
        cause,
        fix,
    }
}

/// What stands in the way, and what to do.
type Known = Option<(String, String)>;

fn of_docker(words: &str) -> Known {
    let has = |part: &str| words.to_lowercase().contains(part);
    let (cause, fix) = if has("permission denied while trying to connect")
        || has("connect: permission denied")
    {
        (
            "you may not use docker's socket".to_owned(),
            "join the group that owns the socket (usermod -aG docker USER; it gives the rights of root), run a rootless \
             engine, or use the native boundary",
        )
    } else if has("cannot connect to the docker daemon") || has("error during connect") {
        (
            "docker does not run, or listens elsewhere".to_owned(),
            "start it (systemctl start docker), or say where it listens (DOCKER_HOST, docker context use)",
        )
    } else if has("bind source path does not exist") {
        (
            format!(
                "docker does not see this machine's files: {}",
                last_line(words)
            ),
            "use an engine on this machine: its files are shown inside, and its sockets are handed out (see docker context \
             ls and DOCKER_HOST)",
        )
    } else {
        return None;
    };
    Some((cause, fix.to_owned()))
}

fn of_podman(words: &str) -> Known {
    let has = |part: &str| words.to_lowercase().contains(part);
    let (cause, fix) = if has("newuidmap") || has("newgidmap") {
        (
            format!("podman cannot map users without root: {}", last_line(words)),
            "install newuidmap and newgidmap (Debian: uidmap), and give yourself subordinate ids (usermod --add-subuids \
             100000-165535 --add-subgids 100000-165535 USER), or use docker (without `engine`, it is taken where it answers)",
        )
    } else if has("subuid") || has("subgid") || has("insufficient uids or gids") {
        (
            format!("podman has no subordinate ids to map: {}", last_line(words)),
            "give yourself some (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER), then `podman system \
             migrate`; or use docker (without `engine` under [boundary.container], it is taken where it answers)",
        )
    } else if has("default oci runtime") {
        (
            format!("podman does not have that runtime: {}", last_line(words)),
            "name one that it has, or install it (`runtime` under [boundary.container]; `podman info` shows its default)",
        )
    } else {
        return None;
    };
    Some((cause, fix.to_owned()))
}

fn of_both(engine: Engine, words: &str) -> Known {
    let program = engine.program();
    let has = |part: &str| words.to_lowercase().contains(part);
    if has("unknown flag") || has("is too old") || has("requires api version") {
        let oldest = match engine {
            Engine::Docker => "20.10",
            Engine::Podman => "4.3",
        };
        return Some((
            format!("this {program} is too old: {}", last_line(words)),
            format!("use {program} {oldest} or newer"),
        ));
    }
    if has("unknown runtime specified") || has("invalid runtime name") {
        return Some((
            format!("{program} does not have that runtime: {}", last_line(words)),
            "name one that it has (`runtime` under [boundary.container]; `docker info` lists them)"
                .to_owned(),
        ));
    }
    None
}

/// The last line that says anything but where to read on, without control characters.
fn last_line(words: &str) -> String {
    let says = |line: &&str| !line.trim().is_empty() && !line.starts_with("See '");
    let line = words.lines().rev().find(says).unwrap_or("nothing");
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_say_what_to_do() {
        let (docker, podman) = (Engine::Docker, Engine::Podman);
        let cases = [
            (
                docker,
                "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
                "usermod",
            ),
            (
                docker,
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                "systemctl start docker",
            ),
            (
                docker,
                "unknown flag: --cgroupns\nSee 'docker create --help'.",
                "20.10",
            ),
            (
                docker,
                "Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: /x",
                "DOCKER_HOST",
            ),
            (
                docker,
                "Error response from daemon: Unknown runtime specified x",
                "docker info",
            ),
            (
                podman,
                "Error: unknown flag: --foo\nSee 'podman create --help'",
                "podman 4.3",
            ),
            (
                podman,
                "Error: default OCI runtime \"foo\" not found: invalid argument",
                "podman info",
            ),
            (
                podman,
                "Error: cannot setup namespace using newuidmap: exec: \"newuidmap\": executable file not found in $PATH",
                "uidmap",
            ),
            (
                podman,
                "Error: no subuid ranges found for user \"ada\" in /etc/subuid",
                "--add-subuids",
            ),
        ];
        for (engine, words, fix) in cases {
            let error = engine.refused("make the container", words);
            assert!(error.fix.expect("known").contains(fix), "{words}");
        }
        let error = Engine::Docker.refused("make the container", "first\nodd \u{1b}[1mwords\n");
        assert_eq!(error.cause, "docker says: odd [1mwords");
        assert_eq!(error.fix, None);
    }
}
