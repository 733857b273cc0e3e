//! Looking into one folder.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags, openat, openat2,
    statx,
};
use rustix::io::Errno;

use super::below_root;
use super::content::{Kind, MOST_BYTES};
use super::rules::{Decision, MaskRules, RuleIndex, folder};

mod runs;

use runs::{Repository, is_protected, protect};

/// Longest path, relative to its root, that is looked into. The kernel takes no path of more than 4096 bytes (PATH_MAX), so
/// nothing could be laid over what lies deeper; the folder is masked instead.
const LONGEST: usize = 3000;

/// Folders that tools fill and nobody keeps anything in. Whatever is in them came from elsewhere.
const FILLED_BY_TOOLS: [&str; 13] = [
    "node_modules",
    "bower_components",
    "site-packages",
    "__pycache__",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".gradle",
    ".next",
    ".turbo",
    ".pnpm-store",
    "Pods",
];

/// How a folder is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// It lies within a folder that tools fill.
    pub(super) filled: bool,
    /// It lies within a masked folder: only other names of what it holds are of interest.
    pub(super) hidden: bool,
}

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FileId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// Why a path is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// By its name, and what it holds where the rule asks.
    Name,
    /// It is another name of a masked file.
    HardLink,
    /// A link of a masked name leads to it.
    LinkTarget,
    /// It is a folder that cannot be looked into.
    Unreadable,
    /// It is not masked: the host runs it, or takes settings from it.
    Protected,
}

impl Why {
    /// Whether something is laid over it.
    pub(super) fn masks(self) -> bool {
        self != Self::Protected
    }
}

/// Something to mask in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) name: OsString,
    pub(super) directory: bool,
    pub(super) rule: RuleIndex,
    pub(super) why: Why,
    pub(super) file: FileId,
    /// It has other names.
    pub(super) linked: bool,
    /// It lies in a masked folder, so that it needs no mask of its own.
    pub(super) hidden: bool,
}

/// A file that is masked for what it holds, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) name: OsString,
    pub(super) changed: i64,
    pub(super) inode: u64,
    pub(super) asked: Vec<(Kind, RuleIndex)>,
    pub(super) masked: bool,
}

/// What one folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) changed: i64,
    pub(super) inode: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) looks: Vec<Look>,
    /// Links of masked names, with their rule.
    pub(super) links: Vec<(OsString, RuleIndex)>,
    pub(super) folders: Vec<(OsString, Manner)>,
}

/// What is asked of every folder.
pub(super) struct Scanner<'a> {
    pub(super) rules: &'a MaskRules,
    pub(super) root: &'a Path,
    pub(super) at: BorrowedFd<'a>,
    /// Masked files known so far: another name of one is masked too.
    pub(super) known: &'a HashSet<FileId>,
}

