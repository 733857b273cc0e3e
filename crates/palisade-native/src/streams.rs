//! The standard streams, looked at before the start.

use std::os::fd::BorrowedFd;

use palisade_boundary::{Identity, StartError};
use palisade_guest::streams::{StreamRights, all, rights_of};
use rustix::fs::{FileType, fchown, fstat, fstatfs};
use rustix::process::{Gid, Uid};

use crate::explain::cannot;

/// Looks at the streams.
///
/// # Errors
/// One of them is a directory: from there the agent could walk anywhere on the host.
pub(crate) fn examine() -> Result<StreamRights, StartError> {
    let mut found = StreamRights::default();
    for ((stream, name), place) in all()
        .into_iter()
        .zip(["input", "output", "error"])
        .zip(&mut found)
    {
        let Ok(stat) = fstat(stream) else {
            continue;
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let mut error = cannot(
                    format!("pass on the standard {name}"),
                    "it is a directory, and the agent could leave the boundary through it".into(),
                );
                error.fix = Some("redirect it from or to a file, a pipe or /dev/null".into());
                return Err(error);
            }
            kind => *place = rights_of(stream, kind),
        }
    }
    Ok(found)
}

/// A pipe belongs to whoever made it, here the caller; an agent that is another user could use it but not open it again
/// as `/dev/stdout`. So pipes, and nothing else, are given to the agent. Where that is refused the agent does without.
pub(crate) fn lend_pipes(identity: &Identity) {
    let uid = Some(Uid::from_raw(identity.host_uid));
    let gid = Some(Gid::from_raw(identity.host_gid));
    for stream in all().into_iter().filter(|s| is_nameless_pipe(*s)) {
        let _ = fchown(stream, uid, gid);
    }
}

/// Pipes made by pipe(2) live on a file system of their own. A named one has a place in the host's tree, where its owner
/// must not change.
fn is_nameless_pipe(stream: BorrowedFd<'_>) -> bool {
    /// `PIPEFS_MAGIC`, `linux/magic.h`.
    const PIPEFS: i64 = 0x5049_5045;
    fstatfs(stream).is_ok_and(|s| s.f_type == PIPEFS)
}
