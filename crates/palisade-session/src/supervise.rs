//! The life of the agent's process, as seen from outside: one loop over signals, the boundary and the gate.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use palisade_boundary::{AgentEvent, Request, Running};
use palisade_sys::signalfd::SignalFd;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use crate::masks::MaskKeeper;
use crate::terminal::Terminal;
use crate::watch::Watch;

/// Signals palisade takes instead of dying or stopping: they are meant for the agent.
pub(crate) const HANDLED: [Signal; 11] = [
    Signal::INT,
    Signal::QUIT,
    Signal::TERM,
    Signal::HUP,
    Signal::TSTP,
    Signal::TTIN,
    Signal::TTOU,
    Signal::WINCH,
    Signal::USR1,
    Signal::USR2,
    Signal::CONT,
];

/// Those that end what stands still.
const ENDS: [Signal; 4] = [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP];

/// Whether a signal ends what stands still, or waits.
pub(crate) fn is_end(number: i32) -> bool {
    ENDS.iter().any(|signal| signal.as_raw() == number)
}

/// How long an agent may take to end after it was asked to. The same figure as `docker stop`.
const GRACE: Duration = Duration::from_secs(10);

/// How the agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this status.
    Exited(i32),
    /// By this signal, and by which limit if one did it.
    Killed(i32, Option<String>),
    /// It never ran: the kernel's error number.
    NotStarted(i32),
    /// The gate ended first, so nothing the agent did could be judged or recorded any more.
    GateLost,
    /// What appears could not be masked any more.
    MasksLost,
    /// Because of what a watch said.
    Watch(String),
}

/// What there is to do.
struct Ready {
    /// Signals came.
    signalled: bool,
    /// The watch has something to say.
    watched: bool,
    /// The session has to end.
    lost: Option<Ending>,
}

/// What the loop watches.
pub(crate) struct Supervisor<'a> {
    pub(crate) running: &'a mut dyn Running,
    pub(crate) terminal: &'a mut Terminal,
    pub(crate) signals: &'a SignalFd,
    pub(crate) gate_ended: BorrowedFd<'a>,
    /// What looks after masks, where anything does.
    pub(crate) masks: Option<&'a mut MaskKeeper>,
    /// A watch outside, where there is one.
    pub(crate) watch: Option<Watch>,
    /// Whether the agent's terminal is somebody else's, so that keys typed at ours are not for it.
    pub(crate) served: bool,
}

