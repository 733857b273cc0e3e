//! Masks laid while the agent runs: a process of palisade's lays them in the mounts by which gVisor's gofer opens files, and so in the way of
//! whatever is opened after that. What gVisor knows of names it asks the gofer again at each use (`--file-access-mounts=shared`).

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use palisade_boundary::Masker;
use palisade_guest::hand::{EMPTY_DIRECTORY, EMPTY_FILE, HandProcess, May, Namespaces};
use rustix::fs::{AtFlags, statat};

/// See the module.
pub(super) struct GvisorMasker(HandProcess);

/// The empty file, as the gofer's root has it.
const EMPTY: &CStr = c"run/palisade/file";

/// The mounts of the gofer with this number. A number may have become another's: the session's own empty file, `own`, has to be there.
pub(super) fn mounts_of(gofer: u32, own: &Path) -> io::Result<Namespaces> {
    let inside = Namespaces::with_root(&gofer.to_string())?;
    let own = fs::metadata(own)?;
    let root = inside.root.as_ref().ok_or(io::ErrorKind::NotFound)?;
    let found = statat(root, EMPTY, AtFlags::SYMLINK_NOFOLLOW)?;
    match (found.st_dev, found.st_ino) == (own.dev(), own.ino()) {
        true => Ok(inside),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

impl GvisorMasker {
    pub(super) fn start(inside: &Namespaces) -> io::Result<Self> {
        let empties = (EMPTY_FILE, EMPTY_DIRECTORY);
        HandProcess::start(inside, empties, May::Mask).map(Self)
    }
}

impl Masker for GvisorMasker {
    fn mask(&mut self, path: &Path, directory: bool) -> io::Result<bool> {
        self.0.hand()?.mask(path, directory)
    }
}
