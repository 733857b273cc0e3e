//! A policy file in the workspace, which the agent may have written: whatever it says, nothing is permitted that the
//! operator's policy alone does not permit.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use palisade_config::{Effective, Options, Surroundings, explain, load};
use palisade_policy::{Authority, Decision, NetworkPolicy, Request};

const OPERATOR: &str = r#"version = 1
[filesystem]
access = "review"
mask = ["*.own"]
[[network.allow]]
host = "*.allowed.example"
[[network.allow]]
host = "api.example.com"
ports = [443]
methods = ["GET"]
paths = ["/open/**"]
[[network.deny]]
host = "no.allowed.example"
"#;

const ASKED: [&str; 7] = [
    "a.allowed.example:443",
    "no.allowed.example:443",
    "allowed.example:443",
    "api.example.com:443",
    "api.example.com:80",
    "other.example.com:443",
    "127.0.0.1:80",
];

/// A folder of this process.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("palisade-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("project")).expect("a folder");
    std::fs::create_dir_all(folder.join("home")).expect("a folder");
    std::fs::write(folder.join("home/policy.toml"), OPERATOR).expect("a file");
    folder
});

static ALONE: LazyLock<NetworkPolicy> = LazyLock::new(|| {
    std::fs::remove_file(FOLDER.join("project/palisade.toml")).ok();
    loaded().unwrap_or_else(|error| panic!("the operator's policy: {error}"))
});

fuzz_target!(|bytes: &[u8]| {
    LazyLock::force(&ALONE);
    std::fs::write(FOLDER.join("project/palisade.toml"), bytes).expect("a file");
    let Ok(both) = loaded() else {
        return;
    };
    for asked in ASKED {
        let authority = Authority::parse(asked.as_bytes(), None).expect("an authority");
        let request = Request::new(&authority.host, authority.port);
        let permits =
            |policy: &NetworkPolicy| matches!(policy.decide(&request), Decision::Permit(_));
        let (wide, narrow) = (permits(&ALONE), permits(&both));
        assert!(
            wide || !narrow,
            "{asked} is permitted by the workspace's policy"
        );
    }
});

/// What the operator says of files above, and nothing more.
fn gives_no_file(policy: &Effective) {
    assert_ne!(policy.access.value.name(), "write");
    assert_eq!(policy.mask[0].value, "*.own");
    assert!(policy.protect.value && policy.unmask.is_empty());
    assert!(policy.shown.is_empty() && policy.volumes.is_empty() && policy.tmpfs.is_empty());
}

fn loaded() -> Result<NetworkPolicy, String> {
    let options = Options {
        policy: Some(FOLDER.join("home/policy.toml")),
        workspace: Some(FOLDER.join("project")),
        ..Options::default()
    };
    let around = Surroundings {
        home: FOLDER.join("home"),
        current_dir: FOLDER.join("project"),
        config_dir: FOLDER.join("home/.config"),
        backends: &["native"],
    };
    match load(&options, &around) {
        Ok(policy) => {
            assert!(!explain(&policy).sections.is_empty());
            gives_no_file(&policy);
            Ok(policy.network)
        }
        Err(error) => {
            assert!(!error.message().is_empty());
            Err(error.message().to_owned())
        }
    }
}
