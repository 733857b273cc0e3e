//! `palisade plan --show-command` and `--compose`: a container to be started by hand.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use palisade_oci::{Engine, Gate, ServedBackend};
use palisade_session::Plan;

use super::{Args, yaml};
use crate::commands::run::planned;
use crate::commands::serve::{Served, gate_words, own_program, words};
use crate::failure::{Failure, NO};
use crate::secrets;
use crate::terminal_text::harmless;

/// Prints both lines.
pub(super) fn show(args: &Args) -> Result<ExitCode, Failure> {
    let (served, backend, plan) = prepared(args)?;
    if let Some(code) = refused(&plan, &backend) {
        return Ok(code);
    }
    let line = backend.line(&plan.spec).map_err(not_made)?;
    let gate = gate_words(
        &own_program()?,
        &args.at,
        &args.policy,
        &served.here,
        &args.command,
    );
    let gate = words::line_in(&served.here.current_dir, gate.iter().map(AsRef::as_ref))?;
    let container = words::engine_line(&line)?;
    let text = [
        b"# The gate, in one terminal or with `&` after it. It says when it is ready, and ends with the container.\n",
        &gate[..],
        b"# The container, in another, once the gate is ready.\n",
        &container,
    ];
    io::stdout().write_all(&text.concat())?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a compose file.
pub(super) fn compose(args: &Args) -> Result<ExitCode, Failure> {
    let (served, backend, plan) = prepared(args)?;
    if let Some(code) = refused(&plan, &backend) {
        return Ok(code);
    }
    let here = &served.here;
    let mut words = gate_words(&own_program()?, &args.at, &args.policy, here, &args.command);
    words.insert(2, "--compose".into());
    let text = |word: &OsString| {
        let word = word.to_str().map(str::to_owned);
        word.ok_or_else(|| {
            Failure::new("a compose file holds only UTF-8, and a word of the command is not")
        })
    };
    let gate = Gate {
        words: words.iter().map(text).collect::<Result<_, _>>()?,
        directory: here.current_dir.clone(),
        variables: variables(&served),
        state: here.state_folder()?,
    };
    let file = backend.compose(&plan.spec, &gate).map_err(not_made)?;
    print!("{COMPOSE}{}", yaml::text(&file));
    Ok(ExitCode::SUCCESS)
}

const COMPOSE: &str = "# Made by `palisade plan --compose`, for this machine and this policy. Print it again when either has changed.\n";

/// What the gate is told where it is started by somebody else: what leads to palisade's folders and to the engine. The values of
/// what the policy names are not written down.
fn variables(served: &Served) -> Vec<(String, Option<String>)> {
    let known = KNOWN.into_iter().chain(Engine::Docker.variables());
    let known = known.filter_map(|name| Some((name.to_owned(), Some(std::env::var(name).ok()?))));
    let mut all: Vec<_> = known.collect();
    let policy = &served.policy;
    let passed = policy.environment.pass.keys().map(String::as_str);
    let named: BTreeSet<&str> = secrets::variables(policy)
        .into_iter()
        .chain(passed)
        .collect();
    let new = |name: &&str| !all.iter().any(|(known, _)| known == name);
    let named: Vec<_> = named
        .into_iter()
        .filter(new)
        .map(|name| (name.to_owned(), None))
        .collect();
    all.extend(named);
    all
}

const KNOWN: [&str; 7] = [
    "HOME",
    "USER",
    "PATH",
    "SHELL",
    "LANG",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
];

fn prepared(args: &Args) -> Result<(Served, ServedBackend, Plan), Failure> {
    let Some(program) = args.command.first() else {
        return Err(Failure::new("there is no command to run in the container")
            .hint("name it after `--`: `palisade plan --show-command -- COMMAND`"));
    };
    let served = Served::new(&args.at, &args.policy, Some(program))?;
    let credentials = secrets::credentials(&served.policy)?;
    let backend = served.backend(Rc::new(|_| Ok(())))?;
    let mut plan = planned(&served.policy, &served.here, &args.command, &credentials)?;
    plan.confirm_masks()?;
    Ok((served, backend, plan))
}

/// What would be weaker and was not accepted is said in place of the lines.
fn refused(plan: &Plan, backend: &ServedBackend) -> Option<ExitCode> {
    let held = plan.held(backend);
    let refusal = plan.refusal("container", &held)?;
    eprintln!("palisade: error: {}", harmless(&refusal.to_string()));
    eprintln!("  help: {}", harmless(refusal.fix()));
    Some(ExitCode::from(NO))
}

fn not_made(error: palisade_boundary::StartError) -> Failure {
    let failure = Failure::new(&error);
    match &error.fix {
        Some(fix) => failure.hint(harmless(fix)),
        None => failure,
    }
}
