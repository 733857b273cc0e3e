//! The sections of one file, added to the operator's layer.

use std::path::Path;

use palisade_policy::{FileAccess, Ports, Protocol, Rule, Source};
use palisade_workspace::PathError;
use toml::Spanned;

use super::Operator;
use crate::breadth::{self, Breadth};
use crate::effective::{Shown, Sourced};
use crate::error::PolicyError;
use crate::file;
use crate::format::{self, PolicyFile};
use crate::proxy::UpstreamProxy;
use crate::roots;
use crate::text::Text;
use crate::value;

impl Operator<'_> {
    /// Adds what one file says. What it extends was added before.
    pub(super) fn sections(&mut self, text: &Text, file: PolicyFile) -> Result<(), PolicyError> {
        if let Some(backend) = file.boundary.backend {
            self.check_backend(backend.get_ref(), |message| text.wrong(&backend, message))?;
            let source = text.source_of(&backend);
            self.draft.backend = Some(Sourced::new(backend.into_inner(), source));
        }
        self.filesystem(text, &file.filesystem)?;
        self.network(text, file.network)?;
        self.environment(text, file.environment)?;
        self.limits(text, &file.limits)
    }

    fn filesystem(&mut self, text: &Text, files: &format::Filesystem) -> Result<(), PolicyError> {
        if let Some(folder) = &files.workspace {
            let path = self.written_path(text, folder)?;
            let source = text.source_of(folder);
            self.draft.workspace =
                Some(self.workspace(&path, source, |message| text.wrong(folder, message))?);
        }
        if let Some(access) = &files.access {
            self.draft.access = Some(Sourced::new(
                access_of(*access.get_ref()),
                text.source_of(access),
            ));
        }
        for (list, access) in [
            (&files.read, FileAccess::Read),
            (&files.write, FileAccess::Write),
        ] {
            for entry in list {
                self.show(text, entry, access)?;
            }
        }
        if text.is_profile() {
            self.note_lost_state(text, &files.write);
        }
        Ok(())
    }

    /// A line if nothing of what a profile's tool would keep is on this machine: then it keeps nothing.
    fn note_lost_state(&mut self, text: &Text, write: &[Spanned<String>]) {
        let source = text.source(&(0..0));
        let keeps = |shown: &Shown| shown.access == FileAccess::Write && shown.source == source;
        if let Some(first) = write.first()
            && !self.draft.shown.iter().any(keeps)
        {
            let first = first.get_ref();
            self.draft.notes.push(format!(
                "{}: nothing is kept after this session, since {first} and the like do not exist",
                text.name
            ));
        }
    }

    /// One entry of `read` or `write`. A person's has to exist; a profile lists all the places a tool may use, so there
    /// what is missing, or lies where it cannot be shown, is left out.
    fn show(
        &mut self,
        text: &Text,
        entry: &Spanned<String>,
        access: FileAccess,
    ) -> Result<(), PolicyError> {
        let path = self.written_path(text, entry)?;
        let found = palisade_workspace::locate(&path).and_then(|found| {
            palisade_workspace::check_shown(&found, &self.home, access == FileAccess::Write)
                .map(|()| found)
        });
        match found {
            Ok(path) => {
                let source = text.source_of(entry);
                self.draft.shown.push(Shown {
                    path,
                    access,
                    source,
                });
                Ok(())
            }
            Err(error) if text.is_profile() => {
                if error != PathError::Missing {
                    let note = format!("{} is left out: {} {error}", text.name, entry.get_ref());
                    self.draft.notes.push(note);
                }
                Ok(())
            }
            Err(error) => {
                let hint = match error {
                    PathError::Missing => Some("create it, or take the entry out".to_owned()),
                    PathError::Home => {
                        Some("name the files and folders that are needed".to_owned())
                    }
                    _ => None,
                };
                Err(text
                    .wrong(entry, format!("`{}` {error}", entry.get_ref()))
                    .hint_if(hint))
            }
        }
    }

    fn network(&mut self, text: &Text, network: format::Network) -> Result<(), PolicyError> {
        for rule in network.allow.iter().flatten() {
            let rule = allow_rule(text, rule)?;
            self.draft.notes.extend(breadth::note(&rule));
            self.draft.allow.push(rule);
        }
        for rule in &network.deny {
            self.draft.deny.push(deny_rule(text, rule)?);
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

    fn written_path(
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

pub(crate) fn access_of(written: format::Access) -> FileAccess {
    match written {
        format::Access::Read => FileAccess::Read,
        format::Access::Write => FileAccess::Write,
    }
}

pub(crate) fn allow_rule(text: &Text, rule: &format::AllowRule) -> Result<Rule, PolicyError> {
    let source: Source = text.source_of(&rule.host);
    let pattern = value::host_pattern(text, &rule.host)?;
    if breadth::breadth(&pattern) == Breadth::Registry {
        let message = format!("`{pattern}` covers a whole registry, where anybody can get a name");
        return Err(text
            .wrong(&rule.host, message)
            .hint("name the hosts that are needed"));
    }
    let ports = value::ports(text, rule.ports.as_ref(), Ports::WEB)?;
    let mut resolved = Rule::new(pattern, ports, source);
    resolved.private = rule
        .private
        .as_ref()
        .is_some_and(|private| *private.get_ref());
    resolved.protocol = match rule.protocol.as_ref().map(Spanned::get_ref) {
        Some(format::Protocol::Tcp) => Protocol::Tcp,
        Some(format::Protocol::Http) | None => Protocol::Web,
    };
    Ok(resolved)
}

pub(crate) fn deny_rule(text: &Text, rule: &format::DenyRule) -> Result<Rule, PolicyError> {
    let source = text.source_of(&rule.host);
    let pattern = value::host_pattern(text, &rule.host)?;
    let ports = value::ports(text, rule.ports.as_ref(), Ports::ANY)?;
    Ok(Rule::new(pattern, ports, source))
}
