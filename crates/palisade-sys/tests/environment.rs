//! Taking a variable, in a process of one thread that was started with it. The only test of its program: the child it makes
//! copies this thread alone, and no other thread may hold the allocator's lock then.

#![allow(
    clippy::disallowed_methods,
    reason = "the environment is what is tested"
)]

use std::fs;
use std::process::Command;

use palisade_sys::environment::take;
use rustix::process::{WaitOptions, waitpid};

const NAME: &str = "PALISADE_T_AKE";
const SECRET: &str = "secret-value-7f3a";

#[test]
fn a_taken_variable_is_gone_and_its_neighbours_stay() {
    if std::env::var_os(NAME).is_some() {
        return started_with_it();
    }
    let own = std::env::current_exe().expect("own path");
    let status = Command::new(own)
        .env(NAME, SECRET)
        .env("PALISADE_T_AKEN", "stays")
        .status()
        .expect("start again");
    assert!(status.success(), "{status}");
}

fn started_with_it() {
    let child =
        palisade_sys::clone::spawn(0, || u8::from(taken_at_once().is_some())).expect("spawn");
    let (_, status) = waitpid(Some(child.pid), WaitOptions::empty())
        .expect("wait")
        .expect("status");
    assert_eq!(status.exit_status(), Some(1));
}

fn taken_at_once() -> Option<()> {
    let holds = |text: &str| {
        let shown = fs::read("/proc/self/environ").unwrap_or_default();
        shown.windows(text.len()).any(|w| w == text.as_bytes())
    };
    let was_there = holds(SECRET);
    let taken = take(NAME).ok()?;
    let again = take(NAME).ok()?;
    let neighbour = take("PALISADE_T_AKEN").ok()?;
    let good = was_there
        && !holds(SECRET)
        && taken.as_deref() == Some(SECRET.as_bytes())
        && again.is_none()
        && neighbour.as_deref() == Some(b"stays");
    good.then_some(())
}
