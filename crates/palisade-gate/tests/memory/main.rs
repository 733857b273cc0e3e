//! What bad load costs in memory. A process of its own, as other tests would be measured along.
#![allow(missing_docs, dead_code, unused_imports, clippy::result_large_err)]

#[path = "../gate/harness/mod.rs"]
mod harness;

use std::sync::Mutex;

use harness::{Server, Setup, Way, request};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use palisade_test_support::{Outcome, Skip, conclude};

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::new(());
/// For both halves of 2,000 connections, which live in this process.
const DESCRIPTORS: u64 = 5000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn f26_two_thousand_idle_connections_cost_little() {
    conclude(
        "f26_two_thousand_idle_connections_cost_little",
        idle_connections(),
    );
}

fn idle_connections() -> Outcome {
    let _alone = ALONE.lock().unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < DESCRIPTORS {
        return Err(Skip::because(
            "too few descriptors",
            "raise the hard limit (ulimit -Hn)",
        ));
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(DESCRIPTORS), hard).unwrap();
    let server = Server::http("ok");
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .limits(|limits| limits.connections = 3000)
        .start();
    gate.get(Way::Forward, "a.example").assert_ok("ok");
    let before = resident_kib();
    let mut open = Vec::new();
    for _ in 0..2000 {
        let mut client = gate.proxy();
        client.send("GET http://a.ex");
        open.push(client);
    }
    gate.get(Way::Forward, "a.example").assert_ok("ok");
    let grown = resident_kib().saturating_sub(before);
    // 8 KiB of buffer, the task and its timer; the test's own half of each connection is in it as well.
    assert!(grown < 2000 * 40, "{grown} KiB for 2,000 connections");
    drop(open);
    Ok(())
}

#[test]
fn an_endless_body_takes_no_memory() {
    let _alone = ALONE.lock().unwrap();
    let server = Server::new(|mut session| while session.receive().is_some() {});
    let gate = Setup::default()
        .allow("a.example", 80, &server)
        .allow_tcp("b.example", 9, &server)
        .start();
    let mut upload = gate.proxy();
    upload.send(request(
        Way::Forward,
        "a.example",
        "POST /",
        "transfer-encoding: chunked\r\n",
        "",
    ));
    let chunk = [&b"10000\r\n"[..], &[b'x'; 65536], b"\r\n"].concat();
    let mut tunnel = gate.tunnel(Way::Connect, "b.example", 9);
    let mut moved = |rounds: usize| {
        for _ in 0..rounds {
            upload.send(&chunk);
            tunnel.send(&chunk);
        }
    };
    moved(50);
    // What the upstream remembers is in this process too.
    let (before, seen) = (resident_kib(), server.bytes().len());
    moved(400);
    let kept = u64::try_from(server.bytes().len() - seen).unwrap() / 1024;
    let grown = resident_kib().saturating_sub(before);
    assert!(
        grown < 3 * kept + 60_000,
        "{grown} KiB more, the upstream keeps {kept}"
    );
}
