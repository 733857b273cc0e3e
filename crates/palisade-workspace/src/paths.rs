//! Paths a person wrote, turned into paths that can be shown.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

/// A path of the host that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// As written: absolute, without `.` and `..`, links not followed.
    pub written: PathBuf,
    /// Where it really lies: every link followed.
    pub real: PathBuf,
    /// Whether it is a folder.
    pub folder: bool,
}

/// Why a path cannot be shown. Each is a sentence about the path, to be put behind it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is not there.
    #[error("does not exist")]
    Missing,
    /// It is there, but cannot be looked at.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A workspace has to be a folder.
    #[error("is not a folder")]
    NotFolder,
    /// The root.
    #[error("is the whole file system")]
    Root,
    /// The home folder or one above it.
    #[error("holds the whole home folder")]
    Home,
    /// A folder that belongs to the system.
    #[error("is a system folder")]
    System,
    /// `/proc`, `/sys`, `/dev`, `/run`: kernel and services of the host.
    #[error("belongs to the host's kernel or services")]
    HostService,
    /// A socket, pipe or device: a way to talk to the host.
    #[error("is a {0}, not a file or folder")]
    Special(&'static str),
    /// `~name`, which would need the host's user list.
    #[error("names another user's home")]
    OtherHome,
}

/// Makes a written path absolute: `~` is `home`, anything relative starts at `base`. The file system is not asked.
///
/// # Errors
/// `~name`.
pub fn expand(text: &str, base: &Path, home: &Path) -> Result<PathBuf, PathError> {
    let path = match text.strip_prefix('~') {
        None => base.join(text),
        Some("") => home.to_path_buf(),
        Some(rest) => match rest.strip_prefix('/') {
            Some(below) => home.join(below.trim_start_matches('/')),
            None => return Err(PathError::OtherHome),
        },
    };
    Ok(plain(&path))
}

/// The path without `.` and `..`, by its text alone.
pub(crate) fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Finds a path on the host. `path` is absolute.
///
/// # Errors
/// It is missing, cannot be looked at, or is neither file nor folder.
pub fn locate(path: &Path) -> Result<Located, PathError> {
    // First of all, since most of the paths a profile names are missing, and following links takes a call a folder.
    let kind = fs::metadata(path)
        .map_err(|error| failed(&error))?
        .file_type();
    let special = [
        (kind.is_socket(), "socket"),
        (kind.is_fifo(), "pipe"),
        (kind.is_char_device() || kind.is_block_device(), "device"),
    ];
    if let Some((_, what)) = special.iter().find(|(is, _)| *is) {
        return Err(PathError::Special(what));
    }
    let real = path.canonicalize().map_err(|error| failed(&error))?;
    Ok(Located {
        written: path.to_path_buf(),
        real,
        folder: kind.is_dir(),
    })
}

/// The home folder, by the path people use and by the one it really has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    written: PathBuf,
    real: PathBuf,
}

impl Home {
    /// Looks up where a home folder really lies. One that does not exist is taken as written.
    pub fn new(written: &Path) -> Self {
        Self {
            written: written.to_path_buf(),
            real: written
                .canonicalize()
                .unwrap_or_else(|_| written.to_path_buf()),
        }
    }
}

/// Whether a path may be the workspace.
///
/// # Errors
/// It is no folder, the root, the home folder or one above it, or belongs to the system.
pub fn check_workspace(path: &Located, home: &Home) -> Result<(), PathError> {
    if !path.folder {
        return Err(PathError::NotFolder);
    }
    check_shown(path, home, true)
}

/// Whether a path may be shown beside the workspace.
///
/// # Errors
/// The root, the home folder or one above it, the kernel's and services' folders, and, to be written, a system folder.
pub fn check_shown(path: &Located, home: &Home, writable: bool) -> Result<(), PathError> {
    let places = [&path.real, &path.written];
    let different = if path.real == path.written { 1 } else { 2 };
    for place in &places[..different] {
        if place.parent().is_none() {
            return Err(PathError::Root);
        }
        if home.written.starts_with(place) || home.real.starts_with(place) {
            return Err(PathError::Home);
        }
        if is_host_only(place) {
            return Err(PathError::HostService);
        }
        if is_one_of(place, &CROWDED) || (writable && is_system_path(place)) {
            return Err(PathError::System);
        }
    }
    Ok(())
}

/// Whether something of the session's own may be put at a path inside: a volume, a file system in memory. Nothing has to be
/// there on the host. `/tmp` may be replaced, since the host's is never shown.
///
/// # Errors
/// The root, the home folder or one above it, a folder of the system, the kernel's and services' folders.
pub fn check_made(path: &Path, home: &Home) -> Result<(), PathError> {
    if path.parent().is_none() {
        return Err(PathError::Root);
    }
    if home.written.starts_with(path) || home.real.starts_with(path) {
        return Err(PathError::Home);
    }
    if is_host_only(path) {
        return Err(PathError::HostService);
    }
    if is_system_path(path) && path != Path::new("/tmp") {
        return Err(PathError::System);
    }
    Ok(())
}

/// Folders with things of every user and program, sockets among them: never shown whole, not even to be read.
const CROWDED: [&str; 4] = ["/home", "/tmp", "/var", "/var/tmp"];

/// Folders that many users or programs share. They may hold a workspace, but not be one, nor be shown to be written.
const SHARED: [&str; 13] = [
    "/home",
    "/media",
    "/mnt",
    "/nix",
    "/opt",
    "/srv",
    "/tmp",
    "/usr/local",
    "/usr/src",
    "/var",
    "/var/lib",
    "/var/log",
    "/var/tmp",
];

