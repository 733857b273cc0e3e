//! `palisade plan --show-command`: a container to be started by hand.

use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use palisade_oci::ServedBackend;
use palisade_session::Plan;

use super::Args;
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
