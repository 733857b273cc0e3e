//! The spec's tree as mounts of the engine, and an image that holds what no mount can be: links and empty folders.
//!
//! An engine mounts by depth, not in the order it was told. So what a later entry covers is left out here, and no two
//! mounts have the same place.

mod host;
mod split;

use std::path::{Component, Path, PathBuf};

use palisade_boundary::StartError;
use palisade_protocol::{Changes, Ownership, TreeAccess, TreeEntry};
use serde::{Deserialize, Serialize};

use self::host::{Found, merged, what_is_at};
pub(crate) use self::host::{mount_points, submounts};
use crate::engine::cannot;
use crate::vanished::Place;

/// The whole tree.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    /// By place inside, parents first.
    pub(crate) mounts: Vec<Mount>,
    /// What palisade lays over that itself, parents first: once the container is there, or before there is a sandbox.
    pub(crate) late: Vec<Mount>,
    /// Links and folders of the image.
    pub(crate) skeleton: Vec<(PathBuf, Node)>,
    /// Where the agent may write, and whether each is a folder.
    pub(crate) writable: Vec<(PathBuf, bool)>,
    /// Folders in memory that the engine makes on the way to a mount, as root.
    pub(crate) owned: Vec<PathBuf>,
    /// Whether palisade mounts the workspace before there is a sandbox.
    own_mounts: bool,
    /// Where a mount of the engine's over what is masked would make something on the host if that is gone by then.
    pub(crate) masked: Vec<Place>,
    /// What palisade's own hand may do.
    reach: Reach,
}

/// What palisade's own hand may do in a container before the agent starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Nothing, but by a container of its own, which takes its time: the caller has rights through an engine alone.
    #[default]
    Engine,
    /// Whatever has to do with the container's own mounts: the caller owns its user namespace (a rootless engine).
    Inside,
    /// Show the host's files there too: the caller is root.
    Host,
}

/// Something the engine mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) target: PathBuf,
    pub(crate) what: What,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum What {
    /// A path of the host, without what is mounted below it unless it is said to come along.
    Bind {
        source: PathBuf,
        read_only: bool,
        recursive: bool,
    },
    /// A path of the host with all below it, whose owner's files are shown as the agent's.
    Mapped { source: PathBuf, read_only: bool },
    /// The same for a folder of the host whose changes land elsewhere.
    Layers {
        source: PathBuf,
        #[serde(with = "ChangesAsWritten")]
        changes: Changes,
    },
    /// A folder of the host whose changes land in `upper`.
    Overlay {
        source: PathBuf,
        upper: PathBuf,
        work: PathBuf,
    },
    /// Something empty, read-only.
    Empty { directory: bool },
    /// A file of the session's folder, read-only.
    Made { content: Vec<u8> },
    /// A file system in memory.
    Memory {
        size: Option<u64>,
        mode: u32,
        exec: bool,
    },
}

/// [`Changes`] for a process that palisade starts.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Changes")]
enum ChangesAsWritten {
    Kept(PathBuf),
    Memory { size: Option<u64> },
}

/// What the image holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    Link(PathBuf),
}

/// Lays the tree out.
///
/// # Errors
/// What a container cannot show, or a mask whose path became a link.
pub(crate) fn lay_out(tree: &[TreeEntry], reach: Reach) -> Result<Layout, StartError> {
    let layout = Layout {
        reach,
        ..Layout::default()
    };
    layout.filled(tree)
}

/// The same for who mounts the workspace itself before there is a sandbox, with its masks, by whatever names.
///
/// # Errors
/// As [`lay_out`].
pub(crate) fn lay_out_beforehand(tree: &[TreeEntry]) -> Result<Layout, StartError> {
    let layout = Layout {
        own_mounts: true,
        ..Layout::default()
    };
    layout.filled(tree)
}

impl Layout {
    fn filled(mut self, tree: &[TreeEntry]) -> Result<Self, StartError> {
        let layout = &mut self;
        for entry in tree {
            layout.add(entry)?;
        }
        layout
            .mounts
            .sort_by_key(|mount| mount.target.components().count());
        if !layout.own_mounts {
            layout.split();
        }
        if layout.own_mounts {
            layout.split_masks();
        }
        layout.owned = layout.made_on_the_way();
        Ok(self)
    }
}

