//! Runs a command inside a native boundary made by hand: for tests, measurements and trying things out.
//!
//! ```text
//! enter [OPTION…] -- COMMAND [ARG…]
//!   system               /usr read-only with its usual links, /etc/passwd, /proc, /dev, /tmp, /home/agent
//!   ro:SOURCE[:TARGET]   show a host path, read-only
//!   rw:SOURCE[:TARGET]   show a host path, writable, owned as on the host
//!   own:SOURCE[:TARGET]  show a host path, writable, owned by the agent
//!   review:SOURCE:CHANGES  lay an overlay over a host folder, its changes in another
//!   scratch-of:SOURCE[:BYTES]  the same, its changes in memory
//!   mask:PATH              hide a path
//!   later:WHEN:PATH        hide a path once another exists, and make WHEN.done then
//!   masks:FOLDER:COUNT     hide that many files of a folder, named 0, 1, 2 and so on
//!   tmpfs:PATH[:BYTES]     a file system in memory; tmpfs-exec: one with programs
//!   dir:PATH  link:PATH:TARGET  file:PATH:CONTENT  scratch:PATH:MODE  proc  dev
//!   cwd:PATH  env:NAME=VALUE  port:NUMBER  memory:BYTES  processes:COUNT  cpus:NUMBER
//!   accept:CONTROL         it may be held less well than its words say
//!   serve                answer on the gate's sockets: TCP tells kind and address, DNS echoes
//!   foreground           the agent gets the terminal at once
//!   refuse:NUMBER:ERRNO[:FIRST[:THIRD]]  this system call fails from here on, if its first and third argument are these
//! ```
#![allow(clippy::print_stderr, clippy::disallowed_methods, clippy::exit)]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg,
};
use palisade_boundary::{
    AgentEvent, Backend, BoundarySpec, Command, Control, Identity, Limits, Masker, Request, Running,
};
use palisade_native::NativeBackend;
use palisade_protocol::{
    Changes, EgressEndpoint, EgressWanted, Listener, ListenerKind, Ownership, TreeAccess, TreeEntry,
};
use palisade_sys::seccomp::{self, Instruction};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, getegid, geteuid, getpgrp, getpid, kill_process};

/// An id that no account of a usual system has.
const UNUSED_ID: u32 = 64_123;

struct Options {
    spec: BoundarySpec,
    serve: bool,
    filter: Vec<Instruction>,
    later: Vec<(PathBuf, PathBuf)>,
}

fn main() -> ExitCode {
    let options = parse(std::env::args_os().skip(1).collect());
    match run(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("enter: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(options: &Options) -> Result<u8, Box<dyn std::error::Error>> {
    hold_back(&options.filter)?;
    let mut running = NativeBackend.start(&options.spec).map_err(explained)?;
    running.begin()?;
    let EgressEndpoint::Sockets(sockets) = running.endpoint().map_err(explained)? else {
        return Err("another kind of endpoint".into());
    };
    let kept = if options.serve {
        serve(sockets)
    } else {
        sockets
    };
    if !options.later.is_empty() {
        let masker = running.masker()?.ok_or("no masker")?;
        let later = options.later.clone();
        std::thread::spawn(move || mask_later(masker, &later));
    }
    let code = supervise(running.as_mut(), options.spec.foreground)?;
    drop(kept);
    Ok(code)
}

fn mask_later(mut masker: Box<dyn Masker>, later: &[(PathBuf, PathBuf)]) {
    for (when, path) in later {
        while !when.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if let Err(error) = masker.mask(path, path.is_dir()) {
            eprintln!("enter: mask {}: {error}", path.display());
        }
        let _ = std::fs::write(when.with_extension("done"), "");
    }
}

/// Puts the refusals on this process, to stand for another kernel or a container's filter.
fn hold_back(filter: &[Instruction]) -> io::Result<()> {
    if filter.is_empty() {
        return Ok(());
    }
    let allow = [(libc::BPF_RET as u16, 0, libc::SECCOMP_RET_ALLOW)].map(instruction);
    rustix::thread::set_no_new_privs(true)?;
    seccomp::install(&[filter, &allow].concat())
}

/// Adds a refusal: each comparison that fails leads past its end.
fn refuse(filter: &mut Vec<Instruction>, text: &str) {
    let numbers: Vec<u32> = text
        .split(':')
        .map(|n| n.parse().expect("number"))
        .collect();
    let (call, errno) = (numbers[0], numbers[1]);
    // Places in `struct seccomp_data`: the number, and the low halves of the arguments on a little-endian machine.
    let compared = [(0, Some(&call)), (16, numbers.get(2)), (32, numbers.get(3))];
    let compared: Vec<_> = compared
        .into_iter()
        .filter_map(|(at, n)| Some((at, *n?)))
        .collect();
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let equal = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    for (index, (at, number)) in compared.iter().enumerate() {
        let left = u8::try_from(2 * (compared.len() - index) - 1).expect("short");
        filter.extend([(load, 0, *at), (equal, left, *number)].map(instruction));
    }
    let answer = libc::SECCOMP_RET_ERRNO | errno;
    filter.push(instruction((libc::BPF_RET as u16, 0, answer)));
}

fn instruction((code, jf, k): (u16, u8, u32)) -> Instruction {
    Instruction { code, jt: 0, jf, k }
}

fn explained(error: palisade_boundary::StartError) -> String {
    let mut text = format!("failed to {error}");
    if let Some(fix) = error.fix {
        let _ = write!(text, " (fix: {fix})");
    }
    text
}

fn supervise(
    running: &mut dyn Running,
    foreground: bool,
) -> Result<u8, Box<dyn std::error::Error>> {
    loop {
        poll(
            &mut [PollFd::new(&running.event_source(), PollFlags::IN)],
            None,
        )?;
        while let Some(event) = running.next_event()? {
            match event {
                AgentEvent::Started => {}
                AgentEvent::Stopped(_) => {
                    take_terminal(foreground);
                    kill_process(getpid(), Signal::STOP)?;
                    running.request(Request::Resume { foreground })?;
                }
                AgentEvent::ExecFailed(errno) => {
                    let not_found = errno == libc::ENOENT;
                    return Ok(if not_found { 127 } else { 126 });
                }
                AgentEvent::Exited(code) => return Ok(u8::try_from(code).unwrap_or(255)),
                AgentEvent::Killed(signal, why) => {
                    take_terminal(foreground);
                    eprintln!(
                        "enter: killed by signal {signal} {}",
                        why.unwrap_or_default()
                    );
                    return Ok(u8::try_from(128 + signal).unwrap_or(255));
                }
            }
        }
    }
}

fn take_terminal(foreground: bool) {
    if foreground {
        // As a background process we would be stopped for this, were the signal not blocked.
        let _ = palisade_sys::signal::block_all();
        let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), getpgrp());
        let _ = palisade_sys::signal::unblock_all();
    }
}

