//! The half outside: what is planted and listens for the attacker, its controls, and the session it is let into.

mod listeners;

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::attack::limits::{memory_to_try, processes_to_try};
use crate::attack::network::takes_connections;
use crate::attack::system::lending;
use crate::fingerprint::Fingerprint;
use crate::patience::wait;
use crate::says::Findings;
use crate::stage::{MaskedKind, Stage};
use crate::table::ATTEMPTS;
use listeners::Listeners;

/// The variable with the decoy, in the environment of everything that is started here.
const DECOY: &str = "PALISADE_VERIFY_DECOY";
/// The whole suite takes some ten seconds on a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where every cloud has its metadata service.
const METADATA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// The web server beside one of the resolvers below.
const WEB_V6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
    80,
);
/// Resolvers that answer everybody.
const PUBLIC_RESOLVERS: [&str; 2] = ["9.9.9.9:53", "1.1.1.1:53"];
const PUBLIC_RESOLVERS_V6: [&str; 2] = ["[2620:fe::fe]:53", "[2606:4700:4700::1111]:53"];
/// Most of the host's own resolvers that are asked (as resolv.conf(5) has it).
const MOST_RESOLVERS: usize = 3;
const DEVICES: [&str; 10] = [
    "/dev/mem",
    "/dev/kmem",
    "/dev/port",
    "/dev/kmsg",
    "/dev/kvm",
    "/dev/fuse",
    "/dev/loop-control",
    "/dev/net/tun",
    "/dev/vhost-vsock",
    "/dev/uinput",
];
/// Most disks that are tried.
const MOST_DISKS: usize = 16;

/// What the suite is to be made ready for.
#[derive(Debug)]
pub struct Preparation {
    /// A process to attack: a program that calls [`be_victim`](crate::be_victim), with its arguments. The token is added.
    pub victim: Vec<OsString>,
    /// Where a folder for what is planted can be made. Not shown inside.
    pub temporary: PathBuf,
    /// The workspace.
    pub workspace: PathBuf,
    /// Whether a file is planted in it.
    pub plant: bool,
    /// The person's home.
    pub home: PathBuf,
    /// One thing for each kind of mask that is there.
    pub masked: Vec<MaskedKind>,
    /// Files with secrets of the home that the policy does not show.
    pub home_secrets: Vec<PathBuf>,
    /// Sockets of container engines, there or not.
    pub engines: Vec<PathBuf>,
    /// The secrets of credentials, as far as they are known before they are used.
    pub secrets: Vec<Vec<u8>>,
    /// Most processes and threads of the session.
    pub processes: Option<u32>,
    /// Most memory of the session.
    pub memory: Option<u64>,
}

/// The host, made ready. What was planted is gone when this is dropped.
#[derive(Debug)]
pub struct Host {
    folder: PathBuf,
    victim: Child,
    decoy: String,
    listeners: Listeners,
    stage: Stage,
}

impl Host {
    /// Plants the decoys and starts the listeners and the process to attack.
    ///
    /// # Errors
    /// One of them could not be had.
    pub fn prepare(wanted: &Preparation) -> io::Result<Self> {
        let (token, decoy) = (random_text()?, random_text()?);
        let folder = wanted.temporary.join(format!("palisade-verify-{token}"));
        let listeners = Listeners::start(&token)?;
        let planted = if wanted.plant {
            let name = format!(".env.palisade-verify-{token}");
            wanted.workspace.join(name)
        } else {
            PathBuf::new()
        };
        let victim = start_victim(&wanted.victim, &token, &decoy)?;
        let stage = stage(wanted, &folder, &listeners, &token, planted, &victim);
        let mut host = Self {
            folder,
            victim,
            decoy,
            listeners,
            stage,
        };
        // From here on what was made is removed again.
        host.plant(&token)?;
        host.fingerprint(&wanted.secrets)?;
        Ok(host)
    }

    /// What the session's attacker is told.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The same with the listeners of this process in place of what is out in the world: what the control is told, since
    /// the world is not to be bothered, and need not be there.
    pub fn stage_with_stand_ins(&self) -> Stage {
        let own = &self.listeners;
        Stage {
            proxy: Some(own.web),
            metadata: own.web,
            direct: self.stage.direct.or(Some(own.web)),
            direct_udp: self.stage.direct_udp.or(Some(own.echo)),
            resolvers: vec![own.resolver],
            resolvers_v6: own.resolver_v6.into_iter().collect(),
            web_v6: own.web_v6,
            ..self.stage.clone()
        }
    }

    /// Runs the attacker without a boundary: each attempt has to work there to mean anything.
    ///
    /// # Errors
    /// It could not be started, hung, or was ended.
    pub fn control(&self, attacker: impl Fn(&Stage) -> Vec<OsString>) -> io::Result<Findings> {
        let own = self.folder.join("own");
        let stage = Stage {
            direct: self.stage.direct,
            direct_udp: self.stage.direct_udp,
            searched: vec![self.folder.clone()],
            scratch: own,
            ..self.stage_with_stand_ins()
        };
        let (findings, status) = self.run(&attacker(&stage))?;
        if !status.success() {
            return Err(io::Error::other(format!("it ended early ({status})")));
        }
        Ok(findings)
    }

