//! `palisade check`: one decision, the rule that made it, and the rule that nearly matched.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use palisade_config::Effective;
use palisade_policy::{
    Authority, Decision, Denial, DenialReason, FileAccess, FileDecision, FilePolicy, HttpKind,
    Inspection, Lands, METHODS, Permit, Request,
};
use palisade_session::SessionId;
use palisade_workspace::{AgentAccount, WorkspaceAccess};

use self::asked::Asked;
use super::explain::masks;
use super::policy_options::{PolicyOptions, load};
use crate::failure::{Failure, NO};
use crate::surroundings::{Surroundings, real_path};
use crate::terminal_text::{Palette, harmless};

mod asked;

/// Decide one request or path, and say which rule did it. Exit status: 0 allowed, 1 denied.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to reach: a URL, a host, or host:port.
    #[arg(required_unless_present_any = ["read", "write"], value_name = "URL")]
    url: Option<String>,
    /// The HTTP method.
    #[arg(short = 'X', long, value_name = "METHOD", requires = "url")]
    method: Option<String>,
    /// A path to read.
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    read: Option<PathBuf>,
    /// A path to write.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "read"])]
    write: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let policy = load(&args.policy, &here, None)?;
    let allowed = match (&args.url, &args.read, &args.write) {
        (Some(url), _, _) => check_url(&policy, url, args.method.as_deref())?,
        (None, Some(path), _) => check_path(&policy, &here, path, FileAccess::Read)?,
        (None, None, Some(path)) => check_path(&policy, &here, path, FileAccess::Write)?,
        (None, None, None) => {
            return Err(
                Failure::new("nothing to check").hint("name a URL, --read PATH or --write PATH")
            );
        }
    };
    Ok(if allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}

fn check_url(policy: &Effective, url: &str, method: Option<&str>) -> Result<bool, Failure> {
    let asked = Asked::parse(url, method)?;
    let destination = &asked.destination;
    let connection = Request::new(&destination.host, destination.port);
    // A refused connection is refused whatever is asked for on it. One that may be made, and is looked into, is asked again.
    let decision = match policy.network.decide(&connection) {
        Decision::Permit(permit) if asked.is_seen(permit.inspection()) => {
            if let Some(method) = refused_method(asked.method) {
                print_refused_method(destination, method);
                return Ok(false);
            }
            let request = asked.http();
            let seen = Request::with_http(&destination.host, destination.port, request);
            policy.network.decide(&seen)
        }
        other => other,
    };
    match decision {
        Decision::Permit(permit) => {
            let palette = Palette::for_stdout();
            println!("{} {asked}: {}", palette.good("allowed"), permit.rule());
            print_inspection(policy, &asked, &permit);
            print_addresses(&permit);
            Ok(true)
        }
        Decision::Deny(denial) => {
            print_denial(&asked, denial);
            Ok(false)
        }
    }
}

/// A method no rule can permit, since the gate carries it nowhere.
fn refused_method(method: Option<&str>) -> Option<&str> {
    method.filter(|method| !METHODS.contains(method))
}

fn print_refused_method(destination: &Authority, method: &str) {
    let denied = Palette::for_stdout();
    let denied = denied.bad("denied");
    println!("{denied} {destination}: the gate carries no {method} requests");
}

/// What the gate would do with the bytes, and what it would add.
fn print_inspection(policy: &Effective, asked: &Asked<'_>, permit: &Permit) {
    match permit.inspection() {
        Inspection::Raw => println!("  passed unread, whatever it is"),
        Inspection::Tunnel if asked.secure => {
            println!("  TLS passed unread, so method and path are not judged")
        }
        Inspection::Tunnel => println!("  clear text, each request judged"),
        Inspection::Intercept if asked.secure => {
            println!("  TLS ended at the gate, each request judged")
        }
        Inspection::Intercept => println!("  clear text, each request judged"),
    }
    if let Some(path) = permit.judged_path()
        && asked.written_path().is_some_and(|written| written != path)
    {
        println!("  sent on as {path}, and the query as it is");
    }
    let Some(name) = permit.credential() else {
        return;
    };
    let definition = policy
        .credentials
        .iter()
        .find(|credential| credential.value.name == *name);
    let how = definition.map_or_else(String::new, |credential| {
        let how = palisade_config::describe_injection(&credential.value.injection);
        format!(", as {how}")
    });
    println!("  with the credential {name}{}", harmless(&how));
}

fn print_denial(asked: &Asked<'_>, denial: Denial) {
    let by = denial
        .rule
        .map(|rule| format!(" by {rule}"))
        .unwrap_or_default();
    let palette = Palette::for_stdout();
    println!(
        "{} {asked}{by}: {} ({})",
        palette.bad("denied"),
        denial.reason,
        denial.reason.code()
    );
    if let Some(near) = denial.near {
        println!("  nearly: {}; {}", near.rule, harmless(&near.because));
    }
    print_help(denial.reason, asked);
}

