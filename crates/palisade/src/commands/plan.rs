//! `palisade plan`: everything a session would do, before it is done, and how well each control would be held.

use std::ffi::OsString;
use std::process::ExitCode;

use palisade_boundary::{Backend, Enforcement};
use palisade_config::{Effective, explain, rules_held};
use palisade_session::{Held, Plan};

use super::explain::masks;
use super::policy_options::{PolicyOptions, load};
use super::run::planned;
use super::serve::At;
use crate::backends;
use crate::failure::{Failure, NO};
use crate::secrets;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless, harmless_path};

mod by_hand;
mod json;

/// Say everything a session would do, and how well each control would be held here. Exit status: 0 it would start, 1 it would be
/// refused because something is weaker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// Print, instead, the two lines that start a container by hand: its gate, and the engine's own line. Nothing is done.
    #[arg(long, conflicts_with = "json")]
    show_command: bool,
    #[command(flatten)]
    at: At,
    /// The command it would be for, with its arguments: a known agent brings its own profile.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// A session that could be started, and who would hold it.
struct Planned<'a> {
    policy: &'a Effective,
    plan: &'a Plan,
    backend: &'a dyn Backend,
    /// The command as it was named, if it was.
    command: &'a [OsString],
    held: &'a [Held],
}

impl Planned<'_> {
    fn starts(&self) -> bool {
        !self.held.iter().any(Held::refuses)
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if args.show_command {
        return by_hand::show(args);
    }
    if args.at.base.is_some() {
        return Err(Failure::new(
            "`--at` says where the folder of a container that you start yourself lies",
        )
        .hint("add `--show-command`"));
    }
    let here = Surroundings::read()?;
    let program = args.command.first().map(OsString::as_os_str);
    let policy = load(&args.policy, &here, program)?;
    let credentials = secrets::credentials(&policy)?;
    let backend = backends::of_policy(&policy, &here)?;
    let some_command = ["true".into()];
    let command = match args.command.as_slice() {
        [] => &some_command,
        named => named,
    };
    let mut plan = planned(&policy, &here, command, &credentials)?;
    plan.confirm_masks()?;
    let planned = Planned {
        policy: &policy,
        plan: &plan,
        backend: &*backend,
        command: &args.command,
        held: &plan.examined(&*backend),
    };
    if args.json {
        println!("{}", json::plan(&planned));
    } else {
        print(&planned);
    }
    Ok(if planned.starts() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}

fn print(planned: &Planned<'_>) {
    let palette = Palette::for_stdout();
    println!("{}", palette.strong("session"));
    print_session(planned);
    for section in explain(planned.policy).sections {
        println!("{}", palette.strong(section.title));
        for line in &section.lines {
            println!("  {}", harmless(line));
        }
    }
    print_held(planned.held);
    for held in rules_held(&planned.policy.network) {
        println!("  {}: enforced by {}", harmless(&held.rule), held.by);
    }
    if let Some(hidden) = planned.plan.hidden() {
        masks::print_summary(hidden);
    }
    for note in &planned.policy.notes {
        println!("{} {}", palette.warn("note:"), harmless(note));
    }
    match planned.plan.refusal(planned.backend.name(), planned.held) {
        None => println!("{}", palette.good("a session would start")),
        Some(refusal) => {
            let names = refusal.controls().join(", ");
            println!(
                "{}",
                palette.bad(&format!("a session would be refused: {names}"))
            );
            println!("  help: {}", harmless(refusal.fix()));
        }
    }
}

fn print_session(planned: &Planned<'_>) {
    let spec = &planned.plan.spec;
    let words: Vec<String> = planned
        .command
        .iter()
        .map(|word| harmless(&word.to_string_lossy()))
        .collect();
    let command = match words.as_slice() {
        [] => "none named".to_owned(),
        words => words.join(" "),
    };
    println!("  command: {command}");
    println!("  directory: {}", harmless_path(&spec.command.directory));
    let user = &spec.identity;
    println!(
        "  user: {}:{} inside, {}:{} on this machine",
        user.uid, user.gid, user.host_uid, user.host_gid
    );
    let variables: Vec<String> = json::variables(planned.plan).collect();
    println!("  variables: {}", harmless(&variables.join(" ")));
}

/// Prints how well each control is held.
pub(super) fn print_held(held: &[Held]) {
    let palette = Palette::for_stdout();
    println!("{}", palette.strong("held here"));
    for held in held {
        let (control, enforcement) = (held.assessment.control, &held.assessment.enforcement);
        let words = enforcement.to_string();
        let words = match enforcement {
            Enforcement::Enforced(_) => words,
            _ => palette.warn(&words),
        };
        println!("  {control}: {words}");
        let Some(weakness) = held.weakness() else {
            continue;
        };
        if let Some(fix) = &weakness.fix {
            println!("    fix: {fix}");
        }
        if let Some(source) = &held.accepted {
            println!("    accepted by {}", harmless(source.as_str()));
        }
    }
}
