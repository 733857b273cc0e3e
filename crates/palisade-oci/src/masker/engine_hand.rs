//! The hand in a container of its own.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use palisade_guest::hand::{Hand, Namespaces};
use palisade_guest::handover::Outbox;
use palisade_protocol::{GUEST_FOLDER, HAND_APART_PLAN, HAND_PLAN};
use rustix::net::{SocketFlags, accept_with};
use serde_json::json;

use crate::engine::Engine;
use crate::flags::{HARDENING, LABEL_BASE, LABEL_SESSION, bind};
use crate::folder::{GUEST, SessionFolder};
use crate::running::{descriptor, wait};

/// How long an engine may take to start it. Until then what appears is not masked, and the session ends after it.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long it may take to enter the namespaces.
const ENTER_DEADLINE: Duration = Duration::from_secs(10);

/// Entering the namespace (both of the first), mounting, and looking at names in folders that are the agent's alone.
const CAPABILITIES: [&str; 3] = ["SYS_ADMIN", "SYS_CHROOT", "DAC_READ_SEARCH"];
/// An overlay works on its layers with the rights of who mounted it: what changes of other people's files take, and its own folders.
const TO_KEEP_APART: [&str; 3] = ["CHOWN", "DAC_OVERRIDE", "FOWNER"];
/// Making it.
const CALLS_TO_KEEP_APART: &[&str] = &[
    "fchmodat",
    "fchownat",
    "fremovexattr",
    "fsconfig",
    "fsetxattr",
    "fsmount",
    "fsopen",
    "mkdirat",
    "umount2",
];

/// The calls of a program that connects, enters one namespace and mounts. The rest is what its start and end take.
const CALLS: &[&str] = &[
    "accept4",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "clock_gettime",
    "close",
    "close_range",
    "connect",
    "dup",
    "dup2",
    "dup3",
    "execve",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getpid",
    "getrandom",
    "gettid",
    "gettimeofday",
    "ioctl",
    "lseek",
    "madvise",
    "mmap",
    "move_mount",
    "mprotect",
    "munmap",
    "newfstatat",
    "open",
    "open_tree",
    "openat",
    "openat2",
    "poll",
    "ppoll",
    "prctl",
    "prlimit64",
    "read",
    "readlink",
    "recvfrom",
    "recvmsg",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_tid_address",
    "setns",
    "sigaltstack",
    "statx",
    "write",
];

/// What it is made of.
pub(crate) struct HandContainer {
    engine: Engine,
    arguments: Vec<String>,
    name: String,
    folder: PathBuf,
    keeps_apart: bool,
}

impl HandContainer {
    /// For a session with this folder; nothing is made yet. It lays masks, and keeps changes apart where that is said.
    pub(crate) fn new(
        engine: Engine,
        session: &SessionFolder,
        guest: &Path,
        image: &str,
        keeps_apart: bool,
    ) -> Self {
        let name = format!("palisade-hand-{}", session.name());
        let folder = session.hand();
        let read_only =
            |source: &Path, target: &Path| format!("--mount={}", bind(source, target, true));
        let shown = Path::new(GUEST_FOLDER);
        let fixed = HARDENING.iter().chain(&FIXED);
        let mut arguments: Vec<String> = fixed.map(|&option| option.to_owned()).collect();
        arguments.push(format!("--name={name}"));
        arguments.push(format!("--label={LABEL_SESSION}={}", session.name()));
        arguments.push(format!("--label={LABEL_BASE}={}", session.base().display()));
        arguments.extend(CAPABILITIES.map(|capability| format!("--cap-add={capability}")));
        if keeps_apart {
            arguments.extend(TO_KEEP_APART.map(|capability| format!("--cap-add={capability}")));
        }
        let profile = folder.join(PROFILE);
        arguments.push(format!("--security-opt=seccomp={}", profile.display()));
        arguments.push(read_only(&folder.join(SHOWN), shown));
        arguments.push(read_only(guest, &shown.join(GUEST)));
        arguments.push(image.to_owned());
        Self {
            engine,
            arguments,
            name,
            folder,
            keeps_apart,
        }
    }

    /// Starts it and hands it the namespaces.
    pub(crate) fn start(&self, inside: Namespaces) -> io::Result<EngineHand> {
        let listener = self.prepare()?;
        let client = self
            .engine
            .command()
            .arg("run")
            .args(&self.arguments)
            // Keys typed at the terminal are not for it.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut hand = EngineHand {
            engine: self.engine,
            name: self.name.clone(),
            client,
            hand: None,
        };
        let ended = descriptor(&hand.client)?;
        let connection = match wait(&[&listener, &ended], START_DEADLINE)? {
            Some(0) => accept_with(&listener, SocketFlags::CLOEXEC)?,
            Some(_) => return Err(hand.refused()),
            None => return Err(io::ErrorKind::TimedOut.into()),
        };
        let mut outbox = Outbox::new();
        outbox.push_namespaces(inside)?;
        outbox.hand_out(connection.as_fd())?;
        if wait(&[&connection], ENTER_DEADLINE)?.is_none() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let connected = Hand(connection);
        connected.answer()?;
        hand.hand = Some(connected);
        Ok(hand)
    }

    fn prepare(&self) -> io::Result<OwnedFd> {
        let shown = self.folder.join(SHOWN);
        fs::create_dir_all(&shown)?;
        fs::write(shown.join(GUEST), "")?;
        // `AF_UNIX`.
        let unix = json!({ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" });
        let (plan, more) = if self.keeps_apart {
            (HAND_APART_PLAN, CALLS_TO_KEEP_APART)
        } else {
            (HAND_PLAN, &[][..])
        };
        let names = [CALLS, more].concat();
        let calls = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                { "names": names, "action": "SCMP_ACT_ALLOW" },
                { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [unix] },
            ],
        });
        fs::write(self.folder.join(PROFILE), calls.to_string())?;
        crate::folder::listen_in(&shown, plan)
    }
}

const PROFILE: &str = "profile.json";
/// The folder that it is shown.
const SHOWN: &str = "shown";

/// Where the host has labels (AppArmor, SELinux), those of containers forbid to mount.
const FIXED: [&str; 6] = [
    "--security-opt=apparmor=unconfined",
    "--security-opt=label=disable",
    "--pids-limit=8",
    "--memory=64m",
    "--restart=no",
    "--stop-signal=KILL",
];

/// A container that serves, ended and removed when this is dropped.
pub(crate) struct EngineHand {
    engine: Engine,
    name: String,
    /// The engine's program, which ends once the container is removed.
    client: Child,
    hand: Option<Hand>,
}

impl EngineHand {
    /// The supervisor's end.
    pub(crate) fn hand(&self) -> io::Result<&Hand> {
        self.hand
            .as_ref()
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// The engine's own words.
    fn refused(&mut self) -> io::Error {
        let mut words = String::new();
        if let Some(mut errors) = self.client.stderr.take() {
            let _ = io::Read::read_to_string(&mut errors, &mut words);
        }
        io::Error::other(self.engine.refused("start the hand that masks", &words))
    }
}

impl Drop for EngineHand {
    fn drop(&mut self) {
        let served = self.hand.take().is_some();
        let ended = descriptor(&self.client).and_then(|ended| wait(&[&ended], ENTER_DEADLINE));
        if !served || !matches!(ended, Ok(Some(_))) {
            let remove = ["rm", "--force", "--volumes", &self.name];
            let _ = self.engine.ask("remove the hand that masks", &remove);
            let _ = self.client.kill();
        }
        let _ = self.client.wait();
    }
}
