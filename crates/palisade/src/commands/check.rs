//! `palisade check`: one decision, the rule that made it, and the rule that nearly matched.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use palisade_config::Effective;
use palisade_policy::{
    Authority, Decision, DenialReason, FileAccess, FileDecision, HostError, Permit, Request,
};
use palisade_workspace::AgentAccount;

use super::policy_options::{PolicyOptions, load};
use crate::failure::{Failure, NO};
use crate::surroundings::{Surroundings, real_path};
use crate::terminal_text::{Palette, harmless};

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
    let destination = destination(url).map_err(|error| {
        Failure::new(format!(
            "`{}` is not something to reach: {error}",
            harmless(url)
        ))
        .hint("write it as https://host/path, host or host:port")
    })?;
    if let Some(method) = method {
        check_method(method)?;
    }
    let palette = Palette::for_stdout();
    let refused_method = method.filter(|m| matches!(*m, "TRACE" | "TRACK"));
    match policy
        .network
        .decide(&Request::new(&destination.host, destination.port))
    {
        Decision::Permit(permit) if refused_method.is_none() => {
            println!(
                "{} {destination}: {}",
                palette.good("allowed"),
                permit.rule()
            );
            print_addresses(&permit);
            Ok(true)
        }
        Decision::Permit(_) => {
            println!(
                "{} {destination}: the gate carries no {} requests",
                palette.bad("denied"),
                refused_method.unwrap_or_default()
            );
            Ok(false)
        }
        Decision::Deny(denial) => {
            let by = denial
                .rule
                .map(|rule| format!(" by {rule}"))
                .unwrap_or_default();
            println!(
                "{} {destination}{by}: {} ({})",
                palette.bad("denied"),
                denial.reason,
                denial.reason.code()
            );
            if let Some(near) = denial.near {
                println!("  nearly: {}; {}", near.rule, near.because);
            }
            print_help(denial.reason, &destination);
            Ok(false)
        }
    }
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

fn print_help(reason: DenialReason, destination: &Authority) {
    let host = &destination.host;
    match reason {
        DenialReason::NotAllowed => {
            println!("  to allow it: [[network.allow]] host = \"{host}\", or --allow {destination}")
        }
        DenialReason::Port => println!(
            "  to allow it: add {} to `ports` of that rule, or --allow {destination}",
            destination.port
        ),
        _ => {}
    }
}

/// The destination of a URL, a host, or host:port, by the gate's own parser of authorities.
fn destination(text: &str) -> Result<Authority, HostError> {
    let (rest, default_port) = match text.split_once("://") {
        Some(("http" | "ws", rest)) => (rest, Some(80)),
        Some(("https" | "wss", rest)) => (rest, Some(443)),
        Some((_, rest)) => (rest, None),
        None => (text, Some(443)),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Authority::parse(&rest.as_bytes()[..end], default_port)
}

/// RFC 9110, section 5.6.2.
fn check_method(method: &str) -> Result<(), Failure> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !method.is_empty() && method.bytes().all(token) {
        return Ok(());
    }
    Err(Failure::new(format!(
        "`{}` is not an HTTP method",
        harmless(method)
    )))
}

fn check_path(
    policy: &Effective,
    here: &Surroundings,
    path: &Path,
    access: FileAccess,
) -> Result<bool, Failure> {
    let account = AgentAccount::new(
        &here.user.name,
        here.user.uid,
        here.user.gid,
        &here.home,
        "palisade",
    );
    let tree = policy.tree(Path::new("/"), &account)?;
    let files = policy.files(&tree);
    let path = real_path(&here.current_dir.join(expand_home(path, &here.home)));
    let shown = harmless(&path.display().to_string());
    let palette = Palette::for_stdout();
    let verb = if access == FileAccess::Read {
        "read"
    } else {
        "write"
    };
    match files.decide(&path, access) {
        FileDecision::Permit(grant) => {
            println!(
                "{} {verb} {shown}: {} ({})",
                palette.good("allowed"),
                grant.path.display(),
                grant.source
            );
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

fn expand_home(path: &Path, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest),
        Err(_) => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_as_the_gate_reads_them() {
        for (text, expected) in [
            ("https://api.example.com/a?b", "api.example.com:443"),
            ("http://API.example.com", "api.example.com:80"),
            ("api.example.com", "api.example.com:443"),
            ("api.example.com:8443", "api.example.com:8443"),
            ("ssh://git.example.com:22/x", "git.example.com:22"),
            ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
        ] {
            assert_eq!(destination(text).unwrap().to_string(), expected, "{text}");
        }
        for bad in ["https://user@host/", "ssh://host", "", "https://a b/"] {
            assert!(destination(bad).is_err(), "{bad}");
        }
    }
}
