//! A tree as a file, so that a session need not look into folders that are as they were.
//!
//! The file lies in palisade's own state folder, which no agent can write. It is read strictly all the same: whatever is odd in
//! it makes it void, and the tree is looked at anew.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::content::Kind;
use super::rules::RuleIndex;
use super::scan::{FileId, Finding, Look, Manner, Why, join};
use super::tree::{Folder, In, Tree};
use super::workers::spread;

const MAGIC: &[u8] = b"palisade masks 3\n";

/// Largest file that is read: some three million folders.
const MOST_BYTES: u64 = 512 << 20;

/// The file for a root.
pub(super) fn path(folder: &Path, root: &Path) -> PathBuf {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(root.as_os_str().as_bytes());
    let name: String = hash[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    folder.join(name)
}

/// Before the head: what file it is, by which rules it was made, and how long the head is.
const FRONT: usize = MAGIC.len() + 32 + 8;

/// What is read at once: the front, and the head of most.
const FIRST: usize = 32 << 10;

/// A file whose head was read: what follows from the tree, and what an unchanged one is known by. The tree itself is only
/// read where something changed.
#[derive(Debug)]
pub(super) struct Kept {
    file: File,
    head: Vec<u8>,
    /// Where the parts begin that are decoded only where they are needed.
    checks: usize,
    paths: usize,
    /// How many checks there are.
    count: usize,
    /// What follows from the tree, so that an unchanged one need not be decoded.
    pub(super) masked: Vec<Masked>,
    pub(super) links: Vec<(PathBuf, RuleIndex)>,
    pub(super) protected: Vec<(PathBuf, bool)>,
}

/// What is masked, by its path below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Masked {
    pub(super) path: PathBuf,
    pub(super) directory: bool,
    pub(super) rule: RuleIndex,
    pub(super) why: Why,
}

/// Bytes of one check: time of change, inode, where its path begins and how long it is.
const CHECK: usize = 24;

impl Kept {
    /// Reads a file; none if there is none of this root and these rules.
    pub(super) fn read(file: &Path, root: &Path, digest: &[u8; 32]) -> Option<Self> {
        Self::of(File::open(file).ok()?, root, digest)
    }

    fn of(file: File, root: &Path, digest: &[u8; 32]) -> Option<Self> {
        let mut first = vec![0; FIRST];
        let length = read_at_most(&file, &mut first, 0).ok()?;
        let front = first.get(..length)?.get(..FRONT)?;
        let sized = front.strip_prefix(MAGIC)?.strip_prefix(digest)?;
        let size = usize::try_from(Reader(sized).number()?).ok()?;
        if size as u64 > MOST_BYTES {
            return None;
        }
        let mut head = first
            .get(FRONT..length.min(FRONT.checked_add(size)?))?
            .to_vec();
        let there = head.len();
        if there < size {
            // A length that the file does not have is not made room for.
            if file.metadata().ok()?.len() < (FRONT + size) as u64 {
                return None;
            }
            head.resize(size, 0);
            file.read_exact_at(&mut head[there..], (FRONT + there) as u64)
                .ok()?;
        }
        Self::new(file, head, root)
    }

    fn new(file: File, head: Vec<u8>, root: &Path) -> Option<Self> {
        let mut input = Reader(&head);
        if input.bytes()? != root.as_os_str().as_bytes() {
            return None;
        }
        let mut masked = Vec::new();
        for _ in 0..input.count()? {
            masked.push(Masked {
                path: input.path()?.into(),
                directory: input.byte()? != 0,
                rule: input.rule()?,
                why: input.why()?,
            });
        }
        let mut links = Vec::new();
        for _ in 0..input.count()? {
            links.push((input.path()?.into(), input.rule()?));
        }
        let mut protected = Vec::new();
        for _ in 0..input.count()? {
            protected.push((input.path()?.into(), input.byte()? != 0));
        }
        let at = |input: &Reader<'_>| head.len() - input.0.len();
        let count = input.count()?;
        let checks = at(&input);
        input.skip(count.checked_mul(CHECK)?)?;
        let length = input.count()?;
        let paths = at(&input);
        input.skip(length)?;
        input.0.is_empty().then_some(())?;
        Some(Self {
            file,
            checks,
            paths,
            count,
            masked,
            links,
            protected,
            head,
        })
    }