/// Whether the host's kernel and services are to be reached there: nothing of it is shown, whoever asks.
fn is_host_only(path: &Path) -> bool {
    matches!(
        top_names(path),
        (Some("proc" | "sys" | "dev" | "run" | "boot"), _) | (Some("var"), Some("run"))
    )
}

/// Whether a path is the root, or belongs to the system so that the agent must not change it. Below `/usr/local` and `/usr/src`
/// people keep projects.
pub(crate) fn is_system_path(path: &Path) -> bool {
    match top_names(path) {
        (None, _) => true,
        (Some("usr"), Some("local" | "src")) => is_one_of(path, &SHARED),
        (Some("bin" | "etc" | "lib" | "lib32" | "lib64" | "libx32" | "sbin" | "usr"), _) => true,
        _ => is_host_only(path) || is_one_of(path, &SHARED),
    }
}

fn is_one_of(path: &Path, list: &[&str]) -> bool {
    list.iter().any(|one| path.as_os_str() == *one)
}

/// The first two names of an absolute path.
fn top_names(path: &Path) -> (Option<&str>, Option<&str>) {
    let mut names = path
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_str().unwrap_or(""));
    (names.next(), names.next())
}

fn failed(error: &io::Error) -> PathError {
    match error.kind() {
        io::ErrorKind::NotFound => PathError::Missing,
        // A file where a folder is needed on the way: the path as written is not there.
        io::ErrorKind::NotADirectory => PathError::Missing,
        _ => PathError::Unreadable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    fn at(path: &str) -> Located {
        Located {
            written: path.into(),
            real: path.into(),
            folder: true,
        }
    }

    #[test]
    fn written_paths_become_absolute() {
        let expand = |text| expand(text, Path::new("/base/dir"), Path::new("/home/ada"));
        for (text, expected) in [
            ("~", "/home/ada"),
            ("~/x", "/home/ada/x"),
            ("~//etc", "/home/ada/etc"),
            (".", "/base/dir"),
            ("../x/./y", "/base/x/y"),
            ("/a/../../b", "/b"),
        ] {
            assert_eq!(expand(text).unwrap(), Path::new(expected), "{text}");
        }
        assert_eq!(expand("~root/x"), Err(PathError::OtherHome));
    }

    #[test]
    fn what_would_open_the_machine_is_refused_as_workspace() {
        let home = &Home::new(Path::new("/home/ada"));
        for (path, expected) in [
            ("/", PathError::Root),
            ("/home", PathError::Home),
            ("/home/ada", PathError::Home),
            ("/etc", PathError::System),
            ("/etc/ssl", PathError::System),
            ("/usr/lib/x", PathError::System),
            ("/tmp", PathError::System),
            ("/var", PathError::System),
            ("/proc/1", PathError::HostService),
            ("/run/user/1000", PathError::HostService),
        ] {
            assert_eq!(check_workspace(&at(path), home), Err(expected), "{path}");
        }
        for path in [
            "/home/ada/p",
            "/tmp/p",
            "/srv/p",
            "/opt/p",
            "/usr/src/p",
            "/work",
        ] {
            assert_eq!(check_workspace(&at(path), home), Ok(()), "{path}");
        }
    }

    #[test]
    fn extra_paths_may_be_read_in_the_system_but_never_host_services() {
        let home = &Home::new(Path::new("/home/ada"));
        assert_eq!(check_shown(&at("/etc/pip.conf"), home, false), Ok(()));
        assert_eq!(check_shown(&at("/var/lib/texmf"), home, true), Ok(()));
        assert_eq!(check_shown(&at("/srv"), home, false), Ok(()));
        for (path, writable, expected) in [
            ("/etc/pip.conf", true, PathError::System),
            ("/srv", true, PathError::System),
            ("/tmp", false, PathError::System),
            ("/run/docker.sock", false, PathError::HostService),
            ("/sys/fs/cgroup", false, PathError::HostService),
            ("/dev/shm", true, PathError::HostService),
            ("/home", false, PathError::Home),
            ("/", false, PathError::Root),
        ] {
            assert_eq!(
                check_shown(&at(path), home, writable),
                Err(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn links_are_judged_by_where_they_lead() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        symlink("/proc", root.join("innocent")).unwrap();
        let found = locate(&root.join("innocent")).unwrap();
        assert_eq!(
            check_shown(&found, &Home::new(Path::new("/home/ada")), false),
            Err(PathError::HostService)
        );

        fs::create_dir(root.join("home")).unwrap();
        symlink(root.join("home"), root.join("link")).unwrap();
        let found = locate(&root.join("link")).unwrap();
        assert_eq!(
            check_workspace(&found, &Home::new(&root.join("home"))),
            Err(PathError::Home)
        );
        assert_eq!(
            check_workspace(&found, &Home::new(&root.join("other"))),
            Ok(())
        );
    }

    #[test]
    fn only_files_and_folders_are_located() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let _listener = UnixListener::bind(root.join("s")).unwrap();
        fs::write(root.join("f"), "").unwrap();
        assert_eq!(locate(&root.join("s")), Err(PathError::Special("socket")));
        assert_eq!(
            locate(Path::new("/dev/null")),
            Err(PathError::Special("device"))
        );
        assert_eq!(locate(&root.join("none")), Err(PathError::Missing));
        assert_eq!(locate(&root.join("f/below")), Err(PathError::Missing));
        let home = &Home::new(Path::new("/home/ada"));
        let file = locate(&root.join("f")).unwrap();
        assert_eq!(check_workspace(&file, home), Err(PathError::NotFolder));
        assert_eq!(check_shown(&file, home, true), Ok(()));
    }
}
