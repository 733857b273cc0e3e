//! Workspaces on other file systems than the one that holds palisade's state.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use palisade_test_support::{Identity, Invocation, Lab, Need, Policy, Skip, each_identity, need};

use crate::lab;

/// A mount namespace of the test's own, kept by a process that waits for the end of its input.
struct Mounts {
    keeper: Child,
}

impl Mounts {
    /// Runs a script of a shell that mounts; none of it is seen outside.
    fn new(script: &str) -> Result<Self, Skip> {
        need(&[
            Need::Program("nsenter", "util-linux"),
            Need::Program("unshare", "util-linux"),
            Need::Program("setpriv", "util-linux"),
        ])?;
        if !rustix::process::geteuid().is_root() {
            return Err(Skip::because(
                "only root mounts",
                "run the tests as root too",
            ));
        }
        let script = format!("{script}\necho mounted; read end");
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-ec", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(keeper.stdout.take().unwrap());
        lines.read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n", "{script}");
        Ok(Self { keeper })
    }

    /// Where the test, which is outside, finds a path.
    fn path(&self, path: &Path) -> PathBuf {
        let root = format!("/proc/{}/root", self.keeper.id());
        Path::new(&root).join(path.strip_prefix("/").unwrap())
    }

    /// Runs a program of the lab's there.
    fn run(&self, who: Identity, invocation: &Invocation) -> Output {
        let wanted = invocation.command();
        let mut command = Command::new("nsenter");
        let (id, uid) = (self.keeper.id().to_string(), who.uid().to_string());
        command.args([
            "--mount", "--target", &id, "setpriv", "--reuid", &uid, "--regid", &uid,
        ]);
        command.args(["--clear-groups", "env", "--ignore-environment", "--chdir"]);
        command.arg(wanted.get_current_dir().unwrap());
        for (name, value) in wanted.get_envs() {
            command.arg([name, OsStr::new("="), value.unwrap()].join(OsStr::new("")));
        }
        command.arg(wanted.get_program()).args(wanted.get_args());
        command.stdin(Stdio::null()).output().unwrap()
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// How palisade ended, and all it said.
type Said = (i32, String);

/// Runs palisade in the lab's workspace, which lies on a file system of its own.
fn there(mounts: &Mounts, lab: &Lab, words: &[&str]) -> Said {
    let output = mounts.run(lab.who(), &lab.palisade(words));
    let said = [output.stdout, output.stderr].concat();
    let status = output.status.code().unwrap();
    (status, String::from_utf8_lossy(&said).into_owned())
}

/// Work on a workspace in each access. `files` is where this test finds the workspace.
fn work(who: Identity, files: &Path, palisade: &dyn Fn(&[&str]) -> Said) {
    let read = |name: &str| fs::read_to_string(files.join(name)).unwrap();
    let fine = |words: &[&str]| {
        let (status, said) = palisade(words);
        assert_eq!(status, 0, "{words:?}: {said}");
        said
    };
    let script = "set -e; echo new > a.txt; rm gone; mv tree moved; mkdir -p new/deep; echo x > new/deep/run; \
        chmod 755 new/deep/run; ln new/deep/run new/other; ln -s a.txt link";
    fine(&["run", "--access", "scratch", "--", "sh", "-c", script]);
    assert_eq!(read("a.txt"), "old\n");
    fine(&["run", "--access", "review", "--", "sh", "-c", script]);
    assert_eq!(read("a.txt"), "old\n");
    let shown = fine(&["review"]);
    for line in [
        "R tree/deep/file -> moved/deep/file",
        "D gone",
        "-old\n+new",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    fine(&["apply", "--yes"]);
    let landed = ["a.txt", "moved/deep/file", "new/other", "link"].map(read);
    assert_eq!(landed, ["new\n", "deep\n", "x\n", "new\n"]);
    assert!(!files.join("gone").exists() && !files.join("tree").exists());
    let meta = |name: &str| fs::symlink_metadata(files.join(name)).unwrap();
    assert_eq!(meta("new/deep/run").ino(), meta("new/other").ino());
    assert_eq!(meta("new/deep/run").mode() & 0o777, 0o755);
    for name in ["a.txt", "moved/deep", "new/deep/run", "link"] {
        assert_eq!(meta(name).uid(), who.uid(), "{name}");
    }
    assert!(fine(&["review"]).contains("no session has pending changes"));
    fine(&[
        "run",
        "--access",
        "write",
        "--",
        "sh",
        "-c",
        "echo direct > a.txt",
    ]);
    assert_eq!(read("a.txt"), "direct\n");
}

const FILES: &str =
    "mkdir -p tree/deep; echo old > a.txt; echo gone > gone; echo deep > tree/deep/file";

fn device(path: &Path) -> u64 {
    fs::metadata(path).unwrap().dev()
}

each_identity! {
    fn changes_land_on_another_file_system(who) {
        let lab = lab(who);
        let workspace = lab.workspace();
        let (folder, uid) = (workspace.display(), who.uid());
        let mounts = Mounts::new(&format!(
            "mount -t tmpfs -o mode=755 none {folder}; cd {folder}; {FILES}; chown -R {uid}:{uid} ."
        ))?;
        let files = mounts.path(&workspace);
        assert_ne!(device(&files), device(&lab.home()));
        work(who, &files, &|words| there(&mounts, &lab, words));
    }

    fn changes_are_kept_on_another_file_system(who) {
        let lab = lab(who);
        let lacks = || Skip::because("/dev/shm is no file system of its own", "mount a tmpfs there");
        let state = tempfile::tempdir_in("/dev/shm").map_err(|_| lacks())?;
        if device(state.path()) == device(&lab.home()) {
            return Err(lacks());
        }
        who.own(state.path());
        lab.outside("/bin/sh").args(["-c", FILES]).run().expect(0);
        work(who, &lab.workspace(), &|words| {
            let done = lab.palisade(words).env("XDG_STATE_HOME", state.path()).run();
            (done.status, done.stdout + &done.stderr)
        });
        assert!(state.path().join("palisade/sessions").is_dir());
    }

    fn an_apply_to_a_full_file_system_says_so_and_is_resumed_when_there_is_room(who) {
        let lab = lab(who);
        let workspace = lab.workspace();
        let (folder, uid) = (workspace.display(), who.uid());
        let mounts = Mounts::new(&format!(
            "mount -t tmpfs -o size=4m,mode=755 none {folder}; cd {folder}; head -c 2500000 /dev/zero > filler
            for n in 1 2 3; do echo old > $n; done; chown -R {uid}:{uid} ."
        ))?;
        let palisade = |words: &[&str]| there(&mounts, &lab, words);
        let files = mounts.path(&workspace);
        let names = || {
            let all = fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().file_name());
            let mut all: Vec<_> = all.map(|name| name.into_string().unwrap()).collect();
            all.sort();
            all
        };
        let script = "for n in 1 2 3; do echo new > $n; done; yes | head -c 3000000 > big";
        let ran = palisade(&["run", "--quiet", "--access", "review", "--", "sh", "-c", script]);
        assert_eq!(ran, (0, String::new()));
        // As full as it is, it stops each time, and each path is as it was or as it is to be.
        for words in [["apply", "--yes"], ["apply", "--resume"]] {
            let (status, said) = palisade(&words);
            assert_eq!(status, 125, "{said}");
            for text in ["left: big: No space left on device", "--resume` finishes it"] {
                assert!(said.contains(text), "{text}: {said}");
            }
            let whole = ["old\n", "new\n"];
            for name in ["1", "2", "3"] {
                let now = fs::read_to_string(files.join(name)).unwrap();
                assert!(whole.contains(&now.as_str()), "{name}: {now}");
            }
            assert!(!names().contains(&"big".into()), "{:?}", names());
        }
        let (status, said) = palisade(&["review", "--stat"]);
        assert!(status == 0 && said.contains("A big") && said.contains("an apply was cut short"), "{said}");
        fs::remove_file(files.join("filler")).unwrap();
        let (status, said) = palisade(&["apply", "--resume"]);
        assert_eq!(status, 0, "{said}");
        assert_eq!(names(), ["1", "2", "3", "big"]);
        for name in ["1", "2", "3"] {
            assert_eq!(fs::read_to_string(files.join(name)).unwrap(), "new\n");
        }
        assert_eq!(fs::read_to_string(files.join("big")).unwrap(), "y\n".repeat(1_500_000));
        assert!(palisade(&["review"]).1.contains("pending changes"));
    }
}

/// A workspace on NTFS by way of FUSE. With `ignore_case` its server takes every spelling for the same file, as the drives of
/// Windows do in WSL and the folders of a Mac in its virtual machines. Who runs palisade owns the files.
fn ntfs(lab: &Lab, options: &str, files: &str) -> Result<Mounts, Skip> {
    need(&[
        Need::Program("lowntfs-3g", "ntfs-3g"),
        Need::Program("mkntfs", "ntfs-3g"),
    ])?;
    if !Path::new("/dev/fuse").exists() {
        return Err(Skip::because(
            "there is no /dev/fuse",
            "run the tests where FUSE is",
        ));
    }
    let (folder, image) = (lab.workspace(), lab.path("image"));
    let (folder, image, uid) = (folder.display(), image.display(), lab.who().uid());
    Mounts::new(&format!(
        "truncate -s 8M {image}; mkntfs -F -Q -q {image} >/dev/null 2>&1
        lowntfs-3g -o silent,uid={uid},gid={uid},umask=077{options} {image} {folder}; cd {folder}
        {files}"
    ))
}

/// Of each kind of rule: by name, by ending and contents, by contents alone.
const SECRETS: &str = "mkdir tls; for file in .env id_rsa tls/server.pem; do echo '-----BEGIN PRIVATE KEY----- S3CRET' > $file; done";
/// Ten times the secret where nothing is hidden and all spellings are one.
const SPELLINGS: &str = "cat .env .ENV .Env id_rsa ID_RSA tls/server.pem tls/Server.PEM TLS/server.pem TLS/SERVER.PEM; \
    mv .ENV away; cat away; true";
const ACCESSES: [&str; 4] = ["read", "scratch", "review", "write"];

/// How a session with this script ended, under a policy with these lines about files.
fn session(mounts: &Mounts, lab: &Lab, filesystem: &str, script: &str) -> Said {
    let policy = lab.policy(Policy::new().filesystem(filesystem).to_toml());
    let policy = policy.to_str().unwrap();
    there(
        mounts,
        lab,
        &[
            "run", "--quiet", "--policy", policy, "--", "sh", "-c", script,
        ],
    )
}

fn secrets(said: &str) -> usize {
    said.matches("S3CRET").count()
}

/// Root's sessions map owners, which FUSE lets nobody do: nothing runs there.
fn runs(who: Identity, (status, said): &Said) -> bool {
    if who == Identity::Root {
        assert!(
            *status == 125 && said.contains("id-mapped mounts"),
            "{said}"
        );
    }
    who == Identity::User
}

each_identity! {
    fn a_file_that_other_spellings_lead_to_is_refused_and_not_said_to_be_hidden(who) {
        let lab = lab(who);
        let mounts = ntfs(&lab, ",ignore_case", SECRETS)?;
        for access in ACCESSES {
            let (status, said) = session(&mounts, &lab, &format!("access = {access:?}"), SPELLINGS);
            assert_eq!((status, secrets(&said)), (125, 0), "{access}: {said}");
            for text in ["hide \"", "/project/.env\": ", "/project/.ENV\" is the same file", "`unmask`"] {
                assert!(said.contains(text), "{access} {text}: {said}");
            }
        }
        // The control, and what a mask would have covered: each spelling reads the file.
        let shown = session(&mounts, &lab, "unmask = [\".env\", \"id_rsa\", \"*.pem\"]", SPELLINGS);
        if runs(who, &shown) {
            assert_eq!((shown.0, secrets(&shown.1)), (0, 10), "{}", shown.1);
        }
    }

    fn a_masked_folder_is_hidden_by_every_spelling(who) {
        let lab = lab(who);
        let mounts = ntfs(&lab, ",ignore_case", "mkdir .ssh; echo S3CRET > .ssh/config")?;
        let script = "cat .ssh/config .SSH/config .Ssh/CONFIG; ls .SSH .ssh; mv .SSH away; mv .ssh away; cat away/config; echo end";
        for access in ACCESSES {
            let hidden = session(&mounts, &lab, &format!("access = {access:?}"), script);
            if runs(who, &hidden) {
                assert!(hidden.0 == 0 && hidden.1.contains("\nend\n"), "{access}: {}", hidden.1);
                assert_eq!(secrets(&hidden.1), 0, "{access}: {}", hidden.1);
            }
        }
        let shown = session(&mounts, &lab, "unmask = [\".ssh\"]", script);
        if runs(who, &shown) {
            assert_eq!(secrets(&shown.1), 4, "{}", shown.1);
        }
    }

    fn what_the_host_runs_is_not_said_to_be_read_only_where_spellings_lead_past(who) {
        let lab = lab(who);
        let mounts = ntfs(&lab, ",ignore_case", "mkdir .git; echo own > .git/config")?;
        let config = || fs::read_to_string(mounts.path(&lab.workspace().join(".git/config"))).unwrap();
        let attack = "echo evil > .git/CONFIG; echo end";
        let (status, said) = session(&mounts, &lab, "access = \"write\"", attack);
        assert_eq!(status, 125, "{said}");
        for text in ["keep \"", "/.git/config\" from being written: ", "/.git/CONFIG\" is the same file", "\"review\""] {
            assert!(said.contains(text), "{text}: {said}");
        }
        for access in ["read", "scratch", "review"] {
            let kept = session(&mounts, &lab, &format!("access = {access:?}"), attack);
            assert!(!runs(who, &kept) || kept.1.contains("end"), "{access}: {}", kept.1);
            assert_eq!(config(), "own\n", "{access}");
        }
        let open = session(&mounts, &lab, "access = \"write\"\nprotect = false", attack);
        assert!(!runs(who, &open) || config() == "evil\n", "{}", open.1);
    }

    fn a_session_ends_when_a_file_appears_that_no_mask_hides(who) {
        let lab = lab(who);
        let mounts = ntfs(&lab, ",ignore_case", "")?;
        let at = |name: &str| mounts.path(&lab.workspace().join(name));
        let script = "echo > ready; until [ -e .env ]; do sleep 0.01; done; sleep 20; cat .ENV; echo outlived";
        let ended = std::thread::scope(|scope| {
            let session = scope.spawn(|| session(&mounts, &lab, "", script));
            while !at("ready").exists() && !session.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            fs::write(at(".env"), "S3CRET\n").unwrap();
            session.join().unwrap()
        });
        if runs(who, &ended) {
            assert!(ended.0 == 125 && !ended.1.contains("outlived"), "{ended:?}");
            assert!(ended.1.contains("/project/.ENV\" is the same file"), "{ended:?}");
            assert_eq!(secrets(&ended.1), 0, "{ended:?}");
        }
    }

    fn masks_hold_where_capitals_count(who) {
        let lab = lab(who);
        // The same server: what it ignores is what is refused, not what it is.
        let mounts = ntfs(&lab, "", SECRETS)?;
        for access in ACCESSES {
            let hidden = session(&mounts, &lab, &format!("access = {access:?}"), &format!("{SPELLINGS}; echo end"));
            if runs(who, &hidden) {
                assert!(hidden.0 == 0 && hidden.1.contains("end\n"), "{access}: {}", hidden.1);
                assert_eq!(secrets(&hidden.1), 0, "{access}: {}", hidden.1);
            }
        }
    }
}
