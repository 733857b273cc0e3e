//! `[boundary.gvisor]` as written.

use std::ops::Range;

use serde::Deserialize;

use crate::spanned::Spanned;

/// How gVisor is run.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(crate) struct Gvisor {
    /// gVisor's program: a name that is looked for in `PATH`, or an absolute path. Without it: `runsc`.
    pub runsc: Option<Spanned<String>>,
    /// How the sandbox comes between programs and the kernel. Without it: `"auto"`.
    pub platform: Option<Spanned<Platform>>,
}

impl Gvisor {
    /// The place of the first thing that is said.
    pub(crate) fn first(&self) -> Option<Range<usize>> {
        let runsc = self.runsc.as_ref().map(Spanned::span);
        runsc.or_else(|| self.platform.as_ref().map(Spanned::span))
    }
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
