//! The engine, driven by its command line.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use palisade_boundary::StartError;

mod answer;
mod words;

pub(crate) use self::answer::finish;

/// How long an engine may take for an answer, and its daemon: milliseconds are usual, and seconds on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The same where a person only asks what there is.
pub(crate) const SHORT_PATIENCE: Duration = Duration::from_secs(15);

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// docker: a daemon, which runs as root or as its user.
    Docker,
    /// podman: no daemon. Without root it works in a user namespace of its own.
    Podman,
}

impl Engine {
    /// What tells its program where it listens and what its settings are.
    pub fn variables(self) -> [&'static str; 3] {
        match self {
            Self::Docker => ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"],
            Self::Podman => [
                "CONTAINER_HOST",
                "CONTAINERS_CONF",
                "CONTAINERS_STORAGE_CONF",
            ],
        }
    }

    /// The program's name, and its name for people.
    pub fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// Whether it works in a user namespace of the caller's own, where nobody is the host's root.
    pub(crate) fn is_rootless(self) -> bool {
        self == Self::Podman && !rustix::process::geteuid().is_root()
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
        self.tell(what, arguments, b"", PATIENCE)
    }

    /// The same for who has little time.
    pub(crate) fn ask_in_passing<S: AsRef<OsStr>>(
        self,
        what: &str,
        arguments: &[S],
    ) -> Result<String, StartError> {
        self.tell(what, arguments, b"", SHORT_PATIENCE)
    }

    /// The same with an input, and with as much time as is said.
    pub(crate) fn tell<S: AsRef<OsStr>>(
        self,
        what: &str,
        arguments: &[S],
        input: &[u8],
        patience: Duration,
    ) -> Result<String, StartError> {
        let mut command = self.command();
        command.args(arguments);
        match finish(&mut command, input, patience) {
            Ok(Some(output)) => self.outcome(what, output),
            Ok(None) => Err(self.silent(what, patience)),
            Err(error) => Err(self.not_run(what, &error)),
        }
    }

    /// That nothing was heard of its program.
    pub(crate) fn silent(self, what: &str, patience: Duration) -> StartError {
        let who = format!("`{}`", self.program());
        words::silent(self, what, &who, patience)
    }

    /// That nothing was heard of who listens at a socket.
    pub(crate) fn silent_at(self, what: &str, socket: &Path, patience: Duration) -> StartError {
        let who = format!("who listens at {}", socket.display());
        words::silent(self, what, &who, patience)
    }

    /// What a command that has ended printed.
    fn outcome(self, what: &str, output: Output) -> Result<String, StartError> {
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
            failure.fix = Some(words::INSTALL.to_owned());
        }
        failure
    }

    /// Whether it refused a container because it does not have the image.
    pub(crate) fn lacks_image(self, error: &StartError) -> bool {
        error.cause.contains(match self {
            Self::Docker => "No such image",
            Self::Podman => "image not known",
        })
    }

    /// Whether it was asked and did not answer: another question would wait as long.
    pub(crate) fn is_silent(error: &StartError) -> bool {
        error.cause.contains(words::SILENT)
    }

    /// The engine's own words, and what to do where they are known.
    pub(crate) fn refused(self, what: &str, words: &str) -> StartError {
        words::explained(self, what, words)
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
