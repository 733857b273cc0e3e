//! An agent that wants everything gets its share and no more.

use std::time::Duration;

use palisade_test_support::{Need, Policy, each_identity, need};

use crate::lab;

const PYTHON: Need = Need::Program("python3", "python3");

/// Starts up to 200 children and says how many it got.
const FORKS: &str = "
import os, signal, sys
children = []
for _ in range(200):
    try:
        child = os.fork()
    except OSError:
        break
    if child == 0:
        signal.pause()
    children.append(child)
print(len(children))
for child in children:
    os.kill(child, signal.SIGKILL)
";

/// Touches a gibibyte.
const HOG: &str = "
blocks = []
for _ in range(64):
    blocks.append(bytearray(b'x') * (16 << 20))
print('got it all')
";

each_identity! {
    fn processes_are_limited(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        let limited = |count: u32| Policy::new().tables(&format!("[limits]\nprocesses = {count}"));
        let many = lab.run(&limited(512), ["python3", "-c", FORKS]).run().expect(0);
        assert_eq!(many.stdout, "200\n");
        let few = lab.run(&limited(64), ["python3", "-c", FORKS]).run().expect(0);
        let got: u32 = few.stdout.trim().parse().unwrap();
        assert!((1..64).contains(&got), "{few}");
    }

    fn a_fork_bomb_ends_and_the_host_goes_on(who) {
        let lab = lab(who);
        let policy = Policy::new().tables("[limits]\nprocesses = 100");
        let bomb = "bomb() { bomb | bomb & }; bomb; sleep 2; exit 9";
        let done = lab.run(&policy, ["bash", "-c", bomb]).patience(Duration::from_secs(60)).run();
        assert!(done.stderr.contains("fork"), "{done}");
        // The same user can still start programs outside.
        lab.outside("/bin/true").run().expect(0);
    }

    fn memory_is_limited(who) {
        need(&[PYTHON])?;
        let lab = lab(who);
        // Without a control group of its own it is weaker, and holds all the same.
        let accepted = "[boundary]\naccept_weaker = [\"limits.memory\"]\n";
        let limited = |size: &str| Policy::new().tables(&format!("{accepted}[limits]\nmemory = {size:?}"));
        let enough = lab.run(&limited("2GiB"), ["python3", "-c", HOG]).run().expect(0);
        assert_eq!(enough.stdout, "got it all\n");
        let done = lab.run(&limited("256MiB"), ["python3", "-c", HOG]).run();
        assert_ne!(done.status, 0, "{done}");
        assert_eq!(done.stdout, "");
        // Where a group held it. A limit of single processes fails with an error that the program sees itself.
        if lab.is_contained() || done.status == 137 {
            done.expect_error("memory limit of 256 MiB reached");
        }
    }
}
