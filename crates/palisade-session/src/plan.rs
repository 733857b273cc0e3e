//! The plan: everything a session will do, as data, before it is done.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_audit::Digest;
use palisade_boundary::{BoundarySpec, Command, Control, Identity};
use palisade_config::{Effective, Sourced, explain};
use palisade_credential::{Credentials, Placeholder};
use palisade_gate::{GateLimits, UpstreamProxy, UpstreamProxyError};
use palisade_policy::{NetworkPolicy, Source};
use palisade_protocol::{EgressWanted, Ownership, TreeAccess, TreeEntry};
use palisade_workspace::{
    AgentAccount, Kept, MaskError, TreeError, VolumeName, WorkspaceAccess, is_shown,
};

use crate::SessionId;
use crate::changes::{ContinueError, check_continued};
use crate::environment::{Bundles, InnerEnvironment, PROXY_PORT};
use crate::held::Used;
use crate::limits::gate_limits;
use crate::masks::Hidden;
use crate::sources::{SourceShown, keep_sources};
use crate::spelling::SpellingError;
use crate::state::{SessionRecord, StateDir};
use crate::trust::{Trust, TrustError, Wanted};

/// Ports that are caught where the kernel cannot catch every port: the web, ssh, git's own protocol, DNS over TCP.
const ALWAYS_CAUGHT: [u16; 5] = [80, 443, 22, 9418, 53];

/// The agent's host name, the same in every session, so that nothing of the host's own shows.
const HOSTNAME: &str = "palisade";

/// Who the agent is, inside and outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name inside.
    pub name: String,
    /// The user id inside.
    pub uid: u32,
    /// The group id inside.
    pub gid: u32,
    /// The user id outside.
    pub host_uid: u32,
    /// The group id outside.
    pub host_gid: u32,
}

/// What a plan is made from.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The policy in force.
    pub policy: &'a Effective,
    /// The agent's program and arguments. Never empty.
    pub argv: &'a [OsString],
    /// The host's environment, as far as it is of use: what the policy passes, `PATH` and `SHELL`. Never a variable that
    /// a credential is taken from.
    pub environment: &'a [(OsString, OsString)],
    /// The person's home, which has the same path inside.
    pub home: &'a Path,
    /// Where palisade was started. The agent starts there if it is shown inside, else in the workspace.
    pub current_dir: &'a Path,
    /// Who the agent is.
    pub user: &'a User,
    /// The agent's program on the host, as it was found and as it really lies, if it can be run on its own. It is shown
    /// where the policy shows neither: whoever names a program wants it run.
    pub program: Option<(&'a Path, &'a Path)>,
    /// The search path of the image that is the agent's root. Empty where the host's system is.
    pub image_path: &'a [PathBuf],
    /// What else is shown, read-only: where it lies on the host and where it is inside.
    pub shown: &'a [(PathBuf, PathBuf)],
    /// Real paths of palisade's own folders, settings and state. Whoever can write there writes the next policy, or the log.
    pub own: &'a [PathBuf],
    /// Where what outlives the session is kept, links resolved.
    pub kept: &'a Kept,
    /// The session's credentials.
    pub credentials: &'a Credentials,
}

/// Everything a session will do.
#[derive(Debug)]
pub struct Plan {
    /// Its name.
    pub id: SessionId,
    /// The agent's program, for people.
    pub program: String,
    /// The workspace.
    pub workspace: PathBuf,
    /// How it may be used.
    pub access: WorkspaceAccess,
    /// Whether what the host runs is kept from the agent there.
    pub protect: bool,
    /// What the boundary is asked for.
    pub spec: BoundarySpec,
    /// What the gate permits.
    pub network: Arc<NetworkPolicy>,
    /// The proxy above the gate.
    pub upstream_proxy: Option<UpstreamProxy>,
    /// SHA-256 of the policy in plain words.
    pub policy_digest: String,
    /// Volumes that are shown, and where all are.
    pub(crate) volumes: Vec<VolumeName>,
    pub(crate) volumes_folder: PathBuf,
    /// The session whose changes this one goes on with.
    pub(crate) continues: Option<SessionRecord>,
    /// What is masked, as it was recalled; taken by who looks after it.
    pub(crate) hidden: Option<Hidden>,
    /// What may be held less well than its words say, and where the workspace says that nothing may.
    pub(crate) accepted: Vec<Sourced<Control>>,
    pub(crate) accepts_nothing: Option<Source>,
    pub(crate) used: Used,
    /// How many entries of the tree come before what masks and protects.
    bare: usize,
    /// What is trusted on both sides of the gate.
    pub(crate) trust: Trust,
    /// The gate's bounds.
    pub(crate) limits: GateLimits,
}

