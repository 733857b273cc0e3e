//! A watch outside the session that may have it stand still: it writes why, and goes only when the session has ended.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

use palisade_audit::{Event, EventKind, LineSink, Sink as _};
use palisade_boundary::Running;
use palisade_gate::Notice;

/// Most of what is read of a reason.
const WORDS: usize = 300;

/// The connection to the watch, and who is told of what it has done.
pub(crate) struct Watch {
    pub(crate) from: OwnedFd,
    pub(crate) log: Arc<LineSink>,
    pub(crate) notices: Arc<dyn Notice>,
    /// Why the session stands still, where it does.
    pub(crate) frozen: Option<String>,
    /// What the person has not been told yet.
    pub(crate) notice: Option<String>,
}

impl Watch {
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.from.as_fd()
    }

    /// Hears what the watch has to say. Yields why the session has to end; else it goes on, or stands still from now on.
    pub(crate) fn hear(&mut self, running: &mut dyn Running) -> io::Result<Option<String>> {
        let mut bytes = [0; WORDS];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.from, &mut bytes))?;
        let said = bytes.get(..length).unwrap_or_default();
        let said = String::from_utf8_lossy(said).trim().to_owned();
        if said.is_empty() {
            // Whoever asked for a watch does not want to go on without one.
            let frozen = self.frozen.take();
            return Ok(Some(frozen.unwrap_or_else(|| "the watch has gone".into())));
        }
        if self.frozen.is_some() {
            return Ok(None);
        }
        let by = match running.freeze() {
            Ok(by) => by,
            Err(error) => return Ok(Some(format!("{said}, and it could not be frozen: {error}"))),
        };
        let kind = EventKind::Frozen {
            reason: said.clone(),
            by,
        };
        // A log that cannot be written ends the session by way of the gate. Until then nothing inside runs.
        let _ = self.log.record(&Event::at(SystemTime::now(), kind));
        self.notice = Some(format!("frozen by {by}: {said}"));
        self.frozen = Some(said);
        Ok(None)
    }

    /// Tells the person, once there is a terminal to tell it on.
    pub(crate) fn tell(&mut self) {
        if let Some(notice) = self.notice.take() {
            self.notices.notice(&notice);
        }
    }
}
