//! The sections of one file, added to the operator's layer.

use std::collections::BTreeMap;
use std::path::Path;

use palisade_policy::{CredentialName, Rule};

use super::credential::{self, Folders};
use super::settle::Written;
use super::{Operator, allow_rule, control, deny_rule};
use crate::breadth;
use crate::effective::{GvisorPlatform, Sourced};
use crate::error::PolicyError;
use crate::file;
use crate::format::{self, PolicyFile};
use crate::proxy::UpstreamProxy;
use crate::roots;
use crate::spanned::Spanned;
use crate::text::Text;
use crate::value;

impl Operator<'_> {
    /// Adds what one file says. What it extends was added before.
    pub(super) fn sections(&mut self, text: &Text, file: PolicyFile) -> Result<(), PolicyError> {
        self.boundary(text, file.boundary)?;
        self.filesystem(text, &file.filesystem)?;
        self.network(text, file.network)?;
        self.credentials(text, &file.credentials)?;
        self.environment(text, file.environment)?;
        self.limits(text, &file.limits)
    }

    fn boundary(&mut self, text: &Text, boundary: format::Boundary) -> Result<(), PolicyError> {
        if let Some(backend) = boundary.backend {
            self.check_backend(backend.get_ref(), |message| text.wrong(&backend, message))?;
            let source = text.source_of(&backend);
            self.draft.backend = Some(Sourced::new(backend.into_inner(), source));
        }
        if let Some(container) = &boundary.container {
            self.draft.container.set(text, container.get_ref())?;
        }
        if boundary.require.is_some() {
            self.draft.accept_weaker.clear();
        }
        for name in &boundary.accept_weaker {
            let control = control(name.get_ref(), |message| text.wrong(name, message))?;
            let source = text.source_of(name);
            self.draft.accept_weaker.push(Sourced::new(control, source));
        }
        self.gvisor(text, boundary.gvisor)
    }

    /// A bare name is looked for where programs are. Anything else has to be found whatever the current directory is.
    fn gvisor(&mut self, text: &Text, gvisor: format::Gvisor) -> Result<(), PolicyError> {
        if let Some(runsc) = gvisor.runsc {
            let name = runsc.get_ref();
            if name.is_empty() || (name.contains('/') && !name.starts_with('/')) {
                return Err(text
                    .wrong(&runsc, "gVisor's program is a name or an absolute path")
                    .hint("such as \"runsc\" or \"/usr/local/bin/runsc\""));
            }
            let source = text.source_of(&runsc);
            let path = runsc.into_inner().into();
            self.draft.gvisor.runsc = Some(Sourced::new(path, source));
        }
        if let Some(platform) = gvisor.platform {
            let source = text.source_of(&platform);
            let chosen = match platform.get_ref() {
                format::Platform::Auto => None,
                format::Platform::Systrap => Some(GvisorPlatform::Systrap),
                format::Platform::Kvm => Some(GvisorPlatform::Kvm),
                format::Platform::Ptrace => Some(GvisorPlatform::Ptrace),
            };
            self.draft.gvisor.platform = chosen.map(|chosen| Sourced::new(chosen, source));
        }
        if let Some(via) = gvisor.via {
            let source = text.source_of(&via);
            let docker = *via.get_ref() == format::Via::Docker;
            self.draft.gvisor.via_docker = docker.then(|| Sourced::new((), source));
        }
        Ok(())
    }

    fn network(&mut self, text: &Text, network: format::Network) -> Result<(), PolicyError> {
        for written in network.allow.iter().flatten() {
            let rule = allow_rule(text, written)?;
            self.allow(rule, |message| text.wrong(&written.host, message))?;
            if let Some(name) = &written.credential
                && let Some(checked) = CredentialName::new(name.get_ref())
            {
                let wanted = self.draft.wanted.entry(checked);
                wanted.or_insert_with(|| text.wrong(name, ""));
            }
        }
        for written in &network.deny {
            let rule = deny_rule(text, written)?;
            let checked = self.draft.siblings.deny(&rule);
            checked.map_err(|message| {
                text.wrong(&written.host, message)
                    .hint("name the ports this rule is for, as in `ports = [443]`")
            })?;
            self.draft.deny.push(rule);
        }
        if let Some(limits) = &network.limits {
            self.draft.gate_limits.set(text, limits.get_ref())?;
        }
        for (from, to) in &network.resolve {
            let (authority, address) = value::mapping(text, from, to)?;
            let source = text.source_of(from);
            self.draft
                .resolve
                .retain(|(earlier, _)| *earlier != authority);
            self.draft
                .resolve
                .push((authority, Sourced::new(address, source)));
        }
        for file in &network.extra_ca {
            self.extra_ca(text, file)?;
        }
        if let Some(proxy) = network.upstream_proxy {
            let parsed = UpstreamProxy::parse(proxy.get_ref())
                .map_err(|message| text.wrong(&proxy, message))?;
            self.draft.upstream_proxy = Some(Sourced::new(parsed, text.source_of(&proxy)));
        }
        Ok(())
    }

    /// Takes in an allow rule that contradicts no earlier one.
    pub(super) fn allow(
        &mut self,
        rule: Rule,
        wrong: impl FnOnce(String) -> PolicyError,
    ) -> Result<(), PolicyError> {
        self.draft.siblings.allow(&rule).map_err(|message| {
            wrong(message).hint("let both look inside, or none, or give them different ports")
        })?;
        self.draft.notes.extend(breadth::note(&rule));
        self.draft.allow.push(rule);
        Ok(())
    }

    fn credentials(
        &mut self,
        text: &Text,
        section: &BTreeMap<Spanned<String>, format::Credential>,
    ) -> Result<(), PolicyError> {
        let folders = Folders {
            base: text.folder.as_deref().unwrap_or(Path::new("/")),
            home: &self.around.home,
        };
        for (name, written) in section {
            let definition = credential::definition(text, name, written, folders)?;
            let placeholder = written.placeholder.as_ref().map(Spanned::span);
            let written = Written {
                at_name: text.wrong(name, ""),
                at_placeholder: text.error(placeholder.unwrap_or_else(|| name.span()), ""),
                definition: Sourced::new(definition, text.source_of(name)),
            };
            let name = written.definition.value.name.clone();
            self.draft.credentials.insert(name, written);
        }
        Ok(())
    }

    fn extra_ca(&mut self, text: &Text, entry: &Spanned<String>) -> Result<(), PolicyError> {
        let path = self.written_path(text, entry)?;
        let name = entry.get_ref();
        let body = file::read(&path, file::ROOTS_LIMIT)
            .map_err(|why| text.wrong(entry, format!("cannot read `{name}`: {why}")))?;
        let certificates = roots::certificates(&body)
            .map_err(|error| text.wrong(entry, format!("`{name}` {}", error.as_str())))?;
        self.draft.extra_ca.push_str(&certificates);
        self.draft.governing.extend(path.canonicalize());
        Ok(())
    }

    fn environment(
        &mut self,
        text: &Text,
        section: format::Environment,
    ) -> Result<(), PolicyError> {
        for name in section.pass {
            if let Some(bad) = value::bad_name(name.get_ref()) {
                return Err(text.wrong(&name, bad));
            }
            let source = text.source_of(&name);
            self.draft.set.remove(name.get_ref());
            self.draft.pass.insert(name.into_inner(), source);
        }
        for name in section.withhold {
            if let Some(bad) = value::bad_name(name.get_ref()) {
                return Err(text.wrong(&name, bad));
            }
            self.draft.withheld.insert(name.into_inner());
        }
        for (name, value) in section.set {
            if let Some(bad) = value::bad_name(name.get_ref()) {
                return Err(text.wrong(&name, bad));
            }
            if value.get_ref().contains('\0') {
                return Err(text.wrong(&value, "the value of a variable holds no zero byte"));
            }
            let source = text.source_of(&name);
            let value = Sourced::new(value.into_inner(), source);
            self.draft.set.insert(name.into_inner(), value);
        }
        Ok(())
    }

    fn limits(&mut self, text: &Text, limits: &format::Limits) -> Result<(), PolicyError> {
        if let Some(memory) = &limits.memory {
            let bytes = value::memory(text, memory)?;
            self.draft.memory = Some(Sourced::new(bytes, text.source_of(memory)));
        }
        if let Some(cpus) = &limits.cpus {
            let number = value::cpus(text, cpus)?;
            self.draft.cpus = Some(Sourced::new(number, text.source_of(cpus)));
        }
        if let Some(processes) = &limits.processes {
            let number = value::processes(text, processes)?;
            self.draft.processes = Some(Sourced::new(number, text.source_of(processes)));
        }
        Ok(())
    }

    pub(super) fn written_path(
        &self,
        text: &Text,
        entry: &Spanned<String>,
    ) -> Result<std::path::PathBuf, PolicyError> {
        let written = entry.get_ref();
        if written.is_empty() || written.contains('\0') {
            return Err(text.wrong(entry, "not a path"));
        }
        let base = text.folder.as_deref().unwrap_or(Path::new("/"));
        palisade_workspace::expand(written, base, &self.around.home)
            .map_err(|error| text.wrong(entry, format!("`{written}` {error}")))
    }
}
