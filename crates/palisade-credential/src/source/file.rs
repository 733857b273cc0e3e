//! A secret in a file of its own.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Failure, SourceError};
use crate::secret::Secret;

/// Most that is read: the longest secret and its line end, and one byte more to see that there is more.
const MOST: usize = Secret::MAX + 3;

/// Opens a file. Symbolic links are followed (mounted secrets are made of them).
///
/// It has to be a regular file of ours or of root's, and nobody but its owner may be able to change it. One
/// of ours must not be readable by everybody either, as with ssh's keys; the mode of root's is up to whoever
/// runs the machine (container engines mount secrets with 0444).
pub(super) fn open(context: &Context, name: &str, path: &Path) -> Result<File, SourceError> {
    let failed = |doing: &str, error: std::io::Error| {
        let failure = match error.kind() {
            std::io::ErrorKind::NotFound => Failure::Missing,
            std::io::ErrorKind::PermissionDenied => Failure::Refused,
            _ => Failure::Unavailable,
        };
        context.error(name, failure, format!("could not be {doing}: {error}"))
    };
    // Without waiting: opening a fifo that nobody writes to would otherwise never end.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| failed("opened", error.into()))?;
    let file = File::from(file);
    let about = file.metadata().map_err(|error| failed("examined", error))?;
    if !about.is_file() {
        let what = "is a directory, a device or a pipe; it has to be a regular file";
        return Err(context.error(name, Failure::Malformed, what));
    }
    let us = rustix::process::geteuid().as_raw();
    check_mode(about.uid(), about.mode(), us)
        .map_err(|what| context.error(name, Failure::Refused, what))?;
    Ok(file)
}

/// Reads a file whole.
pub(super) fn read(
    context: &Context,
    name: &str,
    path: &Path,
) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    let mut file = open(context, name, path)?;
    // At its full size from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST));
    let mut chunk = Zeroizing::new([0; 4096]);
    while bytes.len() < MOST {
        let room = chunk.len().min(MOST - bytes.len());
        let got = file.read(&mut chunk[..room]).map_err(|error| {
            let text = format!("could not be read: {error}");
            context.error(name, Failure::Unavailable, text)
        })?;
        if got == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..got]);
    }
    Ok(bytes)
}

fn check_mode(owner: u32, mode: u32, us: u32) -> Result<(), String> {
    let bits = mode & 0o7777;
    if owner != us && owner != 0 {
        return Err(format!(
            "belongs to another user (id {owner}), who could change it; make it yours"
        ));
    }
    if bits & 0o022 != 0 {
        return Err(format!(
            "can be changed by others (mode {bits:04o}); run chmod 600 on it"
        ));
    }
    if owner != 0 && bits & 0o004 != 0 {
        return Err(format!(
            "can be read by everybody (mode {bits:04o}); run chmod 600 on it"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_mode;

    #[test]
    fn who_may_read_and_change_a_secret_file() {
        for (owner, mode, fine) in [
            (1000, 0o600, true),
            (1000, 0o400, true),
            (1000, 0o640, true),
            (1000, 0o644, false),
            (1000, 0o660, false),
            (1000, 0o602, false),
            (0, 0o444, true),
            (0, 0o640, true),
            (0, 0o646, false),
            (1001, 0o600, false),
        ] {
            let result = check_mode(owner, 0o100_000 | mode, 1000);
            assert_eq!(result.is_ok(), fine, "{owner} {mode:o} {result:?}");
        }
    }
}
