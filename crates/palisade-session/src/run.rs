//! Runs a planned session to its end.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use palisade_audit::{Event, EventKind, LineSink, Sink, SinkError};
use palisade_boundary::{Backend, Running, StartError};
use palisade_credential::Credentials;
use palisade_gate::{GateConfig, Notice, Summary, SystemResolver};
use palisade_sys::rlimit::{Resource, lower};
use palisade_sys::signalfd::SignalFd;
use palisade_workspace::WorkspaceAccess;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::changes::{Changed, ContinueError, RecordedOwners};
use crate::gate_thread::GateThread;
use crate::held::WeakerError;
use crate::leftovers::to_look_at;
use crate::masks::MaskKeeper;
use crate::plan::{Plan, PlanError};
use crate::state::{Ending as RecordedEnding, SessionRecord, StateDir, StateError};
use crate::supervise::{Ending, HANDLED, Supervisor, is_end};
use crate::terminal::Terminal;
use crate::watch::Watch;
use crate::{SessionId, changes, volumes};

/// What became of a session.
#[derive(Clone, Debug)]
pub struct Report {
    /// How the agent ended.
    pub outcome: Outcome,
    /// What the gate did.
    pub gate: Summary,
    /// What waits for review, where anything does.
    pub changed: Option<Changed>,
    /// What the agent may have put where the host runs it or takes settings from it: it was not there at the start.
    pub to_look_at: Vec<PathBuf>,
}

/// How the agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this status.
    Exited(i32),
    /// By this signal; the text says which limit did it, where one did.
    Killed(i32, Option<String>),
    /// The program could not be started: the kernel's error number.
    NotStarted(i32),
}

impl Outcome {
    /// The status to pass on: the agent's own, 128+N for signal N, 127 if the program was not found, 126 if it could
    /// not be executed.
    pub fn status(&self) -> i32 {
        match self {
            Self::Exited(code) => *code,
            Self::Killed(signal, _) => 128 + signal,
            Self::NotStarted(errno) if *errno == rustix::io::Errno::NOENT.raw_os_error() => 127,
            Self::NotStarted(_) => 126,
        }
    }
}

/// Why a session could not be run, or had to be ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A control that the boundary holds less well than its words say, and nobody accepted that.
    #[error(transparent)]
    Weaker(#[from] WeakerError),
    /// The state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// The changes of an earlier session.
    #[error(transparent)]
    Continue(#[from] ContinueError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] SinkError),
    /// What was planned does not hold any more.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The boundary.
    #[error("{0}")]
    Start(StartError),
    /// The gate stopped before the agent did.
    #[error("the gate ended before the agent, so the session was ended: {0}")]
    Gate(String),
    /// Secrets that appear could not be masked any more.
    #[error("masks could not be looked after, so the session was ended: {0}")]
    Masks(String),
    /// A watch outside had the session frozen or ended.
    #[error("the session was ended: {0}")]
    Watch(String),
    /// Nobody started the boundary, and then nobody was to any more.
    #[error("ended before anybody started the container")]
    NeverStarted,
    /// What is masked is another one than was printed for.
    #[error(
        "what has to be masked is not what it was when the container was described, so the agent was not started"
    )]
    Changed,
    /// Something on palisade's own side.
    #[error("{0}: {1}")]
    Own(&'static str, io::Error),
}

impl RunError {
    /// What to do about it, where that is known.
    pub fn fix(&self) -> Option<&str> {
        match self {
            Self::Start(error) => error.fix.as_deref(),
            Self::Weaker(error) => Some(error.fix()),
            Self::State(_) | Self::Audit(_) => Some(
                "palisade keeps its logs in $XDG_STATE_HOME/palisade or ~/.local/state/palisade",
            ),
            Self::Changed => Some("start the gate again, and then the container as it says"),
            Self::NeverStarted
            | Self::Continue(_)
            | Self::Plan(_)
            | Self::Gate(_)
            | Self::Masks(_)
            | Self::Watch(_)
            | Self::Own(..) => None,
        }
    }
}