/// One thread a socket.
fn serve(sockets: Vec<Listener>) -> Vec<Listener> {
    for Listener { kind, socket } in sockets {
        rustix::io::ioctl_fionbio(&socket, false).expect("blocking mode");
        match kind {
            ListenerKind::DnsV4 | ListenerKind::DnsV6 => {
                let socket = UdpSocket::from(socket);
                std::thread::spawn(move || echo(&socket));
            }
            _ => {
                let listener = TcpListener::from(socket);
                std::thread::spawn(move || answer(&listener, kind));
            }
        }
    }
    Vec::new()
}

fn answer(listener: &TcpListener, kind: ListenerKind) -> io::Result<()> {
    loop {
        let (mut stream, peer) = listener.accept()?;
        let local = stream.local_addr()?;
        writeln!(
            stream,
            "{kind:?} {} {} from {}",
            local.ip().to_canonical(),
            local.port(),
            peer.ip().to_canonical()
        )?;
    }
}

/// Replies from the very address that was asked, and says which it was.
fn echo(socket: &UdpSocket) -> nix::Result<()> {
    let mut bytes = [0; 512];
    let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo);
    loop {
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::empty();
        let query =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        let (length, peer) = (query.bytes, query.address);
        let asked = query.cmsgs()?.next();
        let query = bytes.get(..length).unwrap_or_default().to_vec();
        let reply = |text: String, source: ControlMessage<'_>| {
            let parts = [io::IoSlice::new(text.as_bytes()), io::IoSlice::new(&query)];
            sendmsg(socket.as_raw_fd(), &parts, &[source], flags, peer.as_ref())
        };
        match asked {
            Some(ControlMessageOwned::Ipv4PacketInfo(mut info)) => {
                let address = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
                info.ipi_spec_dst = info.ipi_addr;
                reply(format!("{address} "), ControlMessage::Ipv4PacketInfo(&info))?;
            }
            Some(ControlMessageOwned::Ipv6PacketInfo(info)) => {
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                reply(format!("{address} "), ControlMessage::Ipv6PacketInfo(&info))?;
            }
            _ => {}
        }
    }
}

fn parse(mut arguments: Vec<OsString>) -> Options {
    let split = arguments
        .iter()
        .position(|a| a == "--")
        .expect("-- COMMAND");
    let argv = arguments.split_off(split + 1);
    let root = geteuid().is_root();
    let own = |id: u32| if root { UNUSED_ID } else { id };
    let mut options = Options {
        spec: BoundarySpec {
            command: Command {
                argv,
                environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
                directory: "/".into(),
            },
            identity: Identity {
                uid: 1000,
                gid: 1000,
                host_uid: own(geteuid().as_raw()),
                host_gid: own(getegid().as_raw()),
            },
            hostname: "palisade".into(),
            tree: Vec::new(),
            late_masks: false,
            limits: Limits::default(),
            accepted: Vec::new(),
            egress: EgressWanted {
                proxy_port: 3128,
                fallback_ports: vec![80, 443],
            },
            foreground: false,
        },
        serve: false,
        filter: Vec::new(),
        later: Vec::new(),
    };
    for argument in arguments.iter().filter(|a| *a != "--") {
        option(&mut options, argument.to_str().expect("utf-8"));
    }
    options
}

