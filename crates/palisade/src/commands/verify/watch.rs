//! `palisade verify --watch`: a session beside which the cheap attempts are repeated, and which stands still once one gets
//! through.
//!
//! ```text
//!   verify --watch ── starts ──▶ run ── boundary ──▶ wrapper ── becomes ──▶ the agent
//!      │  ▲                       ▲                     └─ leaves behind ──▶ the attacker, round after round
//!      │  └────── what got through ───────────────────────────────────────────────┘
//!      └──────── stand still ─────┘
//! ```
//!
//! The attacker is heard on one connection, made before the agent starts. The agent can end it, which is heard, too; it cannot
//! read its memory or write in its place.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use palisade_config::Effective;
use palisade_conformance::{Findings, Hearing, Host, Opened, Seen, Stage, repeat, watched};
use palisade_credential::Credentials;
use palisade_session::{Interrupts, Plan};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use super::super::policy_options::as_typed;
use super::super::run::planned_as;
use super::{Own, failed};
use crate::failure::{FAILED, Failure, NO, NOT_EXECUTABLE, NOT_FOUND};
use crate::surroundings::Surroundings;
use crate::terminal_text::harmless;

/// Where the attacker finds the connection and its stage.
const INSIDE: &str = "/run/palisade-watch";
/// Below it.
const REPORT: &str = "report";
const STAGE: &str = "stage";
/// Beside what is shown inside.
const FREEZE: &str = "freeze";
const SHOWN: &str = "inside";
/// The session says that it ends before its boundary is taken down, so little is waited for.
const END_IS_TOLD: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// The part of `palisade run`: a session with a watch.
pub(crate) struct Watched {
    folder: PathBuf,
    connection: UnixStream,
}

impl Watched {
    pub(crate) fn new(folder: &Path) -> Result<Self, Failure> {
        let connection = UnixStream::connect(folder.join(FREEZE))
            .map_err(|error| failed("reach the watch", &error))?;
        Ok(Self {
            folder: folder.to_path_buf(),
            connection,
        })
    }

    /// The plan of a session in which the attacker is left behind before the agent starts.
    pub(crate) fn planned(
        &self,
        policy: &Effective,
        here: &Surroundings,
        command: &[OsString],
        credentials: &Credentials,
    ) -> Result<Plan, Failure> {
        let own = Own::find()?;
        let mut argv = own.argv(&["--leave-behind", INSIDE, "--"]);
        argv.extend_from_slice(command);
        let program = PathBuf::from(own.0);
        let shown = [
            (program.clone(), program),
            (self.folder.join(SHOWN), INSIDE.into()),
        ];
        planned_as(policy, here, command, &argv, &shown, credentials)
    }
}

impl From<Watched> for OwnedFd {
    fn from(watched: Watched) -> Self {
        watched.connection.into()
    }
}

/// The wrapper: leaves the attacker behind and becomes the agent.
pub(super) fn leave_behind(folder: &Path, command: &[OsString]) -> Result<ExitCode, Failure> {
    let own = Own::find()?;
    // By way of a process that ends, so that the agent has no child it does not know.
    let mut between = Command::new(&own.0);
    between.args(["verify", "--repeat-from"]).arg(folder);
    let status = between.arg("--let-go").stdin(Stdio::null()).status();
    let status = status.map_err(|error| failed("start the watch", &error))?;
    if !status.success() {
        return Err(Failure::new("the watch inside could not be started"));
    }
    let Some((program, arguments)) = command.split_first() else {
        return Err(Failure::new("no command to watch"));
    };
    let error = Command::new(program).args(arguments).exec();
    let shown = harmless(&program.to_string_lossy());
    Err(if error.kind() == io::ErrorKind::NotFound {
        Failure::new(format!("`{shown}` was not found inside the boundary")).code(NOT_FOUND)
    } else {
        let what = format!("`{shown}` cannot be executed inside the boundary: {error}");
        Failure::new(what).code(NOT_EXECUTABLE)
    })
}

