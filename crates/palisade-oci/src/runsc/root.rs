//! The sandbox's root: links, empty folders, and a place for each mount that lies in none of the others.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use palisade_protocol::GUEST_FOLDER;

use crate::tree::{Layout, Node, What};

/// Mounted by the sandbox itself.
const OWN: [&str; 3] = ["proc", "dev", "sys"];

/// Fills the folder `root`.
pub(super) fn make(root: &Path, layout: &Layout) -> io::Result<()> {
    for name in OWN {
        fs::create_dir(root.join(name))?;
    }
    fs::create_dir_all(within(root, Path::new(GUEST_FOLDER)))?;
    for (path, node) in &layout.skeleton {
        let path = within(root, path);
        match node {
            Node::Directory => fs::create_dir_all(path)?,
            Node::Link(target) => {
                make_parent(&path)?;
                symlink(target, path)?;
            }
        }
    }
    for mount in &layout.mounts {
        // The gofer sees no file system in memory, and would make the places under those by itself, as root.
        let lies_in_another = layout.mounts.iter().any(|other| {
            let in_memory = matches!(other.what, What::Memory { .. });
            other.target != mount.target && mount.target.starts_with(&other.target) && !in_memory
        });
        if lies_in_another {
            continue;
        }
        let path = within(root, &mount.target);
        let directory = match &mount.what {
            What::Bind { source, .. } | What::Mapped { source, .. } => source.is_dir(),
            What::Empty { directory } => *directory,
            What::Made { .. } => false,
            What::Overlay { .. } | What::Layers { .. } | What::Memory { .. } => true,
        };
        if directory {
            fs::create_dir_all(path)?;
        } else {
            make_parent(&path)?;
            fs::write(path, "")?;
        }
    }
    Ok(())
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn within(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
