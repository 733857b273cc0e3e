//! What the policy means for the attempts: what there is to attack, and what it opens.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use palisade_config::Effective;
use palisade_conformance::{MaskedKind, Opened, SYSTEM_FOLDERS, SYSTEM_SECRETS, Stage};
use palisade_credential::Source;
use palisade_native::limits::DEFAULT_PROCESSES;
use palisade_policy::{Authority, Decision, FileAccess, FileDecision, FilePolicy, Request};
use palisade_session::Hidden;

use super::super::check::files;
use super::super::explain::masks;
use crate::failure::Failure;
use crate::surroundings::{Surroundings, real_path};

/// Where people keep keys and tokens.
const HOME_SECRETS: [&str; 20] = [
    ".ssh/id_rsa",
    ".ssh/id_ed25519",
    ".ssh/id_ecdsa",
    ".ssh/config",
    ".ssh/known_hosts",
    ".ssh/authorized_keys",
    ".aws/credentials",
    ".netrc",
    ".git-credentials",
    ".config/gh/hosts.yml",
    ".docker/config.json",
    ".kube/config",
    ".npmrc",
    ".pypirc",
    ".cargo/credentials.toml",
    ".config/gcloud/application_default_credentials.json",
    ".azure/msal_token_cache.json",
    ".claude/.credentials.json",
    ".vault-token",
    ".bash_history",
];

/// Where container engines of the whole machine listen.
const ENGINES: [&str; 6] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
];
/// Where those of one user do, below the folder that `XDG_RUNTIME_DIR` names.
const OWN_ENGINES: [&str; 2] = ["docker.sock", "podman/podman.sock"];

/// A policy, as far as the attempts ask for it.
pub(super) struct Meant<'a> {
    policy: &'a Effective,
    home: &'a Path,
    files: FilePolicy,
    hidden: Hidden,
}

impl<'a> Meant<'a> {
    pub(super) fn new(policy: &'a Effective, here: &'a Surroundings) -> Result<Self, Failure> {
        Ok(Self {
            policy,
            home: &here.home,
            files: files(policy, here)?,
            hidden: masks::find(policy, here)?,
        })
    }

    /// One path for each rule, one that shows something outside.
    pub(super) fn masked(&self) -> Vec<MaskedKind> {
        let mut kinds = BTreeMap::new();
        for path in self.hidden.paths() {
            let rule = path.rule.map_or("", |rule| rule.pattern.as_str());
            if !kinds.contains_key(rule) && shows_something(path.path, path.directory) {
                let kind = MaskedKind {
                    rule: rule.to_owned(),
                    path: path.path.to_path_buf(),
                    directory: path.directory,
                };
                kinds.insert(rule.to_owned(), kind);
            }
        }
        kinds.into_values().collect()
    }

    pub(super) fn home_secrets(&self) -> Vec<PathBuf> {
        let all = HOME_SECRETS.iter().map(|name| self.home.join(name));
        all.filter(|path| shows_something(path, false) && !self.is_open(path, FileAccess::Read))
            .collect()
    }

    pub(super) fn processes(&self) -> u32 {
        self.policy.limits().processes.unwrap_or(DEFAULT_PROCESSES)
    }

    /// Sockets of container engines, there or not, and the one that Docker's clients are told to use.
    pub(super) fn engines() -> Vec<PathBuf> {
        let named = std::env::var("DOCKER_HOST").unwrap_or_default();
        let named = named.strip_prefix("unix://").map(PathBuf::from);
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let own = folder.map(|folder| OWN_ENGINES.map(|name| folder.join(name)));
        let all = ENGINES.iter().map(PathBuf::from);
        all.chain(own.into_iter().flatten()).chain(named).collect()
    }

    /// Secrets that can be had without asking anybody for them.
    pub(super) fn secrets(&self) -> Vec<Vec<u8>> {
        let mut secrets = BTreeSet::new();
        let sources = self.policy.credentials.iter();
        let sources = sources.map(|credential| &credential.value.source);
        // What a vault or a token server is asked with is a secret as well.
        for source in sources.flat_map(|source| [vec![source], source.inner()].concat()) {
            match source {
                Source::Environment(parts) => {
                    let values = parts.values().filter_map(std::env::var_os);
                    secrets.extend(values.map(OsStringExt::into_vec));
                }
                Source::File(path) => {
                    let text = fs::read(path).unwrap_or_default();
                    secrets.insert(text.trim_ascii().to_vec());
                }
                _ => {}
            }
        }
        secrets.into_iter().collect()
    }

