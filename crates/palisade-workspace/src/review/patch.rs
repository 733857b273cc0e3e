//! Changes as a patch that `git apply` takes: text, binary, modes, symbolic links, creations and deletions.
//!
//! Directories and permissions beyond the executable bit have no words in such a patch; see [`in_patch`].

mod base85;
mod name;

use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha1::Digest as _;

use super::diff::{Form, LineKind, TextDiff, hunk_header};
use super::{Contents, LARGEST_TEXT, read_all};

/// What git knows of a file's kind and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GitMode {
    /// An ordinary file.
    File,
    /// One that may be executed.
    Executable,
    /// A symbolic link; its contents are where it leads.
    Symlink,
}

impl GitMode {
    /// Of a file with these permissions.
    pub fn of_file(mode: u32) -> Self {
        // Git asks for the owner's bit alone.
        if mode & 0o100 == 0 {
            Self::File
        } else {
            Self::Executable
        }
    }

    /// As git writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
        }
    }
}

/// How a repository names objects. A binary patch has to name both versions in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObjectFormat {
    /// Git's default, and what it takes outside of a repository.
    #[default]
    Sha1,
    /// `extensions.objectFormat = sha256`.
    Sha256,
}

/// One side of a change.
#[derive(Clone, Copy)]
pub struct Version<'a> {
    /// Its kind.
    pub mode: GitMode,
    /// What it holds.
    pub contents: &'a dyn Contents,
}

/// Whether git would take a path of this name at all: never one of a repository's own files.
pub fn in_patch(path: &Path) -> bool {
    !path
        .iter()
        .any(|part| part.as_encoded_bytes().eq_ignore_ascii_case(b".git"))
}

/// Writes the difference of two versions of a path; nothing if git sees none.
///
/// # Errors
/// The output cannot be written, or a version not be read.
pub fn write_patch(
    out: &mut dyn Write,
    format: ObjectFormat,
    path: &Path,
    before: Option<Version<'_>>,
    after: Option<Version<'_>>,
) -> io::Result<()> {
    let link = |version: Option<Version<'_>>| version.map(|v| v.mode == GitMode::Symlink);
    if before.is_some() && after.is_some() && link(before) != link(after) {
        // A file cannot become a link in one step.
        write_patch(out, format, path, before, None)?;
        return write_patch(out, format, path, None, after);
    }
    let patch = Patch {
        path,
        ids: [id(format, before)?, id(format, after)?],
        before,
        after,
    };
    patch.write(out)
}

struct Patch<'a> {
    path: &'a Path,
    ids: [String; 2],
    before: Option<Version<'a>>,
    after: Option<Version<'a>>,
}

impl Patch<'_> {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let (old_mode, new_mode) = (self.before.map(|v| v.mode), self.after.map(|v| v.mode));
        let same = self.ids[0] == self.ids[1];
        if same && old_mode == new_mode {
            return Ok(());
        }
        let (old, new) = (name::quoted("a/", self.path), name::quoted("b/", self.path));
        writeln!(out, "diff --git {old} {new}")?;
        match (old_mode, new_mode) {
            (None, Some(mode)) => writeln!(out, "new file mode {}", mode.text())?,
            (Some(mode), None) => writeln!(out, "deleted file mode {}", mode.text())?,
            (Some(old), Some(new)) if old != new => {
                writeln!(out, "old mode {}\nnew mode {}", old.text(), new.text())?;
            }
            _ => {}
        }
        if same {
            return Ok(());
        }
        let kept = new_mode.filter(|_| old_mode == new_mode);
        let mode = kept.map_or(String::new(), |mode| format!(" {}", mode.text()));
        writeln!(out, "index {}..{}{mode}", self.ids[0], self.ids[1])?;
        match (text_of(self.before)?, text_of(self.after)?) {
            (Some(before), Some(after)) => self.text(out, &before, &after),
            _ => self.binary(out),
        }
    }

    fn text(&self, out: &mut dyn Write, before: &[u8], after: &[u8]) -> io::Result<()> {
        let diff = TextDiff::new(before, after);
        if diff.edits() == 0 {
            return Ok(());
        }
        let name = |version: Option<_>, prefix| {
            version.map_or("/dev/null".into(), |_| name::in_header(prefix, self.path))
        };
        writeln!(out, "--- {}", name(self.before, "a/"))?;
        writeln!(out, "+++ {}", name(self.after, "b/"))?;
        for hunk in diff.hunks() {
            writeln!(out, "{}", hunk_header(&hunk))?;
            for (kind, line) in diff.lines(&hunk) {
                write_line(out, kind, line)?;
            }
        }
        Ok(())
    }

    /// Both directions, so that the patch can be reversed.
    fn binary(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "GIT binary patch")?;
        literal(out, self.after)?;
        literal(out, self.before)
    }
}

fn write_line(out: &mut dyn Write, kind: LineKind, line: &[u8]) -> io::Result<()> {
    out.write_all(&[kind.mark()])?;
    out.write_all(line)?;
    if !line.ends_with(b"\n") {
        out.write_all(b"\n\\ No newline at end of file\n")?;
    }
    Ok(())
}

/// A version's lines, or nothing if it has to be written as binary. What is not there has no lines.
fn text_of(version: Option<Version<'_>>) -> io::Result<Option<Vec<u8>>> {
    let Some(version) = version else {
        return Ok(Some(Vec::new()));
    };
    if version.contents.size() > LARGEST_TEXT {
        return Ok(None);
    }
    let contents = read_all(version.contents)?;
    Ok((Form::of(&contents) == Form::Text).then_some(contents))
}

fn literal(out: &mut dyn Write, version: Option<Version<'_>>) -> io::Result<()> {
    let size = version.map_or(0, |version| version.contents.size());
    writeln!(out, "literal {size}")?;
    let mut lines = base85::Encoder::new(out);
    let mut packed = ZlibEncoder::new(&mut lines, Compression::default());
    if let Some(version) = version {
        copy_exactly(version.contents, &mut packed)?;
    }
    packed.finish()?;
    lines.finish()?;
    writeln!(out)
}

/// The name git gives to a version.
fn id(format: ObjectFormat, version: Option<Version<'_>>) -> io::Result<String> {
    match format {
        ObjectFormat::Sha1 => hash(sha1::Sha1::new(), version),
        ObjectFormat::Sha256 => hash(sha2::Sha256::new(), version),
    }
}

fn hash<D: sha1::Digest>(mut digest: D, version: Option<Version<'_>>) -> io::Result<String> {
    let Some(version) = version else {
        return Ok("0".repeat(2 * <D as sha1::Digest>::output_size()));
    };
    digest.update(format!("blob {}\0", version.contents.size()));
    copy_exactly(version.contents, &mut Feed(&mut digest))?;
    let bytes = digest.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A digest as something to write to.
struct Feed<'d, D>(&'d mut D);

impl<D: sha1::Digest> Write for Feed<'_, D> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The size is written before the contents: a file that changes meanwhile must not make a patch that says another thing.
fn copy_exactly(contents: &dyn Contents, out: &mut dyn Write) -> io::Result<()> {
    let size = contents.size();
    let mut limited = contents.open()?.take(size.saturating_add(1));
    if io::copy(&mut limited, out)? == size {
        Ok(())
    } else {
        Err(io::Error::other("the file changed while it was read"))
    }
}

#[cfg(test)]
mod tests;
