//! `palisade doctor --inside`: what is there is tried, and who does not trust the gate is said.

use std::time::Duration;

use palisade_test_support::{Lab, Need, each_identity, need};
use serde_json::Value;

use crate::lab;

/// Some twenty clients one after the other, two compilers and a browser among them.
const PATIENCE: Duration = Duration::from_secs(300);

/// Each client's name and whether it trusts; none if it is not here.
fn inside(lab: &Lab, options: &[&str], status: i32) -> Vec<(String, Option<bool>)> {
    let run = lab.palisade(["doctor", "--inside", "--json"]).args(options);
    let done = run.patience(PATIENCE).run().expect(status);
    let report: Value = serde_json::from_str(&done.stdout).expect("one object");
    let clients = report["inside"].as_array().expect("a list");
    clients
        .iter()
        .map(|client| {
            (
                client["client"].as_str().expect("a name").to_owned(),
                client["trusts"].as_bool(),
            )
        })
        .collect()
}

each_identity! {
    fn every_client_that_is_here_trusts_the_gate(who) {
        need(&[Need::Program("curl", "curl"), Need::Program("git", "git")])?;
        let lab = lab(who);
        let found = inside(&lab, &[], 0);
        for name in ["curl", "git"] {
            assert!(found.contains(&(name.to_owned(), Some(true))), "{found:?}");
        }
        assert!(found.iter().all(|(_, trusts)| *trusts != Some(false)), "{found:?}");
    }

    fn a_client_that_is_told_otherwise_is_found_out(who) {
        need(&[Need::Program("curl", "curl"), Need::Program("node", "nodejs")])?;
        let lab = lab(who);
        // Both read their own variable; curl's stays right.
        let found = inside(&lab, &["--env", "NODE_EXTRA_CA_CERTS=/dev/null"], 1);
        assert!(found.contains(&("node-fetch".to_owned(), Some(false))), "{found:?}");
        assert!(found.contains(&("curl".to_owned(), Some(true))), "{found:?}");
    }
}
