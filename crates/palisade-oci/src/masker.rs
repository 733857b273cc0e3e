//! Masks laid while the agent runs.
//!
//! ```text
//!   the guest hands out the namespaces of its container
//!     caller has rights there (root, the owner of a rootless engine) ──▶ a process of ours enters them
//!     caller has rights only through the engine ──▶ a second container, which is handed the namespaces through a socket
//! ```
//!
//! The second container sees no process, no network and no file of the host but its own program. It has three capabilities
//! and gives one up once it has entered; what it can do then is in `palisade_guest::hand`. It ends with its connection.

mod engine_hand;

use std::io;
use std::path::Path;
use std::thread::JoinHandle;

use palisade_boundary::Masker;
use palisade_guest::hand::{EMPTY_DIRECTORY, EMPTY_FILE, Hand, HandProcess, May, Namespaces};

pub(crate) use self::engine_hand::EngineHand;
pub(crate) use self::engine_hand::HandContainer;

/// See the module. Made when it is first wanted, or when it is known that it may be.
pub(crate) struct ContainerMasker(Stage);

/// A hand that was there before the agent.
pub(crate) enum Early {
    Process(HandProcess),
    Container(EngineHand),
}

impl Early {
    /// The supervisor's end.
    pub(crate) fn hand(&self) -> io::Result<&Hand> {
        match self {
            Self::Process(process) => process.hand(),
            Self::Container(container) => container.hand(),
        }
    }
}

enum Stage {
    /// What it would be made of.
    Wanted(Namespaces, Box<HandContainer>),
    /// On its way.
    Coming(JoinHandle<io::Result<EngineHand>>),
    Process(HandProcess),
    Container(EngineHand),
    /// It could not be made, or has ended.
    Lost,
}

impl ContainerMasker {
    pub(crate) fn new(inside: Namespaces, container: HandContainer) -> Self {
        Self(Stage::Wanted(inside, Box::new(container)))
    }

    /// Of a hand that is there already.
    pub(crate) fn of(hand: Early) -> Self {
        Self(match hand {
            Early::Process(process) => Stage::Process(process),
            Early::Container(container) => Stage::Container(container),
        })
    }

    /// Begins to make it, without waiting for an engine.
    fn begin(&mut self) -> io::Result<()> {
        self.0 = match std::mem::replace(&mut self.0, Stage::Lost) {
            Stage::Wanted(inside, container) => {
                if may_enter(&inside)? {
                    Stage::Process(enter(&inside)?)
                } else {
                    let start = move || container.start(inside);
                    let thread = std::thread::Builder::new().name("hand".into());
                    Stage::Coming(thread.spawn(start)?)
                }
            }
            other => other,
        };
        Ok(())
    }
}

impl Masker for ContainerMasker {
    fn prepare(&mut self) -> io::Result<()> {
        self.begin()
    }

    fn mask(&mut self, path: &Path, directory: bool) -> io::Result<bool> {
        self.begin()?;
        if let Stage::Coming(_) = self.0
            && let Stage::Coming(thread) = std::mem::replace(&mut self.0, Stage::Lost)
        {
            let come = thread.join();
            let come = come.unwrap_or_else(|_| Err(io::Error::other("its thread panicked")));
            self.0 = Stage::Container(come?);
        }
        match &self.0 {
            Stage::Process(process) => process.hand()?.mask(path, directory),
            Stage::Container(container) => container.hand()?.mask(path, directory),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for ContainerMasker {
    /// One that is on its way is ended once it has come.
    fn drop(&mut self) {
        if let Stage::Coming(thread) = std::mem::replace(&mut self.0, Stage::Lost) {
            let _ = thread.join();
        }
    }
}

/// Root may enter every namespace, and others those that a rootless engine of theirs made: these have a user namespace of
/// their own.
fn may_enter(inside: &Namespaces) -> io::Result<bool> {
    Ok(rustix::process::geteuid().is_root() || !inside.is_own_user()?)
}

/// A process of ours in the container's mounts, which may attach others there.
///
/// # Errors
/// It has no rights there.
pub(crate) fn enter(inside: &Namespaces) -> io::Result<HandProcess> {
    HandProcess::start(inside, (EMPTY_FILE, EMPTY_DIRECTORY), May::Attach)
}
