//! The gate's service. Its container is no boundary, and no other place: it is shown the host's whole system, makes that its root, and the
//! gate runs there as it would outside, as whoever had the file made. It asks the engine what it made of the agent, and who may ask
//! an engine is as good as root anyway. So the check is the same, and nothing is believed that the guest says of itself.

use std::path::{Path, PathBuf};

use palisade_boundary::StartError;
use serde_json::{Map, Value, json};

use super::{bind, object, refused, text};
use crate::engine::cannot;
use crate::flags::Wanted;
use crate::folder::READY;
use crate::tree::Node;

/// What the gate's service runs.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Its variables. One without a value is passed on by whoever starts it.
    pub variables: Vec<(String, Option<String>)>,
    /// Palisade's state folder.
    pub state: PathBuf,
}

/// Where the gate finds the host's system.
const HOST: &str = "/host";
/// Folders of programs and libraries that are links on most systems.
const LINKS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];
const CHROOT: &str = "/usr/sbin/chroot";
const PIVOT_ROOT: &str = "/usr/sbin/pivot_root";
const ENV: &str = "/usr/bin/env";

/// The host's system as the root of all mounts: with another root the kernel makes no user namespace, by which owners are mapped.
const BECOME_THE_HOST: &str = "cd /host && /usr/sbin/pivot_root . . && umount -l . && exec \"$@\"";

/// To become who made the file where the host's system is, and for the engine's question whether all is ready.
const OF_OTHERS: [&str; 4] = ["SYS_CHROOT", "SETUID", "SETGID", "DAC_READ_SEARCH"];
/// What the gate does as root: enter the agent's mounts, lay what is shown there with its owners mapped, and give the agent what is its own.
const OF_ROOT: [&str; 14] = [
    "SYS_CHROOT",
    "SYS_ADMIN",
    "SYS_PTRACE",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "CHOWN",
    "FOWNER",
    "FSETID",
    "MKNOD",
    "SETUID",
    "SETGID",
    "SETPCAP",
    "SETFCAP",
    "KILL",
];

/// Who makes the file is who the gate is. Root has to come into the agent's mounts from there.
pub(super) fn service(
    wanted: &Wanted,
    gate: &Gate,
    links: &[(PathBuf, Node)],
) -> Result<Map<String, Value>, StartError> {
    let by_root = rustix::process::geteuid().is_root();
    let mut entry = if by_root {
        ["/bin/sh", "-c", BECOME_THE_HOST, "sh"]
            .map(str::to_owned)
            .to_vec()
    } else {
        as_caller()?
    };
    entry.extend([ENV, "-C"].map(str::to_owned));
    entry.push(text(&gate.directory)?);
    entry.extend(gate.words.iter().cloned());
    let (rights, options) = if by_root {
        (
            &OF_ROOT[..],
            &["seccomp=unconfined", "apparmor=unconfined"][..],
        )
    } else {
        (&OF_OTHERS[..], &["no-new-privileges"][..])
    };
    // Where the host has labels (SELinux), those of containers forbid to see its files.
    let options = [&["label=disable"], options].concat();
    let place = wanted.base.join(&wanted.session);
    let ready = place.join(READY);
    let ready = if by_root { ready } else { below_host(&ready)? };
    Ok(object(json!({
        "container_name": format!("palisade-gate-{}", wanted.session),
        "pull_policy": "never",
        "network_mode": "host",
        "pid": "host",
        "read_only": true,
        "user": "0:0",
        "restart": "no",
        "entrypoint": entry,
        "environment": variables(gate),
        "healthcheck": {
            "test": ["CMD", "/usr/bin/test", "-e", text(&ready)?],
            "interval": "1s", "timeout": "10s", "retries": 60,
        },
        "volumes": binds(gate, &place, links, by_root)?,
        "cap_drop": ["ALL"],
        "cap_add": rights,
        "security_opt": options,
    })))
}

/// The host's system as the root of one program that is the caller's, by number.
fn as_caller() -> Result<Vec<String>, StartError> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let groups = rustix::process::getgroups()
        .map_err(|e| cannot("read your groups".into(), e.to_string()))?;
    let number = |id: u32| format!("+{id}");
    let groups: Vec<String> = groups.iter().map(|group| number(group.as_raw())).collect();
    Ok(vec![
        CHROOT.to_owned(),
        format!(
            "--userspec={}:{}",
            number(uid.as_raw()),
            number(gid.as_raw())
        ),
        format!("--groups={}", groups.join(",")),
        HOST.to_owned(),
    ])
}

fn variables(gate: &Gate) -> Vec<String> {
    let word = |(name, value): &(String, Option<String>)| match value {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    };
    gate.variables.iter().map(word).collect()
}

fn binds(
    gate: &Gate,
    place: &Path,
    links: &[(PathBuf, Node)],
    by_root: bool,
) -> Result<Vec<Value>, StartError> {
    // What is unmounted on the host goes from the gate as well. Docker demands it for what its own files lie in.
    let mut all = vec![bind(Path::new("/"), Path::new(HOST), !by_root, "rslave")?];
    for folder in [gate.state.as_path(), place] {
        all.push(bind(folder, &below_host(folder)?, false, "rprivate")?);
    }
    let is_link = |path: &Path| links.iter().any(|(link, _)| link == path);
    for path in ["/usr"].into_iter().chain(LINKS).map(Path::new) {
        if path.is_dir() && !is_link(path) {
            all.push(bind(path, path, true, "rprivate")?);
        }
    }
    Ok(all)
}

/// What of the host's system has to be in an image for its programs to run.
pub(super) fn links() -> Result<Vec<(PathBuf, Node)>, StartError> {
    for program in [CHROOT, PIVOT_ROOT, ENV] {
        if !Path::new(program).exists() {
            let cause = format!("there is no {program}");
            return Err(refused(&cause, "use `--show-command`"));
        }
    }
    let links = LINKS.iter().filter_map(|path| {
        let target = std::fs::read_link(path).ok()?;
        Some((PathBuf::from(path), Node::Link(target)))
    });
    Ok(links.collect())
}

fn below_host(path: &Path) -> Result<PathBuf, StartError> {
    Ok(PathBuf::from(format!("{HOST}{}", text(path)?)))
}
