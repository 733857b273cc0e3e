//! The plan as one JSON object.

use palisade_boundary::Enforcement;
use palisade_config::rules_held;
use palisade_protocol::{Changes, TreeAccess, TreeEntry};
use palisade_session::{Held, Plan};
use serde_json::{Value, json};

use super::Planned;

/// Everything, but for values of variables and what is in files.
pub(super) fn plan(planned: &Planned<'_>) -> Value {
    let Planned { policy, plan, .. } = planned;
    let (spec, user) = (&plan.spec, &plan.spec.identity);
    let command: Vec<_> = planned
        .command
        .iter()
        .map(|word| word.to_string_lossy())
        .collect();
    let rules: Vec<Value> = rules_held(&policy.network)
        .into_iter()
        .map(|held| json!({ "rule": held.rule, "enforced_by": held.by }))
        .collect();
    json!({
        "boundary": planned.backend.name(),
        "starts": planned.starts(),
        "command": command,
        "directory": spec.command.directory.to_string_lossy(),
        "user": { "uid": user.uid, "gid": user.gid, "host_uid": user.host_uid, "host_gid": user.host_gid },
        "workspace": {
            "path": plan.workspace.to_string_lossy(),
            "access": plan.access.name(),
            "protect": plan.protect,
        },
        "files": spec.tree.iter().map(entry).collect::<Vec<_>>(),
        "variables": variables(plan).collect::<Vec<_>>(),
        "limits": {
            "memory": spec.limits.memory,
            "cpus": spec.limits.cpus,
            "processes": spec.limits.processes,
        },
        "rules": rules,
        "controls": planned.held.iter().map(control).collect::<Vec<_>>(),
        "notes": policy.notes,
    })
}

/// The names of the agent's variables.
pub(super) fn variables(plan: &Plan) -> impl Iterator<Item = String> {
    let variables = plan.spec.command.environment.iter();
    variables.map(|(name, _)| name.to_string_lossy().into_owned())
}

fn control(held: &Held) -> Value {
    let enforcement = &held.assessment.enforcement;
    let (kind, words) = match enforcement {
        Enforcement::Enforced(by) => ("enforced", by),
        Enforcement::Weaker(weakness) => ("weaker", &weakness.why),
        Enforcement::Unenforceable(weakness) => ("unenforceable", &weakness.why),
        Enforcement::WeakerEverywhere(why) => ("weaker-everywhere", why),
    };
    json!({
        "control": held.assessment.control.name(),
        "enforcement": kind,
        "detail": words,
        "fix": enforcement.weakness().and_then(|weakness| weakness.fix.as_deref()),
        "accepted": held.accepted.as_ref().map(|source| source.as_str()),
    })
}

/// One step of building the tree.
fn entry(entry: &TreeEntry) -> Value {
    match entry {
        TreeEntry::Dir { path } => json!({ "kind": "folder", "path": path.to_string_lossy() }),
        TreeEntry::Bind {
            source,
            target,
            access,
            ..
        } => json!({
            "kind": "host",
            "path": target.to_string_lossy(),
            "source": source.to_string_lossy(),
            "writable": *access == TreeAccess::Write,
        }),
        TreeEntry::Overlay {
            source,
            target,
            changes,
            ..
        } => json!({
            "kind": "overlay",
            "path": target.to_string_lossy(),
            "source": source.to_string_lossy(),
            "changes": match changes {
                Changes::Kept(_) => "kept",
                Changes::Memory { .. } => "memory",
            },
        }),
        TreeEntry::Mask { path, directory } => {
            json!({ "kind": "mask", "path": path.to_string_lossy(), "folder": directory })
        }
        TreeEntry::Tmpfs { path, size, exec } => {
            json!({ "kind": "memory", "path": path.to_string_lossy(), "size": size, "exec": exec })
        }
        TreeEntry::Symlink { path, target } => {
            json!({ "kind": "link", "path": path.to_string_lossy(), "target": target.to_string_lossy() })
        }
        TreeEntry::File { path, .. } => {
            json!({ "kind": "made-up", "path": path.to_string_lossy() })
        }
        TreeEntry::Scratch { path, .. } => {
            json!({ "kind": "empty", "path": path.to_string_lossy() })
        }
        TreeEntry::Proc => json!({ "kind": "proc", "path": "/proc" }),
        TreeEntry::Dev => json!({ "kind": "dev", "path": "/dev" }),
    }
}
