//! The host's own system, read-only, as far as programs need it.

mod table;

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use palisade_protocol::{Ownership, TreeAccess, TreeEntry};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};

use crate::account::AgentAccount;
use crate::paths::plain;

/// Files up to this size are copied when the tree is planned instead of bound. Reading a small file and making it again on a
/// tmpfs was measured at two thirds of the cost of a bind mount and its removal; at 12 KiB they cost the same.
const COPY_LIMIT: u64 = 12 << 10;

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
/// It reads the folder `/etc` once and looks at nothing that the listing does not name, since it runs before every start.
///
/// # Errors
/// `/` or `/etc` cannot be read. A missing `/etc` is a system without one.
pub fn system_tree(host: &Path, account: &AgentAccount) -> Result<Vec<TreeEntry>, TreeError> {
    let mut entries = Vec::with_capacity(64);
    root_entries(host, &mut entries)?;
    etc_entries(host, &mut entries)?;
    entries.extend(account.files());
    entries.extend(made_up(account.home()));
    Ok(entries)
}

/// The same where the system is that of an image: what is made up for the session, and nothing of the host's.
pub fn image_tree(account: &AgentAccount) -> Vec<TreeEntry> {
    let mut entries = account.files();
    entries.extend([TreeEntry::Proc, TreeEntry::Dev]);
    entries.extend([
        scratch(Path::new("/tmp"), 0o1777),
        scratch(Path::new("/run"), 0o755),
        scratch(Path::new("/var/tmp"), 0o1777),
        scratch(account.home(), 0o700),
    ]);
    entries
}

/// Where an inside path lies on the host.
pub(crate) fn on_host(host: &Path, inside: &Path) -> PathBuf {
    host.join(inside.strip_prefix("/").unwrap_or(inside))
}

fn root_entries(host: &Path, entries: &mut Vec<TreeEntry>) -> Result<(), TreeError> {
    let folder = open_folder(host, host)?;
    let shower = Shower {
        host,
        folder: folder.as_fd(),
    };
    for name in table::ROOT {
        entries.extend(shower.look_up(name, "/"));
    }
    Ok(())
}

fn etc_entries(host: &Path, entries: &mut Vec<TreeEntry>) -> Result<(), TreeError> {
    let etc = host.join("etc");
    let folder = match open_folder(host, &etc) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let is_wanted = |name: &str| table::is_etc_name(name) || !table::deep_names(name).is_empty();
    let shower = Shower {
        host,
        folder: folder.as_fd(),
    };
    for (name, kind) in list(host, &etc, &folder, is_wanted)? {
        let deeper = table::deep_names(&name);
        if deeper.is_empty() {
            entries.extend(shower.show(&name, Path::new("/etc").join(&name), kind));
        }
        for inner in deeper {
            entries.extend(shower.look_up(&format!("{name}/{inner}"), "/etc"));
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

fn scratch(path: &Path, mode: u32) -> TreeEntry {
    TreeEntry::Scratch {
        path: path.into(),
        mode,
    }
}

/// Shows the paths of one open folder of the host.
#[derive(Clone, Copy)]
struct Shower<'a> {
    host: &'a Path,
    folder: BorrowedFd<'a>,
}

impl Shower<'_> {
    /// Shows one path the cheapest way that is true to it. `name` is where it lies in the folder.
    fn show(self, name: &str, inside: PathBuf, kind: FileType) -> Option<TreeEntry> {
        match kind {
            FileType::Directory => Some(bind(self.host, inside)),
            FileType::Symlink => self.show_link(name, inside),
            FileType::RegularFile => Some(match small_public_file(self.folder, name) {
                Some(content) => TreeEntry::File {
                    path: inside,
                    content,
                },
                None => bind(self.host, inside),
            }),
            _ => None,
        }
    }

    /// Shows one path if it is there.
    fn look_up(self, name: &str, parent: &str) -> Option<TreeEntry> {
        let stat = rustix::fs::statat(self.folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let inside = Path::new(parent).join(name);
        self.show(name, inside, FileType::from_raw_mode(stat.st_mode))
    }

    /// A link stays a link where it leads to something shown; else what it leads to is bound in its place.
    fn show_link(self, name: &str, inside: PathBuf) -> Option<TreeEntry> {
        let says = rustix::fs::readlinkat(self.folder, name, Vec::new()).ok()?;
        let says = PathBuf::from(says.into_string().ok()?);
        let leads_to = plain(&inside.parent()?.join(&says));
        if is_part_of_system(&leads_to) {
            return Some(TreeEntry::Symlink {
                path: inside,
                target: says,
            });
        }
        let source = on_host(self.host, &leads_to).canonicalize().ok()?;
        Some(TreeEntry::Bind {
            source,
            target: inside,
            access: TreeAccess::Read,
            ownership: Ownership::Host,
        })
    }
}

fn is_part_of_system(path: &Path) -> bool {
    let mut names = path.components().filter_map(|c| c.as_os_str().to_str());
    match (names.next(), names.next(), names.next()) {
        (Some("/"), Some("proc"), _) => true,
        (Some("/"), Some("nix" | "gnu"), Some("store")) => true,
        (Some("/"), Some("etc"), Some(name)) => table::is_etc_name(name),
        (Some("/"), Some(top), _) => table::ROOT.contains(&top),
        _ => false,
    }
}

/// The content of a small file that everyone on the host may read. Whatever is not readable for all is bound, so that the
/// host's permissions go on to decide.
fn small_public_file(folder: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let size = u64::try_from(stat.st_size).ok()?;
    let is_plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_plain || stat.st_mode & 0o004 == 0 || size > COPY_LIMIT {
        return None;
    }
    let mut content = vec![0; usize::try_from(size).ok()?];
    File::from(file).read_exact(&mut content).ok()?;
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

fn open_folder(host: &Path, folder: &Path) -> Result<OwnedFd, TreeError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).map_err(|error| failed(host, folder, error))
}

/// The wanted names in a folder with their kinds, sorted: directory order differs from machine to machine, and the plan is
/// shown to people. A name that is not UTF-8 is in no table.
fn list(
    host: &Path,
    path: &Path,
    folder: &OwnedFd,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, FileType)>, TreeError> {
    // Room for some 500 names, so that `/etc` takes two calls: one that fills it and one that says it was all.
    let mut buffer = [MaybeUninit::uninit(); 16 << 10];
    let mut names = Vec::with_capacity(64);
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| failed(host, path, error))?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if !is_wanted(name) {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say (XFS without ftype).
            FileType::Unknown => {
                match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(_) => continue,
                }
            }
            known => known,
        };
        names.push((name.to_owned(), kind));
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(names)
}

fn failed(host: &Path, folder: &Path, error: rustix::io::Errno) -> TreeError {
    TreeError {
        path: Path::new("/").join(folder.strip_prefix(host).unwrap_or(folder)),
        cause: error.into(),
    }
}

#[cfg(test)]
mod tests;
