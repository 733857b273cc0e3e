//! `palisade verify`: attacks the boundary from inside, on this machine, with the policy in force.
//!
//! Three processes of this program play it: the one that was asked listens, plants and judges; it runs `palisade run`, whose
//! agent is this program again, which attacks. The same attacker is run without a boundary first, as the control.

mod meant;
mod show;
mod watch;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use palisade_conformance::{Host, Preparation, Row, Stage, Status, attack, attack_once, be_victim};
use palisade_session::Interrupts;

use super::policy_options::{PolicyOptions, as_typed, load};
use crate::backends;
use crate::failure::{Failure, NO};
use crate::surroundings::Surroundings;
use meant::Meant;
pub(crate) use watch::Watched;

/// Attack the boundary from inside and show what became of each attempt. Exit status: 0 all that was tried is held,
/// 1 something got through, 125 palisade failed. With --watch, the status of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Run a command, repeat the cheap attempts beside it, and freeze everything inside as soon as one gets through.
    #[arg(long, conflicts_with = "json", requires = "command")]
    watch: bool,
    /// Seconds between two rounds of --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, requires = "watch",
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// The command to watch, and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    /// Be the attacker (used by the command itself).
    #[arg(long, hide = true, value_name = "JSON")]
    attack: Option<String>,
    /// Make this attempt alone.
    #[arg(long, hide = true, value_name = "NAME", requires = "attack")]
    only: Option<String>,
    /// Let nobody look into the attacker.
    #[arg(long, hide = true, requires = "only")]
    repeated: bool,
    /// Leave the attacker behind that is told by this folder, and become the command.
    #[arg(long, hide = true, value_name = "DIR", requires = "command")]
    leave_behind: Option<PathBuf>,
    /// Be the attacker that is told by this folder.
    #[arg(long, hide = true, value_name = "DIR")]
    repeat_from: Option<PathBuf>,
    /// Start it and end.
    #[arg(long, hide = true, requires = "repeat_from")]
    let_go: bool,
    /// Be a process to attack, with this in the command line.
    #[arg(long, hide = true, value_name = "TOKEN")]
    victim: Option<String>,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(part) = part(args) {
        return part;
    }
    // What is planted has to be removed again. The session ends by itself, as on any Ctrl-C.
    let held = Interrupts::hold().map_err(|error| failed("hold interrupts", &error))?;
    let here = Surroundings::read()?;
    let policy = load(
        &args.policy,
        &here,
        args.command.first().map(OsString::as_os_str),
    )?;
    let boundary = backends::of_policy(&policy, &here)?.name();
    let meant = Meant::new(&policy, &here)?;
    let own = Own::find()?;
    let temporary = std::env::temp_dir()
        .canonicalize()
        .map_err(|error| failed("find the folder for temporary files", &error))?;
    let host = Host::prepare(&Preparation {
        victim: own.argv(&["--victim"]),
        temporary: temporary.clone(),
        workspace: policy.workspace.value.clone(),
        plant: !args.watch,
        home: here.home.clone(),
        masked: meant.masked(),
        home_secrets: meant.home_secrets(),
        engines: Meant::engines(),
        secrets: meant.secrets(),
        processes: Some(meant.processes()),
        memory: policy.limits().memory,
    })
    .map_err(|error| failed("prepare the attack", &error))?;
    let control = host
        .control(|stage| own.attacker(stage))
        .map_err(|error| failed("run the control", &error))?;
    stop_if_interrupted(&held)?;
    // What was planted is looked at as the session will.
    let opened = Meant::new(&policy, &here)?.opened(host.stage());
    if args.watch {
        let meaning = watch::Meaning {
            host: &host,
            control: &control,
            opened: &opened,
            every: args.every,
            command: &args.command,
            temporary: &temporary,
        };
        return watch::run(&meaning, &held);
    }
    let (inside, status) = host
        .run(&own.session(host.stage()))
        .map_err(|error| failed("run the session", &error))?;
    stop_if_interrupted(&held)?;
    if inside.is_empty() {
        return Err(Failure::new(format!(
            "the session ended before anything was tried ({status})"
        ))
        .hint("`palisade doctor` says what this machine lacks"));
    }
    let rows = palisade_conformance::judge(&control, &inside, &opened);
    show::print(&rows, &meant.untold(), boundary, args.json);
    Ok(exit_code(&rows))
}

/// What this process plays, where it is not the one that was asked.
fn part(args: &Args) -> Option<Result<ExitCode, Failure>> {
    if let Some(stage) = &args.attack {
        let closed = if args.repeated {
            watch::unreachable_to_the_agent()
        } else {
            Ok(())
        };
        return Some(closed.and_then(|()| attacker(stage, args.only.as_deref())));
    }
    if let Some(folder) = &args.leave_behind {
        return Some(watch::leave_behind(folder, &args.command));
    }
    if let Some(folder) = &args.repeat_from {
        return Some(if args.let_go {
            watch::let_go(folder)
        } else {
            watch::repeat_from(folder)
        });
    }
    args.victim.is_some().then(|| {
        be_victim(io::stdout()).map_err(|error| failed("be attacked", &error))?;
        Ok(ExitCode::SUCCESS)
    })
}

/// What an interrupt cut short says nothing.
fn stop_if_interrupted(held: &Interrupts) -> Result<(), Failure> {
    let came = held.came();
    if came.map_err(|error| failed("look for interrupts", &error))? {
        return Err(Failure::new("interrupted, so nothing can be said"));
    }
    Ok(())
}

fn exit_code(rows: &[Row]) -> ExitCode {
    if rows.iter().any(|row| row.status == Status::NotHeld) {
        return ExitCode::from(NO);
    }
    ExitCode::SUCCESS
}

fn failed(what: &str, error: &io::Error) -> Failure {
    Failure::new(format!("{what}: {error}"))
}

fn attacker(text: &str, only: Option<&str>) -> Result<ExitCode, Failure> {
    let stage: Stage = serde_json::from_str(text)?;
    let said = match only {
        Some(name) => attack_once(&stage, name, io::stdout()),
        None => {
            let own = Own::find()?;
            let again = |name: &str| {
                let mut command = Command::new(&own.0);
                command.args(["verify", "--attack", text, "--only", name]);
                command
            };
            attack(&stage, again, io::stdout())
        }
    };
    said.map_err(|error| failed("say what was found", &error))?;
    Ok(ExitCode::SUCCESS)
}

/// This program.
struct Own(OsString);

impl Own {
    fn find() -> Result<Self, Failure> {
        let path = std::env::current_exe().and_then(|path| path.canonicalize());
        let path = path.map_err(|error| failed("find palisade's own program", &error))?;
        Ok(Self(path.into_os_string()))
    }

    fn argv(&self, arguments: &[&str]) -> Vec<OsString> {
        let arguments = ["verify"].iter().chain(arguments);
        let arguments = arguments.map(OsString::from);
        [self.0.clone()].into_iter().chain(arguments).collect()
    }

    fn attacker(&self, stage: &Stage) -> Vec<OsString> {
        let text = serde_json::to_string(stage).unwrap_or_default();
        self.argv(&["--attack", &text])
    }

    /// The attacker in a session as any other agent's.
    fn session(&self, stage: &Stage) -> Vec<OsString> {
        let head = [self.0.clone(), "run".into(), "--quiet".into()];
        let mut argv = Vec::from(head);
        argv.extend(as_typed("verify", &["--json"]));
        argv.push("--".into());
        argv.extend(self.attacker(stage));
        argv
    }
}
