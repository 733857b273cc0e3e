//! `[boundary.gvisor]` as written.

use std::ops::Range;

use serde::Deserialize;

use crate::spanned::Spanned;

/// How gVisor is run.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Gvisor {
    /// gVisor's program: a name that is looked for in `PATH`, or an absolute path; with `via = "docker"` the name of docker's
    /// runtime. Without it: `runsc`.
    pub runsc: Option<Spanned<String>>,
    /// How the sandbox comes between programs and the kernel. Without it: `"auto"`.
    pub platform: Option<Spanned<Platform>>,
    /// Who starts the sandbox. Without it: `"runsc"`, which is palisade itself.
    pub via: Option<Spanned<Via>>,
}

impl Gvisor {
    /// The place of the first thing that is said.
    pub(crate) fn first(&self) -> Option<Range<usize>> {
        let runsc = self.runsc.as_ref().map(Spanned::span);
        let platform = || self.platform.as_ref().map(Spanned::span);
        let via = || self.via.as_ref().map(Spanned::span);
        runsc.or_else(platform).or_else(via)
    }
}

/// Who starts the sandbox.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Via {
    /// palisade, by running gVisor's program.
    Runsc,
    /// docker, as a container with gVisor as its runtime.
    Docker,
}

/// A platform of gVisor's.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Platform {
    /// The program's own choice: systrap since 2023, ptrace before.
    Auto,
    /// By signals of the kernel's system-call filter.
    Systrap,
    /// By a virtual machine.
    Kvm,
    /// By `ptrace`: slow, and everywhere.
    Ptrace,
}