    /// Runs a program with the decoy in its environment and the planted file as descriptor 9, and reads what the attacker in
    /// it says.
    ///
    /// # Errors
    /// It could not be started, or hung.
    pub fn run(&self, argv: &[OsString]) -> io::Result<(Findings, ExitStatus)> {
        let mut child = self
            .command(argv)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take();
        let reader = std::thread::spawn(move || output.map(Findings::read));
        let status = wait(&mut child, PATIENCE)?;
        let findings = reader.join().ok().flatten();
        let findings = findings.unwrap_or_else(|| Ok(Findings::default()))?;
        Ok((findings, status))
    }

    /// A program with the decoy in its environment and the planted file as descriptor 9.
    pub fn command(&self, argv: &[OsString]) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "exec 9<\"$0\"; exec \"$@\""])
            .arg(&self.stage.outside_file)
            .args(argv)
            .env(DECOY, &self.decoy);
        command
    }

    fn plant(&mut self, token: &str) -> io::Result<()> {
        fs::create_dir(&self.folder)?;
        // Others may write here, as in the system's own such folder: a refusal inside is the boundary's, not that of a mode.
        fs::set_permissions(&self.folder, Permissions::from_mode(0o1777))?;
        let own = self.folder.join("own");
        fs::create_dir(&own)?;
        fs::set_permissions(&own, Permissions::from_mode(0o700))?;
        let text = format!("{token}\nDECOY={}\n", self.decoy);
        fs::write(&self.stage.outside_file, &text)?;
        // Without a name nothing can be made.
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.stage.planted)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        if made.is_err() {
            self.stage.planted = PathBuf::new();
        }
        self.listeners.listen_at(&self.stage.path_socket, token)
    }

    fn fingerprint(&mut self, secrets: &[Vec<u8>]) -> io::Result<()> {
        let mut point = [0; 8];
        getrandom(&mut point, GetRandomFlags::empty())?;
        let point = u64::from_ne_bytes(point);
        let all = secrets.iter().map(Vec::as_slice);
        let all = [self.decoy.as_bytes()].into_iter().chain(all);
        self.stage.secrets = all
            .filter_map(|secret| Fingerprint::of(secret, point))
            .collect();
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // What is left of it holds decoys only.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(&self.stage.planted);
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

fn stage(
    wanted: &Preparation,
    folder: &Path,
    listeners: &Listeners,
    token: &str,
    planted: PathBuf,
    victim: &Child,
) -> Stage {
    let mut searched = vec![wanted.workspace.clone(), wanted.home.clone()];
    searched.extend(["/etc/palisade", "/tmp", "/run", "/var"].map(PathBuf::from));
    let parsed = |all: [&'static str; 2]| all.into_iter().filter_map(|text| text.parse().ok());
    Stage {
        attempts: ATTEMPTS
            .iter()
            .map(|attempt| attempt.name.to_owned())
            .collect(),
        outside_file: folder.join("planted"),
        outside_folder: folder.to_path_buf(),
        planted,
        masked: wanted.masked.clone(),
        home: wanted.home_secrets.clone(),
        scratch: PathBuf::from("/tmp"),
        searched,
        token: token.to_owned(),
        loopback_v4: listeners.web,
        loopback_v6: listeners.web_v6,
        loopback_udp: listeners.echo,
        direct: listeners.direct,
        direct_udp: listeners.direct_echo,
        proxy: None,
        metadata: METADATA,
        resolvers: own_resolvers()
            .into_iter()
            .chain(parsed(PUBLIC_RESOLVERS))
            .collect(),
        resolvers_v6: parsed(PUBLIC_RESOLVERS_V6).collect(),
        web_v6: Some(WEB_V6),
        abstract_socket: listeners.abstract_name.clone(),
        path_socket: folder.join("socket"),
        engines: wanted
            .engines
            .iter()
            .filter(|path| takes_connections(path))
            .cloned()
            .collect(),
        victim: victim.id().cast_signed(),
        devices: devices(),
        lending: lending(),
        processes: processes_to_try(wanted.processes),
        memory: memory_to_try(wanted.memory),
        secrets: Vec::new(),
    }
}

fn start_victim(argv: &[OsString], token: &str, decoy: &str) -> io::Result<Child> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut child = Command::new(program)
        .args(arguments)
        .arg(token)
        .env(DECOY, decoy)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = [0; 6];
    let told = match &mut child.stdout {
        Some(output) => io::Read::read_exact(output, &mut ready),
        None => Ok(()),
    };
    if let Err(error) = told {
        // It is of no use, and its end is all that is wanted.
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    Ok(child)
}

/// The host's resolvers that are not on its loopback.
fn own_resolvers() -> Vec<SocketAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"));
    let addresses = named.filter_map(|address| address.trim().parse::<Ipv4Addr>().ok());
    addresses
        .filter(|address| !address.is_loopback())
        .map(|address| SocketAddr::from((address, 53)))
        .take(MOST_RESOLVERS)
        .collect()
}

fn devices() -> Vec<PathBuf> {
    let named = DEVICES
        .map(PathBuf::from)
        .into_iter()
        .filter(|path| path.exists());
    let all = fs::read_dir("/dev").into_iter().flatten().flatten();
    let disks = all
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_block_device()))
        .map(|entry| entry.path())
        .take(MOST_DISKS);
    named.chain(disks).collect()
}

fn random_text() -> io::Result<String> {
    let mut bytes = [0; 12];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