impl Layout {
    fn add(&mut self, entry: &TreeEntry) -> Result<(), StartError> {
        match entry {
            TreeEntry::Dir { path } => self.node(path, Node::Directory),
            TreeEntry::Symlink { path, target } => self.node(path, Node::Link(target.clone())),
            TreeEntry::File { path, content } => {
                let content = content.clone();
                self.place(path, What::Made { content })
            }
            TreeEntry::Bind {
                source,
                target,
                access,
                ownership,
            } => {
                let own = self.reach == Reach::Host || self.own_mounts;
                let mapped = own && *ownership == Ownership::Agent;
                self.bind(source, target, *access == TreeAccess::Read, mapped)
            }
            TreeEntry::Mask { path, directory } => self.mask(path, *directory),
            TreeEntry::Tmpfs { path, size, exec } => self.memory(path, *size, 0o755, *exec),
            TreeEntry::Scratch { path, mode } => self.memory(path, None, *mode, true),
            TreeEntry::Overlay {
                source,
                target,
                changes,
                ..
            } => self.overlay(source, target, changes),
            // The engine's own are the same: its own process namespace with the usual paths masked, a minimal `/dev`.
            TreeEntry::Proc | TreeEntry::Dev => Ok(()),
        }
    }

    fn node(&mut self, path: &Path, node: Node) -> Result<(), StartError> {
        check(path)?;
        if self.covering(path).is_some() {
            let cause = "it lies in something that is mounted".to_owned();
            return Err(cannot(format!("make {} inside", path.display()), cause));
        }
        self.skeleton.retain(|(other, _)| other != path);
        self.skeleton.push((path.to_path_buf(), node));
        Ok(())
    }

    fn place(&mut self, target: &Path, what: What) -> Result<(), StartError> {
        check(target)?;
        self.mounts
            .retain(|mount| !mount.target.starts_with(target));
        self.writable.retain(|(path, _)| !path.starts_with(target));
        let target = target.to_path_buf();
        self.mounts.push(Mount { target, what });
        Ok(())
    }

    fn memory(
        &mut self,
        path: &Path,
        size: Option<u64>,
        mode: u32,
        exec: bool,
    ) -> Result<(), StartError> {
        self.place(path, What::Memory { size, mode, exec })?;
        self.writable.push((path.to_path_buf(), true));
        Ok(())
    }

    /// An engine's read-only mount leaves what is mounted below it writable (before docker 25), so each is a mount of its
    /// own here. Where the engine mounts in a user namespace the kernel gives a folder only with all that is mounted below it
    /// (mount_namespaces(7), locked mounts): then those lie over what comes along.
    fn bind(
        &mut self,
        source: &Path,
        target: &Path,
        read_only: bool,
        mapped: bool,
    ) -> Result<(), StartError> {
        let failed = |cause: String| {
            cannot(
                format!("show {} inside as {}", source.display(), target.display()),
                cause,
            )
        };
        let directory = match what_is_at(source).map_err(|e| failed(e.to_string()))? {
            Found::Nothing => return Err(failed("it does not exist".into())),
            Found::Link => {
                return Err(failed("the host path leads through a symbolic link".into()));
            }
            Found::File => false,
            Found::Directory => true,
        };
        if mapped {
            let source = source.to_path_buf();
            self.place(target, What::Mapped { source, read_only })?;
            if !read_only {
                self.writable.push((target.to_path_buf(), directory));
            }
            return Ok(());
        }
        let mut places = vec![(source.to_path_buf(), target.to_path_buf(), directory)];
        let mut below_it = Vec::new();
        if directory {
            below_it = submounts(source).map_err(|e| failed(e.to_string()))?;
            for below in &below_it {
                let rest = below.strip_prefix(source).unwrap_or(below);
                let directory = below.is_dir();
                places.push((below.clone(), target.join(rest), directory));
            }
        }
        for (source, target, directory) in places {
            check(&source)?;
            let holds = |below: &PathBuf| *below != source && below.starts_with(&source);
            let recursive = self.reach == Reach::Inside && below_it.iter().any(holds);
            let what = What::Bind {
                source,
                read_only,
                recursive,
            };
            self.place(&target, what)?;
            if !read_only {
                self.writable.push((target, directory));
            }
        }
        Ok(())
    }

