//! Where a bench runs: release binaries that any user may execute, and a home and workspace for each user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::containers::build_guest;
use crate::shell::{self, Done};

/// An ordinary user for root to measure as.
const USER: u32 = 1000;

/// Release builds, copied out of the build folder. Removed when dropped.
pub(super) struct Binaries {
    folder: PathBuf,
}

/// Builds and copies.
pub(super) fn build() -> Done<Binaries> {
    let packages = [
        "--package",
        "palisade",
        "--package",
        "palisade-test-support",
    ];
    shell::run(
        shell::cargo()
            .args(["build", "--release", "--locked"])
            .args(packages),
    )?;
    build_guest(&["--release"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| shell::root().join("target"), PathBuf::from);
    let folder = std::env::temp_dir().join(format!("palisade-bench-{}", std::process::id()));
    let binaries = Binaries { folder };
    make(&binaries.folder, 0o755)?;
    for name in ["palisade", "palisade-guest", "upstream", "calls"] {
        let from = target.join("release").join(name);
        fs::copy(&from, binaries.path(name))
            .map_err(|error| format!("copy {}: {error}", from.display()))?;
    }
    Ok(binaries)
}

impl Binaries {
    /// One of them.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Binaries {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// One user's home and workspace.
pub(super) struct Place {
    /// Who measures.
    pub(super) user: &'static str,
    uid: Option<u32>,
    home: PathBuf,
    /// Where a container engine listens for it.
    engine: Option<String>,
}

/// A place for each user this process can be.
pub(super) fn places(binaries: &Binaries) -> Done<Vec<Place>> {
    let mut places = vec![Place {
        user: if shell::is_root() { "root" } else { "user" },
        uid: None,
        home: binaries.path("home-own"),
        engine: None,
    }];
    if shell::is_root() {
        places.push(Place {
            user: "user",
            uid: Some(USER),
            home: binaries.path("home-user"),
            engine: None,
        });
    }
    for place in &places {
        for folder in [place.home.clone(), place.workspace()] {
            make(&folder, 0o700)?;
            if let Some(uid) = place.uid {
                std::os::unix::fs::chown(&folder, Some(uid), Some(uid))
                    .map_err(|error| format!("give {} away: {error}", folder.display()))?;
            }
        }
    }
    Ok(places)
}

impl Place {
    /// The workspace.
    pub(super) fn workspace(&self) -> PathBuf {
        self.home.join("project")
    }

    /// The same with a container engine of its own.
    pub(super) fn with_engine(self, engine: Option<String>) -> Self {
        Self { engine, ..self }
    }

    /// A copy of a program that the user can run.
    pub(super) fn copy(&self, from: &Path, name: &str) -> Done<PathBuf> {
        let to = self.home.join(name);
        fs::copy(from, &to).map_err(|error| format!("copy {}: {error}", from.display()))?;
        Ok(to)
    }

    /// A program run by this user, with a small environment, in the workspace.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .env("HOME", &self.home)
            // Peers leave sockets named by process id in the temporary folder; another user's would be in the way.
            .env("TMPDIR", &self.home)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LANG", "C.UTF-8")
            .current_dir(self.workspace());
        if let Some(engine) = &self.engine {
            command.env("DOCKER_HOST", engine);
        }
        if let Some(uid) = self.uid {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// A folder of the user's.
    pub(super) fn folder(&self, name: &str) -> Done<PathBuf> {
        let folder = self.home.join(name);
        make(&folder, 0o700)?;
        self.own(&folder)?;
        Ok(folder)
    }

    /// The same place for root.
    pub(super) fn by_root(self) -> Self {
        Self {
            user: "root",
            uid: None,
            ..self
        }
    }

    /// Gives a folder and all below it to the user.
    pub(super) fn own(&self, folder: &Path) -> Done {
        let Some(uid) = self.uid else {
            return Ok(());
        };
        let owner = format!("{uid}:{uid}");
        shell::run(Command::new("chown").args(["-R", &owner]).arg(folder))
    }

    /// Writes a file that the user can read.
    pub(super) fn write(&self, name: &str, text: &str) -> Done<PathBuf> {
        let path = self.home.join(name);
        let parents = path.parent().map_or(Ok(()), fs::create_dir_all);
        parents.map_err(|error| format!("make a folder for {}: {error}", path.display()))?;
        fs::write(&path, text).map_err(|error| format!("write {}: {error}", path.display()))?;
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&path, mode)
            .map_err(|error| format!("open {} to all: {error}", path.display()))?;
        Ok(path)
    }
}

fn make(folder: &Path, mode: u32) -> Done {
    let made = fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(mode)));
    made.map_err(|error| format!("make {}: {error}", folder.display()))
}
