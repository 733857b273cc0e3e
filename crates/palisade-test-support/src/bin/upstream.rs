//! Starts stand-ins from a shell: `upstream [--name HOST]… web messages npm pypi git raw`.
//!
//! Prints one line of JSON (`{"ca": FILE, "web": {"http": PORT, "https": PORT}, …}`) and runs until its standard input
//! ends, so that it never outlives the shell that started it.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program that prints, in a crate for tests"
)]

use std::io::Read as _;
use std::process::ExitCode;

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{
    GitHost, Handler, MessagesApi, NpmRegistry, PackageIndex, Server, ServerFirst, ToolCall, Web,
};
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    match start() {
        Ok((servers, report)) => {
            println!("{report}");
            std::io::stdin().read_to_end(&mut Vec::new()).ok();
            drop(servers);
            ExitCode::SUCCESS
        }
        Err(message) => {
            println!("{}", json!({ "error": message }));
            ExitCode::FAILURE
        }
    }
}

/// What has to stay alive, and the line to print.
fn start() -> Result<((Vec<Server>, Authority), Value), String> {
    let authority = Authority::new();
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".into(),
        "example.com".into(),
        "api.anthropic.com".into(),
        "github.com".into(),
    ];
    let mut wanted = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--name" {
            names.push(arguments.next().ok_or("--name needs a host")?);
        } else {
            wanted.push(argument);
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut servers = Vec::new();
    let mut report = Map::from_iter([("ca".to_owned(), json!(authority.file()))]);
    for kind in &wanted {
        let (ports, started) = start_one(kind, &authority, &names)?;
        servers.extend(started);
        report.insert(kind.clone(), ports);
    }
    Ok(((servers, authority), Value::Object(report)))
}

fn start_one(
    kind: &str,
    authority: &Authority,
    names: &[&str],
) -> Result<(Value, Vec<Server>), String> {
    let git = || GitHost::new().map_err(|skip| format!("{skip:?}"));
    let index = || PackageIndex::new().map_err(|skip| format!("{skip:?}"));
    Ok(match kind {
        "web" => both(Web, Web, authority, names),
        "messages" => both(messages(), messages(), authority, names),
        "npm" => both(NpmRegistry::new(), NpmRegistry::new(), authority, names),
        "pypi" => both(index()?, index()?, authority, names),
        "git" => both(git()?, git()?, authority, names),
        "raw" => {
            let server = ServerFirst::start();
            (json!({ "tcp": server.address().port() }), vec![server])
        }
        other => return Err(format!("there is no stand-in called {other}")),
    })
}

fn both(
    plain: impl Handler,
    tls: impl Handler,
    authority: &Authority,
    names: &[&str],
) -> (Value, Vec<Server>) {
    let servers = vec![Server::http(plain), Server::https(tls, authority, names)];
    let port = |at: usize| servers[at].address().port();
    (json!({ "http": port(0), "https": port(1) }), servers)
}

/// One tool call, so that a demonstration shows an agent at work.
fn messages() -> MessagesApi {
    let call = ToolCall::new(
        "Bash",
        json!({ "command": "echo edited >> NOTES.md", "description": "append a line" }),
    );
    MessagesApi::new(vec![call], "The file is edited.")
}
