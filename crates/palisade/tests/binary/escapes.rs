//! Attacks from inside. Each has a positive control: the very same attempt works outside, or in a session whose policy
//! allows it. An attempt whose control does not work on this machine proves nothing and is listed as such.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command};

use palisade_test_support::upstream::{Server, ServerFirst, Web};
use palisade_test_support::{Identity, Lab, Need, Policy, each_identity, need};
use serde_json::{Value, json};

use crate::lab;

/// Where an attempt is expected to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// Outside, for anyone.
    Anyone,
    /// Outside, for root; an ordinary user is stopped by the host already.
    Root,
    /// In a session whose policy allows the destination.
    Allowed,
    /// Nowhere in a test: there is no network here. The session's own log must show the refusal.
    None,
}

use Control::{Allowed, Anyone, None as NoControl, Root};

const ATTEMPTS: [(&str, Control); 44] = [
    ("read_shadow", Root),
    ("read_ssh_key", Anyone),
    ("read_cloud_credentials", Anyone),
    ("read_ssh_host_keys", Root),
    ("read_environ_of_init", Root),
    ("read_memory_of_init", Root),
    ("see_host_processes", Anyone),
    ("signal_host_process", Anyone),
    ("write_outside", Anyone),
    ("write_system", Root),
    ("write_proc_sys", Root),
    ("list_sys", Anyone),
    ("setuid_bit", Anyone),
    ("host_loopback_tcp", Anyone),
    ("host_loopback_udp", Anyone),
    ("host_abstract_socket", Anyone),
    ("host_path_socket", Anyone),
    ("raw_ipv4", Allowed),
    ("raw_ipv6", Allowed),
    ("metadata_service", Allowed),
    ("foreign_dns", NoControl),
    ("foreign_udp", NoControl),
    ("af_vsock", Anyone),
    ("af_packet", Root),
    ("af_alg", Anyone),
    ("af_netlink_nftables", Anyone),
    ("raw_ip_socket", Root),
    ("io_uring", Anyone),
    ("keyring", Anyone),
    ("keyctl", Anyone),
    ("bpf", Root),
    ("userfaultfd", Anyone),
    ("perf_events", Root),
    ("new_user_namespace", Anyone),
    ("mount", Root),
    ("mount_in_new_namespace", Anyone),
    ("open_tree", Root),
    ("fsopen", Root),
    ("chroot", Root),
    ("trace_init", Anyone),
    ("become_root", Root),
    ("type_into_terminal", Root),
    ("devices", Root),
    ("kernel_memory", Root),
];

/// What the host has to offer to an attacker.
struct Host {
    lab: Lab,
    web: Server,
    tcp: Server,
    udp: u16,
    abstract_name: String,
    victim: Child,
}

impl Host {
    fn new(who: Identity) -> Self {
        let lab = lab(who);
        let outside = lab.path("outside");
        std::fs::create_dir(&outside).unwrap();
        who.own(&outside);
        let abstract_name = format!("palisade-test-{}", lab.path("").display());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        answer_on(UnixListener::bind_addr(&address).unwrap());
        answer_on(UnixListener::bind(outside.join("socket")).unwrap());
        who.own(&outside);
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp_port = udp.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                udp.send_to(b"pong", from).ok();
            }
        });
        lab.write(
            &lab.workspace().join("attempts.py"),
            include_str!("attempts.py"),
        );
        // A process that the attacker's own user owns.
        let victim = lab.outside("/bin/sleep").args(["600"]).spawn();
        Self {
            web: Server::http(Web),
            tcp: ServerFirst::start(),
            udp: udp_port,
            abstract_name,
            victim,
            lab,
        }
    }

    fn parameters(&self, place: &str) -> PathBuf {
        let value = json!({
            "where": place,
            "home": self.lab.home(),
            "outside": self.lab.path("outside"),
            "host_keys": "/etc/ssh/ssh_host_*_key",
            "tcp": self.tcp.address().port(),
            "udp": self.udp,
            "abstract": self.abstract_name,
            "victim": self.victim.id(),
        });
        let path = self.lab.workspace().join(format!("{place}.json"));
        self.lab.write(&path, value.to_string())
    }

    fn outside(&self, names: &[&str]) -> Outcomes {
        let invocation = self.lab.outside("/usr/bin/python3").args(["attempts.py"]);
        let done = invocation
            .args([self.parameters("outside")])
            .args(names)
            .run();
        outcomes(&done.expect(0).stdout)
    }

    fn inside(&self, policy: &Policy, names: &[&str]) -> Outcomes {
        let parameters = self.parameters("inside");
        let command = ["python3", "attempts.py", parameters.to_str().unwrap()];
        let command = command.iter().chain(names);
        outcomes(&self.lab.run(policy, command).run().expect(0).stdout)
    }

    /// A policy that reaches the stand-in under each address the attempts use.
    fn weaker_policy(&self) -> Policy {
        let web = self.web.address();
        ["203.0.113.9", "[2001:db8::9]", "169.254.169.254"]
            .iter()
            .fold(Policy::new(), |policy, host| policy.reach(host, 80, web))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.victim.kill().ok();
        self.victim.wait().ok();
    }
}

type Outcomes = BTreeMap<String, (bool, String)>;

fn outcomes(text: &str) -> Outcomes {
    let parse = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| value[name].as_str().unwrap().to_owned();
        (text("name"), (text("outcome") == "done", text("detail")))
    };
    text.lines().map(parse).collect()
}

