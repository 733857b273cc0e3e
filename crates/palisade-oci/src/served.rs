//! A container that somebody else starts, by a line or a compose file that palisade prints. All else is palisade's as ever: the
//! session's folder, the check of what the engine made, the gate, the end.
//!
//! The folder is the same for each session of a workspace, so that what was printed stays right as long as the policy does.

use std::io;
use std::path::Path;
use std::rc::Rc;

use palisade_boundary::{Assessment, Backend, BoundarySpec, Probe, Running, StartError};

use crate::backend::{ContainerBackend, Laid};
use crate::engine::Engine;
use crate::flags::{LABEL_SESSION, StartedBy, Wanted};
use crate::folder::{Place, SessionFolder};
use crate::launch::{provide, words};
use crate::podman;
use crate::running::{ContainerRunning, Starter};
use crate::tree::What;

/// What starts a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose program it is.
    pub engine: Engine,
    /// What it is told.
    pub words: Vec<String>,
}

/// Told what starts the container, once it can be started.
pub type Tell = Rc<dyn Fn(&Line) -> io::Result<()>>;

/// Containers that somebody else starts.
#[derive(Clone)]
pub struct ServedBackend {
    inner: ContainerBackend,
    place: Place,
    by: StartedBy,
    terminal: bool,
    tell: Tell,
}

impl ServedBackend {
    /// The session's folder is `place`. The container is given a terminal where `terminal` says that who starts it has one.
    pub fn new(inner: ContainerBackend, place: Place, terminal: bool, tell: Tell) -> Self {
        Self {
            inner,
            place,
            by: StartedBy::Line,
            terminal,
            tell,
        }
    }

    /// What starts the container. Nothing is done.
    ///
    /// # Errors
    /// No such container could be served.
    pub fn line(&self, spec: &BoundarySpec) -> Result<Line, StartError> {
        let laid = self.lay(spec)?;
        Ok(line(&self.wanted(spec, &laid)))
    }

    fn lay(&self, spec: &BoundarySpec) -> Result<Laid, StartError> {
        let laid = self.inner.lay(spec)?;
        check_place(self.place.path(), &laid)?;
        Ok(laid)
    }

    fn wanted(&self, spec: &BoundarySpec, laid: &Laid) -> Wanted {
        let mut wanted = self.inner.wanted(spec, laid, &self.place, self.by);
        wanted.terminal = self.terminal;
        wanted
    }

    fn take(&self) -> Result<SessionFolder, StartError> {
        let stays = self.by == StartedBy::Compose;
        SessionFolder::take(&self.place, stays).map_err(|error| StartError {
            what: format!("use the folder {}", self.place.path().display()),
            cause: error.to_string(),
            fix: Some(
                "end the other session of this workspace, or name another folder (--at DIR)".into(),
            ),
        })
    }

    /// What a line started and nobody serves any more: one that was made and never started stays.
    fn remove_stale(&self) {
        let engine = self.inner.settings.engine;
        let ours = format!("label={LABEL_SESSION}={}", self.place.name());
        let list = ["ps", "--all", "--quiet", "--filter", &ours];
        let found = engine.ask("look for what is left over", &list);
        for id in found.unwrap_or_default().lines() {
            let remove = ["rm", "--force", "--volumes", id];
            let _ = engine.ask("remove what is left over", &remove);
        }
    }
}

impl Backend for ServedBackend {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn probe(&self) -> Probe {
        self.inner.probe()
    }

    fn assess(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        self.inner.assess(spec)
    }

    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError> {
        let laid = self.lay(spec)?;
        let wanted = self.wanted(spec, &laid);
        let (engine, api) = (wanted.engine, self.inner.api());
        provide(engine, api.as_ref(), &laid.image)?;
        let folder = self.take()?;
        if self.by == StartedBy::Line {
            self.remove_stale();
        }
        let listener = self.inner.fill(&folder, &laid, &wanted)?;
        podman::make_volumes(&wanted)?;
        let (tell, line) = (Rc::clone(&self.tell), line(&wanted));
        let starter = Starter::Others(Some(Box::new(move || tell(&line))));
        let parts = self.inner.parts(laid, folder, listener, wanted, starter);
        Ok(Box::new(ContainerRunning::new(parts)?))
    }
}

fn line(wanted: &Wanted) -> Line {
    Line {
        engine: wanted.engine,
        words: words(wanted),
    }
}

/// Who can see the folder can call in the guest's place.
fn check_place(place: &Path, laid: &Laid) -> Result<(), StartError> {
    let refused = |cause: String| StartError {
        what: format!("use the folder {}", place.display()),
        cause,
        fix: Some("name another one (--at DIR)".into()),
    };
    let mut overlays = false;
    let layout = &laid.layout;
    for mount in layout.mounts.iter().chain(&layout.late) {
        let source = match &mount.what {
            What::Overlay { source, .. } => {
                overlays = true;
                source
            }
            What::Bind { source, .. }
            | What::Mapped { source, .. }
            | What::Layers { source, .. } => source,
            What::Empty { .. } | What::Made { .. } | What::Memory { .. } => continue,
        };
        if place.starts_with(source) || source.starts_with(place) {
            let shown = source.display();
            return Err(refused(format!(
                "the agent is shown {shown}, and may not see it"
            )));
        }
    }
    let Some(text) = place
        .to_str()
        .filter(|text| !text.chars().any(char::is_control))
    else {
        let cause =
            "its name is not UTF-8, or holds a control character, and engines take no such name";
        return Err(refused(cause.into()));
    };
    if overlays && text.contains([',', ':', '\\', '"']) {
        let cause = "it holds a comma, a colon, a quote or a backslash, which mean something to an engine's overlay";
        return Err(refused(cause.into()));
    }
    Ok(())
}
