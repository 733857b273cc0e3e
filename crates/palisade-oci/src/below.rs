//! What came along with a folder of the host that an engine mounts in a user namespace: the kernel gives such a folder only with
//! all that is mounted below it, and read-only holds for the folder alone. Whatever was there when the tree was laid out has a mount of
//! its own over it. What was mounted since is found here, in the container's own table, before the agent starts.

use std::path::{Path, PathBuf};

use palisade_boundary::StartError;

use crate::engine::cannot;
use crate::flags::{HostMount, Wanted, hidden_mount, own_mounts};
use crate::inspect::podman::ADDED;
use crate::tree::mount_points;

/// Looks at what a process of the container sees.
pub(crate) fn check(process: u32, wanted: &Wanted) -> Result<(), StartError> {
    let mut comes_along = wanted.mounts.iter().filter_map(|mount| match mount {
        HostMount::Bind {
            target,
            recursive: true,
            ..
        } => Some(target.as_path()),
        _ => None,
    });
    let Some(first) = comes_along.next() else {
        return Ok(());
    };
    let what = |shown: &Path| format!("check what is mounted below {} inside", shown.display());
    let mounted = mount_points(&process.to_string());
    let mounted = mounted.map_err(|e| cannot(what(first), e.to_string()))?;
    let own = own_mounts(wanted);
    let (hidden, _) = hidden_mount(wanted.engine);
    let all = wanted.mounts.iter().chain(&own);
    let places = all.map(HostMount::target);
    let places: Vec<&Path> = places
        .chain([hidden].into_iter().chain(ADDED).map(Path::new))
        .collect();
    for shown in [first].into_iter().chain(comes_along) {
        let below = |place: &&PathBuf| *place != shown && place.starts_with(shown);
        let mut below = mounted.iter().filter(below);
        if let Some(more) = below.find(|place| !is_covered(place, shown, &places)) {
            let cause = format!(
                "something was mounted at {} while the container was made, and would be shown with the access it has there",
                more.display()
            );
            let mut error = cannot(what(shown), cause);
            error.fix = Some("start the session again".into());
            return Err(error);
        }
    }
    Ok(())
}

/// Whether what is mounted below `shown` lies in or under another of these places.
pub(crate) fn is_covered(mounted: &Path, shown: &Path, places: &[&Path]) -> bool {
    let below = |place: &Path| place != shown && place.starts_with(shown);
    places
        .iter()
        .any(|place| below(place) && mounted.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::tests::wanted;
    use crate::tree::submounts;

    #[test]
    fn what_was_mounted_meanwhile_is_found_in_a_process_own_table() {
        let own = std::process::id();
        let root = |recursive| HostMount::Bind {
            source: "/".into(),
            target: "/".into(),
            read_only: true,
            recursive,
        };
        let mut wanted = wanted();
        wanted.mounts = vec![root(false)];
        check(own, &wanted).expect("nothing comes along");
        wanted.mounts = vec![root(true)];
        // Of /proc and /dev the engine makes its own, so it is another one.
        let below = submounts(Path::new("/")).expect("this machine's");
        let added = |place: &&std::path::PathBuf| ADDED.iter().any(|a| place.starts_with(a));
        let other = below.iter().filter(|place| !added(place));
        let error = check(own, &wanted).expect_err("such as /sys/fs/cgroup");
        assert!(error.cause.contains("was mounted at /"), "{error}");
        wanted.mounts.extend(other.map(|place| HostMount::Memory {
            target: place.clone(),
            options: String::new(),
        }));
        check(own, &wanted).expect("all of it lies under something");
    }
}
