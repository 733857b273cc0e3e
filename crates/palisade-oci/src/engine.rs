//! The engine, driven by its command line.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, Output, Stdio};

use palisade_boundary::StartError;

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Docker,
}

impl Engine {
    /// The program's name, and its name for people.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
        }
    }

    /// A command of the engine. It has the caller's environment, which says where the engine listens.
    pub(crate) fn command(self) -> Command {
        Command::new(self.program())
    }

    /// Runs one command to its end, without any input, and yields what it printed.
    pub(crate) fn ask<S: AsRef<OsStr>>(
        self,
        what: &str,
        arguments: &[S],
    ) -> Result<String, StartError> {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        let output = command.output().map_err(|e| self.not_run(what, &e))?;
        self.outcome(what, output)
    }

    /// What a command that has ended printed.
    pub(crate) fn outcome(self, what: &str, output: Output) -> Result<String, StartError> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(self.refused(what, &String::from_utf8_lossy(&output.stderr)))
    }

    /// Why the program itself could not be run.
    pub(crate) fn not_run(self, what: &str, error: &io::Error) -> StartError {
        let program = self.program();
        let mut failure = cannot(what.to_owned(), format!("run {program}: {error}"));
        if error.kind() == io::ErrorKind::NotFound {
            failure.cause = format!("there is no program `{program}`");
            failure.fix =
                Some("install docker (Debian: docker.io), or use the native boundary".into());
        }
        failure
    }

    /// The engine's own words, and what to do where they are known.
    pub(crate) fn refused(self, what: &str, words: &str) -> StartError {
        let program = self.program();
        let has = |part: &str| words.to_lowercase().contains(part);
        let known = if has("permission denied while trying to connect")
            || has("connect: permission denied")
        {
            Some((
                format!("you may not use {program}'s socket"),
                "join the group that owns the socket (usermod -aG docker USER; it gives the rights of root), run a rootless \
                 engine, or use the native boundary",
            ))
        } else if has("cannot connect to the docker daemon") || has("error during connect") {
            Some((
                format!("{program} does not run, or listens elsewhere"),
                "start it (systemctl start docker), or say where it listens (DOCKER_HOST, docker context use)",
            ))
        } else if has("unknown flag") || has("is too old") || has("requires api version") {
            Some((
                format!("this {program} is too old: {}", last_line(words)),
                "use docker 20.10 or newer",
            ))
        } else if has("bind source path does not exist") {
            Some((
                format!(
                    "{program} does not see this machine's files: {}",
                    last_line(words)
                ),
                "use an engine on this machine: its files are shown inside, and its sockets are handed out (see docker context \
                 ls and DOCKER_HOST)",
            ))
        } else {
            None
        };
        let (cause, fix) = match known {
            Some((cause, fix)) => (cause, Some(fix.to_owned())),
            None => (format!("{program} says: {}", last_line(words)), None),
        };
        StartError {
            what: what.to_owned(),
            cause,
            fix,
        }
    }
}

/// An error without a known fix.
pub(crate) fn cannot(what: String, cause: String) -> StartError {
    StartError {
        what,
        cause,
        fix: None,
    }
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
        let cases = [
            (
                "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
                "usermod",
            ),
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                "systemctl start docker",
            ),
            (
                "unknown flag: --cgroupns\nSee 'docker create --help'.",
                "20.10",
            ),
            (
                "Error response from daemon: invalid mount config for type \"bind\": bind source path does not exist: /x",
                "DOCKER_HOST",
            ),
        ];
        for (words, fix) in cases {
            let error = Engine::Docker.refused("make the container", words);
            assert!(error.fix.expect("known").contains(fix), "{words}");
        }
        let error = Engine::Docker.refused("make the container", "first\nodd \u{1b}[1mwords\n");
        assert_eq!(error.cause, "docker says: odd [1mwords");
        assert_eq!(error.fix, None);
    }
}
