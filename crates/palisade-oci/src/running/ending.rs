//! How a container ends: by itself, or by force.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use palisade_boundary::StartError;
use rustix::net::{SocketFlags, accept_with};

use super::{ContainerRunning, END_DEADLINE, Starter, wait};
use crate::engine::Engine;
use crate::flags::StartedBy;
use crate::inspect;

/// How long until it is asked again whether a container is gone.
const PAUSE: Duration = Duration::from_millis(50);

impl ContainerRunning {
    /// Whether the engine answered, whatever it said.
    fn remove(&self) -> bool {
        let remove = ["rm", "--force", "--volumes", &self.parts.container];
        has_answered(self.parts.engine.ask("remove the container", &remove))
    }

    /// The engine ends the container when its first process has, and its client after that, once all output is out. Says
    /// whether it did.
    pub(super) fn wait_for_end(&mut self, limit: Duration) -> bool {
        let Some(life) = &self.life else {
            return false;
        };
        let ended = ends(life, &self.parts.listener, limit);
        match &mut self.parts.starter {
            Starter::Ours(client) => ended && client.wait().is_ok(),
            Starter::Others(_) => ended && self.wait_for_removal(),
        }
    }

    /// The engine removes what a line with `--rm` started, and only ends what a compose file did.
    fn wait_for_removal(&self) -> bool {
        let deadline = Instant::now() + END_DEADLINE;
        while Instant::now() < deadline {
            match self.account() {
                Ok(account) if inspect::runs(&account) => {}
                Ok(_) if self.parts.wanted.by == StartedBy::Line => {}
                _ => return true,
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// Ends and removes what does not end by itself, and says whether the engine answered: what one that hangs keeps is left to
    /// the next session.
    pub(super) fn remove_by_force(&mut self) -> bool {
        if let StartedBy::Compose = self.parts.wanted.by {
            // It is compose's to remove.
            let kill = ["kill", &self.parts.container];
            let killed = self.parts.engine.ask("end the container", &kill);
            return has_answered(killed);
        }
        let answers = self.remove();
        // One that is being made is started in vain, and removed after that.
        if self.life.is_some() && !self.wait_for_end(END_DEADLINE) {
            if let Starter::Ours(client) = &mut self.parts.starter {
                let _ = client.kill();
                let _ = client.wait();
            }
            return answers && self.remove();
        }
        answers
    }
}

/// Whether that ends. A guest that calls only now would wait for what it is to do: it is let in and hears of the end.
fn ends(life: &OwnedFd, listener: &OwnedFd, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match wait(&[life, listener], left) {
            Ok(Some(0)) => return true,
            Ok(Some(_)) if accept_with(listener, SocketFlags::CLOEXEC).is_ok() => {}
            _ => return false,
        }
    }
}

fn has_answered(said: Result<String, StartError>) -> bool {
    !said.is_err_and(|error| Engine::is_silent(&error))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn who_calls_in_the_end_hears_of_it() {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("socket");
        let listener = OwnedFd::from(UnixListener::bind(&place).expect("socket"));
        let (life, other) = UnixStream::pair().expect("pair");
        let mut guests = [(); 2].map(|()| UnixStream::connect(&place).expect("called"));
        let waits = Duration::from_millis(50);
        let life = OwnedFd::from(life);
        assert!(!ends(&life, &listener, waits), "it is still there");
        for guest in &mut guests {
            assert_eq!(guest.read(&mut [0]).expect("the end"), 0);
        }
        drop(other);
        assert!(ends(&life, &listener, Duration::from_secs(60)));
    }
}
