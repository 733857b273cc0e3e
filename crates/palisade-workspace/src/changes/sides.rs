//! Two sides of one path: what differs, whose work it is, and what of it would land.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use super::ours::Ours;
use super::pending::Pending;
use super::upper;
use super::{Change, ChangeKind, Conflict, Dropped, Identity, Moment, Side, SideKind, beneath};

const SPECIAL_BITS: u32 = 0o7000;
const SET_USER_ID: u32 = 0o4000;
const SET_GROUP_ID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// Compares paths that both sides may have.
pub(super) struct Sides<'a> {
    pub(super) pending: &'a Pending,
    pub(super) ours: &'a Ours,
}

/// Where a path is, on both sides.
pub(super) struct Place<'a> {
    pub(super) upper: BorrowedFd<'a>,
    pub(super) host_folder: Option<BorrowedFd<'a>>,
    pub(super) name: &'a OsStr,
}

impl Sides<'_> {
    /// The change of a path that the session has, if it is one.
    pub(super) fn compare(
        &self,
        path: &Path,
        place: &Place<'_>,
        stat: &Stat,
        host: Option<&Stat>,
    ) -> Result<Option<Change>, Errno> {
        let mut after = side(place.upper, place.name, stat)?;
        after.mode = self.pending.upper.mode(place.upper, place.name, stat);
        let before = match (host, place.host_folder) {
            (Some(host), Some(folder)) => Some(side(folder, place.name, host)?),
            _ => None,
        };
        let kind = match &before {
            None => Some(ChangeKind::Added),
            Some(before) => self.differing(path, before, &after)?,
        };
        let Some(kind) = kind else { return Ok(None) };
        let conflict = match host {
            Some(host) => self.overwrites(kind, host).then_some(Conflict::Changed),
            None => self.was_removed(place)?.then_some(Conflict::Removed),
        };
        let mut dropped = dropped(before.as_ref(), &after);
        dropped.capabilities = after.is_file()
            && after.mode & 0o111 != 0
            && upper::has_capabilities(place.upper, place.name)?;
        Ok(Some(Change {
            path: path.to_path_buf(),
            kind,
            before,
            after: Some(after),
            conflict,
            dropped,
        }))
    }

    /// The change of a path that only the host has. In conflict if it is `foreign`, or somebody's work itself.
    pub(super) fn removed(
        &self,
        path: PathBuf,
        host: &Stat,
        foreign: bool,
    ) -> Result<Change, Errno> {
        let before = match beneath::kind(host) {
            FileType::Symlink => {
                let handle = self.pending.workspace.handle(&path)?;
                side(handle.as_fd(), OsStr::new(""), host)?
            }
            _ => plain_side(host),
        };
        let conflict = foreign || self.is_foreign(host);
        Ok(Change {
            path,
            kind: ChangeKind::Removed,
            before: Some(before),
            after: None,
            conflict: conflict.then_some(Conflict::Changed),
            dropped: Dropped::default(),
        })
    }

    /// Whether somebody changed it on the host since the session began.
    pub(super) fn is_foreign(&self, host: &Stat) -> bool {
        let identity = Identity::of(host);
        identity.changed >= self.pending.began && !self.ours.holds(&identity)
    }

    fn overwrites(&self, kind: ChangeKind, host: &Stat) -> bool {
        if beneath::kind(host) == FileType::Directory && kind != ChangeKind::Type {
            // What is made or removed in a folder changes both its times; its permission bits only the one.
            return self.is_foreign(host) && Moment::changed(host) != Moment::modified(host);
        }
        self.is_foreign(host)
    }

    /// Whether the host lost a file that the session changed. Whether a copied-up file was below this name is not known, so a
    /// file that the session moved here counts too if the host removed anything in this folder.
    fn was_removed(&self, place: &Place<'_>) -> Result<bool, Errno> {
        let Some(folder) = place.host_folder else {
            return Ok(false);
        };
        let folder = rustix::fs::fstat(folder)?;
        Ok(self.is_foreign(&folder) && upper::has_origin(place.upper, place.name)?)
    }

    /// What differs, of a path that both sides have.
    fn differing(
        &self,
        path: &Path,
        before: &Side,
        after: &Side,
    ) -> Result<Option<ChangeKind>, Errno> {
        let mode = before.mode != after.mode;
        let kind = match (&before.kind, &after.kind) {
            (SideKind::File, SideKind::File) => {
                if before.size != after.size {
                    return Ok(Some(ChangeKind::Changed));
                }
                let after_file = self.pending.upper.file(path)?;
                let before_file = match self.pending.workspace.file(path) {
                    Ok(file) => file,
                    // The host's file cannot be read by its user.
                    Err(Errno::ACCESS) => {
                        let kind = if before.modified != after.modified {
                            Some(ChangeKind::Changed)
                        } else {
                            mode.then_some(ChangeKind::Mode)
                        };
                        return Ok(kind);
                    }
                    Err(error) => return Err(error),
                };
                return file_kind(before_file, after_file, after.size, mode);
            }
            (SideKind::Directory, SideKind::Directory) => mode.then_some(ChangeKind::Mode),
            (SideKind::Symlink(one), SideKind::Symlink(other)) => {
                (one != other).then_some(ChangeKind::Changed)
            }
            _ => Some(ChangeKind::Type),
        };
        Ok(kind)
    }
}

