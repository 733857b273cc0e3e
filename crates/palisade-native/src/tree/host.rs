//! Host paths that are to be shown inside.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use palisade_boundary::{Identity, StartError};
use palisade_protocol::{Ownership, TreeAccess};
use palisade_sys::idmap::Owners;
use palisade_sys::mount::{Attributes, set_attributes};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::Source;
use crate::explain::{cannot, os};

/// Who opens host paths.
pub(crate) enum Opener {
    /// The child, whose rights outside are those of the caller.
    Child,
    /// The supervisor, because the agent is another user outside than the caller.
    Supervisor(Mapper),
}

/// Makes id-mapped trees.
pub(crate) struct Mapper(Owners);

impl Opener {
    /// For an agent with this identity; `own` says whether that is the caller's own.
    pub(crate) fn new(identity: &Identity, own: bool) -> Self {
        if own {
            return Self::Child;
        }
        Self::Supervisor(Mapper(Owners::new((identity.host_uid, identity.host_gid))))
    }

    /// A host path to be shown, and whether it is a directory.
    pub(super) fn open(
        &mut self,
        path: &Path,
        access: TreeAccess,
        ownership: Ownership,
    ) -> Result<(Source, bool), StartError> {
        let what = || format!("show {} inside", path.display());
        let read_only = access == TreeAccess::Read;
        match self {
            Self::Child => {
                let metadata = fs::symlink_metadata(path).map_err(|e| cannot(what(), os(&e)))?;
                let path = CString::new(path.as_os_str().as_bytes())
                    .map_err(|_| cannot(what(), "the path holds a zero byte".into()))?;
                Ok((Source::Host { path, read_only }, metadata.is_dir()))
            }
            Self::Supervisor(mapper) => {
                let failed = |e: Errno| cannot(what(), os(&e.into()));
                let place = open_place(path).map_err(failed)?;
                let own = fstat(&place).map_err(failed)?;
                let owner = (ownership == Ownership::Agent).then_some((own.st_uid, own.st_gid));
                let tree = mapper.map(path, &place, read_only, owner)?;
                let directory = FileType::from_raw_mode(own.st_mode).is_dir();
                Ok((Source::Tree(tree), directory))
            }
        }
    }
}

impl Mapper {
    fn map(
        &mut self,
        path: &Path,
        place: &OwnedFd,
        read_only: bool,
        owner: Option<(u32, u32)>,
    ) -> Result<OwnedFd, StartError> {
        let failed = |e: &io::Error| cannot(format!("show {} inside", path.display()), os(e));
        let tree = copy_tree(place).map_err(|e| failed(&e.into()))?;
        let mut attributes = Attributes {
            read_only,
            no_set_uid: true,
            no_devices: true,
            private: true,
            owners: None,
        };
        let owners = owner.map(|owner| self.0.of(owner)).transpose();
        let owners = owners
            .map_err(|e| cannot("map the owner of files to the agent".into(), os(&e)))?
            .flatten();
        let Some(owners) = owners else {
            set_attributes(tree.as_fd(), attributes, true).map_err(|e| failed(&e))?;
            return Ok(tree);
        };
        attributes.owners = Some(owners.as_fd());
        set_attributes(tree.as_fd(), attributes, true).map_err(|e| refused_mapping(path, &e))?;
        Ok(tree)
    }
}

/// A copy of the tree of mounts at a path that has no symbolic link in it. For use after `clone` as well, with the path
/// as a C string.
pub(crate) fn open_tree(path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    copy_tree(&open_place(path)?)
}

fn open_place(path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // The caller resolved the links when it decided; one that turned up since could lead elsewhere.
    let resolve = ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve)
}

fn copy_tree(place: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(place, c"", flags)
}

fn refused_mapping(path: &Path, error: &io::Error) -> StartError {
    let what = format!("give the agent the files of {}", path.display());
    match Errno::from_io_error(error) {
        Some(Errno::INVAL | Errno::PERM) => StartError {
            what,
            cause: "its file system, or one mounted below it, does not let owners be mapped (id-mapped mounts)".into(),
            fix: Some(
                "run palisade as the user who owns these files, or keep them on ext4, xfs, btrfs or tmpfs (Linux 6.3)"
                    .into(),
            ),
        },
        _ => cannot(what, os(error)),
    }
}
