//! What a person reads when something is wrong.

use crate::world::World;

/// An error of a policy file in the person's settings, in full.
#[track_caller]
fn shows(body: &str, expected: &str) {
    let found = World::error_of(body);
    assert_eq!(found, expected.trim_start_matches('\n'), "\n{found}\n");
}

#[test]
fn zz_print() {
    for body in [
        "[netwrok]\n",
        "[[network.allow]]\nhots = \"a.example\"\n",
        "[[network.allow]]\nhost = \"a.example\"\ncredential = \"x\"\n",
        "[[network.allow]]\nports = [443]\n",
        "[network]\nallow = [{ ports = [1] }]\n",
        "[filesystem]\nread = \"~/.x\"\n",
        "[filesystem]\naccess = \"review\"\n",
        "[filesystem]\naccess = 1\n",
        "[environment]\nset = { CI = 1 }\n",
        "[limits]\nmemory = true\n",
        "[limits]\nmemory = \"2G\"\n",
        "[limits]\nmemory = 2\n",
        "[limits]\ncpus = \"two\"\n",
        "[limits]\ncpus = 0\n",
        "[limits]\ncpus = nan\n",
        "[limits]\nprocesses = 1\n",
        "[limits]\nprocesses = 1.5\n",
        "a = \n",
        "[network\n",
        "version = 1\n",
        "[limits]\ncpus = 1\ncpus = 2\n",
        "[[network.allow]]\nhost = \"a.*.example\"\n",
        "[[network.allow]]\nhost = \"a.example\"\nports = [0]\n",
        "[[network.allow]]\nhost = \"a.example\"\nports = [443, 70000]\n",
        "[[network.allow]]\nhost = \"a.example\"\nports = []\n",
        "[[network.allow]]\nhost = \"a.example\"\nports = 443\n",
        "[network]\nupstream_proxy = \"https://u:pw@proxy:1\"\n",
        "[network]\nresolve = { \"a.example\" = \"127.0.0.1:1\" }\n",
        "[network]\nresolve = { \"a.example:1\" = \"localhost:1\" }\n",
        "extends = [\"nodejs\"]\n",
        "extends = [\"cobol\"]\n",
        "extends = [\"./none.toml\"]\n",
        "extends = [\"policy.toml\"]\n",
        "[filesystem]\nread = [\"~/.none\"]\n",
        "[filesystem]\nread = [\"~\"]\n",
        "[filesystem]\nread = [\"/run/docker.sock\"]\n",
        "[filesystem]\nread = [\"~root/x\"]\n",
        "[filesystem]\nwrite = [\"/etc\"]\n",
        "[filesystem]\nworkspace = \"/\"\n",
        "[network]\nextra_ca = [\"none.pem\"]\n",
        "[network]\nextra_ca = [\"policy.toml\"]\n",
        "[environment]\npass = [\"LC_*\"]\n",
        "[environment]\nset = { \"A-B\" = \"x\" }\n",
        "[boundary]\nbackend = \"natvie\"\n",
    ] {
        println!("{body}=====\n{}\n", World::error_of(body));
    }
    shows("", "x");
}