    /// Credentials whose secret is not looked for, and why.
    pub(super) fn untold(&self) -> Vec<String> {
        let untold = self.policy.credentials.iter().filter_map(|credential| {
            let why = match &credential.value.source {
                Source::Environment(_) | Source::File(_) => return None,
                _ => "is fetched when it is first used, so there is nothing to look for yet",
            };
            Some(format!("the secret of {} {why}", credential.value.name))
        });
        untold.collect()
    }

    /// What the policy lets succeed.
    pub(super) fn opened(&self, stage: &Stage) -> Opened {
        let mut opened = Opened::new();
        let mut open = |name: &str, why: Option<String>| {
            if let Some(why) = why {
                opened.insert(name.to_owned(), why);
            }
        };
        let readable = |path: &Path| self.shown(path, FileAccess::Read);
        for route in ["planted", "root", "handle", "link", "move"] {
            open(&format!("masked-{route}"), readable(&stage.planted));
        }
        open("outside-file", readable(&stage.outside_file));
        open("path-socket", readable(&stage.path_socket));
        open(
            "write-outside",
            self.shown(&stage.outside_folder, FileAccess::Write),
        );
        let holding = [&stage.planted, &stage.outside_file];
        open(
            "secret-files",
            holding.into_iter().find_map(|path| readable(path)),
        );
        let own_keys = [Path::new("/etc/ssh")];
        let secrets = SYSTEM_SECRETS.iter().map(Path::new).chain(own_keys);
        open("system-secrets", secrets.into_iter().find_map(readable));
        let mut folders = SYSTEM_FOLDERS.iter().map(Path::new);
        let writable = |path| self.shown(path, FileAccess::Write);
        open("write-system", folders.find_map(writable));
        let mut engines = stage.engines.iter();
        open("engine-socket", engines.find_map(|path| readable(path)));
        let permitted = |to: &SocketAddr| self.permitted(*to);
        open("metadata", permitted(&stage.metadata));
        open(
            "gate",
            permitted(&stage.loopback_v4).or_else(|| permitted(&stage.metadata)),
        );
        open("direct-address", stage.direct.as_ref().and_then(permitted));
        open("dns-tcp", stage.resolvers.iter().find_map(permitted));
        open(
            "ipv6",
            stage
                .resolvers_v6
                .iter()
                .chain(&stage.web_v6)
                .find_map(permitted),
        );
        opened
    }

    fn is_open(&self, path: &Path, access: FileAccess) -> bool {
        self.shown(path, access).is_some()
    }

    /// Which rule shows a path, unless it is masked.
    fn shown(&self, path: &Path, access: FileAccess) -> Option<String> {
        let path = real_path(path);
        if self.hidden.over(&path).is_some() {
            return None;
        }
        match self.files.decide(&path, access) {
            FileDecision::Permit(grant) => Some(format!(
                "{} is shown ({})",
                grant.path.display(),
                grant.source
            )),
            _ => None,
        }
    }

    /// Which rule lets the gate connect to an address.
    fn permitted(&self, to: SocketAddr) -> Option<String> {
        let host = match to.ip() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("[{v6}]"),
        };
        let authority = Authority::parse(host.as_bytes(), Some(to.port())).ok()?;
        let request = Request::new(&authority.host, authority.port);
        match self.policy.network.decide(&request) {
            Decision::Permit(permit)
                if permit.mapped().is_some() || permit.admit(to.ip()).is_ok() =>
            {
                Some(permit.rule().to_string())
            }
            _ => None,
        }
    }
}

fn shows_something(path: &Path, directory: bool) -> bool {
    if directory {
        return fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    }
    // Whoever is no file is not opened: a pipe would be waited for.
    let is_file = fs::metadata(path).is_ok_and(|found| found.is_file());
    is_file && fs::File::open(path).is_ok_and(|mut file| matches!(file.read(&mut [0]), Ok(1)))
}
