//! What the host runs, or takes settings from, in a folder that is looked into.

use std::ffi::OsStr;
use std::path::Path;

use rustix::fs::FileType;

use super::{Finding, Found, Scan, Why};
use crate::protect::{is_holder, protected_entry};

/// Notes what the host runs.
pub(super) fn protect(below: &Path, found: &Found<'_>, scan: &mut Scan) {
    // A link would have to be held in its place with what it leads to; a pipe or socket runs nothing.
    let directory = match found.kind {
        FileType::Directory => true,
        FileType::RegularFile => false,
        _ => return,
    };
    if is_protected(below, found.name) && !(directory && is_holder(found.name)) {
        scan.findings
            .push(found.finding(directory, 0, Why::Protected));
    }
}

pub(super) fn is_protected(below: &Path, name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // A file in place of the folder says where the repository is.
    name.eq_ignore_ascii_case(".git") || protected_entry(below, &name).is_some()
}

/// What a folder would have if it were a repository of git's without a working tree.
#[derive(Default)]
pub(super) struct Repository {
    head: bool,
    objects: bool,
    references: bool,
    runs: Vec<Finding>,
}

impl Repository {
    pub(super) fn see(&mut self, found: &Found<'_>) {
        let directory = found.kind == FileType::Directory;
        match (found.name.to_str(), directory) {
            (Some("HEAD"), false) => self.head = true,
            (Some("objects"), true) => self.objects = true,
            (Some("refs"), true) => self.references = true,
            (Some("hooks"), true) | (Some("config" | "config.worktree"), false) => {
                self.runs.push(found.finding(directory, 0, Why::Protected));
            }
            _ => {}
        }
    }

    pub(super) fn protect(self, scan: &mut Scan) {
        if self.head && self.objects && self.references {
            let new = |finding: &Finding| {
                let mut all = scan.findings.iter();
                !all.any(|old| old.why == Why::Protected && old.name == finding.name)
            };
            let new: Vec<Finding> = self.runs.into_iter().filter(new).collect();
            scan.findings.extend(new);
        }
    }
}
