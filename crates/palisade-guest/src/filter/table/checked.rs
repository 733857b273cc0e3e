//! Calls whose arguments decide. They are few, because the filter runs on each use of them.

use super::super::rule::{Action, Holds, Rule, Test};
use super::{ALLOW, Group, NOT_FOR_YOU, calls};

/// Every flag that makes a namespace, but `CLONE_NEWTIME`, whose bit is part of the exit signal in `clone`.
const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;
/// `CLONE_NEWTIME` (`linux/sched.h`).
const NEW_TIME_NAMESPACE: u32 = 0x80;
const SET_ID_BITS: u32 = libc::S_ISUID | libc::S_ISGID;
/// `open` reads its mode with either of these only. `__O_TMPFILE` is `O_TMPFILE` without `O_DIRECTORY`.
const CREATING: u32 = (libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY)) as u32;
/// What the kernel takes for the socket's type; the rest are flags (`SOCK_TYPE_MASK`, `linux/net.h`).
const SOCKET_TYPE_MASK: u32 = 0xf;
/// Typing into a terminal, a console's own requests, a line discipline (`asm-generic/ioctls.h`).
const TERMINAL_ATTACKS: &[u32] = &[0x5412, 0x541C, 0x5423];
/// Linux, Linux32, each as told apart by an old version number, the query, and Linux without address randomisation.
const PERSONALITIES: &[u32] = &[0, 8, 0x2_0000, 0x2_0008, 0x4_0000, u32::MAX];

const fn any_bit(argument: u8, bits: u32) -> Test {
    Test {
        argument,
        holds: Holds::AnyBit(bits),
    }
}

const fn one_of(argument: u8, values: &'static [u32]) -> Test {
    masked(argument, u32::MAX, values)
}

const fn masked(argument: u8, mask: u32, values: &'static [u32]) -> Test {
    Test {
        argument,
        holds: Holds::OneOf { mask, values },
    }
}

const fn either(test: Test, then: &'static Rule, otherwise: &'static Rule) -> Rule {
    Rule::If {
        test,
        then,
        otherwise,
    }
}

static NO_PROTOCOL: Rule = Rule::Always(Action::Fail(libc::EPROTONOSUPPORT));
static NO_FAMILY: Rule = Rule::Always(Action::Fail(libc::EAFNOSUPPORT));

static MODE_1: Rule = either(any_bit(1, SET_ID_BITS), &NOT_FOR_YOU, &ALLOW);
static MODE_2: Rule = either(any_bit(2, SET_ID_BITS), &NOT_FOR_YOU, &ALLOW);
static MODE_3: Rule = either(any_bit(3, SET_ID_BITS), &NOT_FOR_YOU, &ALLOW);
static OPEN: Rule = either(any_bit(1, CREATING), &MODE_2, &ALLOW);
static OPENAT: Rule = either(any_bit(2, CREATING), &MODE_3, &ALLOW);
static MKNOD: Rule = either(
    masked(1, libc::S_IFMT, &[libc::S_IFCHR, libc::S_IFBLK]),
    &NOT_FOR_YOU,
    &MODE_1,
);
static MKNODAT: Rule = either(
    masked(2, libc::S_IFMT, &[libc::S_IFCHR, libc::S_IFBLK]),
    &NOT_FOR_YOU,
    &MODE_2,
);

static SOCKET: Rule = either(one_of(0, &[libc::AF_UNIX as u32]), &ALLOW, &NOT_UNIX_SOCKET);
static NOT_UNIX_SOCKET: Rule = either(
    one_of(0, &[libc::AF_INET as u32, libc::AF_INET6 as u32]),
    &INTERNET_SOCKET,
    &OTHER_SOCKET,
);
static OTHER_SOCKET: Rule = either(
    one_of(0, &[libc::AF_NETLINK as u32]),
    &NETLINK_SOCKET,
    &NO_FAMILY,
);
/// Multipath TCP, SCTP and the like fall out by protocol; programs that try them fall back on this error.
static INTERNET_SOCKET: Rule = either(
    masked(
        1,
        SOCKET_TYPE_MASK,
        &[libc::SOCK_STREAM as u32, libc::SOCK_DGRAM as u32],
    ),
    &INTERNET_PROTOCOL,
    &NOT_FOR_YOU,
);
static INTERNET_PROTOCOL: Rule = either(
    one_of(2, &[0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32]),
    &ALLOW,
    &NO_PROTOCOL,
);
static NETLINK_SOCKET: Rule = either(
    one_of(2, &[libc::NETLINK_ROUTE as u32]),
    &ALLOW,
    &NO_PROTOCOL,
);
static SOCKETPAIR: Rule = either(one_of(0, &[libc::AF_UNIX as u32]), &ALLOW, &NO_FAMILY);

