//! A hermetic place for one test: its own home, workspace, policy, and nothing of the caller's environment.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::identity::Identity;
use crate::process::Invocation;
use crate::require::PATH;
use crate::shared;

/// What the planted secret files hold. No output of an agent may contain it.
pub(crate) const SECRET: &str = "planted-secret-5d1f";

/// Names the boundary of every session.
const BOUNDARY: &str = "PALISADE_TEST_BOUNDARY";

/// Names the engine of containers, docker where it is not set.
const ENGINE: &str = "PALISADE_TEST_ENGINE";

/// Where an engine listens, and where it keeps what it has.
const ENGINE_VARIABLES: [&str; 4] = [
    "DOCKER_HOST",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "XDG_RUNTIME_DIR",
];

/// One test's place, gone when dropped.
#[derive(Debug)]
pub struct Lab {
    who: Identity,
    root: TempDir,
    binary: PathBuf,
    /// Whether sessions are containers.
    contained: bool,
    /// Whether they are sandboxes of gVisor's.
    sandboxed: bool,
}

/// What a policy says where docker starts sandboxes.
const BY_DOCKER: &str = "[boundary.gvisor]\nvia = \"docker\"\n";

impl Lab {
    /// A place for `who`, with a copy of the binary that any user can run.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(who: Identity, binary: &str) -> Self {
        let root = tempfile::Builder::new()
            .prefix("palisade-test-")
            .tempdir()
            .expect("make the test's directory");
        set_mode(root.path(), 0o755);
        let lab = Self {
            who,
            binary: shared::copy(Path::new(binary)),
            root,
            contained: false,
            sandboxed: false,
        };
        for (name, content) in [
            (".ssh/id_ed25519", SECRET),
            (".aws/credentials", SECRET),
            (".gitconfig", "[user]\nname = T\nemail = t@example.test\n"),
            ("project/README.md", "# a project\n"),
        ] {
            let path = lab.home().join(name);
            fs::create_dir_all(path.parent().expect("it has a parent")).expect("make a directory");
            fs::write(&path, content).expect("plant a file");
        }
        set_mode(&lab.home(), 0o700);
        who.own(root_of(&lab));
        lab
    }

    /// A place whose sessions are natively bounded, or containers of docker where `PALISADE_TEST_BOUNDARY` says `container`, or
    /// sandboxes of gVisor's where it says `gvisor`: the same tests for all.
    ///
    /// # Panics
    /// If it cannot be made, or no engine answers.
    pub fn as_told(who: Identity, binary: &str) -> Self {
        let lab = Self::new(who, binary);
        match std::env::var(BOUNDARY).as_deref() {
            Err(_) | Ok("native") => lab,
            Ok("container") => lab.contained(binary),
            Ok("gvisor") => lab.sandboxed(binary),
            Ok(other) => panic!("{BOUNDARY}: there is no boundary {other}"),
        }
    }

    /// With each session in a container of docker where `DOCKER_HOST` says, or of podman with the settings that are named.
    fn contained(mut self, binary: &str) -> Self {
        self.put_guest_beside(binary);
        self.contained = true;
        let answers = match self.engine() {
            "podman" => ["info", "--format", "{{.Host.OS}}"],
            _ => ["version", "--format", "{{.Server.Version}}"],
        };
        self.outside(self.engine()).args(answers).run().expect(0);
        self
    }

    /// With each session in a sandbox of gVisor's.
    fn sandboxed(mut self, binary: &str) -> Self {
        self.put_guest_beside(binary);
        self.sandboxed = true;
        self.outside("runsc").args(["--version"]).run().expect(0);
        if self.is_sandboxed_by_docker() {
            let folder = self.home().join(".config/palisade");
            fs::create_dir_all(&folder).expect("make a directory");
            for made in [folder.parent().expect("it has a parent"), &folder] {
                self.who.own(made);
            }
            let file = format!("version = 1\n{BY_DOCKER}");
            self.write(&folder.join("policy.toml"), file);
        }
        self
    }

    fn put_guest_beside(&self, binary: &str) {
        let guest = Path::new(binary).with_file_name("palisade-guest");
        assert!(guest.is_file(), "build palisade-guest first");
        shared::put_beside(&self.binary, &guest);
    }

    /// Who runs palisade here.
    pub fn who(&self) -> Identity {
        self.who
    }

    /// Whether sessions are containers here.
    pub fn is_contained(&self) -> bool {
        self.contained
    }

    /// Whether sessions are sandboxes of gVisor's here.
    pub fn is_sandboxed(&self) -> bool {
        self.sandboxed
    }

    /// Whether docker starts them, for anybody, where `PALISADE_TEST_ENGINE` says so.
    pub fn is_sandboxed_by_docker(&self) -> bool {
        self.sandboxed && std::env::var(ENGINE).is_ok_and(|engine| engine == "docker")
    }

    /// The program of the engine that makes containers here.
    pub fn engine(&self) -> &'static str {
        match std::env::var(ENGINE).as_deref() {
            Err(_) | Ok("docker") => "docker",
            Ok("podman") => "podman",
            Ok(other) => panic!("{ENGINE}: there is no engine {other}"),
        }
    }

    /// Whether containers are podman's, without root.
    pub fn is_rootless(&self) -> bool {
        self.contained && self.engine() == "podman" && self.who == Identity::User
    }

    /// The caller's home.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The workspace, below the home.
    pub fn workspace(&self) -> PathBuf {
        self.home().join("project")
    }

    /// A path beside the home, for what a test shares with a session.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The palisade binary.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// What stands in the home's planted secret files.
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// Writes a file for the identity; parents are made.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn write(&self, path: &Path, content: impl AsRef<[u8]>) -> PathBuf {
        let parent = path.parent().expect("it has a parent");
        if !parent.exists() {
            fs::create_dir_all(parent).expect("make a directory");
            self.who.own(parent);
        }
        fs::write(path, content).expect("write a file of the test");
        self.who.own(path);
        path.into()
    }

    /// Writes the policy beside the home and returns its path.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn policy(&self, text: impl AsRef<str>) -> PathBuf {
        let text = text.as_ref();
        let by_docker = self.is_sandboxed_by_docker() && !text.contains("[boundary.gvisor]");
        let more = if by_docker { BY_DOCKER } else { "" };
        self.write(&self.path("policy.toml"), format!("{text}\n{more}"))
    }

    /// A program on the host, in the workspace, with the lab's environment: the positive control of a denial.
    pub fn outside(&self, program: &str) -> Invocation {
        let mut invocation = Invocation::new(self.who, Path::new(program), &self.workspace());
        for (name, value) in self.environment() {
            invocation = invocation.env(name, value);
        }
        invocation
    }

    /// `palisade` with these arguments, in the workspace.
    pub fn palisade<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Invocation {
        let binary = self.binary.to_str().expect("the copy's path is plain");
        let mut invocation = self.outside(binary);
        for (index, argument) in arguments.into_iter().enumerate() {
            invocation = invocation.args([argument.as_ref()]);
            let starts = ["run", "verify"]
                .iter()
                .any(|name| argument.as_ref() == *name);
            if index == 0 && starts {
                invocation = invocation.args(self.boundary());
            }
        }
        invocation
    }

    /// Options that name the boundary and accept what it holds less well.
    fn boundary(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        if self.contained {
            options.extend(["--boundary", "container"]);
        }
        if self.sandboxed {
            options.extend(["--boundary", "gvisor"]);
            options.extend(["--accept-weaker", "limits.processes"]);
            if self.is_sandboxed_by_docker() {
                options.extend(["--accept-weaker", "masks"]);
            }
        }
        options
    }

    /// `palisade run --policy POLICY -- COMMAND`.
    pub fn run<S: AsRef<OsStr>>(
        &self,
        policy: &Policy,
        command: impl IntoIterator<Item = S>,
    ) -> Invocation {
        let policy = self.policy(policy.to_toml());
        self.palisade(["run", "--policy"])
            .args([policy])
            .args(["--"])
            .args(command)
    }

    /// Every line of the newest session's audit log.
    ///
    /// # Panics
    /// If `palisade log --json` fails or prints anything but JSON lines.
    #[track_caller]
    pub fn audit(&self) -> Vec<Value> {
        let log = self.palisade(["log", "--json"]).run().expect(0);
        log.stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("the log's lines are JSON"))
            .collect()
    }

    /// The audit events of connections and requests to this host with this decision.
    #[track_caller]
    pub fn decisions(&self, host: &str, decision: &str) -> Vec<Value> {
        let mut events = self.audit();
        events.retain(|event| {
            event["type"] == "request"
                && event["entry"] != "dns"
                && event["host"] == host
                && event["decision"] == decision
        });
        events
    }

    /// Asserts that the audit log holds a refusal of this host for this reason, and no permission.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_denied(&self, host: &str, reason: &str) {
        let denied = self.decisions(host, "deny");
        assert!(
            denied.iter().any(|event| event["reason"] == reason),
            "no refusal of {host} for {reason} in {:#?}",
            self.audit()
        );
        assert_eq!(self.decisions(host, "allow"), Vec::<Value>::new());
    }

    /// Asserts that the audit log holds a permission for this host.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_allowed(&self, host: &str) {
        assert!(
            !self.decisions(host, "allow").is_empty(),
            "no permission for {host} in {:#?}",
            self.audit()
        );
    }

    /// The environment of every program of the lab.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let home = self.home().to_str().expect("plain path").to_owned();
        let xdg = |name: &str| format!("{home}/{name}");
        let by_engine = self.contained || self.is_sandboxed_by_docker();
        let engine = ENGINE_VARIABLES.into_iter().filter(|_| by_engine);
        let engine = engine.filter_map(|name| Some((name, std::env::var(name).ok()?)));
        let mut all = vec![
            ("XDG_CONFIG_HOME", xdg(".config")),
            ("XDG_STATE_HOME", xdg(".local/state")),
            ("XDG_DATA_HOME", xdg(".local/share")),
            ("XDG_CACHE_HOME", xdg(".cache")),
            ("HOME", home),
            ("USER", "tester".into()),
            ("PATH", PATH.into()),
            ("LANG", "C.UTF-8".into()),
            ("TERM", "xterm".into()),
        ];
        all.extend(engine);
        all
    }
}

