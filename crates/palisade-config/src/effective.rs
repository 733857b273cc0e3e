//! What holds for a session once all layers are applied.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use palisade_boundary::{Control, Limits};
use palisade_credential::Definition;
use palisade_policy::{FileAccess, FileGrant, FilePolicy, Lands, NetworkPolicy, Source};
use palisade_protocol::{Changes, TreeAccess, TreeEntry};
use palisade_workspace::{
    AgentAccount, HostTrust, Kept, Located, ShownPath, Tmpfs, TreeError, Volume, WorkspaceAccess,
    WorkspacePlan, image_tree, system_tree, trust_tree, workspace_tree,
};

use crate::container::{ContainerRoot, ContainerSettings};
use crate::gate_limits::GateLimits;
use crate::proxy::UpstreamProxy;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub source: Source,
}

impl<T> Sourced<T> {
    pub(crate) fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }
}

/// One path shown beside the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub path: Located,
    /// How it may be used.
    pub access: FileAccess,
    /// Where it was written.
    pub source: Source,
}

/// What is said of gVisor.
#[derive(Clone, Debug, Default)]
pub struct Gvisor {
    /// Its program, where one is named; by docker the name of the runtime.
    pub runsc: Option<Sourced<PathBuf>>,
    /// Its platform, where it is not the program's own choice.
    pub platform: Option<Sourced<GvisorPlatform>>,
    /// Where docker is to start it, and not palisade.
    pub via_docker: Option<Sourced<()>>,
}

/// How a sandbox of gVisor's comes between programs and the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GvisorPlatform {
    /// By signals of the kernel's system-call filter.
    Systrap,
    /// By a virtual machine.
    Kvm,
    /// By `ptrace`.
    Ptrace,
}

impl GvisorPlatform {
    /// As policies and gVisor call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systrap => "systrap",
            Self::Kvm => "kvm",
            Self::Ptrace => "ptrace",
        }
    }
}

/// The environment as the policy has it. The session adds what the boundary needs (`HOME`, `PATH`, the proxy variables).
///
/// `Debug` shows the names alone, since a value may be a token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// Variables taken over from the host, where they are set there.
    pub pass: BTreeMap<String, Source>,
    /// Variables with a value. They win over `pass`.
    pub set: BTreeMap<String, Sourced<String>>,
}

impl Environment {
    /// The variables, given a look-up in the host's environment.
    pub fn build(&self, host: impl Fn(&str) -> Option<OsString>) -> BTreeMap<OsString, OsString> {
        let passed = self
            .pass
            .keys()
            .filter_map(|name| Some((name.into(), host(name)?)));
        let set = self
            .set
            .iter()
            .map(|(name, value)| (name.into(), value.value.clone().into()));
        passed.chain(set).collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("pass", &self.pass.keys())
            .field("set", &self.set.keys())
            .finish()
    }
}

/// Everything a policy says, with all layers applied and every value checked.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What may be reached.
    pub network: NetworkPolicy,
    /// The workspace's real path.
    pub workspace: Sourced<PathBuf>,
    /// How the workspace may be used.
    pub access: Sourced<WorkspaceAccess>,
    /// Bytes that changes in memory may take.
    pub scratch_size: Option<Sourced<u64>>,
    /// What is hidden beside the built-in table, in the order it was written.
    pub mask: Vec<Sourced<String>>,
    /// What is not hidden though the table or an entry of `mask` says so.
    pub unmask: Vec<Sourced<String>>,
    /// Whether paths that the host would execute later are read-only in a writable workspace.
    pub protect: Sourced<bool>,
    /// Folders that are kept between sessions.
    pub volumes: Vec<Sourced<Volume>>,
    /// File systems in memory.
    pub tmpfs: Vec<Sourced<Tmpfs>>,
    /// What else is shown, in the order it was written.
    pub shown: Vec<Shown>,
    /// The agent's variables.
    pub environment: Environment,
    /// Bytes of memory.
    pub memory: Option<Sourced<u64>>,
    /// Processors.
    pub cpus: Option<Sourced<f64>>,
    /// Processes and threads.
    pub processes: Option<Sourced<u32>>,
    /// The backend, where one is named.
    pub backend: Option<Sourced<String>>,
    /// How gVisor is run, where it is the backend.
    pub gvisor: Gvisor,
    /// What the container backend alone is told.
    pub container: ContainerSettings,
    /// Controls that may be held less well than their words say.
    pub accept_weaker: Vec<Sourced<Control>>,
    /// Where the workspace's own file says that none may.
    pub accepts_nothing: Option<Source>,
    /// The credentials, each with where it was written, by name. Rules name them.
    pub credentials: Vec<Sourced<Definition>>,
    /// The bounds of the gate, as far as the policy sets them.
    pub gate_limits: GateLimits,
    /// More roots for TLS, PEM, certificates alone. Empty if there are none.
    pub extra_ca: String,
    /// The proxy above the gate.
    pub upstream_proxy: Option<Sourced<UpstreamProxy>>,
    /// What a person should know though nothing is wrong, a line each.
    pub notes: Vec<String>,
    /// The files and profiles that took part, in the order they were applied.
    pub parts: Vec<String>,
    /// The profile of a known agent, where it was used because there is no policy.
    pub known_agent: Option<&'static str>,
    pub(crate) governing: Vec<PathBuf>,
}

