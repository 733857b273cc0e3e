//! What cannot be covered, since other spellings of its name lead past whatever is laid over it.

use std::io;
use std::path::{Path, PathBuf};

use palisade_workspace::leads_past;

/// Why a mount over a path holds nothing back.
#[derive(Debug, thiserror::Error)]
pub enum SpellingError {
    /// Something to hide.
    #[error(
        "hide {path:?}: {other:?} is the same file to its file system and another name to the kernel, so a mask covers one \
         spelling of many; move the project to a file system that tells capitals from small letters, or show the file with \
         `unmask`"
    )]
    Hidden {
        /// What was to be hidden.
        path: PathBuf,
        /// What would lead to it.
        other: PathBuf,
    },
    /// Something that the host runs.
    #[error(
        "keep {path:?} from being written: {other:?} is the same file to its file system and another name to the kernel; use \
         access = \"review\", or move the project to a file system that tells capitals from small letters"
    )]
    Protected {
        /// What was to be read-only.
        path: PathBuf,
        /// What would lead to it.
        other: PathBuf,
    },
    /// It is not known whether it does.
    #[error("see which spellings lead to {path:?}: {error}")]
    Unknown {
        /// What was to be covered.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

impl SpellingError {
    pub(crate) fn hidden(path: PathBuf, other: PathBuf) -> Self {
        Self::Hidden { path, other }
    }

    pub(crate) fn protected(path: PathBuf, other: PathBuf) -> Self {
        Self::Protected { path, other }
    }
}

/// Whether a mount over a path covers it by every name.
pub(crate) fn covered(
    path: &Path,
    error: impl FnOnce(PathBuf, PathBuf) -> SpellingError,
) -> Result<(), SpellingError> {
    let path = path.to_path_buf();
    match leads_past(&path) {
        Ok(None) => Ok(()),
        Ok(Some(other)) => Err(error(path, other)),
        Err(error) => Err(SpellingError::Unknown { path, error }),
    }
}