/// The process between: starts the attacker and ends once it is heard.
pub(super) fn let_go(folder: &Path) -> Result<ExitCode, Failure> {
    let own = Own::find()?;
    let mut attacker = Command::new(&own.0);
    attacker.args(["verify", "--repeat-from"]).arg(folder);
    // A group of its own: what is typed is meant for the agent.
    let attacker = attacker.process_group(0).stdin(Stdio::null());
    let child = attacker.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| failed("start the watch", &error))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        let read = BufReader::new(output).read_line(&mut line);
        read.map_err(|error| failed("start the watch", &error))?;
    }
    Ok(match line.as_str() {
        "ready\n" => ExitCode::SUCCESS,
        _ => ExitCode::from(FAILED),
    })
}

/// The attacker.
pub(super) fn repeat_from(folder: &Path) -> Result<ExitCode, Failure> {
    unreachable_to_the_agent()?;
    let own = Own::find()?;
    let begun = |error: io::Error| failed("begin the watch", &error);
    let connection = UnixStream::connect(folder.join(REPORT)).map_err(begun)?;
    let text = fs::read_to_string(folder.join(STAGE)).map_err(begun)?;
    let (every, text) = text.split_once('\n').unwrap_or_default();
    let stage: Stage = serde_json::from_str(text)?;
    let every = Duration::from_secs(every.parse().unwrap_or(1));
    let mut say = connection.try_clone().map_err(begun)?;
    io::stdout().write_all(b"ready\n").map_err(begun)?;
    let again = |name: &str| {
        let mut command = Command::new(&own.0);
        command.args(["verify", "--attack", text, "--only", name, "--repeated"]);
        // Without the connection it says nothing, and that is heard.
        let output = connection.try_clone().map(OwnedFd::from);
        command.stdout(output.map_or_else(|_| Stdio::null(), Stdio::from));
        command.stderr(Stdio::null());
        command
    };
    // It ends once nobody hears it, and has nothing to say to whoever looks at the agent.
    let _ = repeat(&stage, every, again, &mut say);
    Ok(ExitCode::SUCCESS)
}

/// The agent has the same user, and may otherwise trace it.
pub(super) fn unreachable_to_the_agent() -> Result<(), Failure> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| failed("close the watch's memory", &error.into()))
}

/// What a watch goes by.
pub(super) struct Meaning<'a> {
    pub(super) host: &'a Host,
    pub(super) control: &'a Findings,
    pub(super) opened: &'a Opened,
    pub(super) every: u64,
    pub(super) command: &'a [OsString],
    pub(super) temporary: &'a Path,
}

/// Runs the session and watches it to its end.
pub(super) fn run(meaning: &Meaning<'_>, _held: &Interrupts) -> Result<ExitCode, Failure> {
    let stage = watched(meaning.host.stage(), meaning.control);
    let place = Place::make(meaning.temporary, &stage, meaning.every)
        .map_err(|error| failed("make the watch's folder", &error))?;
    let count = stage.attempts.len();
    eprintln!(
        "palisade: watching: {count} attempts, again {} s after each round",
        meaning.every
    );
    let mut session = meaning.host.command(&session(&place, meaning.command)?);
    let session = session.spawn();
    let mut session = session.map_err(|error| failed("start the session", &error))?;
    let outcome = watch(meaning, &place, &mut session);
    let status = session.wait();
    let status = status.map_err(|error| failed("wait for the session", &error))?;
    let passed_on = u8::try_from(status.code().unwrap_or_default()).unwrap_or(FAILED);
    match outcome.map_err(|error| failed("watch the session", &error))? {
        Outcome::NotStarted => Ok(ExitCode::from(passed_on)),
        Outcome::Held(rounds) => {
            eprintln!("palisade: {}", held_line(count, rounds));
            Ok(ExitCode::from(passed_on))
        }
        Outcome::Frozen => Ok(ExitCode::from(NO)),
    }
}

fn held_line(attempts: usize, rounds: u64) -> String {
    match rounds {
        0 => "the command ended before all attempts had been made once".to_owned(),
        1 => format!("nothing got through: {attempts} attempts, one round"),
        _ => format!("nothing got through: {attempts} attempts, {rounds} rounds"),
    }
}

enum Outcome {
    /// The session ended before anything was heard, and said why itself.
    NotStarted,
    /// So many whole rounds.
    Held(u64),
    Frozen,
}

