//! One control group: a directory whose files the kernel answers. No unsafe code is needed for it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A control group made by this process. Dropping the value does not remove it; see [`Group::remove`].
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes a new group below an existing one.
    ///
    /// # Errors
    /// The kernel's refusal to make the directory.
    pub fn create(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(name);
        fs::create_dir(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets one of its files.
    ///
    /// # Errors
    /// The file is absent or the kernel refuses the value.
    pub fn set(&self, file: &str, value: &str) -> io::Result<()> {
        write(&self.path.join(file), value)
    }

    /// Reads one of its files.
    ///
    /// # Errors
    /// The file is absent or cannot be read.
    pub fn get(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.path.join(file))
    }

    /// Moves a process into the group.
    ///
    /// # Errors
    /// The kernel's refusal, such as `EACCES` without write access to a common ancestor.
    pub fn add(&self, pid: u32) -> io::Result<()> {
        self.set("cgroup.procs", &pid.to_string())
    }

    /// Removes the group, which must hold no process.
    ///
    /// # Errors
    /// `EBUSY` while a process is left in it.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// Writes a control file in one call, as the kernel expects. Never creates it.
///
/// # Errors
/// The file is absent or the kernel refuses the value.
pub fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(value.as_bytes())
}
