//! A tree as a file, so that a session need not look into folders that are as they were.
//!
//! The file lies in palisade's own state folder, which no agent can write. It is read strictly all the same: whatever is odd in
//! it makes it void, and the tree is looked at anew.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::content::Kind;
use super::scan::{FileId, Finding, Look, Manner, Why};
use super::tree::{Folder, In, Tree};

const MAGIC: &[u8] = b"palisade masks 1\n";

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

/// Reads a tree; none if there is none of this root and these rules.
pub(super) fn read(file: &Path, root: &Path, digest: &[u8; 32]) -> Option<Tree> {
    let mut bytes = Vec::new();
    let file = File::open(file).ok()?;
    file.take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
    decode(&bytes, root, digest)
}

/// Writes a tree. A reader sees the old file or the new one.
pub(super) fn write(file: &Path, root: &Path, digest: &[u8; 32], tree: &Tree) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).create(folder)?;
    let new = file.with_extension(format!("new-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    let written = open
        .write_all(&encode(tree, root, digest))
        .and_then(|()| fs::rename(&new, file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn encode(tree: &Tree, root: &Path, digest: &[u8; 32]) -> Vec<u8> {
    let mut out = Writer(MAGIC.to_vec());
    out.0.extend_from_slice(digest);
    out.bytes(root.as_os_str().as_bytes());
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
        out.byte(REASONS.iter().position(|why| *why == what.why).unwrap_or(0) as u8);
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
    out.0
}

const REASONS: [Why; 4] = [Why::Name, Why::HardLink, Why::LinkTarget, Why::Unreadable];
const KINDS: [Kind; 3] = [Kind::PrivateKey, Kind::Token, Kind::ServiceAccount];

fn decode(bytes: &[u8], root: &Path, digest: &[u8; 32]) -> Option<Tree> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(digest)?;
    let mut input = Reader(rest);
    if input.bytes()? != root.as_os_str().as_bytes() {
        return None;
    }
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
            rule: input.number()?.try_into().ok()?,
            why: *REASONS.get(usize::from(input.byte()?))?,
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
            asked.push((kind, input.number()?.try_into().ok()?));
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
        let what = (input.path()?, input.number()?.try_into().ok()?);
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

    fn path(&mut self) -> Option<OsString> {
        Some(OsString::from_vec(self.bytes()?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (path, filled, hidden) in [
            ("", false, false),
            ("a\n\u{fe}", true, false),
            ("b", false, true),
        ] {
            tree.folders.push(Folder {
                path: path.into(),
                changed: -5,
                inode: 7,
                manner: Manner { filled, hidden },
            });
        }
        for (number, why) in (0..3).cycle().zip(REASONS) {
            let what = Finding {
                name: ".env".into(),
                directory: number == 1,
                rule: 70_000,
                why,
                file: FileId {
                    device: u64::MAX,
                    inode: 3,
                },
                linked: number == 2,
                hidden: number == 0,
            };
            tree.findings.push(In {
                folder: number,
                what,
            });
        }
        let what = Look {
            name: "x.pem".into(),
            changed: i64::MAX,
            inode: 1,
            asked: vec![(Kind::Token, 1), (Kind::ServiceAccount, 2)],
            masked: true,
        };
        tree.looks.push(In { folder: 2, what });
        tree.links.push(In {
            folder: 1,
            what: ("link".into(), 4),
        });
        tree
    }

    #[test]
    fn what_is_written_is_read() {
        let root = Path::new("/w");
        let bytes = encode(&tree(), root, &[1; 32]);
        assert_eq!(decode(&bytes, root, &[1; 32]), Some(tree()));
        assert_eq!(decode(&bytes, Path::new("/v"), &[1; 32]), None);
        assert_eq!(decode(&bytes, root, &[2; 32]), None);
    }

    #[test]
    fn whatever_is_odd_makes_it_void() {
        let root = Path::new("/w");
        let bytes = encode(&tree(), root, &[1; 32]);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], root, &[1; 32]), None, "{cut}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(decode(&longer, root, &[1; 32]), None);
        // Any byte may be wrong: it is another tree or none, and never a panic or a large claim on memory.
        for at in 0..bytes.len() {
            for wrong in [0, 0x7f, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] = wrong;
                if let Some(tree) = decode(&bytes, root, &[1; 32]) {
                    assert!(
                        tree.findings
                            .iter()
                            .all(|found| (found.folder as usize) < tree.folders.len())
                    );
                    let _ = tree.masked().count();
                }
            }
        }
    }
}
