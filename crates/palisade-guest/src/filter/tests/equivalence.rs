//! The program means what another compiler makes of the same rules, written down a second time.

use std::collections::BTreeMap;

use palisade_sys::seccomp::Instruction;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::super::{Action, Architecture, Options, Rule, compile_for, groups, rule_of};
use super::interpreter::{Data, action, run};

/// Values that some rule tells apart, and some that dirty the high half, which the kernel ignores.
const VALUES: [u64; 25] = [
    0,
    1,
    2,
    3,
    5,
    6,
    8,
    10,
    16,
    17,
    38,
    40,
    0o100,
    0o2755,
    0o4644,
    0o2_0644,
    0o6_4755,
    0o10_0644,
    0o2020_0002,
    0x5412,
    0x541C,
    0x4_0000,
    0x1000_0011,
    0xFFFF_FFFF,
    0xDEAD_0000_0000_0003,
];

/// One value in every place, and what real calls look like.
pub(super) fn samples() -> impl Iterator<Item = [u64; 6]> {
    let real = [
        [2, 3, 6, 0, 0, 0],
        [2, 0x80002, 17, 0, 0, 0],
        [10, 1, 0, 0, 0, 0],
        [16, 3, 0, 0, 0, 0],
        [2, 1, 262, 0, 0, 0],
        [u64::MAX, 7, 0o102, 0o4755, 0, 0],
        [u64::MAX, 7, 0, 0o4755, 0, 0],
    ];
    VALUES.into_iter().map(|v| [v; 6]).chain(real)
}

/// Every combination of values in the first four arguments that any rule looks at.
fn combinations(call: &str) -> Vec<[u64; 6]> {
    let looked_at: &[usize] = match call {
        "open" => &[1, 2],
        "openat" => &[2, 3],
        "socket" => &[0, 1, 2],
        "mknod" | "chmod" | "fchmod" | "creat" | "ioctl" => &[1],
        "mknodat" | "fchmodat" | "fchmodat2" => &[2],
        _ => &[0],
    };
    let mut all = vec![[0x77; 6]];
    for index in looked_at {
        all = all
            .into_iter()
            .flat_map(|old| {
                VALUES.into_iter().map(move |value| {
                    let mut new = old;
                    new[*index] = value;
                    new
                })
            })
            .collect();
    }
    all
}

fn condition(argument: u8, operation: SeccompCmpOp, value: u64) -> SeccompCondition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value).expect("condition")
}

fn all_of(conditions: Vec<SeccompCondition>) -> SeccompRule {
    SeccompRule::new(conditions).expect("rule")
}

fn equal(argument: u8, values: &[u64]) -> Vec<SeccompRule> {
    values
        .iter()
        .map(|v| all_of(vec![condition(argument, SeccompCmpOp::Eq, *v)]))
        .collect()
}

fn no_bit(argument: u8, bits: u64) -> SeccompCondition {
    condition(argument, SeccompCmpOp::MaskedEq(bits), 0)
}

/// Plain files, pipes, sockets, and no type at all, each without the bits.
fn special_file(argument: u8) -> Vec<SeccompRule> {
    // The type of a block device, 0o6 in its place, and of a character device, 0o2, differ from all the others by
    // the bits of 0o13, and so does a type 0o16 and 0o12, which no file has; list what is not among the two.
    (0..16)
        .filter(|kind| ![2, 6].contains(kind))
        .map(|kind| {
            let bits = SeccompCmpOp::MaskedEq(0o17_0000 | 0o6000);
            all_of(vec![condition(argument, bits, kind << 12)])
        })
        .collect()
}

fn sockets() -> Vec<SeccompRule> {
    let mut rules = equal(0, &[1]);
    for family in [2, 10] {
        for kind in [1, 2] {
            for protocol in [0, 6, 17] {
                rules.push(all_of(vec![
                    condition(0, SeccompCmpOp::Eq, family),
                    condition(1, SeccompCmpOp::MaskedEq(15), kind),
                    condition(2, SeccompCmpOp::Eq, protocol),
                ]));
            }
        }
    }
    rules.push(all_of(vec![
        condition(0, SeccompCmpOp::Eq, 16),
        condition(2, SeccompCmpOp::Eq, 0),
    ]));
    rules
}