    /// Whether all that people keep is as it was. `same` is asked with a path below the root, a time of change and an inode.
    pub(super) fn is_as_it_was(&self, same: impl Fn(&Path, i64, u64) -> bool + Sync) -> bool {
        let checks = self.head.get(self.checks..).unwrap_or_default();
        let (checks, _) = checks.as_chunks::<CHECK>();
        let changed = spread(checks.get(..self.count).unwrap_or_default(), |_, check| {
            (!self.check(check, &same)).then_some(())
        });
        changed.is_empty()
    }

    fn check(&self, check: &[u8; CHECK], same: impl Fn(&Path, i64, u64) -> bool) -> bool {
        let mut input = Reader(check);
        let mut parts = || {
            let (changed, inode) = (input.number()?, input.number()?);
            let place = input.number()?;
            let (from, length) = ((place >> 16) as usize, (place & 0xffff) as usize);
            let paths = self.head.get(self.paths..)?;
            let path = paths.get(from..from.checked_add(length)?)?;
            Some(same(
                Path::new(OsStr::from_bytes(path)),
                changed.cast_signed(),
                inode,
            ))
        };
        parts().unwrap_or(false)
    }

    /// The tree; none if it is damaged.
    pub(super) fn tree(&self) -> Option<Tree> {
        let size = self.file.metadata().ok()?.len();
        let from = (FRONT + self.head.len()) as u64;
        if size > MOST_BYTES {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size.checked_sub(from)?).ok()?];
        self.file.read_exact_at(&mut bytes, from).ok()?;
        decode(&bytes)
    }
}

