//! Waiting for two things at once through one descriptor: the connection to init, and the next look at the memory.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::SAMPLE_EVERY;

/// Readable when the connection is, and every [`SAMPLE_EVERY`].
#[derive(Debug)]
pub struct Watch {
    poll: OwnedFd,
    timer: OwnedFd,
}

impl Watch {
    /// Watches this connection, which has to stay open as long as the watch.
    ///
    /// # Errors
    /// The kernel has no descriptor to give.
    pub fn new(connection: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let every = Timespec::try_from(SAMPLE_EVERY).map_err(io::Error::other)?;
        let times = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &times)?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (number, descriptor) in [(0, connection), (1, timer.as_fd())] {
            let data = epoll::EventData::new_u64(number);
            epoll::add(&poll, descriptor, data, epoll::EventFlags::IN)?;
        }
        Ok(Self { poll, timer })
    }

    /// What to wait for.
    pub fn source(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }

    /// Whether it is time for a look; each time is told once.
    pub fn due(&self) -> bool {
        // An empty timer answers EAGAIN; nothing else can fail.
        rustix::io::read(&self.timer, &mut [0; 8]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn readable(watch: &Watch, wait: Option<Timespec>) -> bool {
        let source = watch.source();
        let mut source = [PollFd::new(&source, PollFlags::IN)];
        poll(&mut source, wait.as_ref()).expect("poll") == 1
    }

    #[test]
    fn tells_of_the_connection_and_of_the_time() {
        let (mut theirs, ours) = UnixStream::pair().expect("pair");
        let watch = Watch::new(ours.as_fd()).expect("watch");
        let at_once = Some(Timespec::default());
        assert!(!readable(&watch, at_once) && !watch.due());
        theirs.write_all(b"x").expect("write");
        assert!(readable(&watch, at_once) && !watch.due());
        rustix::io::read(&ours, &mut [0; 1]).expect("read");
        // No upper bound: the test waits for the timer as long as it takes.
        assert!(readable(&watch, None));
        assert!(watch.due() && !watch.due());
    }
}