impl Effective {
    /// The limits as a boundary takes them.
    pub fn limits(&self) -> Limits {
        Limits {
            memory: self.memory.as_ref().map(|limit| limit.value),
            cpus: self.cpus.as_ref().map(|limit| limit.value),
            processes: self.processes.as_ref().map(|limit| limit.value),
        }
    }

    /// The image that is the agent's root in place of the host's system, where there is one.
    pub fn image(&self) -> Option<&str> {
        let backend = self.backend.as_ref();
        let root = self.container.root.as_ref();
        match root.map(|root| &root.value) {
            Some(ContainerRoot::Image(image)) if backend?.value == "container" => Some(image),
            _ => None,
        }
    }

    /// The whole file tree of the inside, with the operator's own roots trusted. `host` is `/` outside tests; `kept` says
    /// where what outlives the session is, be there such a session or not.
    ///
    /// # Errors
    /// The host's root or certificate bundle cannot be read.
    pub fn tree(
        &self,
        host: &Path,
        account: &AgentAccount,
        kept: &Kept,
    ) -> Result<Vec<TreeEntry>, TreeError> {
        let unreadable = |cause: io::Error| TreeError {
            path: "/etc/ssl".into(),
            cause,
        };
        let extra = self.extra_ca.as_bytes();
        let trust = match self.image() {
            Some(_) => HostTrust::read(host).map(|found| found.tree_of_image(extra)),
            None => trust_tree(host, extra),
        };
        self.tree_with(host, account, trust.map_err(unreadable)?, kept)
    }

    /// The same with other entries in place of the operator's roots, for a session that has more to trust.
    ///
    /// # Errors
    /// The host's root cannot be read.
    pub fn tree_with(
        &self,
        host: &Path,
        account: &AgentAccount,
        trust: Vec<TreeEntry>,
        kept: &Kept,
    ) -> Result<Vec<TreeEntry>, TreeError> {
        let mut tree = match self.image() {
            Some(_) => image_tree(account),
            None => system_tree(host, account)?,
        };
        tree.extend(trust);
        tree.extend(workspace_tree(&self.plan(kept)));
        Ok(tree)
    }

    /// The decision function for files, from the tree that [`Effective::tree`] gave: which paths of the host the inside sees.
    /// What is made up for the session (`/tmp`, the home folder, `/etc/passwd`) is none of the host's and is not in it.
    pub fn files(&self, tree: &[TreeEntry]) -> FilePolicy {
        FilePolicy::new(tree.iter().flat_map(|entry| self.grants(entry)))
    }

    fn plan(&self, kept: &Kept) -> WorkspacePlan {
        WorkspacePlan {
            workspace: self.workspace.value.clone(),
            access: self.access.value,
            scratch_size: self.scratch_size.as_ref().map(|size| size.value),
            volumes: values(&self.volumes),
            tmpfs: values(&self.tmpfs),
            kept: kept.clone(),
            shown: self
                .shown
                .iter()
                .map(|shown| ShownPath {
                    path: shown.path.clone(),
                    access: tree_access(shown.access),
                })
                .collect(),
            governing: self.governing.clone(),
        }
    }

    fn grants(&self, entry: &TreeEntry) -> Vec<FileGrant> {
        let (source, target, access, lands) = match entry {
            TreeEntry::Bind {
                source,
                target,
                access,
                ..
            } => (source, target, file_access(*access), Lands::AtOnce),
            TreeEntry::Overlay {
                source,
                target,
                changes,
                ..
            } => {
                let lands = match changes {
                    Changes::Kept(_) => Lands::WhenApplied,
                    Changes::Memory { .. } => Lands::Never,
                };
                (source, target, FileAccess::Write, lands)
            }
            _ => return Vec::new(),
        };
        let written = self.source_of(source, access);
        let mut paths = vec![source.clone()];
        if target != source {
            paths.push(target.clone());
        }
        paths
            .into_iter()
            .map(|path| FileGrant {
                path,
                access,
                lands,
                source: written.clone(),
            })
            .collect()
    }

    /// Who wrote that a host path is shown.
    fn source_of(&self, path: &Path, access: FileAccess) -> Source {
        if path == self.workspace.value {
            return self.access.source.clone();
        }
        if let Some(shown) = self
            .shown
            .iter()
            .rev()
            .find(|shown| shown.path.real == path)
        {
            return shown.source.clone();
        }
        let governs = self.governing.iter().any(|file| file.starts_with(path));
        Source::new(match (governs, access) {
            (true, FileAccess::Read) => "policy file, kept from the agent",
            (true, FileAccess::Write) => self.access.source.as_str(),
            (false, _) => "the host's system",
        })
    }
}

fn values<T: Clone>(written: &[Sourced<T>]) -> Vec<T> {
    written.iter().map(|entry| entry.value.clone()).collect()
}

fn file_access(access: TreeAccess) -> FileAccess {
    match access {
        TreeAccess::Read => FileAccess::Read,
        TreeAccess::Write => FileAccess::Write,
    }
}

fn tree_access(access: FileAccess) -> TreeAccess {
    match access {
        FileAccess::Read => TreeAccess::Read,
        FileAccess::Write => TreeAccess::Write,
    }
}
