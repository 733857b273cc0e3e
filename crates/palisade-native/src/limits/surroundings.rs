//! What limits can rest on: the caller's control groups, the kernel's age, the processors.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::thread::CpuSet;

/// What this machine gives the calling process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The caller's control groups.
    pub groups: GroupView,
    /// Major and minor version of the kernel.
    pub kernel: (u32, u32),
    /// The processors the caller may use.
    pub processors: CpuSet,
}

/// The caller's control groups, as directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupView {
    /// Version 2, where it is mounted.
    pub unified: Option<Unified>,
    /// Version 1: each controller with the caller's group in its hierarchy.
    pub legacy: Vec<(String, PathBuf)>,
}

/// The version 2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unified {
    /// Where it is mounted. Nothing above can be seen.
    pub top: PathBuf,
    /// The caller's group, `top` or below.
    pub own: PathBuf,
}

/// Longest `/proc` file read here. A `mountinfo` line takes about 150 bytes; machines with thousands of mounts exist.
const MAX_PROC_FILE: usize = 4 << 20;

impl Default for Surroundings {
    /// What is known without reading a file: enough where no limit but the default one is asked for.
    fn default() -> Self {
        Self {
            groups: GroupView::default(),
            kernel: kernel_version(),
            processors: rustix::thread::sched_getaffinity(None).unwrap_or_default(),
        }
    }
}

impl Surroundings {
    /// Looks at the calling process.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn read() -> io::Result<Self> {
        let groups = read_bounded("/proc/self/cgroup")?;
        let mounts = read_bounded("/proc/self/mountinfo")?;
        Ok(Self {
            groups: GroupView::parse(&groups, &mounts),
            ..Self::default()
        })
    }
}

impl GroupView {
    /// Reads `/proc/self/cgroup` and `/proc/self/mountinfo` (proc(5), cgroups(7)).
    pub fn parse(groups: &str, mounts: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mounts.lines().filter_map(Mount::parse).collect();
        let mut view = Self::default();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(id), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if id == "0" && controllers.is_empty() {
                view.unified = mounts.iter().filter(|m| m.kind == "cgroup2").find_map(|m| {
                    Some(Unified {
                        top: m.point.clone(),
                        own: m.directory(path)?,
                    })
                });
                continue;
            }
            for controller in controllers.split(',') {
                let directory = mounts
                    .iter()
                    .filter(|m| m.kind == "cgroup" && m.has_controller(controller))
                    .find_map(|m| m.directory(path));
                if let Some(directory) = directory {
                    view.legacy.push((controller.to_owned(), directory));
                }
            }
        }
        view
    }

    /// The caller's version 1 group of a controller.
    pub fn legacy(&self, controller: &str) -> Option<&Path> {
        self.legacy
            .iter()
            .find(|(name, _)| name == controller)
            .map(|(_, directory)| directory.as_path())
    }
}

/// One line of `mountinfo`.
struct Mount<'a> {
    root: String,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        Some(Self {
            root: unescape(before.next()?),
            point: unescape(before.next()?).into(),
            kind: after.next()?,
            options: after.nth(1)?,
        })
    }

    fn has_controller(&self, controller: &str) -> bool {
        self.options.split(',').any(|option| option == controller)
    }

    /// Where a group's path within the hierarchy is to be found, if this mount shows it.
    fn directory(&self, group: &str) -> Option<PathBuf> {
        let below = Path::new(group).strip_prefix(&self.root).ok()?;
        // A group outside the process's own view begins with `/..` (cgroup_namespaces(7)).
        let climbs = below.components().any(|c| c.as_os_str() == "..");
        (!climbs).then(|| {
            if below.as_os_str().is_empty() {
                self.point.clone()
            } else {
                self.point.join(below)
            }
        })
    }
}

/// Blanks and backslashes are written as octal numbers.
fn unescape(field: &str) -> String {
    let mut plain = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn read_bounded(path: &str) -> io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?
        .take(MAX_PROC_FILE as u64)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The running kernel's major and minor version; 0.0 where it does not say.
pub(crate) fn kernel_version() -> (u32, u32) {
    let name = rustix::system::uname();
    parse_release(&name.release().to_string_lossy())
}

fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unified_machine_is_read() {
        let view = GroupView::parse(
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/term.scope\n",
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        let unified = view.unified.expect("version 2");
        assert_eq!(unified.top, Path::new("/sys/fs/cgroup"));
        assert!(unified.own.ends_with("app.slice/term.scope"));
        assert!(view.legacy.is_empty());
    }

    #[test]
    fn a_legacy_machine_is_read() {
        let view = GroupView::parse(
            "8:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/x\n1:name=systemd:/\n0::/\n",
            "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /cg/mem\\040ory rw - cgroup cgroup rw,memory\n\
             39 31 0:36 / /cg/pids rw - cgroup cgroup rw,pids\n",
        );
        assert_eq!(view.unified, None);
        assert_eq!(view.legacy("memory"), Some(Path::new("/cg/mem ory/a/b")));
        assert_eq!(view.legacy("pids"), Some(Path::new("/cg/pids")));
        assert_eq!(view.legacy("cpu"), Some(Path::new("/cg/cpu/x")));
        assert_eq!(view.legacy("cpuset"), None);
    }

    #[test]
    fn a_container_shows_its_own_part_only() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let view = GroupView::parse("0::/docker/abc/inner\n", mounts);
        let own = view.unified.map(|u| u.own);
        assert_eq!(own.as_deref(), Some(Path::new("/sys/fs/cgroup/inner")));
        assert_eq!(GroupView::parse("0::/docker/other\n", mounts).unified, None);
        let climbing = GroupView::parse("0::/docker/abc/../x\n", mounts);
        assert_eq!(climbing.unified, None);
    }

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(parse_release("6.18.44-fc-v595"), (6, 18));
        assert_eq!(parse_release("5.4.0-1-cloud-amd64"), (5, 4));
        assert_eq!(parse_release("unknown"), (0, 0));
        assert!(kernel_version() > (4, 0));
    }
}
