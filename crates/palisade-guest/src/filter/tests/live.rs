//! The kernel's own answers, with and without the filter.
//!
//! A filter binds one thread and what it starts, so each test attaches it on a thread of its own. The calls are made
//! by perl, which has a raw `syscall` and is part of every Debian and Ubuntu system (`perl-base`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use palisade_test_support::{Skip, conclude};

use super::super::{Options, compile};

/// Makes one call and says what came of it: the result and the error number.
const PERL: &str = r#"
    my $me = $$;
    my @arguments = map { /^n:(.*)/ ? int($1) : substr($_, 2) } @ARGV;
    my $number = shift @arguments;
    $! = 0;
    my $result = syscall($number, @arguments);
    exit if $$ != $me;
    print $result < 0 ? $! + 0 : 0;
"#;

#[derive(Clone, Copy)]
enum Argument<'a> {
    Number(i64),
    Text(&'a str),
}
use Argument::{Number as N, Text as T};

/// When a call tells who refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    /// On every kernel, for every user.
    Always,
    /// For root; the kernel refuses an ordinary user in the same way.
    Root,
    /// Where the kernel has the thing asked for.
    Built,
}

struct Case<'a> {
    number: i64,
    name: &'a str,
    arguments: Vec<Argument<'a>>,
    /// The filter's answer.
    errno: i32,
    /// When the same call without the filter must come out differently.
    control: Control,
}

/// Runs a program, under the filter or without.
fn start(mut command: Command, filter: Option<Options>) -> Output {
    std::thread::spawn(move || {
        if let Some(options) = filter {
            rustix::thread::set_no_new_privs(true).expect("no_new_privs");
            palisade_sys::seccomp::install(&compile(options)).expect("attach the filter");
        }
        command.output().expect("the program starts")
    })
    .join()
    .expect("thread")
}

