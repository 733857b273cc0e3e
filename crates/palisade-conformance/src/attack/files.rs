//! Reading what is hidden, writing what is not to be written, reaching devices.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat, open};

use super::{Failed, Got, absent, any, blocked};
use crate::stage::Stage;

/// A drive without a disk and a pipe without a writer are not waited for.
const NO_WAITING: i32 = OFlags::NONBLOCK.bits().cast_signed();
/// Places of the system that no ordinary program writes.
pub const SYSTEM_FOLDERS: [&str; 5] = ["/usr", "/etc", "/usr/local", "/opt", "/"];
/// Files of the system that only root reads; the keys of its servers are looked for beside them.
pub const SYSTEM_SECRETS: [&str; 3] = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers"];

pub(crate) fn planted_mask(stage: &Stage) -> Got {
    holds(planted(stage)?, &stage.token)
}

/// The planted file.
fn planted(stage: &Stage) -> Result<&Path, Failed> {
    if stage.planted.as_os_str().is_empty() {
        return absent("no file can be planted in the workspace");
    }
    Ok(&stage.planted)
}

pub(crate) fn masked_by_root(stage: &Stage) -> Got {
    let below = planted(stage)?.strip_prefix("/").unwrap_or(Path::new(""));
    holds(&Path::new("/proc/self/root").join(below), &stage.token)
}

/// A descriptor that only names a file, opened again for reading.
pub(crate) fn masked_by_handle(stage: &Stage) -> Got {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = open(planted(stage)?, flags, Mode::empty())?;
    let again = format!("/proc/self/fd/{}", handle.as_raw_fd());
    holds(Path::new(&again), &stage.token)
}

pub(crate) fn masked_by_link(stage: &Stage) -> Got {
    let path = planted(stage)?;
    let link = beside(path, "link");
    fs::hard_link(path, &link)?;
    let got = holds(&link, &stage.token);
    fs::remove_file(&link)?;
    got
}

pub(crate) fn masked_by_move(stage: &Stage) -> Got {
    let path = planted(stage)?;
    let place = beside(path, "moved");
    fs::rename(path, &place)?;
    let got = holds(&place, &stage.token);
    fs::rename(&place, path)?;
    got
}

/// Another name in the same folder, which no rule masks.
fn beside(path: &Path, name: &str) -> std::path::PathBuf {
    path.with_file_name(format!("palisade-verify-{name}-{}", std::process::id()))
}

/// Every kind at once: the first that shows anything counts.
pub(crate) fn masks(stage: &Stage) -> Got {
    any(&stage.masked, "nothing here is masked", |kind| {
        let shows = if kind.directory {
            fs::read_dir(&kind.path)?.next().is_some()
        } else {
            read_some(&kind.path)?
        };
        if shows {
            let path = kind.path.display();
            return Ok(format!("{path} can be read, and `{}` masks it", kind.rule));
        }
        let kinds = stage.masked.len();
        Err(blocked(format!(
            "nothing is in what is masked (patterns tried: {kinds})"
        )))
    })
}

pub(crate) fn home(stage: &Stage) -> Got {
    any(&stage.home, "none of the usual files is there", read)
}

pub(crate) fn outside_file(stage: &Stage) -> Got {
    holds(&stage.outside_file, &stage.token)
}

pub(crate) fn system_secrets(_: &Stage) -> Got {
    let keys = fs::read_dir("/etc/ssh").into_iter().flatten().flatten();
    let keys = keys
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with("_key"));
    let files = SYSTEM_SECRETS.map(Into::into);
    any(files.into_iter().chain(keys), "", |path| read(&path))
}

pub(crate) fn write_outside(stage: &Stage) -> Got {
    let path = stage.outside_folder.join("written");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    file.write_all(b"written by palisade verify\n")?;
    Ok(format!("wrote {}", path.display()))
}

