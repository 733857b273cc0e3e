//! The host's own system, read-only, as far as programs need it.

mod table;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use palisade_protocol::{Ownership, TreeAccess, TreeEntry};

use crate::account::AgentAccount;

/// Files up to this size are copied when the tree is planned instead of bound: making a small file on a tmpfs and
/// dropping it again was measured at about two thirds of the cost of a bind mount and its removal; above a page the gain is gone.
const COPY_LIMIT: u64 = 4096;

/// The host's file system could not be read.
#[derive(Debug, thiserror::Error)]
#[error("list {path} on the host: {cause}", path = .path.display())]
pub struct TreeError {
    /// Which folder.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

/// The system half of the tree. `host` is the root of the host's file system, `/` outside tests.
///
/// It reads the folders `/` and `/etc` once each and looks at nothing that their listings do not name, since it runs before
/// every start.
///
/// # Errors
/// `/` cannot be listed. A missing `/etc` is a system without one.
pub fn system_tree(host: &Path, account: &AgentAccount) -> Result<Vec<TreeEntry>, TreeError> {
    let mut entries = Vec::with_capacity(64);
    root_entries(host, &mut entries)?;
    etc_entries(host, &mut entries)?;
    entries.extend(account.files());
    entries.extend(made_up(account.home()));
    Ok(entries)
}

/// Where an inside path lies on the host.
pub(crate) fn on_host(host: &Path, inside: &Path) -> PathBuf {
    host.join(inside.strip_prefix("/").unwrap_or(inside))
}

fn root_entries(host: &Path, entries: &mut Vec<TreeEntry>) -> Result<(), TreeError> {
    for (name, kind) in list(host, host)? {
        let inside = Path::new("/").join(&name);
        if table::ROOT.contains(&name.as_str()) {
            entries.extend(show(host, inside, kind));
        } else if let Some((_, store)) = table::STORES.iter().find(|(top, _)| *top == name) {
            let inside = inside.join(store);
            if on_host(host, &inside).is_dir() {
                entries.push(bind(host, inside));
            }
        }
    }
    Ok(())
}

fn etc_entries(host: &Path, entries: &mut Vec<TreeEntry>) -> Result<(), TreeError> {
    let folder = host.join("etc");
    let listing = match list(host, &folder) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for (name, kind) in listing {
        let inside = Path::new("/etc").join(&name);
        if table::is_etc_name(&name) {
            entries.extend(show(host, inside, kind));
            continue;
        }
        for deeper in table::deep_names(&name) {
            let inside = inside.join(deeper);
            if let Ok(meta) = fs::symlink_metadata(on_host(host, &inside)) {
                entries.extend(show(host, inside, meta.file_type()));
            }
        }
    }
    Ok(())
}

/// What programs expect and the host's own copy of which is never shown.
fn made_up(home: &Path) -> [TreeEntry; 9] {
    let link = |path: &str, target: &str| TreeEntry::Symlink {
        path: path.into(),
        target: target.into(),
    };
    let scratch = |path: &Path, mode| TreeEntry::Scratch {
        path: path.into(),
        mode,
    };
    [
        TreeEntry::Proc,
        TreeEntry::Dev,
        scratch(Path::new("/tmp"), 0o1777),
        scratch(Path::new("/run"), 0o755),
        TreeEntry::Dir {
            path: "/var".into(),
        },
        link("/var/tmp", "/tmp"),
        link("/var/run", "/run"),
        link("/var/lock", "/run"),
        scratch(home, 0o700),
    ]
}

/// Shows one path of the host the cheapest way that is true to it.
fn show(host: &Path, inside: PathBuf, kind: fs::FileType) -> Option<TreeEntry> {
    if kind.is_dir() {
        return Some(bind(host, inside));
    }
    if kind.is_symlink() {
        return show_link(host, inside);
    }
    if !kind.is_file() {
        return None;
    }
    Some(match small_public_file(&on_host(host, &inside)) {
        Some(content) => TreeEntry::File {
            path: inside,
            content,
        },
        None => bind(host, inside),
    })
}

/// A link stays a link where it leads to something shown; else what it leads to is bound in its place.
fn show_link(host: &Path, inside: PathBuf) -> Option<TreeEntry> {
    let says = fs::read_link(on_host(host, &inside)).ok()?;
    let leads_to = plain(&inside.parent()?.join(&says));
    if is_part_of_system(&leads_to) {
        return Some(TreeEntry::Symlink {
            path: inside,
            target: says,
        });
    }
    let source = on_host(host, &leads_to).canonicalize().ok()?;
    Some(TreeEntry::Bind {
        source,
        target: inside,
        access: TreeAccess::Read,
        ownership: Ownership::Host,
    })
}

fn is_part_of_system(path: &Path) -> bool {
    let mut names = path.components().filter_map(|c| c.as_os_str().to_str());
    match (names.next(), names.next(), names.next()) {
        (Some("/"), Some("proc"), _) => true,
        (Some("/"), Some("etc"), Some(name)) => table::is_etc_name(name),
        (Some("/"), Some(top), _) => table::ROOT.contains(&top),
        _ => false,
    }
}

/// The path without `.` and `..`, by its text alone.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// The content of a small file that everyone on the host may read. Whatever is not readable for all is bound, so that the
/// host's permissions go on to decide.
fn small_public_file(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.permissions().mode() & 0o004 == 0 || meta.len() > COPY_LIMIT {
        return None;
    }
    let mut content = vec![0; usize::try_from(meta.len()).ok()?];
    file.read_exact(&mut content).ok()?;
    Some(content)
}

fn bind(host: &Path, inside: PathBuf) -> TreeEntry {
    TreeEntry::Bind {
        source: on_host(host, &inside),
        target: inside,
        access: TreeAccess::Read,
        ownership: Ownership::Host,
    }
}

/// The names in a folder with their kinds. A name that is not UTF-8 is in no table.
fn list(host: &Path, folder: &Path) -> Result<Vec<(String, fs::FileType)>, TreeError> {
    let failed = |cause| TreeError {
        path: Path::new("/").join(folder.strip_prefix(host).unwrap_or(folder)),
        cause,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) {
            names.push((name, kind));
        }
    }
    // Directory order differs from machine to machine; the plan is shown and digested.
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

#[cfg(test)]
mod tests;