/// A policy under construction, written out as its owner would write it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    head: String,
    filesystem: String,
    resolve: Vec<String>,
    extra_ca: Vec<String>,
    rules: String,
    rest: String,
}

impl Policy {
    /// No network, the workspace writable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes these profiles as its base.
    #[must_use]
    pub fn extends(mut self, profiles: &[&str]) -> Self {
        self.head = format!("extends = {profiles:?}\n");
        self
    }

    /// Allows a host on these ports.
    #[must_use]
    pub fn allow(self, host: &str, ports: &[u16]) -> Self {
        self.rule("allow", &format!("host = {host:?}\nports = {ports:?}"))
    }

    /// Adds `[[network.allow]]` or `[[network.deny]]` with these lines.
    #[must_use]
    pub fn rule(mut self, kind: &str, lines: &str) -> Self {
        write!(self.rules, "[[network.{kind}]]\n{lines}\n").expect("writing to a string");
        self
    }

    /// Maps `host:port` to an address of this machine.
    #[must_use]
    pub fn resolve(mut self, authority: &str, to: SocketAddr) -> Self {
        self.resolve.push(format!("{authority:?} = \"{to}\""));
        self
    }

    /// Allows a host on one port and maps it to an upstream of the test. An IPv6 address stands in brackets.
    #[must_use]
    pub fn reach(self, host: &str, port: u16, to: SocketAddr) -> Self {
        let authority = format!("{host}:{port}");
        self.allow(host, &[port]).resolve(&authority, to)
    }

