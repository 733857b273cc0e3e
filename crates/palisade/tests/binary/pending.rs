//! Changes that wait to be decided about: `palisade review`, `apply` and `discard`, on change sets made by hand.

mod apply;
mod branch;
mod pick;
mod review;
mod session;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use palisade_test_support::{Finished, Identity, Invocation, Lab, Terminal};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use crate::lab;

const ID: &str = "20261123-031502-k3f9c";

/// A session that has ended and left changes, of a workspace with these files.
struct Fixture {
    lab: Lab,
    id: &'static str,
}

impl Fixture {
    fn new(who: Identity, host: &[(&str, &str)]) -> Self {
        let lab = lab(who);
        for (path, contents) in host {
            lab.write(&lab.workspace().join(path), contents);
        }
        who.own(&lab.workspace());
        let fixture = Self { lab, id: ID };
        fixture.session(ID, 1, &fixture.lab.workspace());
        fixture
    }

    /// Makes the folder of a session, as one that reviews leaves it.
    fn session(&self, id: &str, started: u64, workspace: &Path) {
        let record = serde_json::json!({
            "id": id,
            "started_us": started,
            "command": "agent",
            "workspace": workspace,
            "access": "review",
            "boundary": "native",
        });
        let folder = self.folder(id);
        fs::create_dir_all(folder.join("changes/upper")).unwrap();
        fs::create_dir_all(folder.join("changes/work")).unwrap();
        fs::write(folder.join("session.json"), record.to_string()).unwrap();
        fs::write(folder.join("audit.jsonl"), "").unwrap();
        self.lab.who().own(&self.lab.home().join(".local"));
        // The kernel's clock of files moves in steps of up to 10 ms: what was written before has to be older.
        std::thread::sleep(Duration::from_millis(25));
        self.lab.write(&folder.join("changes/began"), "");
    }

    fn folder(&self, id: &str) -> PathBuf {
        self.lab
            .home()
            .join(".local/state/palisade/sessions")
            .join(id)
    }

    fn upper(&self, path: &str) -> PathBuf {
        let path = self.folder(self.id).join("changes/upper").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// What the agent wrote.
    fn wrote(&self, path: &str, contents: impl AsRef<[u8]>) -> &Self {
        self.wrote_with_mode(path, contents, 0o644)
    }

    fn wrote_with_mode(&self, path: &str, contents: impl AsRef<[u8]>, mode: u32) -> &Self {
        let at = self.upper(path);
        fs::write(&at, contents).unwrap();
        self.owned();
        // Last: a change of the owner takes special bits away.
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    /// The same under a name that is no UTF-8.
    fn wrote_bytes(&self, name: &[u8], contents: &str) -> &Self {
        fs::write(self.upper("").join(OsStr::from_bytes(name)), contents).unwrap();
        self.owned()
    }

    /// What the agent removed: overlayfs leaves a device 0:0 there, which anybody may make since Linux 5.8.
    fn removed(&self, path: &str) -> &Self {
        let at = self.upper(path);
        mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        self.owned()
    }

    fn linked(&self, path: &str, target: &str) -> &Self {
        symlink(target, self.upper(path)).unwrap();
        self.owned()
    }

    /// A folder that was removed and made again.
    fn replaced_folder(&self, path: &str) -> &Self {
        let at = self.upper(path);
        fs::create_dir_all(&at).unwrap();
        setxattr(&at, "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        self.owned()
    }

    fn owned(&self) -> &Self {
        let who = self.lab.who();
        who.own(&self.folder(self.id).join("changes/upper"));
        self
    }

    fn palisade(&self, arguments: &[&str]) -> Finished {
        self.lab.palisade(arguments).run()
    }

    fn terminal(&self, arguments: &[&str]) -> Terminal {
        Terminal::start(
            &self
                .lab
                .palisade(arguments)
                .env("NO_COLOR", "1")
                .env("PAGER", "cat"),
            40,
            120,
        )
    }

    fn host(&self, path: &str) -> String {
        fs::read_to_string(self.lab.workspace().join(path)).unwrap()
    }

    fn exists(&self, path: &str) -> bool {
        self.lab.workspace().join(path).symlink_metadata().is_ok()
    }

    /// git in the workspace, as its user runs it.
    fn git(&self, arguments: &[&str]) -> Finished {
        self.git_command(arguments).run().expect(0)
    }

    fn git_command(&self, arguments: &[&str]) -> Invocation {
        self.lab
            .outside("/usr/bin/env")
            .args(["git"])
            .args(arguments)
    }
}