/// What a session needs beside its plan: no data, and no part of what can be shown of it.
pub struct Handed {
    /// The credentials.
    pub credentials: Credentials,
    /// Who is told what the person should know while the agent runs.
    pub notices: Arc<dyn Notice>,
    /// Where a watch outside says that the session has to stand still, and why. Its end ends the session.
    pub watch: Option<OwnedFd>,
    /// Whether somebody else starts the boundary: the agent's streams and its terminal are theirs, and ours tell us to end.
    pub served: bool,
}

/// Runs the session. Must be called while the process has one thread, because the boundary forks from it.
///
/// # Errors
/// Whatever kept the agent from running, or ended its session before it did.
pub fn run(
    mut plan: Plan,
    handed: Handed,
    backend: &dyn Backend,
    state: &StateDir,
) -> Result<Report, RunError> {
    plan.check_held(backend)?;
    let own = |what: &'static str| move |error: io::Error| RunError::Own(what, error);
    let signals = SignalFd::block(&HANDLED.map(|signal| signal.as_raw()))
        .map_err(own("take over signals"))?;
    let served = handed.served;
    let mut terminal = if served {
        Terminal::none()
    } else {
        Terminal::open()
    };
    plan.spec.foreground = terminal.lend_at_once();
    // Whatever fails from here on, what is named last goes first.
    let Begun {
        _volumes,
        log,
        kept,
        mut running,
        begun,
    } = begin(&mut plan, backend, state)?;
    let notices = Arc::clone(&handed.notices);
    let (config, watch) = gate_config(&mut plan, handed, &log);
    if served {
        await_start(&mut *running, &signals)?;
        // It may have been hours.
        if plan.masks_changed()? {
            return Err(RunError::Changed);
        }
    }
    let endpoint = running.endpoint().map_err(RunError::Start)?;
    if !begun {
        let_run(&mut *running, kept.as_ref())?;
    }
    close_own_memory().map_err(own("close palisade's memory to others"))?;
    let mut gate = GateThread::start(config, endpoint).map_err(own("start the gate"))?;
    let mut masks =
        look_after_masks(&mut plan, &mut *running, notices).map_err(own("look after masks"))?;
    let ending = Supervisor {
        running: &mut *running,
        terminal: &mut terminal,
        signals: &signals,
        gate_ended: gate.ended(),
        masks: masks.as_mut(),
        watch,
        served,
    }
    .run();
    drop(terminal);
    // Whatever happened above, nothing inside may outlive this point, and the gate's last events come after it.
    running.kill();
    gate.stop();
    if let Some(masks) = &mut masks {
        masks.stop();
    }
    let changed = kept.and_then(|kept| kept.conclude(&log.record));
    // Elsewhere nothing of the agent's lands before it is reviewed.
    let lands = plan.access == WorkspaceAccess::Write;
    let masked = masks.map(|masks| masks.finish(lands)).transpose();
    let summary = gate
        .finish()
        .map_err(|error| RunError::Gate(error.to_string()))?;
    let outcome = match ending.map_err(own("watch the session"))? {
        Ending::Exited(code) => Outcome::Exited(code),
        Ending::Killed(signal, limit) => Outcome::Killed(signal, limit),
        Ending::NotStarted(errno) => Outcome::NotStarted(errno),
        Ending::Watch(why) => return Err(RunError::Watch(why)),
        Ending::GateLost => return Err(RunError::Gate("its thread returned".into())),
        Ending::MasksLost => {
            let cause = masked
                .err()
                .map_or_else(|| "its thread returned".into(), |e| e.to_string());
            return Err(RunError::Masks(cause));
        }
    };
    log.close(&plan, state, &outcome, &summary)?;
    let came = masked.ok().flatten().unwrap_or_default();
    let to_look_at = if lands { to_look_at(came) } else { Vec::new() };
    Ok(Report {
        outcome,
        gate: summary,
        changed,
        to_look_at,
    })
}

