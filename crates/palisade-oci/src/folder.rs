//! The session's folder on the host: what is shown inside of its own making, the guest's plan, the socket it calls.
//!
//! ```text
//!   BASE/NAME/       nobody but the caller comes in here
//!     lock           held for as long as the supervisor lives, by whatever means it ends
//!     sys            what lies in place of the host's, and nobody can list
//!     made/N         files of the tree
//!     inside/        shown inside: plan, control, a place for the guest, and the empty file and folder that masks are
//!     hand/          of the container that masks what comes later, where there is one
//!     sweep/         of the container that removes what an overlay left, where one does
//!     ready          where a compose file starts the container: it may be started
//!     changes-N      where somebody else starts the container: a link to the session's own changes
//! ```

mod place;
mod served;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use palisade_protocol::{GUEST_GATE, GUEST_PLAN, GUEST_SOCKET, GuestPlan};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};

pub use self::place::Place;
use self::place::SYSTEM;

/// Connections that wait to be accepted by the gate.
const BACKLOG: i32 = 4096;
/// The lock's name.
const LOCK: &str = "lock";
/// What says that a guest may call, where somebody else has to know.
pub(crate) const READY: &str = "ready";
/// The name of the guest in the folder that is shown.
pub(crate) const GUEST: &str = "guest";

/// See the module. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct SessionFolder {
    place: Place,
    /// Whether it outlives the session, because what somebody starts again and again names it.
    stays: bool,
    _lock: File,
}

impl Deref for SessionFolder {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl SessionFolder {
    /// Makes one below `base`, which is made where it is missing.
    pub(crate) fn make(base: &Path) -> io::Result<Self> {
        private().recursive(true).create(base)?;
        // An engine has to be told where things really lie.
        let base = base.canonicalize()?;
        let place = Place::new(&base, random_name()?);
        private().create(&place.path)?;
        // It has its name once it is held: another session that looks through would take one that is not for left over.
        let fresh = place.path.join("lock.new");
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::rename(fresh, place.path.join(LOCK))?;
        let folder = Self {
            place,
            stays: false,
            _lock: lock,
        };
        folder.fill()?;
        Ok(folder)
    }

    fn fill(&self) -> io::Result<()> {
        for name in [
            "made",
            "inside",
            "inside/folder",
            "inside/lower",
            "inside/changes",
        ] {
            open_to_all(&self.path.join(name))?;
        }
        readable(&self.inside().join("file"), b"")?;
        // The engine mounts its control groups there, or what is told to lie in their place, and may be nobody special here.
        fs::create_dir_all(self.system().join("fs/cgroup"))?;
        fs::set_permissions(self.system(), Permissions::from_mode(0o111))?;
        readable(&self.inside().join(GUEST), b"")
    }

    /// A file of the tree, by number.
    pub(crate) fn make_file(&self, number: usize, content: &[u8]) -> io::Result<PathBuf> {
        let path = self.made(number);
        readable(&path, content)?;
        Ok(path)
    }

    /// Writes the profile of system calls.
    pub(crate) fn write_profile(&self, content: &[u8]) -> io::Result<()> {
        readable(&self.profile(), content)
    }

    /// Writes the plan and opens the socket that the guest calls.
    pub(crate) fn open(&self, plan: &GuestPlan) -> io::Result<OwnedFd> {
        listen_in(&self.inside(), &plan.encode())
    }

    /// Opens the socket that relayed connections come to.
    pub(crate) fn open_gate(&self) -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let gate = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        bind_in(&gate, &self.inside(), GUEST_GATE)?;
        listen(&gate, BACKLOG)?;
        Ok(gate)
    }

    /// Removes most of what is in it, once nothing is mounted from it any more but what is mounted already: the engine takes its
    /// time to remove a container, and a file system takes its time for files.
    pub(crate) fn clear(&self) {
        // What is left goes with the folder.
        let _ = fs::remove_dir_all(self.path.join("made"));
    }

    /// Says that a guest may call.
    pub(crate) fn say_ready(&self) -> io::Result<()> {
        readable(&self.path.join(READY), b"")
    }

    /// Takes the socket away, once the guest has called.
    pub(crate) fn close(&self) -> io::Result<()> {
        fs::remove_file(self.inside().join(GUEST_SOCKET))
    }
}

impl Drop for SessionFolder {
    fn drop(&mut self) {
        if self.stays {
            // Nobody is served any more.
            let _ = fs::remove_file(self.path.join(READY));
            let _ = self.close();
        } else {
            // What is left is removed by a later session, as that of a supervisor that was killed.
            let _ = remove(&self.path);
        }
    }
}

/// Writes a plan into a folder that is shown to a guest, and opens the socket that it calls.
pub(crate) fn listen_in(folder: &Path, plan: &[u8]) -> io::Result<OwnedFd> {
    readable(&folder.join(GUEST_PLAN), plan)?;
    let kind = SocketType::SEQPACKET;
    let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    bind_in(&socket, folder, GUEST_SOCKET)?;
    listen(&socket, 1)?;
    Ok(socket)
}

/// Gives a socket a name in a folder.
fn bind_in(socket: &OwnedFd, folder: &Path, name: &str) -> io::Result<()> {
    // By way of a descriptor, because the name of a socket has at most 107 bytes.
    let inside = File::open(folder)?;
    let way = format!("/proc/self/fd/{}/{name}", inside.as_raw_fd());
    bind(socket, &SocketAddrUnix::new(way)?)?;
    // The guest may start as a user of its own. Nobody else on the host comes as far as here.
    let open = Permissions::from_mode(0o666);
    fs::set_permissions(folder.join(name), open)
}

/// Removes a session's folder.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    // It was closed to all, and is gone where that failed.
    let _ = fs::set_permissions(folder.join(SYSTEM), Permissions::from_mode(0o700));
    fs::remove_dir_all(folder)
}

/// Names of folders below `base` whose supervisor lives, and paths of the others, which nobody will use again.
pub(crate) fn look_through(base: &Path) -> io::Result<(Vec<String>, Vec<PathBuf>)> {
    let (mut living, mut dead) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        match File::open(entry.path().join(LOCK)) {
            Ok(lock) if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() => {
                dead.push(entry.path());
            }
            // One that is being made has no lock yet.
            _ => living.extend(entry.file_name().into_string()),
        }
    }
    Ok((living, dead))
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn open_to_all(path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn readable(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)?;
    fs::set_permissions(path, Permissions::from_mode(0o444))
}

fn random_name() -> io::Result<String> {
    let mut bytes = [0u8; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_and_goes_with_its_session() {
        let base = tempfile::tempdir().expect("folder");
        let base = base.path().join("a".repeat(120)).join("b");
        let folder = SessionFolder::make(&base).expect("made");
        let mode = fs::metadata(&folder.path)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        let (living, dead) = look_through(&base).expect("looked");
        assert_eq!((living, dead.len()), (vec![folder.name().to_owned()], 0));
        drop(folder);
        assert_eq!(fs::read_dir(&base).expect("base").count(), 0);
    }

    #[test]
    fn a_folder_whose_supervisor_is_gone_is_told_apart() {
        let base = tempfile::tempdir().expect("folder");
        let folder = SessionFolder::make(base.path()).expect("made");
        let left = base.path().join("left");
        fs::create_dir(&left).expect("folder");
        fs::write(left.join(LOCK), "").expect("lock");
        let (living, dead) = look_through(base.path()).expect("looked");
        assert_eq!(living, [folder.name()]);
        assert_eq!(dead, [left]);
    }
}
