//! gVisor: the same session in a sandbox of `runsc`, whose kernel is a program and not the host's.
//!
//! ```text
//!   tree ──▶ Layout: mounts, a root folder of links and mount points ──▶ config.json (an OCI bundle)
//!   supervisor                              │ runsc: gofer, sentry
//!   runsc run, with our standard streams ──▶│ palisade-guest (first process)
//!   endpoint() ◀──────────────────── Ready ─┤ (a socket in the session's folder, by way of the gofer)
//!   Begin ─────────────────────────────────▶│ agent
//!   gate ◀── one stream a connection ───────┤ palisade-guest's relay
//! ```

mod assess;
mod bundle;
mod family;
mod layers;
mod masker;
mod place;
mod platform;
mod probe;
mod root;
mod rootless;
mod running;
mod streams;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use palisade_boundary::{Assessment, Backend, BoundarySpec, Probe, Running, StartError};
use palisade_protocol::GuestPlan;

pub(crate) use self::assess::assess;
use self::bundle::Bundle;
use self::layers::Beforehand;
use self::place::Place;
pub use self::platform::Platform;
pub use self::rootless::become_sandbox;
use self::running::{GvisorRunning, Parts};
use self::streams::Streams;
use crate::backend::{check_identity, guest_plan, has_terminal};
use crate::engine::cannot;
use crate::guest::real_guest;
use crate::tree::lay_out_beforehand;

/// What a policy says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GvisorSettings {
    /// The program: a name that is looked for in `PATH`, or a path.
    pub runsc: PathBuf,
    /// How it comes between programs and the kernel; `None` for the program's own choice.
    pub platform: Option<Platform>,
}

impl Default for GvisorSettings {
    fn default() -> Self {
        Self {
            runsc: "runsc".into(),
            platform: None,
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct GvisorBackend {
    settings: GvisorSettings,
    /// Where sessions keep their folders, below palisade's own state.
    base: PathBuf,
    /// The guest, a static program.
    guest: PathBuf,
    /// Words that start [`become_sandbox`].
    helper: Vec<OsString>,
}

impl GvisorBackend {
    /// Sessions keep their folders below `base`, which nobody inside may see; `guest` is `palisade-guest` on the host; `helper` are
    /// words that start [`become_sandbox`] with what is added to them.
    pub fn new(
        settings: GvisorSettings,
        base: PathBuf,
        guest: PathBuf,
        helper: Vec<OsString>,
    ) -> Self {
        Self {
            settings,
            base,
            guest,
            helper,
        }
    }
}

impl Backend for GvisorBackend {
    fn name(&self) -> &'static str {
        "gvisor"
    }

    fn probe(&self) -> Probe {
        probe::probe(&self.settings, &self.guest)
    }

    fn assess(&self, spec: &BoundarySpec) -> Vec<Assessment> {
        assess(spec, rustix::process::geteuid().is_root())
    }

    fn start(&self, spec: &BoundarySpec) -> Result<Box<dyn Running>, StartError> {
        check_identity(&spec.identity)?;
        let by_root = rustix::process::geteuid().is_root();
        let ids = match by_root {
            true => None,
            false => Some(rootless::check(spec)?),
        };
        platform::check(self.settings.platform)?;
        let guest = real_guest(&self.guest)?;
        let layout = lay_out_beforehand(&spec.tree)?;
        let made = |e: std::io::Error| cannot("make the session's folder".into(), e.to_string());
        let place = Place::make(&self.base).map_err(made)?;
        let plan = GuestPlan {
            relayed: true,
            window: None,
            ..guest_plan(layout.owned.clone(), spec, &layout)?
        };
        let sockets = place.open(&plan).map_err(made)?;
        root::make(&place.root(), &layout).map_err(made)?;
        let bundle = Bundle {
            spec,
            layout: &layout,
            place: &place,
            guest: &guest,
            terminal: has_terminal(spec),
        };
        bundle
            .write()
            .map_err(|e| cannot("write the bundle".into(), e))?;
        let mut streams = Streams::of_caller()
            .map_err(|e| cannot("pass the standard streams on".into(), e.to_string()))?;
        let beforehand = Beforehand::new(&place, &layout, spec);
        beforehand.make_places().map_err(made)?;
        let words = self.words(&place, by_root);
        let client = match ids {
            None => self.start_by_root(words, &beforehand, &mut streams)?,
            Some(ids) => {
                let of_session = (spec, &mut streams);
                rootless::start(&self.helper, ids, words, &place, beforehand, of_session)?
            }
        };
        let parts = Parts {
            runsc: self.settings.runsc.clone(),
            client,
            place,
            sockets,
            streams,
            spec: spec.clone(),
            masked: layout.masked,
        };
        // From here on, dropping this ends the sandbox.
        Ok(Box::new(GvisorRunning::new(parts)?))
    }
}

impl GvisorBackend {
    /// What is to be run.
    fn words(&self, place: &Place, by_root: bool) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.settings.runsc.clone().into()];
        words.extend(FIXED.map(OsString::from));
        if !by_root {
            words.push("--ignore-cgroups".into());
        }
        words.push(format!("--root={}", place.state().display()).into());
        if let Some(platform) = self.settings.platform {
            words.push(format!("--platform={}", platform.name()).into());
        }
        words.extend(["run".into(), "--bundle".into(), place.bundle().into()]);
        words.push(place.name().into());
        words
    }

    /// The workspace is mounted where nobody else sees it: in a mount namespace that ends with the last process of the sandbox.
    fn start_by_root(
        &self,
        words: Vec<OsString>,
        beforehand: &Beforehand,
        streams: &mut Streams,
    ) -> Result<Child, StartError> {
        let runsc = &self.settings.runsc;
        let mut command = Command::new(runsc);
        command
            .args(words.into_iter().skip(1))
            .current_dir("/")
            // What is a secret of the caller's is not even in the sandbox's own memory.
            .env_clear()
            // Signals of the terminal are for palisade, which passes them on.
            .process_group(0);
        streams.give_to(&mut command);
        let beside = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                beforehand.mount()?;
                command.spawn().map_err(|error| not_run(runsc, &error))
            });
            thread.join()
        });
        beside.unwrap_or_else(|_| Err(cannot("mount the workspace".into(), "it failed".into())))
    }
}

/// The same for every session. The host writes to what is shown too, so nothing of it is kept to be looked at again; and no layer of
/// the sandbox's own lies over what palisade shows.
const FIXED: [&str; 6] = [
    "--network=none",
    // For the rules that lead connections to the relay. The guest alone has the capability.
    "--net-raw",
    "--host-uds=open",
    "--file-access=shared",
    "--file-access-mounts=shared",
    "--overlay2=none",
];

/// Why the program itself could not be run.
fn not_run(runsc: &Path, error: &std::io::Error) -> StartError {
    let program = runsc.display();
    let mut failure = cannot(
        "start the sandbox".into(),
        format!("run {program}: {error}"),
    );
    if error.kind() == std::io::ErrorKind::NotFound {
        failure.cause = format!("there is no program `{program}`");
        failure.fix = Some(
            "install gVisor (runsc), name it in [boundary.gvisor], or use the native boundary"
                .into(),
        );
    }
    failure
}
