//! An image of the person's own as the root. Nothing is pulled, and nothing that it declares decides what runs: the guest is the first
//! process, its user and its environment are palisade's.

use std::path::{Path, PathBuf};

use palisade_boundary::StartError;
use serde_json::Value;

use crate::engine::{Engine, cannot};
use crate::tree::{Layout, Mount, What};

/// Where an image says that its programs are: its `PATH`.
///
/// # Errors
/// The engine does not have the image, or cannot be asked.
pub fn search_path(engine: Engine, image: &str) -> Result<Vec<PathBuf>, StartError> {
    let config = config(engine, image)?;
    let variables = config["Env"].as_array().into_iter().flatten();
    let mut variables = variables.filter_map(Value::as_str);
    let path = variables.find_map(|variable| variable.strip_prefix("PATH="));
    let folders = path.unwrap_or_default().split(':').map(PathBuf::from);
    Ok(folders.filter(|folder| folder.is_absolute()).collect())
}

/// What an image declares as a volume, docker would make a writable folder of the host's for. Each is covered by something empty
/// instead, unless the tree has something there. Podman is told to leave them alone.
pub(crate) fn cover_volumes(
    engine: Engine,
    image: &str,
    layout: &mut Layout,
) -> Result<(), StartError> {
    if engine == Engine::Podman {
        return Ok(());
    }
    let config = config(engine, image)?;
    let volumes = config["Volumes"].as_object().into_iter().flatten();
    for target in volumes.map(|(path, _)| PathBuf::from(path)) {
        if !target.is_absolute() || target == Path::new("/") {
            let cause = format!("it declares {} as a volume", target.display());
            return Err(cannot(format!("use the image {image}"), cause));
        }
        if layout.mounts.iter().all(|mount| mount.target != target) {
            let what = What::Empty { directory: true };
            layout.mounts.push(Mount { target, what });
        }
    }
    Ok(())
}

fn config(engine: Engine, image: &str) -> Result<Value, StartError> {
    let look = ["image", "inspect", "--format", "{{json .Config}}", image];
    match engine.ask(&format!("look at the image {image}"), &look) {
        Ok(config) => Ok(serde_json::from_str(&config).unwrap_or(Value::Null)),
        Err(error) if engine.lacks_image(&error) => Err(missing(engine, image)),
        Err(error) => Err(error),
    }
}

/// It is the person's to fetch.
pub(crate) fn missing(engine: Engine, image: &str) -> StartError {
    let program = engine.program();
    StartError {
        what: format!("use the image {image}"),
        cause: format!("{program} does not have it, and palisade pulls nothing"),
        fix: Some(format!(
            "`{program} pull {image}`, or name one that it has (`root` under [boundary.container])"
        )),
    }
}