/// A boundary that is being built, and what it rests on. What is dropped first comes first.
struct Begun {
    /// Whether the agent may run as soon as the boundary stands.
    begun: bool,
    running: Box<dyn Running>,
    kept: Option<KeptChanges>,
    log: Log,
    _volumes: Vec<File>,
}

/// Starts the boundary, and the agent in it once it stands.
fn begin(plan: &mut Plan, backend: &dyn Backend, state: &StateDir) -> Result<Begun, RunError> {
    let volumes = hold_volumes(plan)?;
    let mut log = None;
    let mut kept = None;
    if changes::kept_folder(plan).is_some() {
        // What is shown lies in the session's folder, so that comes first.
        log = Some(Log::open(plan, backend.name(), state)?);
        kept = keep_changes(plan, state)?;
    }
    let started = backend.start(&plan.spec);
    // While the boundary is being built, there is time for the rest.
    let log = match log {
        Some(log) => log,
        None => Log::open(plan, backend.name(), state)?,
    };
    // What was recalled may be gone, so that it could not even be started.
    let started = if plan.confirm_masks()? {
        drop(started);
        backend.start(&plan.spec)
    } else {
        started
    };
    let mut running = started.map_err(RunError::Start)?;
    // Before anything can be changed it is known who might. A backend may know only once the boundary stands.
    let begun = kept.is_none() || running.process().is_some();
    if begun {
        let_run(&mut *running, kept.as_ref())?;
    }
    Ok(Begun {
        begun,
        running,
        kept,
        log,
        _volumes: volumes,
    })
}

/// Waits until somebody else has started the boundary, for as long as it takes.
fn await_start(running: &mut dyn Running, signals: &SignalFd) -> Result<(), RunError> {
    while !running.comes(signals.as_fd()).map_err(RunError::Start)? {
        while let Some(number) = signals
            .next()
            .map_err(|error| RunError::Own("take over signals", error))?
        {
            if is_end(number) {
                return Err(RunError::NeverStarted);
            }
        }
    }
    Ok(())
}

/// Lets the agent run, after it was noted by which process others see that all is over.
fn let_run(running: &mut dyn Running, kept: Option<&KeptChanges>) -> Result<(), RunError> {
    let own = |what: &'static str| move |error: io::Error| RunError::Own(what, error);
    if let Some(kept) = kept {
        let noted = changes::note_process(&kept.0, running.process());
        noted.map_err(own("note the session's process"))?;
    }
    running.begin().map_err(own("start the agent"))
}

/// The folder of changes, removed where nothing is in it, whatever way the session ends.
struct KeptChanges(PathBuf);

impl KeptChanges {
    fn conclude(&self, record: &SessionRecord) -> Option<Changed> {
        changes::conclude(&self.0, record)
    }
}

impl Drop for KeptChanges {
    fn drop(&mut self) {
        changes::forget_if_empty(&self.0);
    }
}

/// Makes the place for changes, or takes over that of the session this one goes on from.
fn keep_changes(plan: &Plan, state: &StateDir) -> Result<Option<KeptChanges>, RunError> {
    let Some(folder) = changes::kept_folder(plan) else {
        return Ok(None);
    };
    let from = plan.continues.as_ref();
    match from.and_then(|record| SessionId::parse(&record.id)) {
        Some(from) => {
            changes::take_over(state, &from, folder)?;
            state.continued(&from, &plan.id)?;
        }
        None => changes::make(folder, &plan.workspace, &plan.spec.identity)?,
    }
    Ok(Some(KeptChanges(folder.to_path_buf())))
}

fn hold_volumes(plan: &Plan) -> Result<Vec<File>, RunError> {
    let held = plan.volumes.iter();
    let held = held.map(|name| volumes::hold(&plan.volumes_folder, name, &plan.spec.identity));
    Ok(held.collect::<Result<_, _>>()?)
}

