//! The workspace's own policy file, which may only tighten what stands above it.
//!
//! The file lies where the agent works and where a stranger's repository puts it. So each key is either one of the few that
//! take something away, or an error.

use std::ops::Range;

use palisade_policy::{Host, HostPattern, NetworkPolicy, Request, Rule};
use palisade_workspace::WorkspaceAccess;

use crate::effective::Sourced;
use crate::error::PolicyError;
use crate::format::{self, PolicyFile};
use crate::operator::files::{access_of, patterns};
use crate::operator::{Draft, allow_rule, deny_rule, meet, unread};
use crate::spanned::Spanned;
use crate::text::Text;
use crate::value;

/// The name of the file in the root of the workspace.
pub const WORKSPACE_POLICY: &str = "palisade.toml";

/// What every backend holds a session to where no policy names a number of processes. A workspace's file that names
/// more would widen it.
pub const DEFAULT_PROCESSES: u32 = 4096;

/// Rules of the workspace's file that are compared with the operator's to say which of them have no effect. It is a courtesy, so
/// a file with thousands of rules gets it for the first ones.
const COMPARED: usize = 64;

/// What the workspace's file takes away.
#[derive(Debug, Default)]
pub(crate) struct Tightening {
    pub deny: Vec<Rule>,
    /// The allow list narrowed to these, if at all. An empty list allows nothing.
    pub narrow: Option<Vec<Rule>>,
}

/// Applies the workspace's file to the operator's layer. Rules are given back, since they stay a layer of their own.
pub(crate) fn tighten(
    draft: &mut Draft,
    text: &Text,
    file: &PolicyFile,
) -> Result<Tightening, PolicyError> {
    if let Some((key, span)) = widening_key(file) {
        return Err(may_not(text, span, &format!("`{key}` has no place in it")));
    }
    if let Some(require) = &file.boundary.require {
        draft.accept_weaker.clear();
        draft.accepts_nothing = Some(text.source_of(require));
    }
    files(draft, text, file)?;
    limits(draft, text, &file.limits)?;
    let deny: Result<Vec<Rule>, _> = file
        .network
        .deny
        .iter()
        .map(|rule| {
            let denied = deny_rule(text, rule)?;
            can_be_judged(draft, &denied, |why| text.wrong(&rule.host, why))?;
            Ok(denied)
        })
        .collect();
    let narrow = file
        .network
        .allow
        .as_ref()
        .map(|rules| {
            rules
                .iter()
                .map(|rule| narrowing_rule(draft, text, rule))
                .collect::<Result<Vec<Rule>, _>>()
        })
        .transpose()?;
    draft.parts.push(text.name.clone());
    Ok(Tightening {
        deny: deny?,
        narrow,
    })
}

/// Lines about rules that allow what the operator does not: they have no effect.
pub(crate) fn without_effect(operator: &NetworkPolicy, rules: &[Rule]) -> Vec<String> {
    rules
        .iter()
        .take(COMPARED)
        .filter(|rule| !overlaps(operator, rule))
        .map(|rule| {
            format!(
                "{}: {} stays refused, since your own policy does not allow it",
                rule.source, rule.pattern
            )
        })
        .collect()
}

