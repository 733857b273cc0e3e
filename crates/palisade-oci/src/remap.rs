//! A daemon that maps users (docker's `userns-remap`): root of its containers is an ordinary number of this machine, and so is
//! the agent. Whoever runs palisade as root uses it: the workspace is laid with its owner's files as the agent's (`late`).
//!
//! The daemon is asked where it keeps its files, which is a folder named by the numbers it begins at: its full account of
//! itself takes ten times as long as one image's.

use std::fs;
use std::io;
use std::path::Path;

use palisade_boundary::{Identity, StartError};
use serde_json::Value;

use crate::api::{Api, ClientSettings};
use crate::engine::{Engine, SHORT_PATIENCE, cannot};
use crate::image::REPOSITORY;

/// The host's ids that a container's root has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remapped {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// What an engine maps. None where it maps nobody, or does not answer: then the start says so.
pub fn remapped(engine: Engine, client: &ClientSettings) -> Option<Remapped> {
    if engine != Engine::Docker {
        return None;
    }
    let Some(api) = Api::of(client) else {
        let info = ["info", "--format", "{{json .}}"];
        let found = engine
            .ask_in_passing("ask the engine for its settings", &info)
            .ok()?;
        return of_info(&serde_json::from_str(&found).ok()?);
    };
    let get = |path: &str| {
        let (status, words) = api
            .get(
                engine,
                "ask the engine for its settings",
                path,
                SHORT_PATIENCE,
            )
            .ok()?;
        let value: Value = serde_json::from_slice(&words).ok()?;
        (status == 200).then_some(value)
    };
    // An image of ours, whose place tells.
    let filter = format!("/images/json?filters=%7B%22reference%22%3A%5B%22{REPOSITORY}%22%5D%7D");
    let image = get(&filter)?;
    let image = image[0]["Id"].as_str();
    let image = image.and_then(|image| get(&format!("/images/{image}/json")));
    if image.is_some_and(|image| lies_outside_of_any_mapping(&image)) {
        return None;
    }
    of_info(&get("/info")?)
}

/// Whether the account of an image says where it lies, and that is no folder of mapped users.
fn lies_outside_of_any_mapping(image: &Value) -> bool {
    let data = image["GraphDriver"]["Data"].as_object();
    let mut places = data
        .into_iter()
        .flatten()
        .filter_map(|(_, value)| value.as_str());
    let known = |place: &str| place.starts_with('/');
    let mapped = |place: &str| place.split('/').any(|name| ids(name).is_some());
    places
        .next()
        .is_some_and(|first| known(first) && !mapped(first))
        && places.all(|place| !mapped(place))
}

/// What the daemon says of itself.
pub(crate) fn of_info(info: &Value) -> Option<Remapped> {
    let options = info["SecurityOptions"].as_array()?;
    let maps = |option: &Value| option.as_str().is_some_and(|o| o.contains("name=userns"));
    if !options.iter().any(maps) {
        return None;
    }
    let root = info["DockerRootDir"].as_str()?;
    ids(Path::new(root).file_name()?.to_str()?)
}

/// `231072.231072`
fn ids(name: &str) -> Option<Remapped> {
    let (uid, gid) = name.split_once('.')?;
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok())?
    };
    Some(Remapped {
        uid: number(uid)?,
        gid: number(gid)?,
    })
}

/// Whether the agent is on this machine who it should be: by the container's own table of users.
pub(crate) fn check(guest: u32, identity: &Identity) -> Result<(), StartError> {
    let what = || "check who the agent is on this machine".to_owned();
    let read = |name: &str| {
        let path = format!("/proc/{guest}/{name}");
        let text = fs::read_to_string(&path);
        text.map_err(|e| cannot(what(), format!("{path}: {e}")))
    };
    let both = [
        (read("uid_map")?, identity.uid, identity.host_uid),
        (read("gid_map")?, identity.gid, identity.host_gid),
    ];
    for (map, inside, outside) in both {
        let found = of_map(&map, inside).map_err(|e| cannot(what(), e.to_string()))?;
        if found != Some(outside) {
            let found = found.map_or("nobody".to_owned(), |id| id.to_string());
            let mut error = cannot(
                what(),
                format!("the container's user {inside} is {found} here, not {outside}"),
            );
            error.fix = Some(NO_REMAP.into());
            return Err(error);
        }
    }
    Ok(())
}

/// What somebody does whose files a mapped agent could not use.
pub const NO_REMAP: &str = "run palisade as root (sudo), use a daemon without userns-remap, `engine = \"podman\"`, or the native boundary";

/// The id outside, by a table of user_namespaces(7).
fn of_map(map: &str, inside: u32) -> io::Result<Option<u32>> {
    for line in map.lines() {
        let numbers: Result<Vec<u32>, _> = line.split_whitespace().map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[first, outside, count]) => {
                let further = inside.checked_sub(first).filter(|further| *further < count);
                if let Some(further) = further {
                    return Ok(outside.checked_add(further));
                }
            }
            _ => return Err(io::Error::other("its table of users cannot be read")),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_daemon_maps_is_told_by_where_it_keeps_its_files() {
        let of = |options: &[&str], root: &str| {
            of_info(&json!({ "SecurityOptions": options, "DockerRootDir": root }))
        };
        let remapped = Some(Remapped {
            uid: 231_072,
            gid: 231_073,
        });
        let on = ["name=seccomp,profile=default", "name=userns"];
        assert_eq!(of(&on, "/var/lib/docker/231072.231073"), remapped);
        // Only a name.
        assert_eq!(of(&on[..1], "/srv/231072.231073"), None);
        for odd in [
            "/var/lib/docker",
            "/a/1.",
            "/a/.1",
            "/a/1.x",
            "/a/+1.2",
            "/",
        ] {
            assert_eq!(of(&on, odd), None, "{odd}");
        }
    }

    #[test]
    fn an_image_shows_that_nobody_is_mapped_only_where_it_says_where_it_lies() {
        let at = |folder: &str| {
            let upper = format!("{folder}/overlay2/ab/diff");
            lies_outside_of_any_mapping(
                &json!({ "GraphDriver": { "Data": { "UpperDir": upper } } }),
            )
        };
        assert!(at("/var/lib/docker"));
        assert!(!at("/var/lib/docker/231072.231072"));
        assert!(!at("relative"));
        let other = json!({ "GraphDriver": { "Data": null, "Name": "overlayfs" } });
        assert!(!lies_outside_of_any_mapping(&other));
    }

    #[test]
    fn a_table_of_users_is_read_as_the_kernel_does() {
        let of = |map: &str, inside| of_map(map, inside).expect("a table");
        let whole = "         0          0 4294967295\n";
        assert_eq!(of(whole, 1000), Some(1000));
        let mapped = "0 300000 65536\n70000 9 1\n";
        assert_eq!(of(mapped, 0), Some(300_000));
        assert_eq!(of(mapped, 65_535), Some(365_535));
        assert_eq!(of(mapped, 65_536), None);
        assert_eq!(of(mapped, 70_000), Some(9));
        assert!(of_map("0 1", 0).is_err());
    }

    #[test]
    fn an_agent_who_is_somebody_else_here_is_told() {
        let own = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let identity = |host_uid| Identity {
            uid: own,
            gid: group,
            host_uid,
            host_gid: group,
        };
        check(std::process::id(), &identity(own)).expect("the same");
        let error = check(std::process::id(), &identity(own + 1)).expect_err("another");
        assert!(error.cause.contains("not"), "{error}");
    }
}