/// Who masks what appears while the agent runs, where the boundary has a hand for it.
fn look_after_masks(
    plan: &mut Plan,
    running: &mut dyn Running,
    notices: Arc<dyn Notice>,
) -> io::Result<Option<MaskKeeper>> {
    let (Some(hidden), Some(masker)) = (plan.hidden.take(), running.masker()?) else {
        return Ok(None);
    };
    Ok(Some(MaskKeeper::new(
        hidden,
        &plan.spec.tree,
        masker,
        notices,
    )))
}

/// From here on the process holds secrets: no debugger and no other program of the same user reads its memory, and none of
/// it goes into a core file. Not earlier, because the boundary's identity is written to files of `/proc` that would belong
/// to the host's root then (proc(5)), and because the agent is to have the limits it would have without palisade.
fn close_own_memory() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    lower(Resource::Core, 0)
}

/// What the gate is told, and the watch, where there is one.
fn gate_config(plan: &mut Plan, handed: Handed, log: &Log) -> (GateConfig, Option<Watch>) {
    let mut config = GateConfig::new(Arc::clone(&plan.network), log.sink.clone());
    config.tls = plan.trust.take_gate_part();
    config.limits = plan.limits.clone();
    config.resolver = Arc::new(SystemResolver::new(&config.limits));
    config.credentials = handed.credentials;
    config.notices = Arc::clone(&handed.notices);
    config.upstream_proxy = plan.upstream_proxy.take();
    let watch = handed.watch.map(|from| Watch {
        from,
        log: Arc::clone(&log.sink),
        notices: handed.notices,
        frozen: None,
        notice: None,
    });
    (config, watch)
}

/// The session's log and record.
struct Log {
    sink: Arc<LineSink>,
    record: SessionRecord,
    /// Holds the lock that says the session runs. The sink writes through a second descriptor of the same file.
    _lock: File,
}

impl Log {
    fn open(plan: &Plan, boundary: &str, state: &StateDir) -> Result<Self, RunError> {
        let record = SessionRecord {
            id: plan.id.as_str().to_owned(),
            started_us: unix_micros(),
            command: plan.program.clone(),
            workspace: plan.workspace.clone(),
            access: Some(plan.access.name().to_owned()),
            owners: owners(plan)?,
            continues: plan.continues.as_ref().map(|from| from.id.clone()),
            continued_by: None,
            boundary: boundary.to_owned(),
            ended: None,
        };
        let lock = state.create(&plan.id, &record)?;
        let writer = lock
            .try_clone()
            .map_err(|error| RunError::Own("open the audit log", error))?;
        let sink = Arc::new(LineSink::new(plan.id.as_str(), Box::new(writer)));
        let start = EventKind::Start {
            command: plan.program.clone(),
            boundary: boundary.to_owned(),
            policy: plan.policy_digest.clone(),
        };
        sink.record(&Event::at(SystemTime::now(), start))?;
        Ok(Self {
            sink,
            record,
            _lock: lock,
        })
    }

    fn close(
        self,
        plan: &Plan,
        state: &StateDir,
        outcome: &Outcome,
        summary: &Summary,
    ) -> Result<(), RunError> {
        let (status, allowed, denied) = (outcome.status(), summary.allowed, summary.denied);
        self.sink.record(&Event::at(
            SystemTime::now(),
            EventKind::End {
                status,
                denied,
                allowed,
            },
        ))?;
        self.sink.flush()?;
        let (lines, head) = self.sink.head();
        let head = head.to_string();
        let ending = RecordedEnding {
            time_us: unix_micros(),
            status,
            allowed,
            denied,
            lines,
            head,
        };
        Ok(state.end(&plan.id, &ending)?)
    }
}

/// Whose the changes are: those of an earlier session keep their owner.
fn owners(plan: &Plan) -> Result<Option<RecordedOwners>, RunError> {
    if let Some(from) = &plan.continues {
        return Ok(from.owners);
    }
    if changes::kept_folder(plan).is_none() {
        return Ok(None);
    }
    let found = changes::owners(&plan.workspace, &plan.spec.identity);
    found.map_err(|error| RunError::Own("read the owner of the workspace", error))
}

fn unix_micros() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
