//! `palisade doctor --inside`: which clients inside trust the gate when it looks into TLS.
//!
//! Three processes of this program play it: the one that was asked keeps the server that the clients call, and prints; it
//! starts one that runs a session, as `palisade run` does; that one's agent is this program again, which tries the clients.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use palisade_credential::Credentials;
use palisade_policy::{Authority, HostPattern, NetworkPolicy, Ports, Rule, Source};
use palisade_session::{Handed, Origin};
use serde_json::json;

use super::super::policy_options::{PolicyOptions, load};
use super::super::run::{failed, planned};
use super::agent::Tried;
use crate::backends;
use crate::failure::{FAILED, Failure, NO};
use crate::notices::Notices;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// A host that nobody has (RFC 2606).
const HOST: &str = "palisade-doctor.example";
/// Longest certificate text that is read from the one that started this process.
const PEM_LIMIT: u64 = 64 << 10;
/// What a client said is cut to this for a table.
const WORDS: usize = 100;

/// Tries the clients and prints what became of them.
pub(super) fn run(options: &[std::ffi::OsString], as_json: bool) -> Result<ExitCode, Failure> {
    let origin = Origin::start(HOST)
        .map_err(|error| Failure::new(format!("start the doctor's own server: {error}")))?;
    let tried = try_inside(options, &origin)?;
    let reached = |client: &str| {
        let path = format!("/{client}");
        let below = format!("{path}/");
        let paths = origin.paths();
        paths
            .iter()
            .map(|asked| asked.split('?').next().unwrap_or(""))
            .any(|asked| asked == path || asked.starts_with(&below))
    };
    let found: Vec<Found> = tried
        .into_iter()
        .map(|tried| Found {
            trusts: tried.program.as_ref().map(|_| reached(&tried.client)),
            tried,
        })
        .collect();
    if as_json {
        print_json(&found);
    } else {
        print_table(&found);
    }
    let all = found.iter().all(|found| found.trusts != Some(false));
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}

struct Found {
    tried: Tried,
    /// None: it is not here.
    trusts: Option<bool>,
}

fn try_inside(options: &[std::ffi::OsString], origin: &Origin) -> Result<Vec<Tried>, Failure> {
    let failed = |error: io::Error| Failure::new(format!("run a session: {error}"));
    let folder = Folder::new().map_err(failed)?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .args(["doctor", "--inside-origin"])
        .arg(origin.address().to_string())
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // Where no project is named there is none: the clients need no more than a folder to start in.
    if !options.iter().any(|option| option == "--workspace") {
        command
            .arg("--workspace")
            .arg(&folder.0)
            .current_dir(&folder.0);
    }
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that ended at once has said why.
        let _ = input.write_all(origin.authority_pem().as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(Failure::new("the session did not run to its end")
            .hint("`palisade doctor` says what this machine lacks"));
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).map_err(Failure::from))
        .collect()
}

/// An empty folder that is removed again.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        let name = format!("palisade-doctor-{}", std::process::id());
        let folder = std::env::temp_dir().canonicalize()?.join(name);
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is empty.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the session: the policy that is meant, but for its network, which is the doctor's server and nothing else.
pub(super) fn session(options: &PolicyOptions, origin: SocketAddr) -> Result<ExitCode, Failure> {
    let mut pem = String::new();
    io::stdin()
        .take(PEM_LIMIT)
        .read_to_string(&mut pem)
        .map_err(|error| Failure::new(format!("read the certificate of the server: {error}")))?;
    let here = Surroundings::read()?;
    let own = std::env::current_exe()
        .map_err(|error| Failure::new(format!("find palisade's own program: {error}")))?;
    let mut policy = load(options, &here, None)?;
    policy.network = network(origin)?;
    policy.credentials.clear();
    let backend = backends::of_policy(&policy, &here)?;
    let argv = [
        own.into_os_string(),
        "doctor".into(),
        "--inside-agent".into(),
        HOST.into(),
    ];
    let credentials = Credentials::none();
    let mut plan = planned(&policy, &here, &argv, &credentials)?;
    plan.accept_servers_of(&pem);
    let notices = Notices::new();
    let handed = Handed {
        credentials,
        notices: notices.clone(),
        watch: None,
        served: false,
    };
    let report = palisade_session::run(plan, handed, &*backend, &here.state);
    notices.say_held();
    let report = report.map_err(|error| failed(&error))?;
    let status = report.outcome.status();
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(FAILED)))
}

/// The one host, which the gate looks into because the rule speaks of methods.
fn network(origin: SocketAddr) -> Result<NetworkPolicy, Failure> {
    let source = Source::new("palisade doctor");
    let mut rule = Rule::new(HostPattern::parse(HOST)?, Ports::list([443]), source);
    rule.intercept = Some(true);
    let authority = Authority::parse(HOST.as_bytes(), Some(443))?;
    Ok(NetworkPolicy::builder()
        .allow(rule)
        .resolve(authority, origin)
        .build())
}

fn print_table(found: &[Found]) {
    let palette = Palette::for_stdout();
    println!("Who inside trusts the gate when it looks into TLS:\n");
    let mut distrusts = false;
    for Found { tried, trusts } in found {
        let program = tried.program.as_deref().unwrap_or(Path::new(""));
        let program = harmless(&program.display().to_string());
        match trusts {
            Some(true) => println!(
                "  {} {:<16} {}",
                palette.good("trusts  "),
                tried.client,
                palette.faint(&program)
            ),
            Some(false) => {
                distrusts = true;
                println!(
                    "  {} {:<16} {program}",
                    palette.bad("does not"),
                    tried.client
                );
                println!("           {:<16} {}", "", words(&tried.said));
            }
            None => println!(
                "  {} {}",
                palette.faint("not here"),
                palette.faint(&tried.client)
            ),
        }
    }
    if distrusts {
        println!(
            "\nA client that knows only the roots it was built with gets through with `intercept = false` in the rule for its \
host:\nits connections are then tunnelled by name, and no method, path or credential can be had of them. Where the client\n\
has a setting for a certificate file, /etc/palisade/ca.pem is the one to name."
        );
    }
}

fn words(said: &str) -> String {
    let cut: String = said.chars().take(WORDS).collect();
    harmless(&cut)
}

fn print_json(found: &[Found]) {
    let clients: Vec<_> = found
        .iter()
        .map(|Found { tried, trusts }| {
            let said = (*trusts == Some(false)).then_some(&tried.said);
            json!({ "client": tried.client, "program": tried.program, "trusts": trusts, "said": said })
        })
        .collect();
    println!(
        "{}",
        json!({ "version": env!("CARGO_PKG_VERSION"), "inside": clients })
    );
}
