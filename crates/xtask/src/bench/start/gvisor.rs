//! A session in gVisor beside `runsc run` alone with the bundle that palisade wrote for it: the system's own `true` in place of the guest.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::place::{Binaries, Place};
use super::{once, pairs, with_true};
use crate::shell::{self, Done};

/// What the bundle starts.
const GUEST: &str = "\"/run/palisade/guest\"]";

/// Measures as this user, where there is gVisor.
pub(super) fn run(binaries: &Binaries, place: &Place) -> Done {
    if let Some(why) = missing(place) {
        println!("  in gVisor: left out: {why}");
        return Ok(());
    }
    let ours = with_true(&session(binaries, None));
    let theirs = alone(binaries, place)?;
    let peer = "runsc run with the same bundle";
    pairs::compare(place, "in gVisor", &ours, (peer, &theirs))
}

fn missing(place: &Place) -> Option<&'static str> {
    if shell::program("runsc").is_none() {
        return Some("runsc is not installed (package runsc)");
    }
    // In the user namespace that palisade makes it would be no peer any more, and outside of it it does not run.
    (place.user != "root").then_some("runsc alone is run by root")
}

fn session(binaries: &Binaries, policy: Option<&Path>) -> Vec<String> {
    let mut words = vec![
        binaries.path("palisade").display().to_string(),
        "run".into(),
        "--quiet".into(),
        "--boundary=gvisor".into(),
        "--accept-weaker=limits.processes".into(),
    ];
    words.extend(policy.map(|policy| format!("--policy={}", policy.display())));
    words.push("--".into());
    words
}

/// Keeps the session's folder with what is mounted in it, and notes what `runsc` was told.
fn wrapper(runsc: &Path, kept: &Path) -> String {
    format!(
        r#"#!/bin/bash
for word in "$@"; do [[ "$word" == --root=* ]] && folder=$(dirname "${{word#--root=}}"); done
if [[ " $* " == *" run "* && ! -e {kept}/words ]]; then
  cp -a "$folder" {kept}/folder
  # Closed to all, so that it was not copied whole.
  chmod 700 {kept}/folder/sys; mkdir -p {kept}/folder/sys/fs/cgroup
  echo "$folder" > {kept}/from; printf '%s\n' "$@" > {kept}/words
fi
exec {runsc} "$@"
"#,
        kept = kept.display(),
        runsc = runsc.display()
    )
}

/// The same sandbox without palisade.
fn alone(binaries: &Binaries, place: &Place) -> Done<Vec<String>> {
    let failed = |error: std::io::Error| format!("prepare runsc's bundle: {error}");
    let runsc = shell::program("runsc").ok_or("runsc is not installed")?;
    let kept = place.folder("kept-runsc")?;
    let program = place.write("wrapper/runsc", &wrapper(&runsc, &kept))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(failed)?;
    let policy = format!(
        "version = 1\n[boundary.gvisor]\nrunsc = \"{}\"\n",
        program.display()
    );
    let policy = place.write("gvisor.toml", &policy)?;
    once(place, &with_true(&session(binaries, Some(&policy))))?;
    let read = |name: &str| fs::read_to_string(kept.join(name)).map_err(failed);
    let (from, to) = (read("from")?, kept.join("folder").display().to_string());
    let from = from.trim();
    let config = kept.join("folder/bundle/config.json");
    let text = fs::read_to_string(&config).map_err(failed)?;
    if !text.contains(GUEST) {
        return Err("the bundle starts no guest".into());
    }
    let text = text.replace(from, &to).replace(GUEST, "\"/usr/bin/true\"]");
    fs::write(&config, text).map_err(failed)?;
    let words = read("words")?.replace(from, &to);
    let runsc = runsc.display().to_string();
    Ok([runsc]
        .into_iter()
        .chain(words.lines().map(str::to_owned))
        .collect())
}
