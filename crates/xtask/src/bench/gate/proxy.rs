//! One contestant: how to reach it, and how to ask the load for figures.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::process::{ENDS, Process, figures, pinned};
use crate::shell::Done;

/// A proxy that runs, and the ways through it.
pub(super) struct Proxy {
    /// As it is shown.
    pub(super) name: &'static str,
    /// It.
    pub(super) process: Process,
    /// Requests in clear text.
    pub(super) plain: Option<Way>,
    /// Requests within TLS that the proxy ends; the first is the one that others are compared with.
    pub(super) secure: Vec<Way>,
    /// TLS to any name below `mint.example`.
    pub(super) minted: Option<Way>,
    /// Bytes that nobody reads.
    pub(super) tunnel: Option<Way>,
}

/// How the load reaches the origin.
#[derive(Clone, Default)]
pub(super) struct Way {
    /// What is said of it, where a proxy has several.
    pub(super) note: &'static str,
    to: String,
    connect: Option<String>,
    authority: Option<String>,
    absolute: bool,
    roots: Option<PathBuf>,
}

/// What a run of the load says, and what the proxy spent on it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    /// Requests, connections or bytes.
    pub(super) count: f64,
    /// The same a second.
    pub(super) rate: f64,
    /// Microseconds.
    pub(super) p50: f64,
    /// Microseconds.
    pub(super) p99: f64,
    /// Seconds of processor time of the proxy.
    pub(super) processor: f64,
}

impl Figures {
    /// Microseconds of processor time for each of what was counted.
    pub(super) fn cost(&self) -> f64 {
        self.processor * 1e6 / self.count
    }
}

impl Way {
    /// Straight to this address.
    pub(super) fn to(address: String) -> Self {
        Self {
            to: address,
            ..Self::default()
        }
    }

    /// With a word on it.
    pub(super) fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    /// Targets are absolute.
    pub(super) fn absolute(self) -> Self {
        Self {
            absolute: true,
            ..self
        }
    }

    /// What targets and `Host` name.
    pub(super) fn authority(self, authority: String) -> Self {
        Self {
            authority: Some(authority),
            ..self
        }
    }

    /// By CONNECT to this authority.
    pub(super) fn connect(self, authority: &str) -> Self {
        Self {
            connect: Some(authority.to_owned()),
            ..self
        }
    }

    /// Within TLS, trusting these certificates.
    pub(super) fn trusting(self, roots: &Path) -> Self {
        Self {
            roots: Some(roots.to_owned()),
            ..self
        }
    }

    /// The load over this way, not yet started.
    pub(super) fn load(&self, program: &Path, mode: &str, words: &[String]) -> Command {
        let mut command = pinned(ENDS, program);
        command
            .args(["load", &format!("mode={mode}"), &format!("to={}", self.to)])
            .args(words);
        if self.absolute {
            command.arg("absolute=");
        }
        for (key, value) in [("connect", &self.connect), ("authority", &self.authority)] {
            command.args(value.as_ref().map(|value| format!("{key}={value}")));
        }
        command.args(
            self.roots
                .as_ref()
                .map(|roots| format!("roots={}", roots.display())),
        );
        command
    }

    /// Runs the load to its end.
    pub(super) fn measure(
        &self,
        program: &Path,
        through: Option<&Process>,
        mode: &str,
        words: &[String],
    ) -> Done<Figures> {
        let spent = || through.map_or(0.0, Process::processor);
        let before = spent();
        let said = figures(&mut self.load(program, mode, words))?;
        let figure = |key: &str| said.get(key).and_then(Value::as_f64).unwrap_or(0.0);
        Ok(Figures {
            count: figure("count"),
            rate: figure("rate"),
            p50: figure("p50"),
            p99: figure("p99"),
            processor: spent() - before,
        })
    }
}
