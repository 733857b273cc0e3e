//! Podman for tests: settings and storage of this run's own, for root and for the user that tests take on.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::Done;

/// The user that tests take on when root runs them.
const USER: u32 = 1000;

/// What people call that user: what podman looks subordinate ids up by.
const NAMES: [&str; 2] = ["1000", "tester"];

/// Where podman runs for that user. Its cleanup takes no path of more than 50 characters below that, and leaves a container that ends to
/// be waited for.
const RUN: &str = "u";

/// Subordinate ids for this run, as /etc/subuid has them.
const IDS: &str = "100000:65536";

/// Control groups without a system manager, and the runtime that takes any layout of them.
const CONTAINERS: &str =
    "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nruntime = \"runc\"\n";

/// Nothing of the machine's own is used or changed: subordinate ids lie over those of the machine in a mount namespace of the tests.
pub(super) struct Podman {
    folder: PathBuf,
}

impl Podman {
    pub(super) fn new(folder: &Path) -> Done<Self> {
        let failed = |error: std::io::Error| format!("prepare podman: {error}");
        let podman = Self {
            folder: folder.to_path_buf(),
        };
        for name in [RUN, "rootless"] {
            let own = podman.at(name);
            std::fs::create_dir_all(&own).map_err(failed)?;
            std::os::unix::fs::chown(&own, Some(USER), Some(USER)).map_err(failed)?;
        }
        let place = |name: &str| podman.at(name).display().to_string();
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\nrootless_storage_path = \"{}\"\n",
            place("graph"),
            place("run"),
            place("rootless")
        );
        let files = [("containers.conf", CONTAINERS), ("storage.conf", &storage)];
        for (name, content) in files {
            std::fs::write(podman.at(name), content).map_err(failed)?;
        }
        write_ids(&podman.at("ids"))?;
        Ok(podman)
    }

    /// A command in whose mount namespace the subordinate ids are, with podman's settings, and no docker.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = with_ids(&self.at("ids"), HIDE_DOCKER);
        command
            .arg(program)
            .env("PALISADE_TEST_ENGINE", "podman")
            .env_remove("DOCKER_HOST")
            .env("CONTAINERS_CONF", self.at("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.at("storage.conf"))
            .env("XDG_RUNTIME_DIR", self.at(RUN));
        command
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Podman {
    /// Without root podman leaves a process that keeps its user namespace; with root, mounts of its storage.
    fn drop(&mut self) {
        let pause = self.at(RUN).join("libpod/tmp/pause.pid");
        if let Ok(id) = std::fs::read_to_string(pause) {
            Command::new("kill").arg(id.trim()).status().ok();
        }
        for name in ["graph/overlay", "rootless/overlay"] {
            let place = self.at(name);
            Command::new("umount")
                .arg("--quiet")
                .arg(place)
                .status()
                .ok();
        }
    }
}

/// Writes the subordinate ids of the user that tests take on.
pub(crate) fn write_ids(file: &Path) -> Done {
    let mut ids = String::new();
    for name in NAMES.map(str::to_owned).into_iter().chain(own_name()) {
        writeln!(ids, "{name}:{IDS}").map_err(|e| e.to_string())?;
    }
    std::fs::write(file, ids).map_err(|e| format!("write subordinate ids: {e}"))
}

/// So that podman is what a probe finds.
const HIDE_DOCKER: &str =
    "for docker in $(which -a docker); do mount --bind /dev/null \"$docker\"; done && ";

/// A command, to be given, in whose mount namespace these are the subordinate ids, and which sees what is mounted later.
pub(crate) fn with_ids(ids: &Path, before: &str) -> Command {
    let mounts =
        "mount --bind \"$0\" /etc/subuid && mount --bind \"$0\" /etc/subgid && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation=slave", "sh", "-c"])
        .arg(format!("{before}{mounts}"))
        .arg(ids);
    command
}

fn own_name() -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let id = USER.to_string();
    let line = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&id))?;
    line.split(':').next().map(str::to_owned)
}
