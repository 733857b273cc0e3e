//! The program in namespaces as a container engine makes them, without an engine.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use palisade_guest::handover::{Message, receive};
use palisade_guest::start::OTHER_NETWORK;
use palisade_protocol::{
    EgressWanted, GUEST_PLAN, GUEST_SOCKET, GuestPlan, InitEvent, InitRequest, ListenerKind,
    SetupStep,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    send, socket_with,
};
use tempfile::TempDir;

/// What an engine does before it starts the first process.
const ENGINE: &str = "eval \"$3\"; mount -t tmpfs none /run && mkdir /run/palisade && mount --bind \"$1\" /run/palisade && exec \"$2\"";

struct Session {
    control: OwnedFd,
    guest: Child,
    _folder: TempDir,
}

fn start(script: &str) -> Session {
    start_with("true", script)
}

/// With a network that the engine has made something of.
fn start_with(network: &str, script: &str) -> Session {
    let folder = tempfile::tempdir().expect("folder");
    let plan = GuestPlan {
        identity: None,
        foreground: false,
        window: None,
        relayed: false,
        egress: EgressWanted {
            proxy_port: 3128,
            fallback_ports: vec![80, 443],
        },
        owned: Vec::new(),
        writable: vec![("/tmp".into(), true)],
        directory: "/tmp".into(),
        argv: ["sh", "-c", script].map(Into::into).to_vec(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
    };
    fs::write(folder.path().join(GUEST_PLAN), plan.encode()).expect("plan");
    let flags = SocketFlags::CLOEXEC;
    let listener =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("socket");
    let address = SocketAddrUnix::new(folder.path().join(GUEST_SOCKET)).expect("address");
    bind(&listener, &address).expect("bind");
    listen(&listener, 1).expect("listen");
    let guest = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--pid",
            "--fork",
            "--mount",
            "--kill-child",
        ])
        .args(["sh", "-c", ENGINE, "sh"])
        .arg(folder.path())
        .arg(env!("CARGO_BIN_EXE_palisade-guest"))
        .arg(network)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("unshare");
    wait(&listener);
    let control = accept_with(&listener, flags).expect("the guest calls");
    Session {
        control,
        guest,
        _folder: folder,
    }
}

fn wait(fd: &OwnedFd) {
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let ready = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)).expect("poll");
    assert_eq!(ready, 1, "nothing came");
}

impl Session {
    fn event(&self) -> Message {
        wait(&self.control);
        let message = receive(self.control.as_fd()).expect("received");
        message.expect("not the end")
    }

    fn ask(&self, request: InitRequest) {
        send(&self.control, &request.encode(), SendFlags::NOSIGNAL).expect("sent");
    }

    fn end(mut self) -> (Option<i32>, String) {
        let mut text = String::new();
        let output = self.guest.stdout.as_mut().expect("output");
        output.read_to_string(&mut text).expect("text");
        (self.guest.wait().expect("wait").code(), text)
    }
}

#[test]
fn another_network_than_its_own_is_left_alone() {
    for made in [
        "ip link add d0 type bridge && ip link set d0 up && ip address add 192.0.2.7/24 dev d0",
        "ip link add d0 type bridge && ip link set d0 up && ip -6 address add 2001:db8::7/64 dev d0",
    ] {
        let session = start_with(made, "true");
        let event = session.event().event;
        assert!(
            matches!(
                event,
                InitEvent::Failed {
                    step: SetupStep::Network,
                    index: OTHER_NETWORK,
                    ..
                }
            ),
            "{made}: {event:?}"
        );
    }
}

#[test]
fn the_sockets_come_out_before_the_agent_starts_and_its_end_is_told() {
    let session = start("grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; exit 7");
    let Message { event, sockets, .. } = session.event();
    assert_eq!(event, InitEvent::Ready);
    for kind in [
        ListenerKind::Proxy,
        ListenerKind::Transparent,
        ListenerKind::DnsV4,
    ] {
        assert!(sockets.iter().any(|s| s.kind == kind), "{kind:?}");
    }
    session.ask(InitRequest::Begin);
    assert_eq!(session.event().event, InitEvent::Started);
    assert_eq!(session.event().event, InitEvent::Exited { code: 7 });
    let (status, text) = session.end();
    assert_eq!(status, Some(7));
    let none = "0".repeat(16);
    let expected = format!("CapEff:\t{none}\nCapBnd:\t{none}\nNoNewPrivs:\t1\nSeccomp:\t2\n");
    assert_eq!(text, expected);
}

#[test]
fn a_connection_to_any_address_arrives_at_the_socket_that_came_out() {
    let script = "exec 3<>/dev/tcp/203.0.113.7/4711 && echo through >&3";
    let session = start(&format!("bash -c '{script}'"));
    let ready = session.event();
    let caught = ready
        .sockets
        .into_iter()
        .find(|s| s.kind == ListenerKind::Transparent)
        .expect("a listener for what is caught")
        .socket;
    session.ask(InitRequest::Begin);
    wait(&caught);
    let mut stream = std::net::TcpStream::from(accept_with(&caught, SocketFlags::CLOEXEC).unwrap());
    let wanted = stream.local_addr().expect("address");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    let canonical = wanted.ip().to_canonical().to_string();
    assert_eq!((canonical.as_str(), wanted.port()), ("203.0.113.7", 4711));
    assert_eq!(text, "through\n");
}

#[test]
fn everything_inside_ends_when_the_supervisor_is_gone() {
    let session = start("sleep 1000 & sleep 1000");
    session.event();
    session.ask(InitRequest::Begin);
    assert_eq!(session.event().event, InitEvent::Started);
    let Session {
        control, mut guest, ..
    } = session;
    drop(control);
    let mut text = String::new();
    let output = guest.stdout.as_mut().expect("output");
    // Both sleeping programs hold the other end, and would for a quarter of an hour.
    output.read_to_string(&mut text).expect("the end");
    guest.wait().expect("wait");
}

#[test]
fn a_signal_reaches_the_agent() {
    // The trap is set once the first byte comes.
    let mut session = start("trap 'exit 9' USR1; echo; while :; do sleep 0.01; done");
    session.event();
    session.ask(InitRequest::Begin);
    assert_eq!(session.event().event, InitEvent::Started);
    let output = session.guest.stdout.as_mut().expect("output");
    output.read_exact(&mut [0]).expect("a line");
    session.ask(InitRequest::Signal { signal: 10 });
    assert_eq!(session.event().event, InitEvent::Exited { code: 9 });
}

#[test]
fn without_a_session_it_says_why() {
    let output = Command::new(env!("CARGO_BIN_EXE_palisade-guest"))
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(125));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("read the session's plan"), "{text}");
}
