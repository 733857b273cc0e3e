//! This test program, run again as somebody else or inside of namespaces.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use palisade_test_support::{Identity, Skip, program};

/// Says which part of the program a run is.
const PART: &str = "PALISADE_WORKSPACE_TEST_PART";

/// A folder of a test, and the program within it, so that every identity may run it.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    program: PathBuf,
    who: Identity,
}

impl Place {
    /// A place in `/tmp`, or in another folder.
    pub(crate) fn new(who: Identity, parent: Option<&Path>) -> Self {
        let folder = match parent {
            Some(parent) => tempfile::tempdir_in(parent),
            None => tempfile::tempdir(),
        };
        let folder = folder.expect("make a folder");
        let program = folder.path().join("program");
        std::fs::copy(std::env::current_exe().expect("own path"), &program).expect("copy");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        who.own(folder.path());
        Self {
            folder,
            program,
            who,
        }
    }

    /// This program as the identity, doing one part. `arguments` are for the part.
    pub(crate) fn command(&self, part: &str, arguments: &[OsString]) -> Command {
        let mut command = Command::new(&self.program);
        self.who.apply(&mut command);
        again(&mut command, part, arguments);
        command.current_dir(self.folder.path());
        command
    }

    /// Runs a part to its end.
    pub(crate) fn run(&self, part: &str, arguments: &[OsString]) {
        let output = self.command(part, arguments).output().expect("run again");
        assert!(output.status.success(), "{}", shown(&output));
    }
}

/// Runs a part of this very program within new user and mount namespaces.
pub(crate) fn inside(part: &str, arguments: &[OsString]) -> Output {
    let mut command = Command::new("/usr/bin/unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command.arg(std::env::current_exe().expect("own path"));
    again(&mut command, part, arguments);
    command.output().expect("run unshare")
}

pub(crate) fn needs() -> Result<(), Skip> {
    program("unshare", "util-linux").map(drop)
}

pub(crate) fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}

pub(crate) fn again(command: &mut Command, part: &str, arguments: &[OsString]) {
    command.args([
        "--exact",
        "again::part",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.env(PART, part);
    command.env("ARGUMENTS", arguments.len().to_string());
    for (index, argument) in arguments.iter().enumerate() {
        command.env(format!("ARGUMENT_{index}"), argument);
    }
}

/// What another run of this program does.
#[test]
#[ignore = "a part of other tests"]
fn part() {
    let Some(part) = std::env::var_os(PART) else {
        return;
    };
    let count: usize = std::env::var("ARGUMENTS").unwrap().parse().unwrap();
    let argument = |index| std::env::var_os(format!("ARGUMENT_{index}")).unwrap();
    let arguments: Vec<OsString> = (0..count).map(argument).collect();
    match part.to_str().unwrap() {
        "property" => crate::property::run(&arguments),
        "operate" => crate::inside::operate(&arguments),
        "clean" => crate::inside::clean(&arguments),
        "conflict" => crate::conflict::run(&arguments),
        "crash" => crate::crash::run(&arguments),
        "apply" => crate::crash::apply(&arguments),
        "resume" => crate::crash::resume(&arguments),
        "full" => crate::full::run(&arguments),
        "fill" => crate::full::fill(&arguments),
        "large" => crate::large::run(&arguments),
        "many" => crate::large::many(&arguments),
        "names" => crate::large::names(&arguments),
        "compare" => crate::inside::compare(&arguments),
        other => panic!("no part {other}"),
    }
}