fn option(options: &mut Options, text: &str) {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let (first, second) = rest.split_once(':').unwrap_or((rest, rest));
    let spec = &mut options.spec;
    let path = PathBuf::from(first);
    let bind = |access, ownership| TreeEntry::Bind {
        source: PathBuf::from(first),
        target: PathBuf::from(second),
        access,
        ownership,
    };
    match name {
        "system" => system(&mut spec.tree),
        "ro" => spec.tree.push(bind(TreeAccess::Read, Ownership::Host)),
        "rw" => spec.tree.push(bind(TreeAccess::Write, Ownership::Host)),
        "own" => spec.tree.push(bind(TreeAccess::Write, Ownership::Agent)),
        "review" | "scratch-of" | "mask" | "masks" | "tmpfs" | "tmpfs-exec" => {
            spec.tree.extend(laid_over(name, path, second));
        }
        "dir" => spec.tree.push(TreeEntry::Dir { path }),
        "link" => spec.tree.push(TreeEntry::Symlink {
            path,
            target: second.into(),
        }),
        "file" => spec.tree.push(TreeEntry::File {
            path,
            content: second.into(),
        }),
        "scratch" => {
            let mode = u32::from_str_radix(second, 8).expect("octal mode");
            spec.tree.push(TreeEntry::Scratch { path, mode });
        }
        "proc" => spec.tree.push(TreeEntry::Proc),
        "dev" => spec.tree.push(TreeEntry::Dev),
        "cwd" => spec.command.directory = path,
        "env" => {
            let (name, value) = rest.split_once('=').expect("NAME=VALUE");
            spec.command.environment.push((name.into(), value.into()));
        }
        "port" => spec.egress.proxy_port = rest.parse().expect("port"),
        "memory" => spec.limits.memory = Some(rest.parse().expect("bytes")),
        "accept" => spec.accepted.push(Control::parse(rest).expect("a control")),
        "processes" => spec.limits.processes = Some(rest.parse().expect("count")),
        "cpus" => spec.limits.cpus = Some(rest.parse().expect("number")),
        "later" => {
            spec.late_masks = true;
            options.later.push((path, second.into()));
        }
        "serve" => options.serve = true,
        "foreground" => spec.foreground = true,
        "refuse" => refuse(&mut options.filter, rest),
        other => panic!("unknown option {other}"),
    }
}

/// Entries that lie over what is shown.
fn laid_over(name: &str, path: PathBuf, second: &str) -> Vec<TreeEntry> {
    let overlay = |changes| TreeEntry::Overlay {
        source: path.clone(),
        target: path.clone(),
        changes,
        ownership: Ownership::Agent,
    };
    let entry = match name {
        "review" => overlay(Changes::Kept(second.into())),
        "scratch-of" => overlay(Changes::Memory {
            size: second.parse().ok(),
        }),
        "mask" => TreeEntry::Mask {
            directory: path.is_dir(),
            path,
        },
        "masks" => {
            let count: u32 = second.parse().expect("count");
            let mask = |n: u32| TreeEntry::Mask {
                path: path.join(n.to_string()),
                directory: false,
            };
            return (0..count).map(mask).collect();
        }
        _ => TreeEntry::Tmpfs {
            path,
            size: second.parse().ok(),
            exec: name == "tmpfs-exec",
        },
    };
    vec![entry]
}

/// What most commands need.
fn system(tree: &mut Vec<TreeEntry>) {
    let read = |path: &str| TreeEntry::Bind {
        source: path.into(),
        target: path.into(),
        access: TreeAccess::Read,
        ownership: Ownership::Host,
    };
    tree.push(read("/usr"));
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = PathBuf::from("/").join(name);
        match std::fs::read_link(&path) {
            Ok(target) => tree.push(TreeEntry::Symlink { path, target }),
            Err(_) if path.is_dir() => tree.push(read(&format!("/{name}"))),
            Err(_) => {}
        }
    }
    for file in ["/etc/passwd", "/etc/group", "/etc/ld.so.cache"] {
        tree.push(read(file));
    }
    tree.extend([TreeEntry::Proc, TreeEntry::Dev]);
    for (path, mode) in [("/tmp", 0o1777), ("/run", 0o755), ("/home/agent", 0o700)] {
        tree.push(TreeEntry::Scratch {
            path: path.into(),
            mode,
        });
    }
}
