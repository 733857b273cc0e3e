//! What is mounted below a host folder.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use palisade_boundary::StartError;

use crate::explain::{cannot, os};

/// How many mounts an error names.
const MOST_NAMED: usize = 3;

/// Refuses a folder with mounts below it. An overlay shows none of what is mounted on its parts: in their place there would
/// be what lies under them, which may be what somebody wanted hidden, and an unprivileged kernel refuses such a lower
/// layer for the same reason.
pub(super) fn none_below(folder: &Path) -> Result<(), StartError> {
    let table = "/proc/self/mountinfo";
    let text = fs::read(table).map_err(|e| cannot(format!("read {table}"), os(&e)))?;
    let found = below(&text, folder);
    if found.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = found
        .iter()
        .take(MOST_NAMED)
        .map(|place| place.display().to_string())
        .collect();
    let more = match found.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(StartError {
        what: format!("lay an overlay over {}", folder.display()),
        cause: format!(
            "something is mounted below it, which an overlay cannot show: {}{more}",
            names.join(", ")
        ),
        fix: Some("unmount it, or use access = \"read\" or \"write\"".into()),
    })
}

/// The places of mounts below `folder`, of a table as proc_pid_mountinfo(5) has it.
fn below(table: &[u8], folder: &Path) -> Vec<PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    let places = lines.filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let mut found: Vec<PathBuf> = places
        .map(unescaped)
        .filter(|place| place != folder && place.starts_with(folder))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Space, tab, line feed and backslash are written as a backslash and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'\\')
            .then(|| after.split_at_checked(3))
            .flatten();
        match escape.and_then(|(digits, after)| Some((octal(digits)?, after))) {
            Some((byte, after)) => {
                bytes.push(byte);
                rest = after;
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_are_found_in_whatever_spelling() {
        let table = b"1 0 8:1 / / rw - ext4 /dev/sda rw\n\
            2 1 0:5 / /w/p rw,nosuid shared:3 - tmpfs none rw\n\
            3 1 0:6 / /w/p/a\\040b rw - tmpfs none rw\n\
            4 1 0:6 / /w/p/\\134134 rw - tmpfs none rw\n\
            5 1 0:6 / /w/px rw - tmpfs none rw\n\
            6 1 0:6 / /w/p/a\\040b rw - tmpfs none rw\n";
        let found = below(table, Path::new("/w/p"));
        let expected = [Path::new("/w/p/\\134"), Path::new("/w/p/a b")];
        assert_eq!(found, expected);
        assert!(below(table, Path::new("/w/p/a b")).is_empty());
    }

    #[test]
    fn a_folder_with_a_mount_is_refused_by_the_name_of_the_mount() {
        let error = none_below(Path::new("/")).expect_err("/proc is mounted");
        assert!(error.cause.contains("/dev"), "{error}");
        assert!(none_below(Path::new("/usr/bin")).is_ok());
    }
}
