//! The boundary that palisade builds here, as bubblewrap's arguments. It is read off a session, so that both build the
//! same thing whatever this machine shows inside.

use std::collections::BTreeSet;

use super::place::Place;
use crate::shell::Done;

/// What a session says of its tree: mounts, links of the root, folders of the root.
const ASK: &str = "cat /proc/self/mountinfo; echo ---; find / /etc -xdev -maxdepth 1 -type l -printf '%p %l\\n' 2>/dev/null; \
                   echo ---; find / -xdev -mindepth 1 -maxdepth 2 -type d 2>/dev/null";

/// Bubblewrap's arguments for the tree, without the program to run.
///
/// The files palisade makes up (`/etc/passwd` and the like) are left out: bubblewrap does less work here, not more.
pub(super) fn arguments(place: &Place, run: &[String]) -> Done<Vec<String>> {
    let (program, rest) = run.split_first().ok_or("no command to run")?;
    let done = place
        .command(program)
        .args(rest)
        .args(["sh", "-c", ASK])
        .output()
        .map_err(|error| format!("start {program}: {error}"))?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let mut parts = text.split("---\n");
    let (Some(mounts), Some(links), Some(folders)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(format!(
            "a session does not say what it is made of: {}",
            String::from_utf8_lossy(&done.stderr)
        ));
    };
    let mut arguments = isolation(place);
    let mut mounted = BTreeSet::from(["/dev".to_owned()]);
    // Parents first: bubblewrap covers what stands below a later mount.
    let mut mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    mounts.sort_by(|a, b| a.target.cmp(&b.target));
    arguments.extend(["--dev", "/dev"].map(str::to_owned));
    for mount in mounts {
        mounted.insert(mount.target.clone());
        arguments.extend(mount.arguments());
    }
    for (path, target) in links.lines().filter_map(|line| line.split_once(' ')) {
        if !below_any(path, &mounted) {
            arguments.extend(["--symlink", target, path].map(str::to_owned));
        }
    }
    for folder in folders
        .lines()
        .filter(|folder| !below_any(folder, &mounted))
    {
        arguments.extend(["--dir", folder].map(str::to_owned));
    }
    arguments.push("--chdir".into());
    arguments.push(place.workspace().display().to_string());
    Ok(arguments)
}

fn isolation(place: &Place) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--unshare-all",
        "--die-with-parent",
        "--clearenv",
        "--hostname",
        "palisade",
    ]
    .map(str::to_owned)
    .into();
    for (name, value) in [("PATH", "/usr/bin:/bin"), ("TMPDIR", "/tmp")] {
        arguments.extend(["--setenv", name, value].map(str::to_owned));
    }
    if place.user == "root" {
        // palisade never runs the agent as root either.
        let identity = ["--unshare-user", "--uid", "1000", "--gid", "1000"];
        arguments.extend(identity.map(str::to_owned));
    }
    arguments
}

/// A line of `/proc/self/mountinfo` (proc(5)), as far as it matters.
struct Mount {
    source: String,
    target: String,
    writable: bool,
    kind: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, fs) = line.split_once(" - ")?;
        let fields: Vec<&str> = mount.split(' ').collect();
        Some(Self {
            source: (*fields.get(3)?).to_owned(),
            target: (*fields.get(4)?).to_owned(),
            writable: fields.get(5)?.split(',').any(|option| option == "rw"),
            kind: fs.split(' ').next()?.to_owned(),
        })
    }

    fn arguments(&self) -> Vec<String> {
        let target = self.target.as_str();
        let words = match self.kind.as_str() {
            // The root itself, and what `--proc` and `--dev` bring.
            _ if target == "/" || target.starts_with("/proc/") || target.starts_with("/dev") => {
                Vec::new()
            }
            "proc" => vec!["--proc", target],
            "tmpfs" | "devtmpfs" => vec!["--tmpfs", target],
            _ if self.writable => vec!["--bind", &self.source, target],
            _ => vec!["--ro-bind", &self.source, target],
        };
        words.into_iter().map(str::to_owned).collect()
    }
}

fn below_any(path: &str, mounted: &BTreeSet<String>) -> bool {
    mounted
        .iter()
        .filter(|target| *target != "/")
        .any(|target| {
            path == target
                || path
                    .strip_prefix(target.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        })
}
