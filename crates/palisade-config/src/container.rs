//! What a policy says of the container backend alone, checked.

use std::fmt;

use palisade_policy::Source;

use crate::effective::Sourced;
use crate::error::PolicyError;
use crate::format;
use crate::spanned::Spanned;
use crate::text::Text;

/// The settings of the container backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSettings {
    /// The engine, where one is named.
    pub engine: Option<Sourced<ContainerEngine>>,
    /// What the agent's root is, where it is said.
    pub root: Option<Sourced<ContainerRoot>>,
    /// The runtime that the engine is told to use.
    pub runtime: Option<Sourced<String>>,
    /// The agent's user and group, inside and outside. Never 0.
    pub user: Option<Sourced<(u32, u32)>>,
}

/// An engine of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerEngine {
    /// docker.
    Docker,
    /// podman.
    Podman,
}

impl fmt::Display for ContainerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        })
    }
}

/// What the root inside is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerRoot {
    /// The host's system.
    Host,
    /// An image that the engine has.
    Image(String),
}

impl ContainerSettings {
    /// Takes over what a later part says.
    pub(crate) fn set(
        &mut self,
        text: &Text,
        written: &format::Container,
    ) -> Result<(), PolicyError> {
        if let Some(engine) = &written.engine {
            let named = match engine.get_ref() {
                format::Engine::Docker => ContainerEngine::Docker,
                format::Engine::Podman => ContainerEngine::Podman,
            };
            self.engine = Some(Sourced::new(named, text.source_of(engine)));
        }
        if let Some(root) = &written.root {
            self.root = Some(Sourced::new(
                checked_root(text, root)?,
                text.source_of(root),
            ));
        }
        if let Some(runtime) = &written.runtime {
            let what = "the name of a runtime, such as `crun`";
            let name = argument(text, runtime, what)?;
            self.runtime = Some(Sourced::new(name, text.source_of(runtime)));
        }
        if let Some(user) = &written.user {
            self.user = Some(Sourced::new(ids(text, user)?, text.source_of(user)));
        }
        Ok(())
    }

    /// A line each for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |what: &str, value: &dyn fmt::Display, source: &Source| {
            format!("container: {what} {value} ({source})")
        };
        let engine = self.engine.as_ref();
        let root = self.root.as_ref();
        let runtime = self.runtime.as_ref();
        let user = self.user.as_ref();
        let lines = [
            engine.map(|engine| line("engine", &engine.value, &engine.source)),
            root.map(|root| match &root.value {
                ContainerRoot::Host => line("root", &"the host's system", &root.source),
                ContainerRoot::Image(image) => line("root image", image, &root.source),
            }),
            runtime.map(|runtime| line("runtime", &runtime.value, &runtime.source)),
            user.map(|user| {
                let (uid, gid) = user.value;
                line("user", &format_args!("{uid}:{gid}"), &user.source)
            }),
        ];
        lines.into_iter().flatten().collect()
    }
}

fn checked_root(text: &Text, root: &Spanned<format::Root>) -> Result<ContainerRoot, PolicyError> {
    match root.get_ref() {
        format::Root::Name(name) if name == "host" => Ok(ContainerRoot::Host),
        format::Root::Name(name) => Err(text
            .wrong(root, format!("there is no root `{name}`"))
            .hint("write `\"host\"`, or `{ image = \"…\" }` for an image")),
        format::Root::Image(table) => {
            let what = "the name of an image, such as `node:22`";
            argument(text, &table.image, what).map(ContainerRoot::Image)
        }
    }
}

/// Text that goes to the engine as an argument of its own: no option, and nothing that no such name holds.
fn argument(text: &Text, written: &Spanned<String>, what: &str) -> Result<String, PolicyError> {
    let name = written.get_ref();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@+".contains(&b);
    if name.is_empty() || name.starts_with('-') || !name.bytes().all(plain) {
        return Err(text.wrong(written, format!("not {what}")));
    }
    Ok(name.clone())
}

fn ids(text: &Text, written: &Spanned<String>) -> Result<(u32, u32), PolicyError> {
    let wrong = |why: &str| {
        text.wrong(written, why)
            .hint("write user and group by number, as in `\"1000:1000\"`")
    };
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        // The last number is the kernel's word for none.
        part.parse::<u32>()
            .ok()
            .filter(|id| digits && *id != u32::MAX)
    };
    let parts = written.get_ref().split_once(':');
    let ids = parts.and_then(|(user, group)| Some((number(user)?, number(group)?)));
    match ids {
        None => Err(wrong("not a user and a group")),
        Some((0, _) | (_, 0)) => Err(wrong("an agent is never root")),
        Some(ids) => Ok(ids),
    }
}
