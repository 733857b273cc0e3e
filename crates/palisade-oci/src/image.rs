//! The image of a session whose root is the host's system: no program and no file, just links and empty folders.
//!
//! It is made by importing an archive, once for each set of links, and found again by a digest of it. Everything else is
//! mounted. The places of mounts need not be in it: the engine makes those in the container's own layer before that
//! becomes read-only.

pub(crate) mod named;

use std::io;
use std::path::PathBuf;

use palisade_boundary::StartError;
use sha2::{Digest, Sha256};

use crate::engine::{Engine, PATIENCE, cannot};
use crate::tree::Node;

/// How all such images are called.
pub(crate) const REPOSITORY: &str = "palisade-root";
/// How they are found by people who tidy up.
const LABEL: &str = "LABEL palisade.root=1";

/// The image's archive and name.
pub(crate) struct RootImage {
    archive: Vec<u8>,
    pub(crate) name: String,
}

impl RootImage {
    /// Of these links and folders.
    pub(crate) fn new(skeleton: &[(PathBuf, Node)]) -> Result<Self, StartError> {
        let archive = archive(skeleton)
            .map_err(|e| cannot("make the image of the root".into(), e.to_string()))?;
        let digest = Sha256::digest(&archive);
        let tag: String = digest.iter().take(12).map(|b| format!("{b:02x}")).collect();
        Ok(Self {
            archive,
            name: format!("{REPOSITORY}:{tag}"),
        })
    }

    /// Hands it to the engine.
    pub(crate) fn import(&self, engine: Engine) -> Result<(), StartError> {
        let what = "make the image of the root";
        let import = ["import", "--change", LABEL, "-", &self.name];
        engine
            .tell(what, &import, &self.archive, PATIENCE)
            .map(drop)
    }
}

/// The same bytes for the same entries, so that the digest stays.
fn archive(skeleton: &[(PathBuf, Node)]) -> io::Result<Vec<u8>> {
    let mut entries: Vec<_> = skeleton.iter().collect();
    entries.sort_by_key(|(path, _)| path);
    let mut builder = tar::Builder::new(Vec::new());
    for (path, node) in entries {
        let Ok(path) = path.strip_prefix("/") else {
            continue;
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        match node {
            Node::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                builder.append_data(&mut header, path, io::empty())?;
            }
            Node::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_mode(0o777);
                builder.append_link(&mut header, path, target)?;
            }
        }
    }
    builder.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_as_long_as_the_entries_do() {
        let link = |path: &str, target: &str| (path.into(), Node::Link(target.into()));
        let name = |entries: &[(PathBuf, Node)]| RootImage::new(entries).expect("image").name;
        let (a, b) = (link("/bin", "usr/bin"), link("/lib", "usr/lib"));
        assert_eq!(name(&[a.clone(), b.clone()]), name(&[b, a.clone()]));
        assert_ne!(
            name(std::slice::from_ref(&a)),
            name(&[link("/bin", "usr/sbin")])
        );
        let archive = archive(&[a, ("/var".into(), Node::Directory)]).expect("archive");
        let mut archive = tar::Archive::new(&archive[..]);
        let found: Vec<_> = archive
            .entries()
            .expect("entries")
            .map(|entry| {
                let entry = entry.expect("entry");
                let target = entry.link_name().expect("link").map(|t| t.into_owned());
                (entry.path().expect("path").into_owned(), target)
            })
            .collect();
        assert_eq!(
            found,
            [("bin".into(), Some("usr/bin".into())), ("var".into(), None)]
        );
    }
}