/// When a checked call is allowed, said a second time, in numbers.
fn allowed_when(call: &str) -> Vec<SeccompRule> {
    let set_id = |argument| vec![all_of(vec![no_bit(argument, 0o6000)])];
    let opening = |flags, mode| {
        let creating = 0o100 | 0o2000_0000;
        vec![
            all_of(vec![no_bit(flags, creating)]),
            all_of(vec![no_bit(mode, 0o6000)]),
        ]
    };
    match call {
        "open" => opening(1, 2),
        "openat" => opening(2, 3),
        "chmod" | "fchmod" | "creat" => set_id(1),
        "fchmodat" | "fchmodat2" => set_id(2),
        "mknod" => special_file(1),
        "mknodat" => special_file(2),
        "socket" => sockets(),
        "socketpair" => equal(0, &[1]),
        "clone" => vec![all_of(vec![no_bit(0, 0x7E02_0000)])],
        "unshare" => vec![all_of(vec![no_bit(0, 0x7E02_0080)])],
        "ioctl" => vec![all_of(
            [0x5412, 0x541C, 0x5423]
                .into_iter()
                .map(|request| condition(1, SeccompCmpOp::Ne, request))
                .collect(),
        )],
        "personality" => equal(0, &[0, 8, 0x2_0000, 0x2_0008, 0x4_0000, 0xFFFF_FFFF]),
        other => panic!("{other} is checked, but its meaning is not written down here"),
    }
}

/// The other compiler's program: allowed or not.
fn reference(architecture: Architecture, options: Options) -> Vec<Instruction> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for group in groups() {
        for call in group.calls {
            let Some(number) = architecture.number(call) else {
                continue;
            };
            match rule_of(group, options) {
                Rule::Always(Action::Allow) => rules.insert(number.into(), Vec::new()),
                Rule::Always(Action::Fail(_)) => None,
                Rule::If { .. } => rules.insert(number.into(), allowed_when(call.name)),
            };
        }
    }
    let target = match architecture {
        Architecture::X86_64 => TargetArch::x86_64,
        Architecture::Aarch64 => TargetArch::aarch64,
    };
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, target).expect("filter");
    let program: BpfProgram = filter.try_into().expect("program");
    program
        .iter()
        .map(|i| Instruction {
            code: i.code,
            jt: i.jt,
            jf: i.jf,
            k: i.k,
        })
        .collect()
}

#[test]
fn allows_what_the_other_compiler_allows() {
    let shut = Options {
        ptrace: false,
        affinity: false,
    };
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        for options in [Options::default(), shut] {
            let ours = compile_for(architecture, options);
            let theirs = reference(architecture, options);
            let check = |number: u32, arguments| {
                let arch = architecture.audit();
                let data = Data {
                    number,
                    arch,
                    arguments,
                };
                let (mine, yours) = (action(run(&ours, &data).0), action(run(&theirs, &data).0));
                let agree = (mine == Action::Allow) == (yours == Action::Allow);
                assert!(agree, "{data:x?}: {mine}, but the reference says {yours}");
                mine == Action::Allow
            };
            let allowed = (0..600).filter(|n| check(*n, [0; 6])).count();
            assert!((250..340).contains(&allowed), "{allowed} calls allowed");
            for number in 0..600 {
                samples().for_each(|arguments| {
                    check(number, arguments);
                });
            }
            for call in checked_calls() {
                let Some(number) = architecture.number(call) else {
                    continue;
                };
                let answers: Vec<bool> = combinations(call.name)
                    .into_iter()
                    .map(|arguments| check(number.into(), arguments))
                    .collect();
                assert!(answers.contains(&true), "{} is never allowed", call.name);
                assert!(answers.contains(&false), "{} is always allowed", call.name);
            }
        }
    }
}

/// The error numbers too: the program answers what the table's rule evaluates to.
#[test]
fn answers_what_the_table_says() {
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        let program = compile_for(architecture, Options::default());
        for group in groups() {
            for call in group.calls {
                let Some(number) = architecture.number(call) else {
                    continue;
                };
                for arguments in samples().chain(combinations(call.name)) {
                    let data = Data {
                        number: number.into(),
                        arch: architecture.audit(),
                        arguments,
                    };
                    let expected = group.rule.eval(&arguments);
                    assert_eq!(
                        action(run(&program, &data).0),
                        expected,
                        "{} {data:x?}",
                        call.name
                    );
                }
            }
        }
    }
}

fn checked_calls() -> impl Iterator<Item = &'static super::super::Call> {
    groups()
        .filter(|g| matches!(g.rule, Rule::If { .. }))
        .flat_map(|g| g.calls)
}