/// The permission bits that land, `before` being what the path had: the special ones only where they are there already
/// and the contents stay.
pub(crate) fn landing_mode(change: &Change, after: &Side, special_bits: bool) -> u32 {
    if special_bits {
        return after.mode;
    }
    let kept = match &change.before {
        Some(before) if before.is_directory() && after.is_directory() => before.mode,
        Some(before) if matches!(change.kind, ChangeKind::Mode | ChangeKind::Attributes) => {
            before.mode
        }
        _ => 0,
    };
    (after.mode & !SPECIAL_BITS) | (after.mode & kept & SPECIAL_BITS)
}

fn file_kind(
    before: OwnedFd,
    after: OwnedFd,
    size: u64,
    mode: bool,
) -> Result<Option<ChangeKind>, Errno> {
    let attributes = upper::attributes(before.as_fd())? != upper::attributes(after.as_fd())?;
    let same = upper::same_contents(before, after, size);
    if !same.map_err(|error| upper::to_errno(&error))? {
        return Ok(Some(ChangeKind::Changed));
    }
    // Attributes land by writing the file anew, which sets its permission bits as well.
    Ok(match (attributes, mode) {
        (true, _) => Some(ChangeKind::Attributes),
        (false, true) => Some(ChangeKind::Mode),
        (false, false) => None,
    })
}

fn dropped(before: Option<&Side>, after: &Side) -> Dropped {
    let had = before.map_or(0, |before| before.mode);
    let bit = |bit: u32| after.mode & bit != 0 && had & bit == 0;
    match after.kind {
        SideKind::File => Dropped {
            set_user_id: after.mode & SET_USER_ID != 0,
            set_group_id: after.mode & SET_GROUP_ID != 0,
            sticky: after.mode & STICKY != 0,
            capabilities: false,
        },
        SideKind::Directory => Dropped {
            set_user_id: bit(SET_USER_ID),
            // A new folder has it from the one it is in.
            set_group_id: before.is_some() && bit(SET_GROUP_ID),
            sticky: bit(STICKY),
            capabilities: false,
        },
        SideKind::Symlink(_) | SideKind::Special => Dropped::default(),
    }
}

/// A side of a path, by its name in an open folder.
fn side(folder: BorrowedFd<'_>, name: &OsStr, stat: &Stat) -> Result<Side, Errno> {
    let mut side = plain_side(stat);
    if beneath::kind(stat) == FileType::Symlink {
        let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
        let target = std::ffi::OsString::from_vec(target.into_bytes());
        side.kind = SideKind::Symlink(target.into());
    }
    Ok(side)
}

fn plain_side(stat: &Stat) -> Side {
    let identity = Identity::of(stat);
    let kind = match beneath::kind(stat) {
        FileType::RegularFile => SideKind::File,
        FileType::Directory => SideKind::Directory,
        FileType::Symlink => SideKind::Symlink(PathBuf::new()),
        _ => SideKind::Special,
    };
    let is_file = kind == SideKind::File;
    Side {
        size: if is_file {
            u64::try_from(stat.st_size).unwrap_or(0)
        } else {
            0
        },
        link_group: (is_file && identity.links > 1).then_some(identity.inode),
        kind,
        mode: stat.st_mode & 0o7777,
        modified: Moment::modified(stat),
        identity,
    }
}
