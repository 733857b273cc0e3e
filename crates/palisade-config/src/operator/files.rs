//! The file section of one file, added to the operator's layer.

use std::path::{Path, PathBuf};

use palisade_policy::{FileAccess, Source};
use palisade_workspace::{
    MaskPattern, PathError, Tmpfs, Volume, VolumeName, WorkspaceAccess, check_made,
};

use super::{Draft, Operator};
use crate::effective::{Shown, Sourced};
use crate::error::PolicyError;
use crate::format;
use crate::spanned::Spanned;
use crate::text::Text;
use crate::value;

impl Operator<'_> {
    pub(super) fn filesystem(
        &mut self,
        text: &Text,
        files: &format::Filesystem,
    ) -> Result<(), PolicyError> {
        if let Some(folder) = &files.workspace {
            let path = self.written_path(text, folder)?;
            let source = text.source_of(folder);
            self.draft.workspace =
                Some(self.workspace(&path, source, |message| text.wrong(folder, message))?);
        }
        if let Some(access) = &files.access {
            let source = text.source_of(access);
            self.draft.access = Some(Sourced::new(access_of(*access.get_ref()), source));
        }
        if let Some(size) = &files.scratch_size {
            let bytes = value::capacity(text, size)?;
            self.draft.scratch_size = Some(Sourced::new(bytes, text.source_of(size)));
        }
        for (list, access) in [
            (&files.read, FileAccess::Read),
            (&files.write, FileAccess::Write),
        ] {
            for entry in list {
                self.show(text, entry, access)?;
            }
        }
        for entry in &files.withhold {
            let path = self.written_path(text, entry)?;
            self.draft.withheld_paths.push(path);
        }
        self.draft.mask.extend(patterns(text, &files.mask)?);
        self.draft.unmask.extend(patterns(text, &files.unmask)?);
        if let Some(protect) = &files.protect {
            let source = text.source_of(protect);
            self.draft.protect = Some(Sourced::new(*protect.get_ref(), source));
        }
        for volume in &files.volume {
            self.volume(text, volume)?;
        }
        for tmpfs in &files.tmpfs {
            self.tmpfs(text, tmpfs)?;
        }
        if text.is_profile() {
            self.note_lost_state(text, &files.write);
        }
        Ok(())
    }

    fn volume(&mut self, text: &Text, written: &format::Volume) -> Result<(), PolicyError> {
        let path = self.made_path(text, &written.path)?;
        let name = VolumeName::parse(written.name.get_ref()).ok_or_else(|| {
            text.wrong(
                &written.name,
                "the name of a volume is made of letters, digits, `-`, `_` and `.`, and begins with one of the first two",
            )
        })?;
        self.draft
            .volumes
            .retain(|earlier| earlier.value.path != path);
        let source = text.source_of(&written.path);
        let other = self.draft.tmpfs.iter().find(|t| t.value.path == path);
        if let Some(other) = other {
            return Err(taken(text, &written.path, "in memory", &other.source));
        }
        self.draft
            .volumes
            .push(Sourced::new(Volume { path, name }, source));
        Ok(())
    }

    fn tmpfs(&mut self, text: &Text, written: &format::Tmpfs) -> Result<(), PolicyError> {
        let path = self.made_path(text, &written.path)?;
        let size = written.size.as_ref();
        let tmpfs = Tmpfs {
            size: size.map(|size| value::capacity(text, size)).transpose()?,
            exec: written.exec.as_ref().is_some_and(|exec| *exec.get_ref()),
            path,
        };
        self.draft
            .tmpfs
            .retain(|earlier| earlier.value.path != tmpfs.path);
        let source = text.source_of(&written.path);
        let other = self
            .draft
            .volumes
            .iter()
            .find(|v| v.value.path == tmpfs.path);
        if let Some(other) = other {
            return Err(taken(text, &written.path, "a volume", &other.source));
        }
        self.draft.tmpfs.push(Sourced::new(tmpfs, source));
        Ok(())
    }

    /// The path of something of the session's own.
    fn made_path(&self, text: &Text, entry: &Spanned<String>) -> Result<PathBuf, PolicyError> {
        let path = self.written_path(text, entry)?;
        check_made(&path, &self.home)
            .map_err(|error| text.wrong(entry, format!("`{}` {error}", entry.get_ref())))?;
        Ok(path)
    }

    /// A line if nothing of what a profile's tool would keep is on this machine: then it keeps nothing.
    fn note_lost_state(&mut self, text: &Text, write: &[Spanned<String>]) {
        let source = text.source(&(0..0));
        let keeps = |shown: &Shown| shown.access == FileAccess::Write && shown.source == source;
        if let Some(first) = write.first()
            && !self.draft.shown.iter().any(keeps)
        {
            let first = first.get_ref();
            self.draft.notes.push(format!(
                "{}: nothing is kept after this session, since {first} and the like do not exist",
                text.name
            ));
        }
    }

    /// One entry of `read` or `write`. A person's has to exist; a profile lists all the places a tool may use, so there
    /// what is missing, or lies where it cannot be shown, is left out.
    fn show(
        &mut self,
        text: &Text,
        entry: &Spanned<String>,
        access: FileAccess,
    ) -> Result<(), PolicyError> {
        let path = self.written_path(text, entry)?;
        let found = palisade_workspace::locate(&path).and_then(|found| {
            palisade_workspace::check_shown(&found, &self.home, access == FileAccess::Write)
                .map(|()| found)
        });
        match found {
            Ok(path) => {
                let source = text.source_of(entry);
                self.draft.shown.push(Shown {
                    path,
                    access,
                    source,
                });
                Ok(())
            }
            Err(error) if text.is_profile() => {
                if error != PathError::Missing {
                    let note = format!("{} is left out: {} {error}", text.name, entry.get_ref());
                    self.draft.notes.push(note);
                }
                Ok(())
            }
            Err(error) => {
                let hint = match error {
                    PathError::Missing => Some("create it, or take the entry out".to_owned()),
                    PathError::Home => {
                        Some("name the files and folders that are needed".to_owned())
                    }
                    _ => None,
                };
                Err(text
                    .wrong(entry, format!("`{}` {error}", entry.get_ref()))
                    .hint_if(hint))
            }
        }
    }
}