/// The first key of the file that can only give something, with its place.
fn widening_key(file: &PolicyFile) -> Option<(&'static str, Range<usize>)> {
    let first = |key, list: &[Spanned<String>]| list.first().map(|value| (key, value.span()));
    let files = &file.filesystem;
    let network = &file.network;
    let environment = &file.environment;
    first("extends", &file.extends)
        .or_else(|| Some(("boundary.backend", file.boundary.backend.as_ref()?.span())))
        .or_else(|| Some(("boundary.gvisor", file.boundary.gvisor.first()?)))
        .or_else(|| first("boundary.accept_weaker", &file.boundary.accept_weaker))
        .or_else(|| {
            Some((
                "boundary.container",
                file.boundary.container.as_ref()?.span(),
            ))
        })
        .or_else(|| Some(("filesystem.workspace", files.workspace.as_ref()?.span())))
        .or_else(|| first("filesystem.read", &files.read))
        .or_else(|| first("filesystem.write", &files.write))
        .or_else(|| first("filesystem.withhold", &files.withhold))
        .or_else(|| first("filesystem.unmask", &files.unmask))
        .or_else(|| Some(("filesystem.volume", files.volume.first()?.path.span())))
        .or_else(|| Some(("filesystem.tmpfs", files.tmpfs.first()?.path.span())))
        .or_else(|| Some(("network.resolve", network.resolve.keys().next()?.span())))
        .or_else(|| first("network.extra_ca", &network.extra_ca))
        .or_else(|| {
            Some((
                "network.upstream_proxy",
                network.upstream_proxy.as_ref()?.span(),
            ))
        })
        .or_else(|| Some(("network.limits", network.limits.as_ref()?.span())))
        .or_else(|| Some(("credentials", file.credentials.keys().next()?.span())))
        .or_else(|| first("environment.pass", &environment.pass))
        .or_else(|| first("environment.withhold", &environment.withhold))
        .or_else(|| Some(("environment.set", environment.set.keys().next()?.span())))
}

fn files(draft: &mut Draft, text: &Text, file: &PolicyFile) -> Result<(), PolicyError> {
    let files = &file.filesystem;
    if let Some(written) = &files.access {
        access(draft, text, written)?;
    }
    if let Some(written) = &files.scratch_size {
        let asked = Sourced::new(value::capacity(text, written)?, text.source_of(written));
        smaller(&mut draft.scratch_size, asked, None, |message| {
            may_not(text, written.span(), &message)
        })?;
    }
    if let Some(written) = files.protect.as_ref().filter(|asked| !asked.get_ref()) {
        let why = "`protect = false` gives something";
        return Err(may_not(text, written.span(), why));
    }
    if let Some(written) = &files.protect {
        draft.protect = Some(Sourced::new(true, text.source_of(written)));
    }
    draft.mask.extend(patterns(text, &files.mask)?);
    Ok(())
}

fn access(
    draft: &mut Draft,
    text: &Text,
    written: &Spanned<format::Access>,
) -> Result<(), PolicyError> {
    let asked = access_of(*written.get_ref());
    let given = draft
        .access
        .as_ref()
        .map_or(WorkspaceAccess::Write, |access| access.value);
    if asked > given {
        let why = match given {
            WorkspaceAccess::Read => "the workspace is read-only for this session".to_owned(),
            _ => format!("the access of this session is \"{given}\""),
        };
        return Err(may_not(text, written.span(), &why));
    }
    if asked < given {
        draft.access = Some(Sourced::new(asked, text.source_of(written)));
    }
    Ok(())
}

fn limits(draft: &mut Draft, text: &Text, limits: &format::Limits) -> Result<(), PolicyError> {
    if let Some(written) = &limits.memory {
        let asked = Sourced::new(value::memory(text, written)?, text.source_of(written));
        smaller(&mut draft.memory, asked, None, |message| {
            may_not(text, written.span(), &message)
        })?;
    }
    if let Some(written) = &limits.cpus {
        let asked = Sourced::new(value::cpus(text, written)?, text.source_of(written));
        smaller(&mut draft.cpus, asked, None, |message| {
            may_not(text, written.span(), &message)
        })?;
    }
    if let Some(written) = &limits.processes {
        let asked = Sourced::new(value::processes(text, written)?, text.source_of(written));
        let default = Some(DEFAULT_PROCESSES);
        smaller(&mut draft.processes, asked, default, |message| {
            may_not(text, written.span(), &message)
        })?;
    }
    Ok(())
}

/// Takes over a limit that is not above the present one.
fn smaller<T: PartialOrd + Copy + std::fmt::Display>(
    present: &mut Option<Sourced<T>>,
    asked: Sourced<T>,
    default: Option<T>,
    refuse: impl FnOnce(String) -> PolicyError,
) -> Result<(), PolicyError> {
    let bound = present.as_ref().map(|limit| limit.value).or(default);
    if let Some(bound) = bound
        && asked.value > bound
    {
        return Err(refuse(format!("the limit of this session is {bound}")));
    }
    if bound.is_none_or(|bound| asked.value < bound) {
        *present = Some(asked);
    }
    Ok(())
}