/// A file without a name, so that none has to be removed.
pub(crate) fn write_system(_: &Stage) -> Got {
    any(SYSTEM_FOLDERS, "", |folder| {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        open(folder, flags, Mode::RUSR)?;
        // In memory that is the session's alone nothing of the host's is written.
        let own = rustix::fs::statfs(folder)?.f_type == 0x0102_1994;
        if own && folder == "/" {
            return Err(blocked("the root is in memory"));
        }
        Ok(format!("a file could be made in {folder}"))
    })
}

pub(crate) fn list_sys(_: &Stage) -> Got {
    match fs::read_dir("/sys")?.next() {
        Some(_) => Ok("/sys can be listed".to_owned()),
        None => Err(blocked("/sys is empty")),
    }
}

/// A device of memory, and one with number 0:0, which an overlay takes for a deletion and anybody may make.
pub(crate) fn device_nodes(stage: &Stage) -> Got {
    let path = own_path(stage, "node");
    let kinds = [("a device node", 1, 3), ("a forged deletion", 0, 0)];
    any(kinds, "", |(what, major, minor)| {
        mknodat(
            CWD,
            &path,
            FileType::CharacterDevice,
            Mode::RUSR,
            makedev(major, minor),
        )?;
        fs::remove_file(&path)?;
        Ok(format!("{what} was made"))
    })
}

pub(crate) fn devices(stage: &Stage) -> Got {
    any(&stage.devices, "no such device is there", |path| {
        let mut reading = OpenOptions::new();
        reading.read(true).custom_flags(NO_WAITING);
        let file = reading.open(path)?;
        let kind = file.metadata()?.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Err(blocked("it is no device"));
        }
        Ok(format!("{} can be opened", path.display()))
    })
}

pub(crate) fn kernel_memory(_: &Stage) -> Got {
    any(["/proc/kcore", "/dev/mem", "/dev/kmem"], "", |path| {
        read(Path::new(path))
    })
}

/// By each of the ways there are.
pub(crate) fn set_user_id_file(stage: &Stage) -> Got {
    let path = own_path(stage, "set-user-id");
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o4755)
        .open(&path)
        .map(drop)
        .or_else(|_| File::create(&path).map(drop))
        .and_then(|()| match has_set_id(&path) {
            Ok(true) => Ok(()),
            _ => fs::set_permissions(&path, fs::Permissions::from_mode(0o4755)),
        })
        .and_then(|()| has_set_id(&path));
    // What is not there was not made.
    let _ = fs::remove_file(&path);
    match made {
        Ok(true) => Ok("a set-user-id file was made".to_owned()),
        Ok(false) => Err(blocked("the bit did not stay")),
        Err(error) => Err(error.into()),
    }
}

/// The descriptors a session is started with beside the usual three: one of them is the planted file.
pub(crate) fn descriptors(stage: &Stage) -> Got {
    any(3..64, "", |number| {
        holds(Path::new(&format!("/proc/self/fd/{number}")), &stage.token)
            .map(|_| format!("descriptor {number} is open"))
    })
}

fn has_set_id(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o4000 != 0)
}

/// A path of this process's own.
pub(super) fn own_path(stage: &Stage, name: &str) -> std::path::PathBuf {
    let name = format!("palisade-verify-{name}-{}", std::process::id());
    stage.scratch.join(name)
}

fn read(path: impl AsRef<Path>) -> Got {
    let path = path.as_ref();
    if read_some(path)? {
        Ok(format!("{} can be read", path.display()))
    } else {
        Err(blocked("empty"))
    }
}

fn read_some(path: &Path) -> io::Result<bool> {
    let mut some = [0; 64];
    Ok(File::open(path)?.read(&mut some)? > 0)
}

fn holds(path: &Path, text: &str) -> Got {
    let mut read = String::new();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_WAITING)
        .open(path)?;
    file.take(4096).read_to_string(&mut read)?;
    if read.contains(text) {
        Ok(format!("{} can be read", path.display()))
    } else {
        Err(Failed::Blocked(io::Error::other(
            "nothing of what was planted is there",
        )))
    }
}
