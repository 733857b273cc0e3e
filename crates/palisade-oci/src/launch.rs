//! The container's start, and what the engine made of it.

use std::process::{Child, Stdio};

use palisade_boundary::StartError;

use crate::api::Api;
use crate::backend::Root;
use crate::engine::{Engine, PATIENCE, cannot, finish};
use crate::flags::{Wanted, arguments};
use crate::image::named;
use crate::podman;

/// Nobody types these: by the usual keys a person at the terminal would leave the container, and the first of them would
/// reach the agent only with the next one.
const DETACH_KEYS: &str = "--detach-keys=ctrl-^,ctrl-@,ctrl-_,ctrl-^,ctrl-@";

/// Newer clients warn of an option that older ones know by no other name (`bind-nonrecursive`).
const QUIET: &str = "--log-level=error";

/// How a session's container is called.
pub(crate) fn name(session: &str) -> String {
    format!("palisade-{session}")
}

/// Has the engine know the image, which is made where it is one of ours.
pub(crate) fn provide(engine: Engine, api: Option<&Api>, root: &Root) -> Result<(), StartError> {
    if has_image(engine, api, root.name())? {
        return Ok(());
    }
    match root {
        Root::Named(name) => Err(named::missing(engine, name)),
        Root::Host(image) => image.import(engine),
    }
}

/// The engine's words that start a container, after its name.
pub(crate) fn words(wanted: &Wanted) -> Vec<String> {
    let mut all: Vec<String> = [QUIET, "run", DETACH_KEYS].map(str::to_owned).to_vec();
    all.push(format!("--name={}", name(&wanted.session)));
    all.extend(arguments(wanted));
    all
}

/// Starts the container, attached to our standard streams.
pub(crate) fn launch(wanted: &Wanted) -> Result<Child, StartError> {
    podman::make_volumes(wanted)?;
    let client = wanted
        .engine
        .command()
        .args(words(wanted))
        .stdin(Stdio::inherit())
        .spawn();
    client.map_err(|e| {
        podman::remove_volumes(wanted);
        wanted.engine.not_run("start the container", &e)
    })
}

/// Why a container did not start. The engine's program has said so to the person and not to us, so the container is made once
/// more, not to be started.
pub(crate) fn why_not(engine: Engine, wanted: &Wanted) -> StartError {
    let what = "start the container";
    let mut create = vec!["create".to_owned()];
    create.extend(arguments(wanted));
    match engine.ask(what, &create) {
        Ok(container) => {
            let remove = ["rm", "--force", "--volumes", &container];
            let _ = engine.ask("remove the container", &remove);
            let cause = "the engine gave up, for the reason it names above";
            let mut error = cannot(what.to_owned(), cause.to_owned());
            error.fix = engine.is_rootless().then(|| OLD_MOUNTS.to_owned());
            error
        }
        Err(error) => error,
    }
}

/// Podman without root keeps the mounts of the time it was first used, and the kernel binds none of them apart from what is mounted
/// below it.
const OLD_MOUNTS: &str = "if that is \"invalid argument\" of a mount, podman still sees mounts that have changed since it was first \
                          used: `podman system migrate`, and start the session again";

/// The first question, so this is also where an engine that cannot be used says so.
fn has_image(engine: Engine, api: Option<&Api>, name: &str) -> Result<bool, StartError> {
    let what = "look for the image of the root";
    if let Some(api) = api {
        let found = api.has_image(engine, name);
        // Where there is no program to run it with, it does not matter who does not listen.
        return found.map_err(|error| {
            match finish(engine.command().arg("--version"), b"", PATIENCE) {
                Err(missing) => engine.not_run(what, &missing),
                Ok(_) => error,
            }
        });
    }
    match engine.ask(what, &["image", "inspect", "--format", "{{.Id}}", name]) {
        Ok(_) => Ok(true),
        Err(error) if engine.lacks_image(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The engine's account of a session's container.
pub(crate) fn account(
    engine: Engine,
    api: Option<&Api>,
    session: &str,
) -> Result<Vec<u8>, StartError> {
    let name = name(session);
    match api {
        Some(api) => api.account(engine, &name),
        None => engine
            .ask("look at the container", &["inspect", &name])
            .map(String::into_bytes),
    }
}