/// What is decided later, when the name is looked up.
fn print_addresses(permit: &Permit) {
    match (permit.mapped(), permit.authority().host.as_ip()) {
        (Some(address), _) => println!("  dialled at {address}, by `resolve`"),
        (None, Some(ip)) => match permit.admit(ip) {
            Ok(()) => {}
            Err(denial) => println!("  but refused when connecting: {}", denial.reason),
        },
        (None, None) => {
            println!("  if its addresses are public, or the rule says `private = true`")
        }
    }
}

fn print_help(reason: DenialReason, asked: &Asked<'_>) {
    let destination = &asked.destination;
    let host = &destination.host;
    match reason {
        DenialReason::NotAllowed => {
            println!("  to allow it: [[network.allow]] host = \"{host}\", or --allow {destination}")
        }
        DenialReason::Port => println!(
            "  to allow it: add {} to `ports` of that rule, or --allow {destination}",
            destination.port
        ),
        DenialReason::Method => {
            println!(
                "  to allow it: add {} to `methods` of that rule",
                asked.http().method
            )
        }
        DenialReason::Path => {
            println!("  to allow it: add a pattern for it to `paths` of that rule")
        }
        DenialReason::Protocol if asked.http().kind == HttpKind::WebSocket => {
            println!("  to allow it: [[network.allow]] host = \"{host}\", protocol = \"websocket\"")
        }
        _ => {}
    }
}

fn check_path(
    policy: &Effective,
    here: &Surroundings,
    path: &Path,
    access: FileAccess,
) -> Result<bool, Failure> {
    let files = files(policy, here)?;
    let path = real_path(&here.current_dir.join(expand_home(path, &here.home)));
    let shown = harmless(&path.display().to_string());
    let palette = Palette::for_stdout();
    let verb = if access == FileAccess::Read {
        "read"
    } else {
        "write"
    };
    if !matches!(files.decide(&path, access), FileDecision::Hidden(_))
        && is_held_back(policy, here, &path, access, verb)?
    {
        return Ok(false);
    }
    match files.decide(&path, access) {
        FileDecision::Permit(grant) => {
            println!(
                "{} {verb} {shown}: {} ({})",
                palette.good("allowed"),
                grant.path.display(),
                grant.source
            );
            if access == FileAccess::Write {
                say_where_it_lands(grant.lands);
            }
            return Ok(true);
        }
        FileDecision::ReadOnly(grant) => {
            println!(
                "{} {verb} {shown}: shown read-only by {} ({})",
                palette.bad("denied"),
                grant.path.display(),
                grant.source
            );
        }
        FileDecision::Hidden(near) => {
            println!(
                "{} {verb} {shown}: nothing shows it, so it does not exist inside",
                palette.bad("denied")
            );
            if let Some(grant) = near {
                println!(
                    "  nearly: {} is shown ({})",
                    grant.path.display(),
                    grant.source
                );
            }
        }
        FileDecision::BadPath => return Err(Failure::new(format!("`{shown}` is not a path"))),
    }
    Ok(false)
}

/// Which paths a session would see here, masks aside.
pub(super) fn files(policy: &Effective, here: &Surroundings) -> Result<FilePolicy, Failure> {
    let account = AgentAccount::new(
        &here.user.name,
        here.user.uid,
        here.user.gid,
        &here.home,
        "palisade",
    );
    let no_session = SessionId::new(SystemTime::now(), 0);
    let tree = policy.tree(Path::new("/"), &account, &here.kept(&no_session))?;
    Ok(policy.files(&tree))
}

/// Whether a path is masked, or is something the host runs that is not to be written.
fn is_held_back(
    policy: &Effective,
    here: &Surroundings,
    path: &Path,
    access: FileAccess,
    verb: &str,
) -> Result<bool, Failure> {
    let hidden = masks::find(policy, here)?;
    let denied = Palette::for_stdout().bad("denied");
    let shown = harmless(&path.display().to_string());
    if let Some(over) = hidden.over(path) {
        println!(
            "{denied} {verb} {shown}: {}",
            harmless(&masks::in_words(&over))
        );
        return Ok(true);
    }
    let lands = policy.access.value == WorkspaceAccess::Write && policy.protect.value;
    let protected = hidden.protected().into_iter();
    let runs = protected
        .filter(|_| lands && access == FileAccess::Write)
        .find(|own| path.starts_with(own));
    if let Some(own) = runs {
        println!(
            "{denied} {verb} {shown}: programs of the host run or obey {}, so it is read-only (`protect`)",
            harmless(&own.display().to_string())
        );
        return Ok(true);
    }
    Ok(false)
}

fn say_where_it_lands(lands: Lands) {
    match lands {
        Lands::AtOnce => {}
        Lands::WhenApplied => println!("  kept apart from the host's file until `palisade apply`"),
        Lands::Never => println!(
            "  in memory alone: the host's file stays as it is, and the change is gone with the session"
        ),
    }
}

fn expand_home(path: &Path, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest),
        Err(_) => path.to_path_buf(),
    }
}