/// The call's error number, 0 for success.
fn call(case: &Case<'_>, filter: Option<Options>) -> i32 {
    let mut command = Command::new("perl");
    command
        .args(["-e", PERL, "--"])
        .arg(format!("n:{}", case.number));
    for argument in &case.arguments {
        command.arg(match argument {
            N(number) => format!("n:{number}"),
            T(text) => format!("s:{text}"),
        });
    }
    let output = start(command, filter);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.parse().unwrap_or_else(|_| {
        panic!(
            "{}: {text:?} {}",
            case.name,
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

macro_rules! case {
    ($name:ident ($($argument:expr),*) => $errno:ident $(, $root:ident)?) => {
        Case {
            number: libc::$name,
            name: stringify!($name),
            arguments: vec![$($argument),*],
            errno: libc::$errno,
            control: case!(@ $($root)?),
        }
    };
    (@ root) => { Control::Root };
    (@ built) => { Control::Built };
    (@) => { Control::Always };
}

/// Panics where a call is not refused, or would be without the filter. Yields the calls this kernel refuses anyway
/// because it was built without them.
fn assert_refused(cases: &[Case<'_>]) -> Vec<String> {
    let root = rustix::process::geteuid().is_root();
    let mut absent = Vec::new();
    for case in cases {
        let refused = call(case, Some(Options::default()));
        assert_eq!(refused, case.errno, "{} under the filter", case.name);
        if case.control == Control::Root && !root {
            continue;
        }
        let same = call(case, None) == case.errno;
        if same && case.control == Control::Built {
            absent.push(format!("{} with error {}", case.name, case.errno));
        } else {
            assert!(!same, "{} without the filter fails as well", case.name);
        }
    }
    absent
}

#[test]
fn what_reaches_the_kernels_depths_is_refused() {
    const USER_MODE_ONLY: i64 = 1;
    const SESSION_KEYRING: i64 = -3;
    assert_refused(&[
        case!(SYS_io_uring_setup(N(1), N(0)) => ENOSYS),
        case!(SYS_io_uring_enter(N(-1), N(0), N(0), N(0), N(0), N(0)) => ENOSYS),
        case!(SYS_keyctl(N(0), N(SESSION_KEYRING), N(1)) => EPERM),
        case!(SYS_add_key(N(0), N(0), N(0), N(0), N(0)) => EPERM),
        case!(SYS_request_key(N(0), N(0), N(0), N(0)) => EPERM),
        case!(SYS_bpf(N(9999), N(0), N(0)) => EPERM, root),
        case!(SYS_perf_event_open(N(0), N(0), N(0), N(0), N(0)) => EPERM),
        case!(SYS_userfaultfd(N(USER_MODE_ONLY)) => EPERM),
        case!(SYS_kcmp(N(0), N(0), N(0), N(0), N(0)) => EPERM),
        case!(SYS_pidfd_getfd(N(-1), N(0), N(0)) => EPERM),
        case!(SYS_process_madvise(N(-1), N(0), N(0), N(0), N(0)) => ENOSYS),
        case!(SYS_kexec_load(N(0), N(0), N(0), N(0xFFFF)) => EPERM, root),
        case!(SYS_finit_module(N(-1), T(""), N(0)) => EPERM, root),
        case!(SYS_fanotify_init(N(-1), N(0)) => EPERM, root),
        case!(SYS_clock_settime(N(99), N(0)) => EPERM),
        case!(SYS_syslog(N(99), N(0), N(0)) => EPERM, root),
        case!(SYS_open_by_handle_at(N(-100), N(0), N(0)) => EPERM, root),
        case!(SYS_quotactl(N(0), N(0), N(0), N(0)) => EPERM),
    ]);
}

#[test]
fn namespaces_and_mounts_are_refused() {
    let new_user = i64::from(libc::CLONE_NEWUSER);
    assert_refused(&[
        case!(SYS_unshare(N(new_user)) => EPERM),
        case!(SYS_unshare(N(new_user | i64::from(libc::CLONE_NEWNET))) => EPERM),
        case!(SYS_clone(N(new_user | i64::from(libc::SIGCHLD)), N(0), N(0), N(0), N(0)) => EPERM),
        case!(SYS_clone3(N(0), N(0)) => ENOSYS),
        case!(SYS_setns(N(-1), N(0)) => EPERM),
        case!(SYS_open_tree(N(-100), T("/"), N(0)) => EPERM),
        case!(SYS_mount(N(0), N(0), N(0), N(0), N(0)) => EPERM, root),
        case!(SYS_fsopen(T("tmpfs"), N(0)) => EPERM, root),
        case!(SYS_mount_setattr(N(-100), T("/nowhere"), N(0), N(0), N(0)) => EPERM, root),
        case!(SYS_pivot_root(T("/nowhere"), T("/nowhere")) => EPERM, root),
        case!(SYS_chroot(T("/nowhere")) => EPERM),
    ]);
}

#[test]
fn sockets_of_other_kinds_are_refused() {
    const STREAM: i64 = libc::SOCK_STREAM as i64;
    const DATAGRAM: i64 = libc::SOCK_DGRAM as i64;
    const MULTIPATH: i64 = libc::IPPROTO_MPTCP as i64;
    let dirty_high_half = 0x0101_0000_0000_i64;
    let absent = assert_refused(&[
        case!(SYS_socket(N(libc::AF_VSOCK.into()), N(STREAM), N(0)) => EAFNOSUPPORT, built),
        case!(SYS_socket(N(libc::AF_VSOCK as i64 | dirty_high_half), N(STREAM), N(0)) => EAFNOSUPPORT, built),
        case!(SYS_socket(N(libc::AF_PACKET.into()), N(DATAGRAM), N(0)) => EAFNOSUPPORT, built),
        case!(SYS_socket(N(libc::AF_INET.into()), N(libc::SOCK_RAW.into()), N(1)) => EPERM, root),
        case!(SYS_socket(N(libc::AF_INET6.into()), N(libc::SOCK_RAW.into()), N(58)) => EPERM, root),
        case!(SYS_socket(N(libc::AF_INET.into()), N(STREAM), N(MULTIPATH)) => EPROTONOSUPPORT, built),
        case!(SYS_socket(N(libc::AF_NETLINK.into()), N(3), N(libc::NETLINK_KOBJECT_UEVENT.into())) => EPROTONOSUPPORT),
    ]);
    for family in [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
    ] {
        let kind = if family == libc::AF_NETLINK {
            3
        } else {
            STREAM
        };
        let fine = case!(SYS_socket(N(family.into()), N(kind | 0x80000), N(0)) => EPERM);
        assert_eq!(call(&fine, Some(Options::default())), 0, "family {family}");
    }
    let fix = "modprobe -a vsock af_packet";
    let lacking = Skip::because(format!("the kernel refuses {}", absent.join(", ")), fix);
    let outcome = if absent.is_empty() {
        Ok(())
    } else {
        Err(lacking)
    };
    conclude("sockets_of_other_kinds_are_refused", outcome);
}

#[test]
fn terminals_and_personalities_are_guarded() {
    const NO_DESCRIPTOR: i64 = -1;
    let high = 1i64 << 32;
    assert_refused(&[
        case!(SYS_ioctl(N(NO_DESCRIPTOR), N(0x5412), N(0)) => EPERM),
        case!(SYS_ioctl(N(NO_DESCRIPTOR), N(0x5412 | high), N(0)) => EPERM),
        case!(SYS_ioctl(N(NO_DESCRIPTOR), N(0x541C), N(0)) => EPERM),
        case!(SYS_ioctl(N(NO_DESCRIPTOR), N(0x5423), N(0)) => EPERM),
        case!(SYS_personality(N(0x40_0000)) => EPERM),
    ]);
    let window_size = case!(SYS_ioctl(N(NO_DESCRIPTOR), N(0x5413), N(0)) => EPERM);
    assert_eq!(call(&window_size, Some(Options::default())), libc::EBADF);
    let no_randomisation = case!(SYS_personality(N(0x4_0000)) => EPERM);
    assert_eq!(call(&no_randomisation, Some(Options::default())), 0);
}

#[test]
fn no_way_leads_to_a_set_id_file() {
    let place = tempfile::tempdir().expect("directory");
    let path = |name: &str| place.path().join(name).to_string_lossy().into_owned();
    fs::write(path("file"), "").expect("file");
    let (file, new, node) = (path("file"), path("new"), path("node"));
    let create = i64::from(libc::O_CREAT | libc::O_WRONLY);
    let unnamed = i64::from(libc::O_TMPFILE | libc::O_WRONLY);
    let directory = place.path().to_string_lossy().into_owned();
    assert_refused(&[
        case!(SYS_fchmodat(N(-100), T(&file), N(0o4755)) => EPERM),
        case!(SYS_fchmodat(N(-100), T(&file), N(0o2755)) => EPERM),
        case!(SYS_fchmod(N(-1), N(0o4755)) => EPERM),
        case!(SYS_openat(N(-100), T(&new), N(create), N(0o4755)) => EPERM),
        case!(SYS_openat(N(-100), T(&directory), N(unnamed), N(0o4755)) => EPERM),
        case!(SYS_openat2(N(-100), T(&new), N(0), N(0)) => ENOSYS),
        case!(SYS_mknodat(N(-100), T(&node), N(0o10_4755), N(0)) => EPERM),
        case!(SYS_mknodat(N(-100), T(&path("null")), N(0o2_0666), N(0x103)) => EPERM, root),
    ]);
    for fine in [
        case!(SYS_fchmodat(N(-100), T(&file), N(0o755)) => EPERM),
        case!(SYS_openat(N(-100), T(&path("plain")), N(create), N(0o1755)) => EPERM),
        case!(SYS_openat(N(-100), T(&file), N(0), N(0o6755)) => EPERM),
        case!(SYS_mknodat(N(-100), T(&path("pipe")), N(0o1_0644), N(0)) => EPERM),
        // The kernel itself leaves the bits out of a new directory (`vfs_mkdir`).
        case!(SYS_mkdirat(N(-100), T(&path("directory")), N(0o6755)) => EPERM),
    ] {
        assert_eq!(call(&fine, Some(Options::default())), 0, "{}", fine.name);
    }
    let mode = fs::metadata(path("directory"))
        .expect("directory")
        .permissions()
        .mode();
    assert_eq!(mode & 0o6000, 0, "{mode:o}");
}

#[test]
fn switches_refuse_what_they_close() {
    let shut = Options {
        ptrace: false,
        affinity: false,
    };
    let traced = case!(SYS_ptrace(N(0), N(0), N(0), N(0)) => EPERM);
    let bound = case!(SYS_sched_setaffinity(N(0), N(0), N(0)) => EPERM);
    for case in [traced, bound] {
        assert_ne!(
            call(&case, Some(Options::default())),
            libc::EPERM,
            "{}",
            case.name
        );
        assert_eq!(call(&case, Some(shut)), libc::EPERM, "{}", case.name);
    }
}

/// Threads, pipes, children, name look-up, temporary files: what programs do all day.
#[test]
fn ordinary_programs_run() {
    let scripts = [
        (
            "sh",
            "echo a | cat | wc -l; ls -la / >/dev/null; d=$(mktemp -d) && rmdir $d && echo done",
        ),
        (
            "sh",
            "getent hosts localhost >/dev/null; id >/dev/null; date >/dev/null; echo done",
        ),
        (
            "perl",
            "my $p = fork() // die; exit 0 unless $p; waitpid $p, 0; print $? ? 'bad' : 'done'",
        ),
    ];
    for (program, script) in scripts {
        let mut command = Command::new(program);
        command.args([if program == "sh" { "-c" } else { "-e" }, script]);
        let output = start(command, Some(Options::default()));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("done"),
            "{script}: {output:?}"
        );
    }
}