impl Supervisor<'_> {
    /// Runs until the agent has ended.
    pub(crate) fn run(&mut self) -> io::Result<Ending> {
        let mut deadline: Option<Instant> = None;
        loop {
            let ready = self.wait(deadline)?;
            if let Some(lost) = ready.lost {
                self.running.kill();
                return Ok(lost);
            }
            if let Some(ended) = self.heed_the_watch(&ready)? {
                return Ok(ended);
            }
            if ready.signalled && self.pass_signals()? {
                deadline.get_or_insert_with(|| Instant::now() + GRACE);
            }
            while let Some(event) = self.running.next_event()? {
                if let Some(ending) = self.on_event(event)? {
                    return Ok(ending);
                }
            }
            let now = Instant::now();
            if deadline.is_some_and(|at| now >= at) {
                self.running.kill();
                return Ok(Ending::Killed(Signal::KILL.as_raw(), None));
            }
            if self.masks_due().is_some_and(|at| now >= at)
                && let Some(masks) = &mut self.masks
            {
                masks.begin()?;
            }
        }
    }

    /// Hears the watch. A session that stands still is ended by whatever would have asked the agent to end.
    fn heed_the_watch(&mut self, ready: &Ready) -> io::Result<Option<Ending>> {
        let Some(watch) = &mut self.watch else {
            return Ok(None);
        };
        let mut why = None;
        if ready.watched {
            why = watch.hear(self.running)?;
            if watch.frozen.is_some() {
                self.terminal.take_back();
                watch.tell();
            }
        }
        if ready.signalled && watch.frozen.is_some() {
            while let Some(number) = self.signals.next()? {
                if is_end(number) {
                    why = why.or_else(|| watch.frozen.take());
                }
            }
        }
        if why.is_some() {
            self.running.kill();
        }
        Ok(why.map(Ending::Watch))
    }

    fn masks_due(&self) -> Option<Instant> {
        self.masks.as_ref().and_then(|masks| masks.due())
    }

    /// Waits for something to do.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<Ready> {
        let next = [deadline, self.masks_due()].into_iter().flatten().min();
        let timeout = next.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = timeout.map(|left| Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        let event_source = self.running.event_source();
        let masks_ended = self.masks.as_ref().and_then(|masks| masks.ended());
        let watch = self.watch.as_ref().map(Watch::source);
        let mut fds = [
            PollFd::new(&event_source, PollFlags::IN),
            PollFd::new(self.signals, PollFlags::IN),
            PollFd::new(&self.gate_ended, PollFlags::IN),
            // Once more what is there already, where there is nothing else.
            PollFd::new(
                masks_ended.as_ref().unwrap_or(&self.gate_ended),
                PollFlags::IN,
            ),
            PollFd::new(watch.as_ref().unwrap_or(&self.gate_ended), PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, signalled, gate, masks, watched] = fds.map(|fd| !fd.revents().is_empty());
        let lost = match (gate, masks) {
            (true, _) => Some(Ending::GateLost),
            (false, true) => Some(Ending::MasksLost),
            (false, false) => None,
        };
        Ok(Ready {
            signalled,
            watched: watched && watch.is_some(),
            lost,
        })
    }

    /// Passes signals on. Says whether one of them asked the agent to end for good.
    fn pass_signals(&mut self) -> io::Result<bool> {
        let mut ending = false;
        while let Some(number) = self.signals.next()? {
            if self.served {
                if is_end(number) {
                    ending = true;
                    let request = Request::Signal(Signal::TERM.as_raw());
                    self.running.request(request)?;
                }
                continue;
            }
            // Stops of palisade itself come back as the agent's own stop; being continued is noticed there too.
            let own = [Signal::CONT, Signal::TTIN, Signal::TTOU]
                .iter()
                .any(|signal| signal.as_raw() == number);
            if own {
                continue;
            }
            ending |= number == Signal::TERM.as_raw() || number == Signal::HUP.as_raw();
            self.running.request(Request::Signal(number))?;
        }
        Ok(ending)
    }

    fn on_event(&mut self, event: AgentEvent) -> io::Result<Option<Ending>> {
        match event {
            AgentEvent::Started => Ok(None),
            AgentEvent::ExecFailed(errno) => Ok(Some(Ending::NotStarted(errno))),
            AgentEvent::Exited(code) => Ok(Some(Ending::Exited(code))),
            AgentEvent::Killed(signal, limit) => Ok(Some(Ending::Killed(signal, limit))),
            AgentEvent::Stopped(signal) => self.on_stop(signal).map(|()| None),
        }
    }

    fn on_stop(&mut self, signal: i32) -> io::Result<()> {
        let wants_terminal = signal == Signal::TTIN.as_raw() || signal == Signal::TTOU.as_raw();
        if wants_terminal && !self.terminal.lent() && self.terminal.is_ours() {
            self.terminal.lend();
            return self.running.request(Request::Resume { foreground: true });
        }
        let had_terminal = self.terminal.lent();
        self.terminal.take_back();
        self.terminal.stop_with_agent();
        // Continued: by `fg`, with the terminal, or by `bg`, without. The stop signal sent to the own group is still
        // waiting to be read here and must not reach the agent a second time.
        self.drop_stops()?;
        let foreground = (had_terminal || wants_terminal) && self.terminal.is_ours();
        if foreground {
            self.terminal.lend();
        }
        self.running.request(Request::Resume { foreground })
    }

    fn drop_stops(&mut self) -> io::Result<()> {
        while let Some(number) = self.signals.next()? {
            let stop = [Signal::TSTP, Signal::CONT, Signal::TTIN, Signal::TTOU]
                .iter()
                .any(|s| s.as_raw() == number);
            if !stop {
                self.running.request(Request::Signal(number))?;
            }
        }
        Ok(())
    }
}
