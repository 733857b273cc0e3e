//! `palisade serve`: gate, masks, review and log for a container that somebody else starts.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use palisade_config::Effective;
use palisade_oci::{Line, Place, ServedBackend, Tell};
use palisade_session::{Handed, Outcome};

use super::policy_options::{PolicyOptions, load};
use super::run::{failed, finish, not_started, planned, say_before};
use crate::backends;
use crate::failure::Failure;
use crate::notices::Notices;
use crate::secrets;
use crate::surroundings::{Surroundings, real_path};

pub(super) mod words;

/// Serve a container that you start yourself: print the engine's line for it, wait for it, be its gate, and end with it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The line goes to standard output once the gate is ready. The exit status is that of `palisade run`; Ctrl-C ends the \
gate and its container."
)]
pub(crate) struct Args {
    /// Say nothing but the line unless palisade fails.
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    at: At,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// Where the session's folder lies.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct At {
    /// The folder that the session's own is made in [default: palisade/served in your state folder].
    #[arg(long = "at", value_name = "DIR")]
    pub(super) base: Option<PathBuf>,
}

/// A policy for such a container, and where its session's folder lies.
pub(super) struct Served {
    pub(super) here: Surroundings,
    pub(super) policy: Effective,
    place: Place,
}

impl Served {
    pub(super) fn new(
        at: &At,
        options: &PolicyOptions,
        program: Option<&OsStr>,
    ) -> Result<Self, Failure> {
        let here = Surroundings::read()?;
        let mut policy = load(options, &here, program)?;
        if policy.backend.is_none() {
            let mut options = options.clone();
            options.boundary = Some(backends::SERVED.to_owned());
            policy = load(&options, &here, program)?;
        }
        backends::check_served(&policy)?;
        let base = match &at.base {
            Some(base) => here.current_dir.join(base),
            None => here.state.path().join("served"),
        };
        let place = Place::of_workspace(&real_path(&base), &policy.workspace.value);
        let here = here.with_agent(place.number());
        Ok(Self {
            here,
            policy,
            place,
        })
    }

    pub(super) fn backend(&self, tell: Tell) -> Result<ServedBackend, Failure> {
        backends::served(&self.policy, &self.here, self.place.clone(), tell)
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let program = &args.command[0];
    let served = Served::new(&args.at, &args.policy, Some(program))?;
    let Served { here, policy, .. } = &served;
    let credentials = secrets::credentials(policy)?;
    let quiet = args.quiet;
    let backend = served.backend(Rc::new(move |line: &Line| tell(line, quiet)))?;
    let plan = planned(policy, here, &args.command, &credentials)?;
    let id = plan.id.clone();
    if !quiet {
        say_before(policy, &credentials, &backend, &plan);
    }
    let notices = Notices::new();
    let handed = Handed {
        credentials,
        notices: notices.clone(),
        watch: None,
        served: true,
    };
    let report = palisade_session::run(plan, handed, &backend, &here.state);
    notices.say_held();
    let report = report.map_err(|error| failed(&error))?;
    match &report.outcome {
        Outcome::NotStarted(errno) => {
            return Err(not_started(program, here, policy.image(), *errno));
        }
        Outcome::Killed(signal, None) if !quiet => {
            eprintln!("palisade: the agent, or its container, was ended by signal {signal}");
        }
        _ => {}
    }
    Ok(finish(quiet, &id, &report))
}

/// Prints the line.
fn tell(line: &Line, quiet: bool) -> io::Result<()> {
    if !quiet {
        eprintln!("palisade: ready; this starts the container (Ctrl-C ends the gate):");
    }
    let line = words::engine_line(line)?;
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

/// Palisade's own program.
pub(super) fn own_program() -> Result<PathBuf, Failure> {
    let own = std::env::current_exe();
    own.map_err(|error| Failure::new(format!("find palisade's own program: {error}")))
}

/// The words of the gate of such a container, its program first.
pub(super) fn gate_words(
    own: &Path,
    at: &At,
    policy: &PolicyOptions,
    here: &Surroundings,
    command: &[OsString],
) -> Vec<OsString> {
    let mut words = vec![own.into(), "serve".into()];
    if let Some(base) = &at.base {
        words.push("--at".into());
        words.push(here.current_dir.join(base).into());
    }
    words.extend(policy.words(here));
    words.push("--".into());
    words.extend_from_slice(command);
    words
}