    /// The engine mounts it as root, which needs no rights of ours. Names that mean something in its options are refused.
    fn overlay(
        &mut self,
        source: &Path,
        target: &Path,
        changes: &Changes,
    ) -> Result<(), StartError> {
        let failed = |cause: String, fix: &str| StartError {
            what: format!("lay an overlay over {} inside", target.display()),
            cause,
            fix: Some(fix.to_owned()),
        };
        let mounted = submounts(source).map_err(|e| failed(e.to_string(), "try again"))?;
        if let Some(below) = mounted.first() {
            let cause = format!(
                "{} is mounted below it, and an overlay would not show that",
                below.display()
            );
            return Err(failed(cause, "use access = \"read\" or \"write\""));
        }
        let by_engine = self.reach != Reach::Host && !self.own_mounts;
        let kept = match changes {
            Changes::Kept(kept) if by_engine => kept,
            _ => {
                let (source, changes) = (source.to_path_buf(), changes.clone());
                if by_engine {
                    check(&source)?;
                }
                self.place(target, What::Layers { source, changes })?;
                self.writable.push((target.to_path_buf(), true));
                return Ok(());
            }
        };
        let (upper, work) = (kept.join("upper"), kept.join("work"));
        for path in [source, &upper, &work] {
            check(path)?;
            if path
                .as_os_str()
                .as_encoded_bytes()
                .iter()
                .any(|b| b",:\\\"".contains(b))
            {
                let cause = format!(
                    "{} holds a comma, a colon, a quote or a backslash, which mean something to an engine's overlay",
                    path.display()
                );
                return Err(failed(cause, "rename it, or use the native boundary"));
            }
        }
        let source = source.to_path_buf();
        self.place(
            target,
            What::Overlay {
                source,
                upper,
                work,
            },
        )?;
        self.writable.push((target.to_path_buf(), true));
        Ok(())
    }

    /// Where nothing is shown, or nothing is there, there is nothing to hide: and a mount's place that is not there would
    /// be created on the host.
    fn mask(&mut self, path: &Path, _: bool) -> Result<(), StartError> {
        let Some(Mount { target, what }) = self.covering(path) else {
            return Ok(());
        };
        let rest = path.strip_prefix(target).unwrap_or(Path::new(""));
        let found = match what {
            What::Bind { source, .. } | What::Mapped { source, .. } => {
                what_is_at(&below(source, rest))
            }
            What::Layers { source, changes } => match changes {
                Changes::Kept(kept) => merged(source, &kept.join("upper"), rest),
                Changes::Memory { .. } => what_is_at(&below(source, rest)),
            },
            What::Overlay { source, upper, .. } => merged(source, upper, rest),
            What::Empty { .. } | What::Made { .. } | What::Memory { .. } => return Ok(()),
        };
        let hide = || format!("hide {} inside", path.display());
        let directory = match found.map_err(|e| cannot(hide(), e.to_string()))? {
            Found::Nothing => return Ok(()),
            Found::Link => {
                let cause = "it, or a folder on the way to it, has become a symbolic link since the masks were looked up";
                let mut error = cannot(hide(), cause.into());
                error.fix = Some("start the session again".into());
                return Err(error);
            }
            Found::File => false,
            Found::Directory => true,
        };
        if let Some(host) = on_the_host(what, rest).filter(|_| self.reach != Reach::Host) {
            self.masked.push(Place::new(host, path));
        }
        self.place(path, What::Empty { directory })
    }

    /// The mount that a path lies in or on.
    fn covering(&self, path: &Path) -> Option<&Mount> {
        self.number_of(path)
            .and_then(|number| self.mounts.get(number))
    }

    fn made_on_the_way(&self) -> Vec<PathBuf> {
        let mut made = Vec::new();
        for mount in &self.mounts {
            let Some(parent) = mount.target.parent() else {
                continue;
            };
            let Some(Mount {
                target: memory,
                what: What::Memory { .. },
            }) = self.covering(parent)
            else {
                continue;
            };
            let below = parent.ancestors().take_while(|path| *path != memory);
            made.extend(below.map(Path::to_path_buf));
        }
        made.sort();
        made.dedup();
        made
    }
}

/// Paths go to the engine as text of its options and on as JSON: what would come out as another path is refused.
fn check(path: &Path) -> Result<(), StartError> {
    let refused = |cause: &str| {
        let mut error = cannot(format!("show {} inside", path.display()), cause.into());
        error.fix = Some("rename it, or use the native boundary".into());
        error
    };
    let Some(text) = path.to_str() else {
        return Err(refused(
            "its name is not UTF-8, and container engines take no other",
        ));
    };
    if text.chars().any(char::is_control) {
        return Err(refused("its name holds a control character"));
    }
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) {
        return Err(refused("it is no plain absolute path"));
    }
    Ok(())
}

/// Where a mount within something that is shown would make its place.
fn on_the_host(what: &What, rest: &Path) -> Option<PathBuf> {
    match what {
        What::Bind { source, .. } => Some(below(source, rest)),
        What::Overlay { upper, .. } => Some(below(upper, rest)),
        What::Layers {
            source,
            changes: Changes::Memory { .. },
        } => Some(below(source, rest)),
        _ => None,
    }
}

/// `base` itself for an empty rest: joining that would add a slash.
fn below(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() {
        base.to_path_buf()
    } else {
        base.join(rest)
    }
}

#[cfg(test)]
mod tests;