    /// Trusts an authority of the test.
    #[must_use]
    pub fn trust(mut self, authority: &Authority) -> Self {
        self.extra_ca
            .push(format!("{:?}", authority.file().display().to_string()));
        self
    }

    /// Adds a line below `[filesystem]`.
    #[must_use]
    pub fn filesystem(mut self, line: &str) -> Self {
        self.filesystem += line;
        self.filesystem += "\n";
        self
    }

    /// Adds whole tables, such as `[limits]`.
    #[must_use]
    pub fn tables(mut self, text: &str) -> Self {
        self.rest += text;
        self.rest += "\n";
        self
    }

    /// The policy file's text.
    pub fn to_toml(&self) -> String {
        let mut text = format!("version = 1\n{}", self.head);
        if !self.filesystem.is_empty() {
            text += &format!("[filesystem]\n{}", self.filesystem);
        }
        text += "[network]\n";
        if !self.resolve.is_empty() {
            text += &format!("resolve = {{ {} }}\n", self.resolve.join(", "));
        }
        if !self.extra_ca.is_empty() {
            text += &format!("extra_ca = [{}]\n", self.extra_ca.join(", "));
        }
        text + &self.rules + &self.rest
    }
}

fn root_of(lab: &Lab) -> &Path {
    lab.root.path()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set permissions");
}