/// Reads until there is no more or no more room.
fn read_at_most(file: &File, bytes: &mut [u8], from: u64) -> io::Result<usize> {
    let mut read = 0;
    loop {
        match file.read_at(&mut bytes[read..], from + read as u64) {
            Ok(0) => return Ok(read),
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a tree. A reader sees the old file or the new one.
pub(super) fn write(file: &Path, root: &Path, digest: &[u8; 32], tree: &Tree) -> io::Result<()> {
    let bytes = encode(tree, root, digest);
    // Where something was looked at again and found to be as it was.
    if bytes.len() <= FIRST && fs::read(file).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(folder)?;
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let written = open.write_all(&bytes).and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn encode(tree: &Tree, root: &Path, digest: &[u8; 32]) -> Vec<u8> {
    let mut head = Writer(Vec::new());
    head.bytes(root.as_os_str().as_bytes());
    encode_answers(tree, &mut head);
    encode_protected(tree, &mut head);
    encode_checks(tree, &mut head);
    let mut out = Writer(MAGIC.to_vec());
    out.0.extend_from_slice(digest);
    out.number(head.0.len() as u64);
    out.0.append(&mut head.0);
    encode_tree(tree, &mut out);
    out.0
}

fn encode_answers(tree: &Tree, out: &mut Writer) {
    out.number(tree.masked().count() as u64);
    for (path, finding) in tree.masked() {
        out.bytes(path.as_os_str().as_bytes());
        out.byte(u8::from(finding.directory));
        out.number(finding.rule.into());
        out.why(finding.why);
    }
    out.number(tree.masked_links().count() as u64);
    for (path, rule) in tree.masked_links() {
        out.bytes(path.as_os_str().as_bytes());
        out.number(rule.into());
    }
}

fn encode_protected(tree: &Tree, out: &mut Writer) {
    out.number(tree.protected().count() as u64);
    for (path, directory) in tree.protected() {
        out.bytes(path.as_os_str().as_bytes());
        out.byte(u8::from(directory));
    }
}

fn encode_checks(tree: &Tree, out: &mut Writer) {
    let mut paths: Vec<u8> = Vec::new();
    let mut count = 0;
    let mut checks = Writer(Vec::new());
    let mut add = |path: &Path, changed: i64, inode: u64| {
        let path = path.as_os_str().as_bytes();
        checks.number(changed.cast_unsigned());
        checks.number(inode);
        checks.number((paths.len() as u64) << 16 | path.len() as u64);
        paths.extend_from_slice(path);
        count += 1;
    };
    for folder in tree.folders.iter().filter(|folder| !folder.manner.filled) {
        add(folder.rooted(), folder.changed, folder.inode);
    }
    for In { folder, what } in &tree.looks {
        let folder = &tree.folders[*folder as usize];
        if !folder.manner.filled {
            add(&join(&folder.path, &what.name), what.changed, what.inode);
        }
    }
    out.number(count);
    out.0.extend_from_slice(&checks.0);
    out.bytes(&paths);
}

fn encode_tree(tree: &Tree, out: &mut Writer) {
    out.number(tree.folders.len() as u64);
    for folder in &tree.folders {
        out.number(folder.changed.cast_unsigned());
        out.number(folder.inode);
        out.byte(u8::from(folder.manner.filled) | u8::from(folder.manner.hidden) << 1);
        out.bytes(folder.path.as_os_str().as_bytes());
    }
    out.number(tree.findings.len() as u64);
    for In { folder, what } in &tree.findings {
        out.number((*folder).into());
        out.bytes(what.name.as_bytes());
        let flags = [what.directory, what.linked, what.hidden];
        out.byte(flags.iter().fold(0, |sum, flag| sum << 1 | u8::from(*flag)));
        out.number(what.rule.into());
        out.why(what.why);
        out.number(what.file.device);
        out.number(what.file.inode);
    }
    out.number(tree.looks.len() as u64);
    for In { folder, what } in &tree.looks {
        out.number((*folder).into());
        out.bytes(what.name.as_bytes());
        out.number(what.changed.cast_unsigned());
        out.number(what.inode);
        out.byte(u8::from(what.masked));
        out.number(what.asked.len() as u64);
        for (kind, rule) in &what.asked {
            out.byte(KINDS.iter().position(|known| known == kind).unwrap_or(0) as u8);
            out.number((*rule).into());
        }
    }
    out.number(tree.links.len() as u64);
    for In { folder, what } in &tree.links {
        out.number((*folder).into());
        out.bytes(what.0.as_bytes());
        out.number(what.1.into());
    }
}

const REASONS: [Why; 5] = [
    Why::Name,
    Why::HardLink,
    Why::LinkTarget,
    Why::Unreadable,
    Why::Protected,
];
const KINDS: [Kind; 3] = [Kind::PrivateKey, Kind::Token, Kind::ServiceAccount];

fn decode(bytes: &[u8]) -> Option<Tree> {
    let mut input = Reader(bytes);
    let mut tree = Tree::default();
    let count = input.count()?;
    tree.folders.reserve_exact(count);
    for _ in 0..count {
        let (changed, inode, flags) = (input.number()?, input.number()?, input.byte()?);
        tree.folders.push(Folder {
            path: input.path()?.into(),
            changed: changed.cast_signed(),
            inode,
            manner: Manner {
                filled: flags & 1 != 0,
                hidden: flags & 2 != 0,
            },
        });
    }
    for _ in 0..input.count()? {
        let folder = input.index(count)?;
        let (name, flags) = (input.path()?, input.byte()?);
        let what = Finding {
            name,
            directory: flags & 4 != 0,
            linked: flags & 2 != 0,
            hidden: flags & 1 != 0,
            rule: input.rule()?,
            why: input.why()?,
            file: FileId {
                device: input.number()?,
                inode: input.number()?,
            },
        };
        tree.findings.push(In { folder, what });
    }
    for _ in 0..input.count()? {
        let folder = input.index(count)?;
        let (name, changed, inode) = (input.path()?, input.number()?, input.number()?);
        let masked = input.byte()? != 0;
        let mut asked = Vec::new();
        for _ in 0..input.count()? {
            let kind = *KINDS.get(usize::from(input.byte()?))?;
            asked.push((kind, input.rule()?));
        }
        let what = Look {
            name,
            changed: changed.cast_signed(),
            inode,
            asked,
            masked,
        };
        tree.looks.push(In { folder, what });
    }
    for _ in 0..input.count()? {
        let folder = input.index(count)?;
        let what = (input.path()?, input.rule()?);
        tree.links.push(In { folder, what });
    }
    input.0.is_empty().then_some(tree)
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn why(&mut self, why: Why) {
        self.byte(REASONS.iter().position(|known| *known == why).unwrap_or(0) as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    /// How many entries follow. Each takes a byte at least, so a number that cannot be is told at once.
    fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.0.len()).then_some(count)
    }

    fn index(&mut self, below: usize) -> Option<u32> {
        let index = self.number()?;
        (index < below as u64).then_some(())?;
        index.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.count()?;
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }

    fn rule(&mut self) -> Option<RuleIndex> {
        self.number()?.try_into().ok()
    }

    fn why(&mut self) -> Option<Why> {
        REASONS.get(usize::from(self.byte()?)).copied()
    }

    fn path(&mut self) -> Option<OsString> {
        Some(OsString::from_vec(self.bytes()?.to_vec()))
    }
}

#[cfg(test)]
mod tests;
