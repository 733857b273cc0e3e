//! All layers, applied in order.

use palisade_policy::{Layer, NetworkPolicy, NetworkPolicyBuilder, Request, Source};
use palisade_workspace::{Located, WorkspaceAccess};

use crate::effective::{Effective, Environment, Sourced};
use crate::error::PolicyError;
use crate::file;
use crate::operator::{Draft, Operator, settle};
use crate::options::{Options, Surroundings};
use crate::parse::parse;
use crate::text::Text;
use crate::tighten::{Tightening, WORKSPACE_POLICY, tighten, without_effect};

/// Finds, reads and checks every policy that counts for a session, and applies them in order.
///
/// 1. The operator's: a known agent's profile where there is no policy file, the profiles of the command line, the policy file
///    (`--policy`, else the person's own) with what it extends before it, the other options of the command line.
/// 2. The workspace's own `palisade.toml`, which may only tighten.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(options: &Options, around: &Surroundings) -> Result<Effective, PolicyError> {
    let mut operator = Operator::new(around);
    let known_agent = operator.collect(options)?;
    let workspace = match operator.draft.workspace.take() {
        Some(workspace) => workspace,
        None => operator.workspace(
            &around.current_dir,
            Source::new("current directory"),
            |message| PolicyError::argument("the current directory", message),
        )?,
    };
    settle(&mut operator.draft, &workspace.value.real)?;
    let tightening = workspace_policy(&mut operator, &workspace.value)?;
    Ok(finish(operator.draft, workspace, tightening, known_agent))
}

/// Reads the workspace's own file, unless it is the operator's as well.
fn workspace_policy(
    operator: &mut Operator<'_>,
    workspace: &Located,
) -> Result<Option<Tightening>, PolicyError> {
    let path = workspace.real.join(WORKSPACE_POLICY);
    let governs = operator.draft.governing.contains(&path);
    if governs {
        return Ok(None);
    }
    let name = operator.short(&path);
    let body = file::read_workspace(&path).map_err(|why| {
        PolicyError::argument(
            name.clone(),
            format!("the workspace's policy cannot be read: {why}"),
        )
    })?;
    let Some(body) = body else {
        return Ok(None);
    };
    let text = Text::new(name, body.into(), Some(workspace.real.clone()));
    let file = parse(&text)?;
    let tightening = tighten(&mut operator.draft, &text, &file)?;
    operator.draft.governing.push(path);
    Ok(Some(tightening))
}

fn finish(
    mut draft: Draft,
    workspace: Sourced<Located>,
    tightening: Option<Tightening>,
    known_agent: Option<&'static str>,
) -> Effective {
    let network = network(&mut draft, tightening);
    let access = draft
        .access
        .unwrap_or_else(|| Sourced::new(WorkspaceAccess::Write, Source::new("default")));
    let protect = draft
        .protect
        .unwrap_or_else(|| Sourced::new(true, Source::new("default")));
    Effective {
        network,
        workspace: Sourced::new(workspace.value.real, workspace.source),
        access,
        scratch_size: draft.scratch_size,
        mask: draft.mask,
        unmask: draft.unmask,
        protect,
        volumes: draft.volumes,
        tmpfs: draft.tmpfs,
        shown: draft.shown,
        environment: Environment {
            pass: draft.pass,
            set: draft.set,
        },
        memory: draft.memory,
        cpus: draft.cpus,
        processes: draft.processes,
        backend: draft.backend,
        gvisor: draft.gvisor,
        container: draft.container,
        accept_weaker: draft.accept_weaker,
        accepts_nothing: draft.accepts_nothing,
        credentials: draft
            .credentials
            .into_values()
            .map(|written| written.definition)
            .collect(),
        gate_limits: draft.gate_limits,
        extra_ca: draft.extra_ca,
        upstream_proxy: draft.upstream_proxy,
        notes: draft.notes,
        parts: draft.parts,
        known_agent,
        governing: draft.governing,
    }
}

fn network(draft: &mut Draft, tightening: Option<Tightening>) -> NetworkPolicy {
    let tightening = tightening.unwrap_or_default();
    let mut builder = NetworkPolicy::builder();
    for rule in draft.allow.drain(..) {
        builder = builder.allow(rule);
    }
    for rule in draft.deny.drain(..).chain(tightening.deny) {
        builder = builder.deny(rule);
    }
    for (from, to) in &draft.resolve {
        builder = builder.resolve(from.clone(), to.value);
    }
    let Some(rules) = tightening.narrow else {
        let policy = builder.build();
        draft.notes.extend(idle_mappings(draft, &policy));
        return policy;
    };
    let operator = builder.build();
    draft.notes.extend(idle_mappings(draft, &operator));
    draft.notes.extend(without_effect(&operator, &rules));
    rebuilt(&operator).narrow(rules).build()
}

/// The same policy, to be added to.
fn rebuilt(policy: &NetworkPolicy) -> NetworkPolicyBuilder {
    let mut builder = NetworkPolicy::builder();
    for rule in policy.allow_rules(Layer::Operator) {
        builder = builder.allow(rule.clone());
    }
    for rule in policy.deny_rules() {
        builder = builder.deny(rule.clone());
    }
    for (from, to) in policy.mappings() {
        builder = builder.resolve(from.clone(), to);
    }
    builder
}

/// Mappings whose destination no rule allows: most likely a rule was forgotten.
fn idle_mappings(draft: &Draft, policy: &NetworkPolicy) -> Vec<String> {
    draft
        .resolve
        .iter()
        .filter(|(from, _)| {
            let request = Request::new(&from.host, from.port);
            matches!(policy.decide(&request), palisade_policy::Decision::Deny(_))
        })
        .map(|(from, to)| format!("{}: {from} is mapped, but no rule allows it", to.source))
        .collect()
}
