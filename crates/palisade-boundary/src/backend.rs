//! The traits a backend implements.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use palisade_protocol::EgressEndpoint;

use crate::assess::Assessment;
use crate::probe::Probe;
use crate::spec::BoundarySpec;

/// One implementation of a boundary.
pub trait Backend {
    /// Its name in policies and on the command line.
    fn name(&self) -> &'static str;

    /// What this machine can do. May try things out; changes nothing that outlives the call.
    fn probe(&self) -> Probe;

    /// How well each control of this spec would be held here: one answer for each of [`BoundarySpec::controls`] at least. Asked
    /// before each start, so it looks at no more than a start does.
    fn assess(&self, spec: &BoundarySpec) -> Vec<Assessment>;

    /// The same for a person who asks and does not start, so that things may be tried out for it.
    fn examine(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        self.assess(spec)
    }

    /// Starts building the boundary and returns at once; the agent runs once it stands and [`Running::begin`] was called.
    /// Must be called while the process has one thread.
    ///
    /// # Errors
    /// What cannot be had on this machine, with the cause and the fix.
    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError>;
}

/// A boundary that is being built or stands. Dropping it ends everything inside.
pub trait Running {
    /// Lets the agent run as soon as the boundary stands. Called once, before or after it does.
    ///
    /// # Errors
    /// The connection to the inside broke.
    fn begin(&mut self) -> io::Result<()>;

    /// Waits for a boundary that somebody else starts, or until the other descriptor is readable; says whether it comes. One that
    /// palisade starts is on its way already. Called before [`Running::endpoint`], as often as needed.
    ///
    /// # Errors
    /// Nobody can be told to start it.
    fn comes(&mut self, _or: BorrowedFd<'_>) -> Result<bool, StartError> {
        Ok(true)
    }

    /// Waits until the boundary stands and yields the way to the gate. Called once, before any event is asked for.
    ///
    /// # Errors
    /// The step that failed, with its cause and the fix.
    fn endpoint(&mut self) -> Result<EgressEndpoint, StartError>;

    /// The host's number of a process that is there for as long as anything inside lives, where there is one: by it others
    /// know that all is over, even where palisade was killed. A backend may not know it before [`Running::endpoint`].
    fn process(&self) -> Option<u32>;

    /// Readable when [`Running::next_event`] has something to say.
    fn event_source(&self) -> BorrowedFd<'_>;

    /// The next event, without waiting.
    ///
    /// # Errors
    /// The connection to the inside broke; the session is over.
    fn next_event(&mut self) -> io::Result<Option<AgentEvent>>;

    /// Asks something of the agent's process.
    ///
    /// # Errors
    /// The connection to the inside broke.
    fn request(&mut self, request: Request) -> io::Result<()>;

    /// A hand that lays masks while the agent runs; none if this backend has none. Called once, after
    /// [`Running::endpoint`].
    ///
    /// # Errors
    /// It could not be made.
    fn masker(&mut self) -> io::Result<Option<Box<dyn Masker>>> {
        Ok(None)
    }

    /// Stops everything inside where it stands, for good, so that it can be looked at. Says by what, in words that fit after
    /// "frozen by".
    ///
    /// # Errors
    /// Something inside may still run, and has to be ended instead.
    fn freeze(&mut self) -> io::Result<&'static str> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends everything inside and waits until it is gone.
    fn kill(&mut self);
}

/// Lays masks over paths inside while the agent runs.
pub trait Masker: Send {
    /// What appears is watched from now on, so that a hand that takes time to be made should be on its way.
    ///
    /// # Errors
    /// It cannot be made.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Lays something empty and read-only over a path inside. A path that is gone, or is a link by now, is left alone,
    /// as is one that is masked already. Says whether a mask was laid.
    ///
    /// # Errors
    /// It is there and could not be masked.
    fn mask(&mut self, path: &Path, directory: bool) -> io::Result<bool>;
}

/// What happened to the agent's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentEvent {
    /// It runs.
    Started,
    /// It could not be started: the kernel's error number.
    ExecFailed(i32),
    /// It was stopped by this signal.
    Stopped(i32),
    /// It ended with this status.
    Exited(i32),
    /// It was ended by this signal. The text says which limit did it, where one did.
    Killed(i32, Option<String>),
}

/// What a session asks of the agent's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send it this signal.
    Signal(i32),
    /// Continue it after a stop, giving it the terminal first if asked.
    Resume {
        /// Whether it gets the terminal.
        foreground: bool,
    },
}

/// Why a boundary could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {cause}")]
pub struct StartError {
    /// What palisade tried to do, in words that fit after "failed to".
    pub what: String,
    /// What stood in the way.
    pub cause: String,
    /// What to do about it, where that is known.
    pub fix: Option<String>,
}