fn watch(meaning: &Meaning<'_>, place: &Place, session: &mut Child) -> io::Result<Outcome> {
    let Some(mut freeze) = accept(&place.freeze, session)? else {
        return Ok(Outcome::NotStarted);
    };
    let Some(report) = accept(&place.report, session)? else {
        return Ok(Outcome::NotStarted);
    };
    // The agent starts after this, and finds nobody to talk to.
    place.close()?;
    let every = Duration::from_secs(meaning.every);
    let mut hearing = Hearing::new(report, every, meaning.opened)?;
    let why = match hearing.listen()? {
        Seen::Through(row) => format!(
            "{} got through ({}): {}",
            row.attempt.name, row.attempt.what, row.detail
        ),
        Seen::Silence => "nothing was heard of the attempts any more".to_owned(),
        Seen::End if has_ended(&freeze)? => return Ok(Outcome::Held(hearing.rounds())),
        Seen::End => "what makes the attempts was ended from inside".to_owned(),
    };
    // The session says it, too: it knows how its terminal is used. One that has just ended needs no freezing.
    let _ = freeze.write_all(why.as_bytes());
    if io::stdin().is_terminal() && io::stderr().is_terminal() {
        eprintln!("palisade: Ctrl-C ends the session");
        session.wait()?;
    }
    Ok(Outcome::Frozen)
}

/// Whether the session has said that it ends, by closing its connection.
fn has_ended(mut freeze: &UnixStream) -> io::Result<bool> {
    freeze.set_read_timeout(Some(END_IS_TOLD))?;
    match freeze.read(&mut [0]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(true),
        Err(error) => Err(error),
    }
}

/// Waits for a call, or for the session's early end.
fn accept(listener: &UnixListener, session: &mut Child) -> io::Result<Option<UnixStream>> {
    loop {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(false)?;
                return Ok(Some(connection));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if session.try_wait()?.is_some() {
            return Ok(None);
        }
        sleep(POLL);
    }
}

/// `palisade run` of the same policy. What was typed names it.
fn session(place: &Place, command: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let typed = as_typed("verify", &["--watch"]);
    let mut typed = typed.into_iter().take_while(|argument| argument != "--");
    let mut argv = vec![Own::find()?.0, "run".into(), "--watch-folder".into()];
    argv.push(place.folder.clone().into());
    while let Some(argument) = typed.next() {
        if argument == "--every" {
            typed.next();
        } else if !argument.to_string_lossy().starts_with("--every=") {
            argv.push(argument);
        }
    }
    argv.push("--".into());
    argv.extend_from_slice(command);
    Ok(argv)
}

/// The watch's folder, gone when this is dropped.
struct Place {
    folder: PathBuf,
    freeze: UnixListener,
    report: UnixListener,
}

impl Place {
    fn make(temporary: &Path, stage: &Stage, every: u64) -> io::Result<Self> {
        let folder = temporary.join(format!("palisade-watch-{}", stage.token));
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let made = Self::fill(&folder, stage, every);
        if made.is_err() {
            let _ = fs::remove_dir_all(&folder);
        }
        made
    }

    fn fill(folder: &Path, stage: &Stage, every: u64) -> io::Result<Self> {
        let inside = folder.join(SHOWN);
        fs::create_dir(&inside)?;
        fs::set_permissions(&inside, Permissions::from_mode(0o755))?;
        let text = format!("{every}\n{}", serde_json::to_string(stage)?);
        fs::write(inside.join(STAGE), text)?;
        fs::set_permissions(inside.join(STAGE), Permissions::from_mode(0o444))?;
        let freeze = UnixListener::bind(folder.join(FREEZE))?;
        let report = UnixListener::bind(inside.join(REPORT))?;
        // Nobody else comes as far as here.
        fs::set_permissions(inside.join(REPORT), Permissions::from_mode(0o666))?;
        freeze.set_nonblocking(true)?;
        report.set_nonblocking(true)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            freeze,
            report,
        })
    }

    fn close(&self) -> io::Result<()> {
        fs::remove_file(self.folder.join(SHOWN).join(REPORT))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