fn answer_on(listener: UnixListener) {
    let answer = |mut stream: UnixStream| {
        let mut buffer = [0; 4];
        stream.read_exact(&mut buffer).ok();
        stream.write_all(b"pong").ok();
    };
    std::thread::spawn(move || listener.incoming().flatten().for_each(answer));
}

fn names(wanted: impl Fn(Control) -> bool) -> Vec<&'static str> {
    let fitting = ATTEMPTS.iter().filter(|(_, control)| wanted(*control));
    fitting.map(|(name, _)| *name).collect()
}

each_identity! {
    fn nothing_gets_out(who) {
        need(&[Need::Program("python3", "python3")])?;
        let host = Host::new(who);
        let controllable = |control| control == Anyone || (control == Root && who == Identity::Root);
        let mut controls = host.outside(&names(controllable));
        controls.extend(host.inside(&host.weaker_policy(), &names(|c| c == Allowed)));
        let inside = host.inside(&Policy::new(), &names(|_| true));

        let mut escaped = Vec::new();
        let mut unproven = Vec::new();
        let mut matrix = format!("{:<24} {:<10} inside\n", "attempt", "control");
        for (name, _) in ATTEMPTS {
            let (done, detail) = &inside[name];
            let control = controls.get(name);
            let control_text = match control {
                Some((true, _)) => "works",
                Some((false, _)) => "fails",
                None => "-",
            };
            let result = if *done { "DONE" } else { "blocked" };
            matrix += &format!("{name:<24} {control_text:<10} {result}: {detail}\n");
            if *done {
                escaped.push(name);
            }
            if let Some((false, why)) = control {
                unproven.push(format!("{name}: {why}"));
            }
        }
        println!("as {who}:\n{matrix}");
        assert_eq!(escaped, [""; 0], "\n{matrix}");
        // These do not work on every machine, even outside: no sshd, no such kernel module, a sysctl.
        let may_be_missing = [
            "read_ssh_host_keys", "af_vsock", "af_alg", "io_uring", "perf_events", "type_into_terminal",
            "keyring", "userfaultfd", "devices", "kernel_memory", "read_environ_of_init",
            "read_memory_of_init", "bpf",
            "write_proc_sys", "new_user_namespace", "mount_in_new_namespace",
        ];
        unproven.retain(|line| !may_be_missing.contains(&line.split(':').next().unwrap_or("")));
        assert_eq!(unproven, [""; 0], "these controls should have worked\n{matrix}");
        for destination in ["203.0.113.9", "2001:db8::9", "169.254.169.254"] {
            host.lab.expect_denied(destination, "not-allowed");
        }
    }

    fn inherited_descriptors_are_closed(who) {
        let lab = lab(who);
        let secret = lab.home().join(".ssh/id_ed25519");
        // The shell opens it as descriptor 9; the control reads it from there.
        let line = |command: &str| format!("exec 9< '{}'; exec {command}", secret.display());
        let control = lab.outside("/bin/sh").args(["-c", &line("cat <&9")]).run().expect(0);
        assert_eq!(control.stdout, lab.secret());
        let inside = format!("'{}' run --quiet -- sh -c 'ls /proc/self/fd; cat /proc/self/fd/9'", lab.binary().display());
        let done = lab.outside("/bin/sh").args(["-c", &line(&inside)]).run();
        assert_ne!(done.status, 0);
        // 3 is the folder that ls itself reads.
        assert_eq!(done.stdout, "0\n1\n2\n3\n", "{done}");
    }

    fn the_environment_does_not_leak(who) {
        let lab = lab(who);
        let palisade = |arguments: &[&str]| {
            let invocation = lab.palisade(["run", "--quiet"]).args(arguments);
            let invocation = invocation.env("AWS_SECRET_ACCESS_KEY", lab.secret()).env("LD_PRELOAD", "");
            invocation.args(["--", "sh", "-c", "env; cat /proc/1/environ /proc/*/environ"]).run()
        };
        let passed = palisade(&["--env", "AWS_SECRET_ACCESS_KEY"]);
        assert!(passed.stdout.contains(lab.secret()), "{passed}");
        let inside = palisade(&[]);
        assert!(inside.stdout.contains("HOME="), "{inside}");
        assert!(!inside.stdout.contains(lab.secret()), "{inside}");
        assert!(!inside.stdout.contains("LD_PRELOAD"), "{inside}");
    }

    fn the_agent_is_nobody_on_the_host(who) {
        need(&[Need::Program("pgrep", "procps")])?;
        let lab = lab(who);
        let script = "grep -E '^(Uid|Gid|Groups|CapEff|CapPrm|NoNewPrivs|Seccomp):' /proc/self/status; touch owned";
        let done = lab.palisade(["run", "--quiet", "--", "sh", "-c", script]).run().expect(0);
        for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(done.stdout.contains(line), "{line}: {done}");
        }
        assert!(!done.stdout.contains("Uid:\t0\t"), "{done}");
        // From the host's side: no process of a session run by anyone is root's.
        let mark = format!("7{}", std::process::id());
        let mut palisade = lab.palisade(["run", "--quiet", "--", "sleep", &mark]).spawn();
        let uid = (0..500).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            let found = Command::new("pgrep").args(["-f", "-x", &format!("sleep {mark}")]).output().unwrap();
            let id = String::from_utf8(found.stdout).unwrap().trim().to_owned();
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("Uid:"))?.to_owned();
            line.split_whitespace().nth(1)?.parse::<u32>().ok()
        });
        palisade.kill().unwrap();
        palisade.wait().unwrap();
        let uid = uid.expect("the agent was seen from the host");
        assert_ne!(uid, 0);
    }
}
