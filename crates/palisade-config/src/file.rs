//! Reading the files a policy consists of, with a bound on each.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// The largest policy file: 10,000 rules take about half a megabyte.
pub(crate) const POLICY_LIMIT: u64 = 8 << 20;

/// The largest policy file of a workspace, which a stranger may have written.
pub(crate) const WORKSPACE_LIMIT: u64 = 1 << 20;

/// The largest file of roots: all public ones with comments take a quarter of a megabyte.
pub(crate) const ROOTS_LIMIT: u64 = 2 << 20;

/// Reads a file the operator named. Links are followed and a pipe is fine.
pub(crate) fn read(path: &Path, limit: u64) -> Result<String, String> {
    let file = File::open(path).map_err(|error| why(&error))?;
    text_of(file, limit)
}

/// Reads the policy file of a workspace, if there is one. Its folder belongs to the agent, so a link is refused (the
/// excerpt of an error would show a line of any file) and so is whatever could block.
pub(crate) fn read_workspace(path: &Path) -> Result<Option<String>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(
                "it is a symbolic link, and a workspace's policy has to be a plain file".into(),
            );
        }
        Err(error) => return Err(why(&error.into())),
    };
    let meta = file.metadata().map_err(|error| why(&error))?;
    if !meta.is_file() {
        return Err("it is not a plain file".into());
    }
    text_of(file, WORKSPACE_LIMIT).map(Some)
}

fn text_of(file: File, limit: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| why(&error))?;
    if bytes.len() as u64 > limit {
        return Err(format!("it is larger than {} KiB", limit >> 10));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".into())
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a folder".into(),
        _ => error.to_string(),
    }
}
