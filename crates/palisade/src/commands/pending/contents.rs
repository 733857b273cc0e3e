//! What stands on either side of a change.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;

use palisade_workspace::changes::{Change, ChangesError, Side, SideKind};
use palisade_workspace::review::{Contents, GitMode, LARGEST_TEXT, Version};

use super::Session;

/// One side of a change, read.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing is there.
    Absent,
    /// A folder, or what has no contents.
    Empty,
    /// A file, or the target of a link.
    Bytes(Vec<u8>),
    /// A file that is too long to be compared by lines.
    Large,
    /// It is there, and cannot be read.
    Unreadable(String),
}

impl Body {
    /// What was read; nothing where nothing is.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Absent => Some(b""),
            Self::Empty | Self::Large | Self::Unreadable(_) => None,
        }
    }
}

/// Opens one side of a change.
type Opener = fn(&Session, &Change) -> Result<File, ChangesError>;

impl Session {
    /// What the host has.
    pub(crate) fn before(&self, change: &Change) -> Body {
        read(change.before.as_ref(), || self.open_before(change))
    }

    /// What the session made of it.
    pub(crate) fn after(&self, change: &Change) -> Body {
        read(change.after.as_ref(), || self.open_after(change))
    }

    pub(crate) fn open_before(&self, change: &Change) -> Result<File, ChangesError> {
        self.pending.open_before(change)
    }

    pub(crate) fn open_after(&self, change: &Change) -> Result<File, ChangesError> {
        self.pending.open_after(change)
    }

    /// Both sides as git sees them, for a patch or a commit; folders are nothing to it.
    pub(crate) fn versions<'s>(&'s self, change: &'s Change) -> [Option<Stored<'s>>; 2] {
        let stored = |side: &'s Option<Side>, open: Opener| {
            side.as_ref()
                .and_then(|side| Stored::new(self, change, side, open))
        };
        [
            stored(&change.before, Self::open_before),
            stored(&change.after, Self::open_after),
        ]
    }
}

fn read(side: Option<&Side>, open: impl FnOnce() -> Result<File, ChangesError>) -> Body {
    let Some(side) = side else {
        return Body::Absent;
    };
    match &side.kind {
        SideKind::Symlink(target) => Body::Bytes(target.as_os_str().as_bytes().to_vec()),
        SideKind::File if side.size > LARGEST_TEXT => Body::Large,
        SideKind::File => {
            let mut bytes = Vec::new();
            let opened = open().map_err(|error| error.to_string());
            // A file of the host may have grown since its length was read.
            let read = opened.and_then(|file| {
                let read = file.take(LARGEST_TEXT).read_to_end(&mut bytes);
                read.map_err(|error| error.to_string())
            });
            read.map_or_else(Body::Unreadable, |_| Body::Bytes(bytes))
        }
        SideKind::Directory | SideKind::Special => Body::Empty,
    }
}

/// A version that is read when it is written out.
pub(crate) struct Stored<'s> {
    session: &'s Session,
    change: &'s Change,
    side: &'s Side,
    open: Opener,
    mode: GitMode,
}

impl<'s> Stored<'s> {
    fn new(session: &'s Session, change: &'s Change, side: &'s Side, open: Opener) -> Option<Self> {
        let mode = match side.kind {
            SideKind::File => GitMode::of_file(side.mode),
            SideKind::Symlink(_) => GitMode::Symlink,
            SideKind::Directory | SideKind::Special => return None,
        };
        Some(Self {
            session,
            change,
            side,
            open,
            mode,
        })
    }

    /// For what writes it out.
    pub(crate) fn version(&self) -> Version<'_> {
        Version {
            mode: self.mode,
            contents: self,
        }
    }
}

impl Contents for Stored<'_> {
    fn size(&self) -> u64 {
        match &self.side.kind {
            SideKind::Symlink(target) => target.as_os_str().len() as u64,
            _ => self.side.size,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        if let SideKind::Symlink(target) = &self.side.kind {
            return Ok(Box::new(target.as_os_str().as_bytes()));
        }
        let file = (self.open)(self.session, self.change).map_err(io::Error::other)?;
        Ok(Box::new(file))
    }
}
