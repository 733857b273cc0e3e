//! From the spec's entries to the child's steps.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use palisade_boundary::StartError;
use palisade_guest::agent::Writable;
use palisade_protocol::{Changes, Ownership, TreeAccess, TreeEntry};

use super::fixed::{
    DEVICE_LINKS, DEVICES, HIDDEN_PROC_DIRECTORIES, HIDDEN_PROC_FILES, READ_ONLY_PROC,
};
use super::host::Opener;
use super::layers::{Backing, Layers};
use super::mounts;
use super::{
    Action, EMPTY_DIRECTORY, EMPTY_FILE, Empties, HIDDEN, Memory, Overlay, Source, Step, Target,
    TreePlan,
};
use crate::explain::cannot;

/// Mode of directories that nobody asked for by name.
const PARENT_MODE: u32 = 0o755;
/// Mode of the directory for shared memory, as everywhere.
const SHARED_MEMORY_MODE: u32 = 0o1777;

/// Compiles the entries. `memory` bounds what the tree may hold in memory.
pub(crate) fn compile(
    entries: &[TreeEntry],
    memory: Option<u64>,
    opener: &mut Opener,
) -> Result<TreePlan, StartError> {
    let mut compiler = Compiler {
        opener,
        entry: 0,
        memory,
        layers: Layers::default(),
        hidden_names: 0,
        plan: TreePlan {
            memory: memory_option(memory),
            steps: Vec::new(),
            empties: None,
            late_masks: false,
            hidden: Vec::new(),
            writable: Vec::new(),
        },
    };
    for (index, entry) in entries.iter().enumerate() {
        compiler.entry = u32::try_from(index).unwrap_or(u32::MAX);
        compiler.add(entry)?;
    }
    Ok(compiler.plan)
}

/// Half of the machine's memory unless the session has less: what systemd gives `/tmp` (tmp.mount).
fn memory_option(memory: Option<u64>) -> CString {
    let option = memory.map_or_else(|| "50%".to_owned(), |bytes| bytes.to_string());
    CString::new(option).unwrap_or_default()
}

struct Compiler<'a> {
    opener: &'a mut Opener,
    entry: u32,
    /// What the session may hold in memory, which bounds each file system there as well.
    memory: Option<u64>,
    layers: Layers,
    hidden_names: u32,
    plan: TreePlan,
}

