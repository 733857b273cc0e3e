//! What applying wrote on the host: a change there that is nobody else's work.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use super::record::{self, Fields};
use super::{Identity, Moment};

/// Its file in the folder of the changes.
const FILE: &str = "applied";

/// The last state we left each inode in.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    left: HashMap<u64, Moment>,
    file: PathBuf,
}

impl Ours {
    /// Reads the record of earlier applies.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let file = folder.join(FILE);
        let mut left = HashMap::new();
        for fields in record::read(&file)? {
            let moment = fields.signed(1).zip(fields.number(2));
            if let (Some(inode), Some((seconds, nanoseconds))) = (fields.number(0), moment) {
                let nanoseconds = u32::try_from(nanoseconds).unwrap_or(0);
                left.insert(
                    inode,
                    Moment {
                        seconds,
                        nanoseconds,
                    },
                );
            }
        }
        Ok(Self { left, file })
    }

    /// Whether nobody has touched it since we did.
    pub(crate) fn holds(&self, identity: &Identity) -> bool {
        self.left.get(&identity.inode) == Some(&identity.changed)
    }

    /// Remembers, durably, how these were left. For the next one who reads it.
    pub(crate) fn add(&self, identities: &[Identity]) -> io::Result<()> {
        if identities.is_empty() {
            return Ok(());
        }
        let fields = |one: &Identity| {
            let Moment {
                seconds,
                nanoseconds,
            } = one.changed;
            Fields::default()
                .add(one.inode)
                .add(seconds)
                .add(nanoseconds)
        };
        let records: Vec<Fields> = identities.iter().map(fields).collect();
        record::append(&self.file, &records)
    }
}

impl Moment {
    pub(crate) fn changed(stat: &Stat) -> Self {
        Self::of(stat.st_ctime, stat.st_ctime_nsec)
    }

    pub(crate) fn modified(stat: &Stat) -> Self {
        Self::of(stat.st_mtime, stat.st_mtime_nsec)
    }

    fn of(seconds: i64, nanoseconds: u64) -> Self {
        Self {
            seconds,
            // Below a thousand million.
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        }
    }
}

impl Identity {
    #[allow(
        clippy::useless_conversion,
        reason = "the number of links has 32 bits on other processors"
    )]
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            inode: stat.st_ino,
            changed: Moment::changed(stat),
            links: u64::from(stat.st_nlink),
        }
    }
}
