//! Everything palisade takes from where it was started: environment, home, current directory, user. Read here, once.
//!
//! The environment is never copied as a whole: a variable that a credential comes from must stay in one place, from where
//! `secrets` takes it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use palisade_config::Effective;
use palisade_session::{SessionId, StateDir, User};
use palisade_workspace::Kept;

use crate::failure::Failure;

/// Lowest host id for agents of sessions run by root: the first above the range that systemd sets aside for containers
/// (524288 to 1879048191, <https://systemd.io/UIDS-GIDS/>), where nobody else hands out ids. The process id is added,
/// so two sessions at the same time never share one.
const FIRST_AGENT_ID: u32 = 0x7000_0000;
/// Lowest host id for agents of containers that somebody else starts, whose id has to stay what it was when the line was
/// printed: above all that a process id can be added up to.
const FIRST_SERVED_ID: u32 = 0x7800_0000;
/// The agent's id inside, when palisade is run by root.
const INNER_ID: u32 = 1000;

/// Where palisade was started.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) home: PathBuf,
    pub(crate) current_dir: PathBuf,
    pub(crate) config_dir: PathBuf,
    pub(crate) state: StateDir,
    pub(crate) user: User,
    /// What agents of sessions at the same time are told apart by, where they have users of their own.
    pub(crate) number: u32,
}

impl Surroundings {
    /// Reads them.
    pub(crate) fn read() -> Result<Self, Failure> {
        let folder = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        let home = folder("HOME").or_else(|| home_of(uid)).ok_or_else(|| {
            Failure::new("find your home folder: HOME is not set to an absolute path")
                .hint("set HOME and try again")
        })?;
        let current_dir = std::env::current_dir().map_err(|error| {
            Failure::new(format!("find the current directory: {error}"))
                .hint("cd to a folder that exists")
        })?;
        let name = std::env::var("USER").ok().filter(|name| plain_name(name));
        Ok(Self {
            config_dir: folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
            state: StateDir::new(
                folder("XDG_STATE_HOME")
                    .unwrap_or_else(|| home.join(".local/state"))
                    .join("palisade"),
            ),
            user: user(uid, gid, name),
            number: std::process::id(),
            home,
            current_dir,
        })
    }
}

impl Surroundings {
    /// The variables a session may need: those the policy passes, and those that tell where programs are. To be called
    /// after the credentials' variables have been taken. Programs are looked for where `first` says first.
    pub(crate) fn environment(
        &self,
        policy: &Effective,
        first: &[PathBuf],
    ) -> Vec<(OsString, OsString)> {
        let passed = policy.environment.pass.keys().map(String::as_str);
        let names: BTreeSet<&str> = passed.chain(["PATH", "SHELL"]).collect();
        let value = |name: &str| Some((name.into(), std::env::var_os(name)?));
        let mut found: Vec<(OsString, OsString)> = names.into_iter().filter_map(value).collect();
        if !first.is_empty() {
            let own = std::env::var_os("PATH").unwrap_or_default();
            let all = first.iter().cloned().chain(std::env::split_paths(&own));
            // Joining fails only for a folder with a colon in its name, which splitting cannot yield.
            let joined = std::env::join_paths(all).unwrap_or(own.clone());
            found.retain(|(name, _)| name != "PATH");
            found.push(("PATH".into(), joined));
        }
        found
    }

    /// The same, where the agent is one that goes with that number, whatever process serves it.
    pub(crate) fn with_agent(mut self, number: u32) -> Self {
        self.number = number;
        if rustix::process::geteuid().is_root() {
            let host = FIRST_SERVED_ID + (number >> 5);
            (self.user.host_uid, self.user.host_gid) = (host, host);
        }
        self
    }

    /// Where what outlives this session is kept, links resolved.
    pub(crate) fn kept(&self, id: &SessionId) -> Kept {
        Kept {
            changes: real_path(&self.state.changes(id)),
            volumes: real_path(&self.state.volumes()),
            masks: real_path(&self.state.masks()),
        }
    }

    /// Real paths of palisade's own folders, which no agent may write.
    pub(crate) fn own_folders(&self) -> [PathBuf; 2] {
        [
            real_path(&self.config_dir.join("palisade")),
            real_path(self.state.path()),
        ]
    }
}

/// Who the agent is. Run by root, it is another user, one that owns nothing on the host and is this session's alone.
fn user(uid: u32, gid: u32, name: Option<String>) -> User {
    if uid != 0 {
        let name = name.unwrap_or_else(|| "agent".into());
        return User {
            name,
            uid,
            gid,
            host_uid: uid,
            host_gid: gid,
        };
    }
    let host = FIRST_AGENT_ID + std::process::id();
    User {
        name: "agent".into(),
        uid: INNER_ID,
        gid: INNER_ID,
        host_uid: host,
        host_gid: host,
    }
}

/// Names as `useradd` accepts them; the inside's `/etc/passwd` is made from it.
fn plain_name(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty()
        && name.len() <= 32
        && name != "root"
        && name.bytes().all(fine)
        && !name.starts_with('-')
}

/// The home folder `/etc/passwd` names, for services that start without `HOME`.
fn home_of(uid: u32) -> Option<PathBuf> {
    let text = fs::read("/etc/passwd").ok()?;
    let uid = uid.to_string();
    let line = text
        .split(|b| *b == b'\n')
        .find(|line| line.split(|b| *b == b':').nth(2) == Some(uid.as_bytes()))?;
    let home = line.split(|b| *b == b':').nth(5)?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(home)))
}

/// The real path as far as it exists, then the rest with `..` taken out: what the kernel would arrive at.
pub(crate) fn real_path(path: &Path) -> PathBuf {
    let mut rest = Vec::new();
    let mut front = path;
    loop {
        if let Ok(real) = front.canonicalize() {
            return rest.iter().rev().fold(real, |path, name| path.join(name));
        }
        match (front.file_name(), front.parent()) {
            (Some(name), Some(parent)) => {
                rest.push(name);
                front = parent;
            }
            _ => return real_path_by_steps(path),
        }
    }
}

/// The same, name by name, for what steps back from something that is not there.
fn real_path_by_steps(path: &Path) -> PathBuf {
    let mut done = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => {
                done.pop();
            }
            Component::Normal(name) => {
                done.push(name);
                if let Ok(real) = done.canonicalize() {
                    done = real;
                }
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    done
}
