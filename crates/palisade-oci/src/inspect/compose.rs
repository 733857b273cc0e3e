//! What differs where a compose file started the container: it has no word for a mount without what lies below, and clients of
//! different ages ask the engine for the same mounts by different means. So what is looked at is what was mounted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Check, wanted_mounts};
use crate::below::is_covered;
use crate::flags::{HostMount, Wanted, own_mounts};
use crate::podman::volume_name;
use crate::tree::submounts;

/// Type, source or volume, target, writable, propagation.
type Mounted = (String, String, String, bool, String);

pub(super) fn shown(one: &Value, host: &Value, wanted: &Wanted) -> [Check; 3] {
    let asked = host["Mounts"].as_array().into_iter().flatten();
    let images = asked.filter(|mount| mount["Type"] == "image").count();
    let mounted = one["Mounts"].as_array().map(Vec::len);
    [
        ("mounts", found(&one["Mounts"]) == expected(wanted)),
        (
            "what is mounted",
            mounted == Some(wanted_mounts(wanted).len()) && images == 0,
        ),
        ("mounts below what is shown", uncovered(wanted).is_none()),
    ]
}

fn found(mounts: &Value) -> BTreeSet<Mounted> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let list = mounts.as_array().into_iter().flatten();
    list.map(|one| {
        let is_volume = one["Type"] == "volume";
        let source = &one[if is_volume { "Name" } else { "Source" }];
        let propagation = if is_volume {
            String::new()
        } else {
            text(&one["Propagation"])
        };
        (
            text(&one["Type"]),
            text(source),
            text(&one["Destination"]),
            one["RW"] == true,
            propagation,
        )
    })
    .collect()
}

fn expected(wanted: &Wanted) -> BTreeSet<Mounted> {
    let text = |path: &Path| path.display().to_string();
    let mut overlays = 0..;
    let own = own_mounts(wanted);
    let all = wanted.mounts.iter().chain(&own);
    all.filter_map(|mount| match mount {
        HostMount::Bind {
            source,
            target,
            read_only,
            ..
        } => Some((
            "bind".to_owned(),
            text(source),
            text(target),
            !read_only,
            "rprivate".to_owned(),
        )),
        HostMount::Overlay { target, .. } => {
            let name = volume_name(&wanted.session, overlays.next().unwrap_or_default());
            let kind = "volume".to_owned();
            Some((kind, name, text(target), true, String::new()))
        }
        HostMount::Memory { .. } => None,
    })
    .collect()
}

/// A place of the host that is mounted below one that is shown and has no mount of its own: such a mount would be shown with the access
/// it has here. One that cannot be looked for is one.
fn uncovered(wanted: &Wanted) -> Option<PathBuf> {
    let own = own_mounts(wanted);
    let places: Vec<&Path> = wanted
        .mounts
        .iter()
        .chain(&own)
        .map(HostMount::target)
        .collect();
    for mount in wanted.mounts.iter().chain(&own) {
        let HostMount::Bind { source, target, .. } = mount else {
            continue;
        };
        let Ok(below) = submounts(source) else {
            return Some(source.clone());
        };
        for mounted in below {
            let inside = target.join(mounted.strip_prefix(source).ok()?);
            if !is_covered(&inside, target, &places) {
                return Some(mounted);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::flags::StartedBy;

    fn wanted() -> Wanted {
        let mut wanted = super::super::tests::wanted();
        wanted.by = StartedBy::Compose;
        wanted
    }

    /// As docker 20.10 gives account of what an older compose asked for.
    fn account() -> Value {
        let bind = |source: &str, target: &str| {
            json!({
                "Type": "bind", "Source": source, "Destination": target, "Mode": "ro", "RW": false,
                "Propagation": "rprivate",
            })
        };
        let own = own_mounts(&wanted()).map(|mount| match mount {
            HostMount::Bind { source, target, .. } => bind(
                source.to_str().expect("text"),
                target.to_str().expect("text"),
            ),
            other => panic!("{other:?}"),
        });
        let volume = json!({
            "Type": "volume", "Name": "palisade-s-0", "Source": "/var/lib/docker/volumes/x/_data",
            "Destination": "/over", "Driver": "local", "RW": true, "Propagation": "",
        });
        let mut mounts = vec![bind("/ws", "/ws"), volume];
        mounts.extend(own);
        json!({ "Mounts": mounts })
    }

    fn control(account: &Value, wanted: &Wanted) -> Option<&'static str> {
        let all = shown(account, &Value::Null, wanted);
        all.into_iter()
            .find(|(_, holds)| !holds)
            .map(|(name, _)| name)
    }

    #[test]
    fn what_was_mounted_is_what_was_wanted() {
        assert_eq!(control(&account(), &wanted()), None);
        for (pointer, value) in [
            ("/Mounts/0/RW", json!(true)),
            ("/Mounts/0/Source", json!("/")),
            ("/Mounts/0/Propagation", json!("rshared")),
            ("/Mounts/1/Name", json!("another")),
            ("/Mounts/1/Type", json!("bind")),
        ] {
            let mut changed = account();
            *changed.pointer_mut(pointer).expect("there") = value;
            assert_eq!(control(&changed, &wanted()), Some("mounts"), "{pointer}");
        }
        let mut more = account();
        let again = more["Mounts"][0].clone();
        more["Mounts"].as_array_mut().expect("list").push(again);
        assert_eq!(control(&more, &wanted()), Some("what is mounted"));
    }

    #[test]
    fn what_is_mounted_below_has_a_mount_of_its_own() {
        let bind = |place: &Path| HostMount::Bind {
            source: place.to_path_buf(),
            target: place.to_path_buf(),
            read_only: true,
            recursive: false,
        };
        let root = Path::new("/");
        let mut wanted = wanted();
        wanted.mounts = vec![bind(root)];
        let below = submounts(root).expect("this machine's");
        assert!(below.contains(&uncovered(&wanted).expect("such as /proc")));
        wanted.mounts.extend(below.iter().map(|place| bind(place)));
        assert_eq!(uncovered(&wanted), None);
    }
}