impl Scanner<'_> {
    /// Looks into a folder; none if it is gone.
    pub(super) fn scan(&self, below: &Path, manner: Manner) -> Result<Option<Scan>, Errno> {
        if below.as_os_str().len() > LONGEST {
            return Err(Errno::NAMETOOLONG);
        }
        let Some(directory) = self.open(below)? else {
            return Ok(None);
        };
        let own = status(directory.as_fd(), c"")?;
        let mut scan = Scan {
            changed: changed(&own),
            inode: own.stx_ino,
            ..Scan::default()
        };
        let device = device(&own);
        let lower = folder(&below_root(self.root, below));
        let mut space = Vec::with_capacity(32 << 10);
        let space: &mut [MaybeUninit<u8>] = {
            space.resize_with(32 << 10, MaybeUninit::uninit);
            &mut space
        };
        let mut entries = RawDir::new(&directory, space);
        let mut repository = Repository::default();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let found = Found {
                name,
                kind: entry.file_type(),
                file: FileId {
                    device,
                    inode: entry.ino(),
                },
            };
            repository.see(&found);
            self.entry(&directory, &lower, below, found, manner, &mut scan)?;
        }
        repository.protect(&mut scan);
        Ok(Some(scan))
    }

    /// Looks at one name of a folder; none if it is gone. It is `new` if it was made or moved there.
    pub(super) fn scan_name(
        &self,
        below: &Path,
        name: &OsStr,
        manner: Manner,
        new: bool,
    ) -> Result<Option<Scan>, Errno> {
        let lower = folder(&below_root(self.root, below));
        let clear = self.rules.judge(&lower, name, false) == Decision::Clear;
        let runs = new && is_protected(below, name);
        if clear && !new {
            return Ok(None);
        }
        let Some(own) = gone(status(self.at, join(below, name)))? else {
            return Ok(None);
        };
        let kind = FileType::from_raw_mode(own.stx_mode.into());
        if clear && !runs && kind != FileType::Directory && own.stx_nlink == 1 {
            return Ok(None);
        }
        let Some(directory) = self.open(below)? else {
            return Ok(None);
        };
        let found = Found {
            name,
            kind,
            file: FileId {
                device: device(&own),
                inode: own.stx_ino,
            },
        };
        let mut scan = Scan::default();
        self.entry(&directory, &lower, below, found, manner, &mut scan)?;
        Ok(Some(scan))
    }

    fn open(&self, below: &Path) -> Result<Option<OwnedFd>, Errno> {
        let path = if below.as_os_str().is_empty() {
            Path::new(".")
        } else {
            below
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match openat2(self.at, path, flags, Mode::empty(), resolve) {
            Ok(directory) => Ok(Some(directory)),
            // Gone, or no folder any more: its parent has changed too and is looked at.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn entry(
        &self,
        directory: &OwnedFd,
        lower: &str,
        below: &Path,
        mut found: Found<'_>,
        manner: Manner,
        scan: &mut Scan,
    ) -> Result<(), Errno> {
        if found.kind == FileType::Unknown {
            let Some(own) = gone(status(directory.as_fd(), found.name))? else {
                return Ok(());
            };
            found.kind = FileType::from_raw_mode(own.stx_mode.into());
        }
        if !manner.hidden && !manner.filled {
            protect(below, &found, scan);
        }
        match found.kind {
            FileType::Directory => self.folder(lower, below, &found, manner, scan),
            FileType::RegularFile => return self.file(directory, lower, &found, manner, scan),
            FileType::Symlink if !manner.hidden => {
                match self.rules.judge(lower, found.name, false) {
                    Decision::Masked(rule) => scan.links.push((found.name.to_owned(), rule)),
                    Decision::Look(asked) => {
                        scan.links.extend(
                            asked
                                .first()
                                .map(|(_, rule)| (found.name.to_owned(), *rule)),
                        );
                    }
                    Decision::Clear => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn folder(
        &self,
        lower: &str,
        below: &Path,
        found: &Found<'_>,
        manner: Manner,
        scan: &mut Scan,
    ) {
        // Its files are called by their contents' hash, and only git's own words lead to them.
        if found.name == "objects" && is_git(below) {
            return;
        }
        let mut inner = manner;
        inner.filled |= FILLED_BY_TOOLS.iter().any(|name| found.name == *name)
            || (found.name == "target" && self.is_cache(&below.join(found.name)));
        if !manner.hidden
            && let Decision::Masked(rule) = self.rules.judge(lower, found.name, true)
        {
            inner.hidden = true;
            scan.findings.push(found.finding(true, rule, Why::Name));
        }
        scan.folders.push((found.name.to_owned(), inner));
    }

    fn file(
        &self,
        directory: &OwnedFd,
        lower: &str,
        found: &Found<'_>,
        manner: Manner,
        scan: &mut Scan,
    ) -> Result<(), Errno> {
        if manner.hidden {
            return self.hidden_file(directory, found, scan);
        }
        match self.rules.judge(lower, found.name, false) {
            Decision::Masked(rule) => {
                let mut finding = found.finding(false, rule, Why::Name);
                if let Some(own) = gone(status(directory.as_fd(), found.name))? {
                    finding.linked = own.stx_nlink > 1;
                    scan.findings.push(finding);
                }
            }
            Decision::Look(mut asked) => {
                if manner.filled {
                    asked.retain(|(kind, _)| *kind != Kind::ServiceAccount);
                }
                self.look(directory, found, asked, scan)?;
            }
            Decision::Clear => {}
        }
        let masked = scan
            .findings
            .last()
            .is_some_and(|last| last.why.masks() && last.name == found.name);
        if !masked && self.known.contains(&found.file) {
            scan.findings.push(found.finding(false, 0, Why::HardLink));
        }
        Ok(())
    }

    /// A file of a masked folder may have another name elsewhere.
    fn hidden_file(
        &self,
        directory: &OwnedFd,
        found: &Found<'_>,
        scan: &mut Scan,
    ) -> Result<(), Errno> {
        let Some(own) = gone(status(directory.as_fd(), found.name))? else {
            return Ok(());
        };
        if own.stx_nlink > 1 {
            let mut finding = found.finding(false, 0, Why::Name);
            (finding.linked, finding.hidden) = (true, true);
            scan.findings.push(finding);
        }
        Ok(())
    }

    fn look(
        &self,
        directory: &OwnedFd,
        found: &Found<'_>,
        asked: Vec<(Kind, RuleIndex)>,
        scan: &mut Scan,
    ) -> Result<(), Errno> {
        if asked.is_empty() {
            return Ok(());
        }
        let Some(own) = gone(status(directory.as_fd(), found.name))? else {
            return Ok(());
        };
        let rule = look_into(directory.as_fd(), found.name, own.stx_size, &asked);
        if let Some(rule) = rule {
            let mut finding = found.finding(false, rule, Why::Name);
            finding.linked = own.stx_nlink > 1;
            scan.findings.push(finding);
        }
        scan.looks.push(Look {
            name: found.name.to_owned(),
            changed: changed(&own),
            inode: own.stx_ino,
            asked,
            masked: rule.is_some(),
        });
        Ok(())
    }

    /// A folder that its tool says is a cache (the Cache Directory Tagging Specification).
    fn is_cache(&self, below: &Path) -> bool {
        status(self.at, below.join("CACHEDIR.TAG")).is_ok()
    }
}

/// The rule by which a file is masked for what it holds. One that cannot be read is masked: its owner could make it readable.
fn look_into(
    at: BorrowedFd<'_>,
    name: &OsStr,
    size: u64,
    asked: &[(Kind, RuleIndex)],
) -> Option<RuleIndex> {
    let mut text = None;
    for (kind, rule) in asked {
        let masked = kind.by_size(size).unwrap_or_else(|| {
            let text = text.get_or_insert_with(|| read(at, name));
            text.as_ref().is_none_or(|text| kind.found_in(text))
        });
        if masked {
            return Some(*rule);
        }
    }
    None
}

/// The same for a path that is shown on its own.
pub(super) fn look_at(path: &Path, asked: &[(Kind, RuleIndex)]) -> Option<RuleIndex> {
    let size = status(CWD, path).map_or(u64::MAX, |own| own.stx_size);
    look_into(CWD, path.as_os_str(), size, asked)
}

fn read(at: BorrowedFd<'_>, name: &OsStr) -> Option<Vec<u8>> {
    // Without waiting: a pipe could have taken its place.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(at, name, flags, Mode::empty()).ok()?);
    let mut text = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut text).ok()?;
    Some(text)
}

struct Found<'a> {
    name: &'a OsStr,
    kind: FileType,
    file: FileId,
}

impl Found<'_> {
    fn finding(&self, directory: bool, rule: RuleIndex, why: Why) -> Finding {
        Finding {
            name: self.name.to_owned(),
            directory,
            rule,
            why,
            file: self.file,
            linked: false,
            hidden: false,
        }
    }
}

fn is_git(below: &Path) -> bool {
    below
        .file_name()
        .is_some_and(|name| name == ".git" || name.as_bytes().ends_with(b".git"))
}

fn gone<T>(outcome: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is known of a path without following a link at its end.
pub(super) fn status(at: BorrowedFd<'_>, path: impl rustix::path::Arg) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::INO
        | StatxFlags::CTIME
        | StatxFlags::NLINK
        | StatxFlags::SIZE
        | StatxFlags::MODE
        | StatxFlags::TYPE;
    statx(at, path, flags, wanted)
}

/// Nanoseconds since 1970.
pub(super) fn changed(own: &Statx) -> i64 {
    own.stx_ctime.tv_sec * 1_000_000_000 + i64::from(own.stx_ctime.tv_nsec)
}

pub(super) fn device(own: &Statx) -> u64 {
    u64::from(own.stx_dev_major) << 32 | u64::from(own.stx_dev_minor)
}

/// A path below the root, of a folder and a name in it.
pub(super) fn join(folder: &Path, name: &OsStr) -> PathBuf {
    let mut path = folder.as_os_str().as_bytes().to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    PathBuf::from(OsString::from_vec(path))
}
