//! How the sandbox comes between programs and the kernel.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;

use palisade_boundary::StartError;

use crate::engine::{SHORT_PATIENCE, cannot, finish};

/// A platform of gVisor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// By signals of the kernel's system-call filter. Of 2023 and later.
    Systrap,
    /// By a virtual machine.
    Kvm,
    /// By `ptrace`: slow, and everywhere.
    Ptrace,
}

impl Platform {
    /// All, the best first.
    pub const ALL: [Self; 3] = [Self::Systrap, Self::Kvm, Self::Ptrace];

    /// As `runsc` calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systrap => "systrap",
            Self::Kvm => "kvm",
            Self::Ptrace => "ptrace",
        }
    }
}

/// Whether what is named can be had, as far as that costs nothing. Where none is named, it is left to the program: it takes systrap
/// since it has that (2023) and took `ptrace` before. Whether a virtual machine starts is only known by starting one, so that is
/// for who names it.
pub(super) fn check(named: Option<Platform>) -> Result<(), StartError> {
    if named != Some(Platform::Kvm) || kvm_opens() {
        return Ok(());
    }
    let cause = "/dev/kvm cannot be opened for reading and writing";
    let mut error = cannot("choose gVisor's platform".into(), cause.into());
    error.fix = Some("set platform = \"auto\", or give your user access to it".into());
    Err(error)
}

pub(super) fn kvm_opens() -> bool {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    opened.is_ok()
}

/// What the program takes where none is named, by its own account of its flags.
pub(super) fn default_of(runsc: &Path) -> Option<Platform> {
    let output = finish(Command::new(runsc).arg("flags"), b"", SHORT_PATIENCE);
    let output = output.ok()??;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let (_, about) = text.split_once("-platform string")?;
    let (_, default) = about.split_once("(default \"")?;
    let (name, _) = default.split_once('"')?;
    Platform::ALL
        .into_iter()
        .find(|platform| platform.name() == name)
}