pub(crate) fn access_of(written: format::Access) -> WorkspaceAccess {
    match written {
        format::Access::Read => WorkspaceAccess::Read,
        format::Access::Scratch => WorkspaceAccess::Scratch,
        format::Access::Review => WorkspaceAccess::Review,
        format::Access::Write => WorkspaceAccess::Write,
    }
}

fn taken(text: &Text, path: &Spanned<String>, what: &str, by: &Source) -> PolicyError {
    let message = format!("`{}` is {what} already, by {by}", path.get_ref());
    text.wrong(path, message)
        .hint("use another path, or take one of the two out")
}

/// Entries of `mask` or `unmask`.
pub(crate) fn patterns(
    text: &Text,
    entries: &[Spanned<String>],
) -> Result<Vec<Sourced<String>>, PolicyError> {
    let checked = entries.iter().map(|entry| {
        let written = entry.get_ref();
        MaskPattern::parse(written)
            .map_err(|error| text.wrong(entry, format!("`{written}` {error}")))?;
        Ok(Sourced::new(written.clone(), text.source_of(entry)))
    });
    checked.collect()
}

/// What a volume or a file system in memory lies over is not the workspace itself.
pub(super) fn not_the_workspace(draft: &Draft, workspace: &Path) -> Result<(), PolicyError> {
    let volumes = draft.volumes.iter().map(|v| (&v.value.path, &v.source));
    let tmpfs = draft.tmpfs.iter().map(|t| (&t.value.path, &t.source));
    match volumes.chain(tmpfs).find(|(path, _)| *path == workspace) {
        None => Ok(()),
        Some((path, source)) => {
            let message = format!("{} is the workspace", path.display());
            Err(PolicyError::argument(source.to_string(), message)
                .hint("for changes that vanish use `access = \"scratch\"`"))
        }
    }
}
