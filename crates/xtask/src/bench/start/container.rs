//! A session in a container beside the engine alone with the same options: its own `true` in place of the guest.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::place::{Binaries, Place};
use super::{once, pairs, with_true};
use crate::shell::Done;

/// Notes the options, and keeps the session's folder, which is gone with the session.
const WRAPPER: &str = r#"#!/bin/bash
if [ "$2" = run ] && [ ! -e "$KEPT/options" ]; then
  for option in "$@"; do [[ "$option" == --security-opt=seccomp=* ]] && folder=$(dirname "${option#*seccomp=}"); done
  cp -a "$folder" "$KEPT/folder"
  # Closed to all, so that it was not copied whole.
  chmod 700 "$KEPT/folder/sys"; mkdir -p "$KEPT/folder/sys/fs/cgroup"
  echo "$folder" > "$KEPT/from"; printf '%s\n' "$@" > "$KEPT/options"
fi
exec /usr/bin/docker "$@"
"#;

/// Measures as this user, where there is an engine for it.
pub(super) fn run(binaries: &Binaries, place: &Place) -> Done {
    let ours = [
        &binaries.path("palisade").display().to_string(),
        "run",
        "--quiet",
        "--boundary=container",
        "--",
    ];
    let ours = with_true(&ours.map(str::to_owned));
    let theirs = match options(place, &ours) {
        Ok(theirs) => theirs,
        Err(why) => {
            let why = why.lines().last().unwrap_or_default().trim().to_owned();
            println!("  in a container: left out: {why}");
            return Ok(());
        }
    };
    let peer = "docker run with the same options";
    pairs::compare(place, "in a container of docker", &ours, (peer, &theirs))
}

/// What palisade tells the engine, with the engine's own `true` in place of the guest.
fn options(place: &Place, ours: &[String]) -> Done<Vec<String>> {
    let kept = place.folder("kept")?;
    let wrapper = place.write("wrapper/docker", WRAPPER)?;
    let failed = |error: std::io::Error| format!("prepare docker's options: {error}");
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let folder = wrapper.parent().map(Path::to_path_buf).unwrap_or_default();
    let path = format!("PATH={}:/usr/bin:/bin", folder.display());
    let env = ["env".to_owned(), path, format!("KEPT={}", kept.display())];
    once(place, &[&env[..], ours].concat())?;
    let read = |name: &str| fs::read_to_string(kept.join(name)).map_err(failed);
    let (from, to) = (read("from")?, kept.join("folder").display().to_string());
    let options = read("options")?.replace(from.trim(), &to);
    let wanted = |option: &&str| !option.starts_with("--name=");
    let as_true = |option: &str| match option.starts_with("--entrypoint=") {
        true => "--entrypoint=/usr/bin/true".to_owned(),
        false => option.to_owned(),
    };
    let program = PathBuf::from("/usr/bin/docker").display().to_string();
    let rest = options.lines().filter(wanted).map(as_true);
    Ok([program].into_iter().chain(rest).collect())
}
