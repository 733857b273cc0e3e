//! What came along with a folder of the host that an engine mounts in a user namespace: the kernel gives such a folder only with
//! all that is mounted below it, and read-only holds for the folder alone. Whatever was there when the tree was laid out has a mount of
//! its own over it. What was mounted since is found here, in the container's own table, before the agent starts.

use std::path::Path;

use palisade_boundary::StartError;

use crate::engine::cannot;
use crate::flags::{HostMount, Wanted, hidden_mount, own_mounts};
use crate::inspect::podman::ADDED;
use crate::tree::mounted_below;

/// Looks at what a process of the container sees.
pub(crate) fn check(process: u32, wanted: &Wanted) -> Result<(), StartError> {
    let own = own_mounts(wanted);
    let (hidden, _) = hidden_mount(wanted.engine);
    let all = wanted.mounts.iter().chain(&own);
    let places = all.map(HostMount::target);
    let places: Vec<&Path> = places
        .chain([hidden].into_iter().chain(ADDED).map(Path::new))
        .collect();
    for mount in &wanted.mounts {
        let HostMount::Bind {
            target,
            recursive: true,
            ..
        } = mount
        else {
            continue;
        };
        let what = || format!("check what is mounted below {} inside", target.display());
        let table = mounted_below(target, &process.to_string());
        let mounted = table.map_err(|e| cannot(what(), e.to_string()))?;
        if let Some(more) = mounted.iter().find(|m| !is_covered(m, target, &places)) {
            let cause = format!(
                "something was mounted at {} while the container was made, and would be shown with the access it has there",
                more.display()
            );
            let mut error = cannot(what(), cause);
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
        let below = mounted_below(Path::new("/"), "self").expect("this machine's");
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