/// A rule that narrows says where, and nothing else: what is spoken there, and whether it may be private, is the operator's word.
fn narrowing_rule(
    draft: &Draft,
    text: &Text,
    rule: &format::AllowRule,
) -> Result<Rule, PolicyError> {
    let hint = "the rule above it already says so";
    if let Some(private) = rule.private.as_ref().filter(|private| *private.get_ref()) {
        return Err(may_not(text, private.span(), "`private = true` gives something").hint(hint));
    }
    let tcp = rule
        .protocol
        .as_ref()
        .filter(|protocol| *protocol.get_ref() == format::Protocol::Tcp);
    if let Some(protocol) = tcp {
        return Err(may_not(
            text,
            protocol.span(),
            "`protocol = \"tcp\"` gives something",
        )
        .hint(hint));
    }
    if let Some(name) = &rule.credential {
        return Err(may_not(text, name.span(), "a credential is yours to give").hint(hint));
    }
    let unread_asked = rule.intercept.as_ref().filter(|asked| !asked.get_ref());
    if let Some(written) = unread_asked {
        return Err(
            may_not(text, written.span(), "`intercept = false` gives something").hint(hint),
        );
    }
    if let Some(written) = &rule.dangerous_plaintext {
        return Err(may_not(
            text,
            written.span(),
            "`dangerous_plaintext` has no place in it",
        ));
    }
    let narrowed = allow_rule(text, rule)?;
    can_be_judged(draft, &narrowed, |why| text.wrong(&rule.host, why))?;
    Ok(narrowed)
}

/// Whether requests to what a rule of this file judges are seen at all.
fn can_be_judged(
    draft: &Draft,
    rule: &Rule,
    wrong: impl FnOnce(String) -> PolicyError,
) -> Result<(), PolicyError> {
    if !rule.looks_inside() {
        return Ok(());
    }
    let passes = |own: &&Rule| {
        unread(own) && own.pattern.overlaps(&rule.pattern) && meet(&own.ports, &rule.ports)
    };
    match draft.allow.iter().find(passes) {
        None => Ok(()),
        Some(own) => Err(wrong(format!(
            "{} ({}) passes connections to {} unread, so there is nothing to judge by method or path",
            own.source, own.ports, own.pattern
        ))
        .hint("name other ports here, or deny the host")),
    }
}

fn may_not(text: &Text, span: Range<usize>, why: &str) -> PolicyError {
    text.error(
        span,
        format!("a policy file inside the workspace may only tighten: {why}"),
    )
    .hint(format!(
        "to use this file as your own policy, name it: `--policy {}`",
        text.name
    ))
}

/// Whether the operator allows anything of what a rule allows.
fn overlaps(operator: &NetworkPolicy, rule: &Rule) -> bool {
    let layer = operator.allow_rules(palisade_policy::Layer::Operator);
    match &rule.pattern {
        HostPattern::Exact(host) => match rule.ports.as_slice() {
            Some(ports) => ports.iter().any(|port| permits(operator, host, *port)),
            None => layer.iter().any(|own| own.pattern.matches(host)),
        },
        HostPattern::Below(parent) => layer.iter().any(|own| match &own.pattern {
            HostPattern::Exact(host) => rule.pattern.matches(host),
            HostPattern::Below(other) => {
                let (parent, other) = (parent.as_str(), other.as_str());
                is_at_or_below(parent, other) || is_at_or_below(other, parent)
            }
        }),
    }
}

fn permits(policy: &NetworkPolicy, host: &Host, port: u16) -> bool {
    matches!(
        policy.decide(&Request::new(host, port)),
        palisade_policy::Decision::Permit(_)
    )
}

fn is_at_or_below(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