/// Why no plan could be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A path that would be writable inside holds, or lies in, one of palisade's own folders.
    #[error(
        "{shown} cannot be writable inside: palisade keeps its settings or logs in {own}, and an agent could change its next policy or its log there"
    )]
    Own {
        /// The path that would be shown.
        shown: PathBuf,
        /// The folder.
        own: PathBuf,
    },
    /// The proxy above the gate.
    #[error("use the upstream proxy: {0}")]
    Proxy(#[from] UpstreamProxyError),
    /// The session's authority, or the host's certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A credential comes from where the agent could change or read it.
    #[error(transparent)]
    Source(#[from] SourceShown),
    /// Secrets in what is shown.
    #[error(transparent)]
    Masks(#[from] MaskError),
    /// A file system on which they cannot be hidden.
    #[error(transparent)]
    Spelling(#[from] SpellingError),
}

impl Plan {
    /// Plans a session of this name.
    ///
    /// # Errors
    /// The host's system cannot be read.
    pub fn new(id: SessionId, request: &Request<'_>) -> Result<Self, PlanError> {
        let Request {
            policy, argv, user, ..
        } = request;
        let account = account(request);
        let intercepted = policy.network.intercepted();
        let mut trust = Trust::new(
            Path::new("/"),
            &Wanted {
                session: &id,
                intercepted: &intercepted,
                extra_ca: &policy.extra_ca,
                image: policy.image().is_some(),
                gate_connects: !policy.credentials.is_empty(),
            },
        )?;
        let added = std::mem::take(&mut trust.tree);
        let bundles = bundles(&trust, &added);
        let mut tree = policy.tree_with(Path::new("/"), &account, added, request.kept)?;
        let program = request
            .program
            .map(|(found, real)| show_program(&mut tree, found, real));
        for (source, target) in request.shown {
            show(&mut tree, source, target);
        }
        keep_own_folders(&tree, request)?;
        keep_sources(&tree, request.credentials)?;
        let hidden = Hidden::recall(policy, request.home, &request.kept.masks)?;
        let bare = tree.len();
        hidden.add_to(&mut tree, policy.protect.value)?;
        let workspace = policy.workspace.value.clone();
        let directory = if is_shown(&tree, request.current_dir) {
            request.current_dir
        } else {
            &workspace
        };
        let in_image = |folder: &Path| request.image_path.iter().any(|own| own == folder);
        let visible = |folder: &Path| {
            is_shown(&tree, folder) || program.flatten() == Some(folder) || in_image(folder)
        };
        let environment = environment(request, &account, visible, directory, &id, bundles);
        let proxy = policy.upstream_proxy.as_ref();
        Ok(Self {
            program: argv[0].to_string_lossy().into_owned(),
            upstream_proxy: proxy
                .map(|proxy| upstream_proxy(&proxy.value))
                .transpose()?,
            policy_digest: Digest::of(explain(policy).to_string().as_bytes()).to_string(),
            network: Arc::new(policy.network.clone()),
            spec: BoundarySpec {
                command: Command {
                    argv: argv.to_vec(),
                    environment,
                    directory: directory.to_path_buf(),
                },
                identity: Identity {
                    uid: user.uid,
                    gid: user.gid,
                    host_uid: user.host_uid,
                    host_gid: user.host_gid,
                },
                hostname: account.hostname().to_owned(),
                tree,
                late_masks: true,
                limits: policy.limits(),
                accepted: policy.accept_weaker.iter().map(|c| c.value).collect(),
                egress: EgressWanted {
                    proxy_port: PROXY_PORT,
                    fallback_ports: caught_ports(&policy.network),
                },
                foreground: false,
            },
            workspace,
            access: policy.access.value,
            protect: policy.protect.value,
            volumes: policy
                .volumes
                .iter()
                .map(|volume| volume.value.name.clone())
                .collect(),
            volumes_folder: request.kept.volumes.clone(),
            continues: None,
            accepted: policy.accept_weaker.clone(),
            accepts_nothing: policy.accepts_nothing.clone(),
            used: Used {
                interception: !intercepted.is_empty(),
                credentials: !policy.credentials.is_empty(),
            },
            hidden: Some(hidden),
            bare,
            trust,
            limits: gate_limits(&policy.gate_limits),
            id,
        })
    }
}

impl Plan {
    /// Goes on with the changes that another session of the same workspace left undecided.
    ///
    /// # Errors
    /// There are none, that session runs, or its workspace or access is another.
    pub fn go_on(&mut self, state: &StateDir, from: &SessionId) -> Result<(), ContinueError> {
        self.continues = Some(check_continued(state, from, self, self.access)?);
        Ok(())
    }

    /// Looks at all that masks were only recalled for. Says whether the tree is another one now. A session does so by itself.
    ///
    /// # Errors
    /// What is to be hidden cannot be.
    pub fn confirm_masks(&mut self) -> Result<bool, PlanError> {
        let Some(hidden) = &mut self.hidden else {
            return Ok(false);
        };
        let differs = hidden.confirm()?;
        if differs {
            self.spec.tree.truncate(self.bare);
            hidden.add_to(&mut self.spec.tree, self.protect)?;
        }
        Ok(differs)
    }

    /// Whether anything else has to be masked than was when this was confirmed.
    pub(crate) fn masks_changed(&mut self) -> Result<bool, PlanError> {
        let changed = self.hidden.as_mut().map(Hidden::changed);
        Ok(changed.transpose()?.unwrap_or_default())
    }

    /// What is masked, as it was recalled.
    pub fn hidden(&self) -> Option<&Hidden> {
        self.hidden.as_ref()
    }

    /// Lets the gate accept the certificates of one more authority, PEM. The inside is not told of it.
    pub fn accept_servers_of(&mut self, authority_pem: &str) {
        self.trust.roots.extend_from_slice(authority_pem.as_bytes());
    }
}

fn bundles(trust: &Trust, added: &[TreeEntry]) -> Bundles {
    match (added.is_empty(), trust.in_store) {
        (true, _) => Bundles::HostsOwn,
        (false, true) => Bundles::InStore,
        (false, false) => Bundles::ByVariable,
    }
}

/// Shows the agent's program, read-only, wherever it is looked for. Returns the folder that `PATH` has to name for it.
fn show_program<'a>(tree: &mut Vec<TreeEntry>, found: &'a Path, real: &Path) -> Option<&'a Path> {
    let hidden = !is_shown(tree, found);
    for target in [real, found] {
        show(tree, real, target);
    }
    found.parent().filter(|_| hidden)
}

fn show(tree: &mut Vec<TreeEntry>, source: &Path, target: &Path) {
    if !is_shown(tree, target) {
        tree.push(TreeEntry::Bind {
            source: source.to_path_buf(),
            target: target.to_path_buf(),
            access: TreeAccess::Read,
            ownership: Ownership::Agent,
        });
    }
}

fn keep_own_folders(tree: &[TreeEntry], request: &Request<'_>) -> Result<(), PlanError> {
    let volumes = request.policy.volumes.iter();
    let volumes: Vec<PathBuf> = volumes
        .map(|volume| request.kept.volume(&volume.value.name))
        .collect();
    for entry in tree {
        let (TreeEntry::Bind {
            source,
            access: TreeAccess::Write,
            ..
        }
        | TreeEntry::Overlay { source, .. }) = entry
        else {
            continue;
        };
        let meets = |folder: &&PathBuf| folder.starts_with(source) || source.starts_with(folder);
        if let Some(own) = request.own.iter().find(meets)
            && !volumes.contains(source)
        {
            return Err(PlanError::Own {
                shown: source.clone(),
                own: own.clone(),
            });
        }
    }
    Ok(())
}

fn account(request: &Request<'_>) -> AgentAccount {
    let user = request.user;
    let account = AgentAccount::new(&user.name, user.uid, user.gid, request.home, HOSTNAME);
    match request.environment.iter().find(|(name, _)| name == "SHELL") {
        Some((_, shell))
            if Path::new(shell).starts_with("/usr") || Path::new(shell).starts_with("/bin") =>
        {
            account.with_shell(Path::new(shell))
        }
        _ => account,
    }
}

fn environment(
    request: &Request<'_>,
    account: &AgentAccount,
    visible: impl Fn(&Path) -> bool,
    directory: &Path,
    id: &SessionId,
    bundles: Bundles,
) -> Vec<(OsString, OsString)> {
    let chosen = request.policy.environment.build(|name| {
        let found = request.environment.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.clone())
    });
    let placeholders: Vec<(String, Placeholder)> = request.credentials.inner_variables();
    InnerEnvironment {
        host: request.environment,
        chosen: &chosen,
        home: account.home(),
        user: account.name(),
        directory,
        session: id.as_str(),
        bundles,
        placeholders: &placeholders,
    }
    .build(visible)
}

fn upstream_proxy(
    proxy: &palisade_config::UpstreamProxy,
) -> Result<UpstreamProxy, UpstreamProxyError> {
    let login = proxy
        .login
        .as_ref()
        .map(|login| (login.expose_user(), login.expose_password()));
    UpstreamProxy::new(proxy.authority.clone(), login)
}

/// The ports to catch one by one where the kernel lacks the means to catch all.
fn caught_ports(network: &NetworkPolicy) -> Vec<u16> {
    let named = network.allow_rules(palisade_policy::Layer::Operator).iter();
    let named = named
        .filter_map(|rule| rule.ports.as_slice())
        .flatten()
        .copied();
    let mut ports: Vec<u16> = ALWAYS_CAUGHT.into_iter().chain(named).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
