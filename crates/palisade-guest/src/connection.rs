//! The connection to the supervisor.

use std::os::fd::OwnedFd;

use palisade_protocol::{FRAME_LEN, InitEvent, InitRequest, SetupStep};
use palisade_sys::process;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::{At, Fault};

/// What init holds for as long as it serves.
#[derive(Debug)]
pub struct Post {
    /// To the supervisor.
    pub control: Connection,
    /// The terminal, where there is one.
    pub terminal: Option<OwnedFd>,
}

/// Init's end of the `SOCK_SEQPACKET` connection.
#[derive(Debug)]
pub struct Connection(pub OwnedFd);

impl Connection {
    /// Waits for this request, and ends the process where the supervisor is gone.
    ///
    /// # Errors
    /// Another request came, or the connection broke.
    pub fn wait_for(&self, wanted: InitRequest) -> Result<(), Fault> {
        match self.hear(RecvFlags::empty()) {
            Ok(Some(request)) if request == wanted => Ok(()),
            // Nobody is left to report to.
            Ok(None) => process::exit(1),
            Ok(Some(_)) => Err(Errno::PROTO).at(SetupStep::Sync, 0),
            Err(errno) => Err(errno).at(SetupStep::Sync, 0),
        }
    }

    /// Sends an event. A supervisor that is gone needs none: its end is the end of this process too.
    pub fn tell(&self, event: InitEvent) {
        let _ = send(&self.0, &event.encode(), SendFlags::NOSIGNAL);
    }

    /// Tells of a step that failed.
    pub fn report(&self, Fault { step, index, errno }: Fault) {
        let errno = errno.raw_os_error();
        self.tell(InitEvent::Failed { step, index, errno });
    }

    /// The supervisor's next request; `None` when the supervisor is gone.
    pub(crate) fn hear(&self, flags: RecvFlags) -> rustix::io::Result<Option<InitRequest>> {
        let mut bytes = [0; FRAME_LEN];
        let received = loop {
            match recv(&self.0, &mut bytes, flags) {
                Ok((_, length)) => break length,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        };
        if received == 0 {
            return Ok(None);
        }
        let frame = bytes.get(..received).unwrap_or_default();
        InitRequest::decode(frame)
            .map(Some)
            .map_err(|_| Errno::PROTO)
    }
}