impl Compiler<'_> {
    fn add(&mut self, entry: &TreeEntry) -> Result<(), StartError> {
        match entry {
            TreeEntry::Dir { path } => self.dir(path),
            TreeEntry::Bind {
                source,
                target,
                access,
                ownership,
            } => self.bind(source, target, *access, *ownership),
            TreeEntry::Overlay {
                source,
                target,
                changes,
                ownership,
            } => self.overlay(source, target, changes, *ownership),
            TreeEntry::Mask { path, directory } => self.mask(path, *directory),
            TreeEntry::Tmpfs { path, size, exec } => self.tmpfs(path, *size, *exec),
            TreeEntry::Symlink { path, target } => self.symlink(path, target),
            TreeEntry::File { path, content } => self.file(path, content),
            TreeEntry::Scratch { path, mode } => self.scratch(path, *mode),
            TreeEntry::Proc => self.proc(),
            TreeEntry::Dev => self.dev(),
        }
    }

    fn push(&mut self, action: Action) {
        let entry = self.entry;
        self.plan.steps.push(Step { entry, action });
    }

    fn dir(&mut self, path: &Path) -> Result<(), StartError> {
        if self.layers.backing(path) != Backing::Foreign {
            return self.own_directory(path, PARENT_MODE);
        }
        let source = self.empties()?.directory;
        let target = self.place(path, true)?;
        self.push(Action::Attach {
            source: Source::Inside {
                path: source,
                read_only: true,
            },
            target,
        });
        self.layers.cover(path, Backing::Foreign);
        Ok(())
    }

    fn bind(
        &mut self,
        source: &Path,
        target: &Path,
        access: TreeAccess,
        ownership: Ownership,
    ) -> Result<(), StartError> {
        let (source, directory) = self.opener.open(source, access, ownership)?;
        let place = self.place(target, directory)?;
        self.push(Action::Attach {
            source,
            target: place,
        });
        self.layers.cover(target, Backing::Foreign);
        if access == TreeAccess::Write {
            self.writable(target, directory)?;
        }
        Ok(())
    }

    /// Tens of thousands of these are usual, so each is one step and [`Layers`] does not hear of it. Whatever should be made
    /// below one later fails: the empty directory is read-only.
    fn mask(&mut self, path: &Path, directory: bool) -> Result<(), StartError> {
        self.empties()?;
        if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
            return Err(refused(path, "the path is not absolute or steps back"));
        }
        let path = relative(path)?;
        self.push(Action::Mask { path, directory });
        Ok(())
    }

    fn tmpfs(&mut self, path: &Path, size: Option<u64>, exec: bool) -> Result<(), StartError> {
        let made_on = self.layers.backing_of_parent(path);
        let target = self.place(path, true)?;
        let memory = Memory {
            size: memory_option(size.or(self.memory)),
            exec,
        };
        self.push(Action::Memory { memory, target });
        self.layers.cover(
            path,
            match made_on {
                Backing::Foreign => Backing::Foreign,
                Backing::Root | Backing::Scratch => Backing::Scratch,
            },
        );
        self.writable(path, true)
    }

    fn overlay(
        &mut self,
        source: &Path,
        target: &Path,
        changes: &Changes,
        ownership: Ownership,
    ) -> Result<(), StartError> {
        mounts::none_below(source)?;
        let (lower, directory) = self.opener.open(source, TreeAccess::Read, ownership)?;
        if !directory {
            let what = format!("lay an overlay over {}", source.display());
            return Err(cannot(what, "it is not a folder".into()));
        }
        let below = self.shown_hidden()?;
        self.attach_hidden(lower, &below);
        let empty = matches!(changes, Changes::Memory { .. });
        let above = self.shown_hidden()?;
        match changes {
            Changes::Kept(folder) => {
                let opener = &mut self.opener;
                // Run by root, it may be another session's: what that agent owned, this one owns.
                let (folder, _) = opener.open(folder, TreeAccess::Write, ownership)?;
                self.attach_hidden(folder, &above);
            }
            Changes::Memory { size } => self.push(Action::Memory {
                memory: Memory {
                    size: memory_option(size.or(self.memory)),
                    exec: true,
                },
                target: Target::Own(above.clone()),
            }),
        }
        let within = |name: &[u8]| {
            let path = [above.as_bytes(), b"/", name].concat();
            c_string(OsStr::from_bytes(&path))
        };
        let (upper, work) = (within(b"upper")?, within(b"work")?);
        let place = self.place(target, true)?;
        self.push(Action::Overlay(Overlay {
            target: place,
            empty,
            lower: below,
            changes: above,
            upper,
            work,
        }));
        self.layers.cover(target, Backing::Foreign);
        self.writable(target, true)
    }

    /// A directory to show something on while the tree is built.
    fn shown_hidden(&mut self) -> Result<CString, StartError> {
        let path = self.hidden_name()?;
        self.plan.hidden.push(path.clone());
        self.push(Action::Directory {
            path: path.clone(),
            mode: 0o700,
        });
        Ok(path)
    }

    fn attach_hidden(&mut self, source: Source, path: &CString) {
        let target = Target::Own(path.clone());
        self.push(Action::Attach { source, target });
    }

    fn symlink(&mut self, path: &Path, target: &Path) -> Result<(), StartError> {
        self.parents(path)?;
        if self.layers.backing_of_parent(path) == Backing::Foreign {
            return Err(refused(path, "a link cannot be made within a bound path"));
        }
        let (path_below, target) = (relative(path)?, c_string(target.as_os_str())?);
        self.push(Action::Link {
            path: path_below,
            target,
        });
        self.layers.link(path);
        Ok(())
    }

    fn file(&mut self, path: &Path, content: &[u8]) -> Result<(), StartError> {
        self.parents(path)?;
        let content = content.to_vec();
        if self.layers.backing(path) == Backing::Root {
            self.layers.make(path);
            self.push(Action::Write {
                path: relative(path)?,
                content,
            });
            return Ok(());
        }
        // Where the agent or the host could change it, it lies elsewhere and is only shown.
        let hidden = self.hidden_name()?;
        self.push(Action::Write {
            path: hidden.clone(),
            content,
        });
        self.plan.hidden.push(hidden.clone());
        let target = self.place(path, false)?;
        self.push(Action::Attach {
            source: Source::Inside {
                path: hidden,
                read_only: true,
            },
            target,
        });
        self.layers.cover(path, Backing::Foreign);
        Ok(())
    }

    fn scratch(&mut self, path: &Path, mode: u32) -> Result<(), StartError> {
        match self.layers.backing_of_parent(path) {
            Backing::Scratch => return self.own_directory(path, mode),
            Backing::Root => {
                self.own_directory(path, mode)?;
                let place = relative(path)?;
                let source = Source::Inside {
                    path: place.clone(),
                    read_only: false,
                };
                self.push(Action::Attach {
                    source,
                    target: Target::Own(place),
                });
                self.layers.cover(path, Backing::Scratch);
            }
            Backing::Foreign => {
                let hidden = self.hidden_name()?;
                self.push(Action::Directory {
                    path: hidden.clone(),
                    mode,
                });
                let target = self.place(path, true)?;
                let source = Source::Inside {
                    path: hidden,
                    read_only: false,
                };
                self.push(Action::Attach { source, target });
                self.layers.cover(path, Backing::Foreign);
            }
        }
        self.writable(path, true)
    }

    fn proc(&mut self) -> Result<(), StartError> {
        let root = Path::new("/proc");
        self.own_directory(root, 0o555)?;
        self.push(Action::Proc {
            target: c_string(OsStr::new("proc"))?,
        });
        self.layers.cover(root, Backing::Foreign);
        for (names, directory) in [
            (&HIDDEN_PROC_FILES[..], false),
            (&HIDDEN_PROC_DIRECTORIES[..], true),
        ] {
            for name in names {
                self.mask(&root.join(name), directory)?;
            }
        }
        for name in READ_ONLY_PROC {
            self.push(Action::Protect {
                path: relative(&root.join(name))?,
            });
        }
        Ok(())
    }

    fn dev(&mut self) -> Result<(), StartError> {
        let root = Path::new("/dev");
        self.own_directory(root, PARENT_MODE)?;
        for name in DEVICES {
            let path = root.join(name);
            let target = self.place(&path, false)?;
            let source = Source::Device {
                path: c_string(path.as_os_str())?,
            };
            self.push(Action::Attach { source, target });
        }
        for (name, target) in DEVICE_LINKS {
            self.symlink(&root.join(name), Path::new(target))?;
        }
        let terminals = root.join("pts");
        self.own_directory(&terminals, PARENT_MODE)?;
        self.push(Action::Terminals {
            target: relative(&terminals)?,
        });
        self.layers.cover(&terminals, Backing::Foreign);
        self.scratch(&root.join("shm"), SHARED_MEMORY_MODE)
    }

    /// A directory of our own at `path`.
    fn own_directory(&mut self, path: &Path, mode: u32) -> Result<(), StartError> {
        self.parents(path)?;
        if self.layers.backing_of_parent(path) == Backing::Foreign {
            return Err(refused(
                path,
                "a directory cannot be made within a bound path",
            ));
        }
        if self.layers.make(path) || mode != PARENT_MODE {
            self.push(Action::Directory {
                path: relative(path)?,
                mode,
            });
        }
        Ok(())
    }

    /// A place to mount on, made if we may.
    fn place(&mut self, path: &Path, directory: bool) -> Result<Target, StartError> {
        self.parents(path)?;
        let below = relative(path)?;
        if self.layers.backing_of_parent(path) == Backing::Foreign {
            return Ok(Target::Shown(below));
        }
        if self.layers.make(path) {
            self.push(if directory {
                Action::Directory {
                    path: below.clone(),
                    mode: PARENT_MODE,
                }
            } else {
                Action::Placeholder {
                    path: below.clone(),
                }
            });
        }
        Ok(Target::Own(below))
    }

    /// The directories above `path`, as far as they are ours to make.
    fn parents(&mut self, path: &Path) -> Result<(), StartError> {
        if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
            return Err(refused(path, "the path is not absolute or steps back"));
        }
        if let Some(link) = self.layers.link_on_the_way(path) {
            let cause = format!("{} is a symbolic link of this tree", link.display());
            return Err(refused(path, &cause));
        }
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        above.reverse();
        for parent in above.into_iter().skip(1) {
            if self.layers.backing(parent) == Backing::Foreign {
                break;
            }
            if self.layers.make(parent) {
                self.push(Action::Directory {
                    path: relative(parent)?,
                    mode: PARENT_MODE,
                });
            }
        }
        Ok(())
    }

    fn hidden_name(&mut self) -> Result<CString, StartError> {
        self.hidden_directory()?;
        self.hidden_names += 1;
        let name = format!("{HIDDEN}/{}", self.hidden_names);
        c_string(OsStr::new(&name))
    }

    fn hidden_directory(&mut self) -> Result<(), StartError> {
        if self.layers.make(&Path::new("/").join(HIDDEN)) {
            self.push(Action::Directory {
                path: c_string(OsStr::new(HIDDEN))?,
                mode: 0o700,
            });
        }
        Ok(())
    }

    /// An empty file and an empty directory to lay over things, made once.
    fn empties(&mut self) -> Result<Empties, StartError> {
        if let Some(empties) = &self.plan.empties {
            return Ok(empties.clone());
        }
        self.hidden_directory()?;
        let empties = Empties {
            file: EMPTY_FILE.to_owned(),
            directory: EMPTY_DIRECTORY.to_owned(),
        };
        self.plan.empties = Some(empties.clone());
        self.push(Action::Empties);
        Ok(empties)
    }

    fn writable(&mut self, path: &Path, directory: bool) -> Result<(), StartError> {
        let path = c_string(path.as_os_str())?;
        self.plan.writable.push(Writable { path, directory });
        Ok(())
    }
}

/// A path below the new root.
fn relative(path: &Path) -> Result<CString, StartError> {
    match path.strip_prefix("/") {
        Ok(below) if !below.as_os_str().is_empty() => c_string(below.as_os_str()),
        _ => Err(refused(path, "it is not a path below the root")),
    }
}

fn c_string(text: &OsStr) -> Result<CString, StartError> {
    CString::new(text.as_bytes())
        .map_err(|_| refused(Path::new(text), "the path holds a zero byte"))
}

fn refused(path: &Path, cause: &str) -> StartError {
    cannot(format!("plan {} inside", path.display()), cause.to_owned())
}

#[cfg(test)]
mod tests;