static CLONE: Rule = either(any_bit(0, NEW_NAMESPACES), &NOT_FOR_YOU, &ALLOW);
static UNSHARE: Rule = either(
    any_bit(0, NEW_NAMESPACES | NEW_TIME_NAMESPACE),
    &NOT_FOR_YOU,
    &ALLOW,
);
static IOCTL: Rule = either(one_of(1, TERMINAL_ATTACKS), &NOT_FOR_YOU, &ALLOW);
static PERSONALITY: Rule = either(one_of(0, PERSONALITIES), &ALLOW, &NOT_FOR_YOU);

pub(super) static GROUPS: &[Group] = &[
    Group {
        title: "open with a mode",
        rule: &OPEN,
        reason: "a file left with a set-user-id or set-group-id bit would lend the agent's \
                 rights, or those of the workspace's owner, to every other local user",
        switch: None,
        calls: calls! {
            open 2 -
        },
    },
    Group {
        title: "openat with a mode",
        rule: &OPENAT,
        reason: "as open",
        switch: None,
        calls: calls! {
            openat 257 56
        },
    },
    Group {
        title: "modes",
        rule: &MODE_1,
        reason: "as open",
        switch: None,
        calls: calls! {
            chmod 90 -, fchmod 91 52, creat 85 -
        },
    },
    Group {
        title: "modes relative to a directory",
        rule: &MODE_2,
        reason: "as open",
        switch: None,
        calls: calls! {
            fchmodat 268 53, fchmodat2 452 452
        },
    },
    Group {
        title: "special files",
        rule: &MKNOD,
        reason: "as open; device nodes belong to the host, and one with number 0:0 would forge \
                 a deletion in an overlay",
        switch: None,
        calls: calls! {
            mknod 133 -
        },
    },
    Group {
        title: "special files relative to a directory",
        rule: &MKNODAT,
        reason: "as mknod",
        switch: None,
        calls: calls! {
            mknodat 259 33
        },
    },
    Group {
        title: "socket families",
        rule: &SOCKET,
        reason: "local sockets, TCP and UDP (which the gate receives) and netlink's routing \
                 answers, which getifaddrs needs; every other family is a way to the \
                 hypervisor (vsock), to raw packets or to kernel code an agent has no use for",
        switch: None,
        calls: calls! {
            socket 41 198
        },
    },
    Group {
        title: "socket pairs",
        rule: &SOCKETPAIR,
        reason: "only local ones exist for honest use",
        switch: None,
        calls: calls! {
            socketpair 53 199
        },
    },
    Group {
        title: "threads and processes",
        rule: &CLONE,
        reason: "a new user namespace would hand the agent a kernel surface that only root has \
                 otherwise",
        switch: None,
        calls: calls! {
            clone 56 220
        },
    },
    Group {
        title: "leaving shared state",
        rule: &UNSHARE,
        reason: "as clone; the harmless flags stay",
        switch: None,
        calls: calls! {
            unshare 272 97
        },
    },
    Group {
        title: "device requests",
        rule: &IOCTL,
        reason: "TIOCSTI and TIOCLINUX type into the terminal palisade was started from \
                 (CVE-2017-5226, CVE-2023-28339); TIOCSETD loads line disciplines \
                 (CVE-2017-2636)",
        switch: None,
        calls: calls! {
            ioctl 16 29
        },
    },
    Group {
        title: "execution domains",
        rule: &PERSONALITY,
        reason: "the usual ones; debuggers switch address randomisation off; the others weaken \
                 memory protection or run emulation code",
        switch: None,
        calls: calls! {
            personality 135 92
        },
    },
];
