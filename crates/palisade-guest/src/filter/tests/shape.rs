//! The table is right about numbers and the program is as short as promised.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::super::{Action, Architecture, NUMBERS, Options, Rule, compile_for, groups, rule_of};
use super::interpreter::{Data, action, run};

/// Longest path through the program, in instructions. The search takes about 8 steps, the longest rule 11.
const LONGEST_PATH: usize = 24;
/// Mean path over the numbers the kernel walks when the program is attached: what attaching costs.
const MEAN_PATH: usize = 12;
/// Attaching translates the whole program to machine code, at about 0.2 us an instruction.
const LONGEST_PROGRAM: usize = 180;

const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

#[test]
fn no_call_or_number_is_listed_twice() {
    let mut names = BTreeSet::new();
    for architecture in BOTH {
        let mut numbers = BTreeSet::new();
        for call in groups().flat_map(|g| g.calls) {
            if let Some(number) = architecture.number(call) {
                assert!(
                    numbers.insert(number),
                    "{architecture:?}: {} again",
                    call.name
                );
                assert!(
                    usize::from(number) < NUMBERS,
                    "{} is out of bounds",
                    call.name
                );
            }
        }
    }
    for call in groups().flat_map(|g| g.calls) {
        assert!(names.insert(call.name), "{} twice", call.name);
        assert!(
            call.x86_64.or(call.aarch64).is_some(),
            "{} has no number",
            call.name
        );
    }
}

#[test]
fn the_description_names_every_call_once() {
    let text = super::super::describe();
    let rows: Vec<Vec<&str>> = text.lines().map(|l| l.split('|').collect()).collect();
    assert_eq!(rows.len(), groups().count() + 2);
    assert!(rows.iter().all(|cells| cells.len() == 6), "{text}");
    let named: Vec<&str> = rows[2..]
        .iter()
        .flat_map(|cells| cells[3].trim().split(", "))
        .collect();
    let listed: Vec<&str> = groups().flat_map(|g| g.calls).map(|c| c.name).collect();
    assert_eq!(named, listed);
}

#[test]
fn every_group_says_why() {
    for group in groups() {
        assert!(!group.reason.is_empty() && !group.title.is_empty());
        assert!(!group.calls.is_empty(), "{}", group.title);
    }
}

/// Numbers as the C library's headers give them: the machine's own for x86_64, the generic ones for aarch64.
#[test]
fn numbers_agree_with_the_kernel_headers() {
    let own = header(&[
        "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
        "/usr/include/asm/unistd_64.h",
    ]);
    let generic = header(&["/usr/include/asm-generic/unistd.h"]);
    let (mut own_seen, mut generic_seen) = (0, 0);
    for call in groups().flat_map(|g| g.calls) {
        if let (Some(table), Some(kernel)) = (call.x86_64, own.get(call.name)) {
            assert_eq!(u32::from(table), *kernel, "{} on x86_64", call.name);
            own_seen += 1;
        }
        if let (Some(table), Some(kernel)) = (call.aarch64, generic.get(call.name)) {
            assert_eq!(u32::from(table), *kernel, "{} on aarch64", call.name);
            generic_seen += 1;
        }
    }
    // Some of the generic ones have other names there (`__NR3264_…`).
    assert!(
        own_seen > 340 || cfg!(not(target_arch = "x86_64")),
        "{own_seen} seen"
    );
    assert!(generic_seen > 270, "{generic_seen} seen");
    // Calls younger than the table are closed by their number; older ones must have been looked at.
    let listed: BTreeSet<_> = groups().flat_map(|g| g.calls).map(|c| c.name).collect();
    let old = |number: &u32| *number <= 469;
    let missing: Vec<_> = own
        .iter()
        .filter(|(name, number)| old(number) && !listed.contains(name.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "calls nobody has looked at: {missing:?}"
    );
}

fn header(paths: &[&str]) -> BTreeMap<String, u32> {
    let Some(text) = paths.iter().find_map(|p| fs::read_to_string(p).ok()) else {
        let expected = std::env::consts::ARCH == "x86_64";
        assert!(!expected, "no kernel headers: install linux-libc-dev");
        return BTreeMap::new();
    };
    text.lines()
        .filter_map(|line| {
            let mut words = line.strip_prefix("#define __NR_")?.split_whitespace();
            let name = words.next()?.to_owned();
            Some((name, words.next()?.parse().ok()?))
        })
        .collect()
}

#[test]
fn foreign_calls_are_not_there() {
    const I386: u32 = 0x4000_0003;
    for architecture in BOTH {
        let program = compile_for(architecture, Options::default());
        let answer = |arch, number| {
            let arguments = [0; 6];
            action(
                run(
                    &program,
                    &Data {
                        number,
                        arch,
                        arguments,
                    },
                )
                .0,
            )
        };
        let not_there = Action::Fail(libc::ENOSYS);
        let getpid = if architecture == Architecture::X86_64 {
            39
        } else {
            172
        };
        assert_eq!(answer(architecture.audit(), getpid), Action::Allow);
        assert_eq!(answer(I386, getpid), not_there, "i386");
        assert_eq!(
            answer(architecture.audit(), getpid | 0x4000_0000),
            not_there,
            "x32"
        );
        assert_eq!(answer(architecture.audit(), 9999), not_there);
        assert_eq!(answer(architecture.audit(), u32::MAX), not_there);
    }
}

#[test]
fn switches_close_their_groups() {
    let open = Options::default();
    let shut = Options {
        ptrace: false,
        affinity: false,
    };
    let with_switch: Vec<_> = groups().filter(|g| g.switch.is_some()).collect();
    assert_eq!(with_switch.len(), 2);
    for group in with_switch {
        assert_eq!(rule_of(group, open), &Rule::Always(Action::Allow));
        assert_eq!(
            rule_of(group, shut),
            &Rule::Always(Action::Fail(libc::EPERM))
        );
    }
}

#[test]
fn the_program_is_short() {
    for architecture in BOTH {
        let program = compile_for(architecture, Options::default());
        let (mut longest, mut total) = (0, 0);
        for number in 0..NUMBERS as u32 {
            for arguments in super::equivalence::samples() {
                let data = Data {
                    number,
                    arch: architecture.audit(),
                    arguments,
                };
                let steps = run(&program, &data).1;
                longest = longest.max(steps);
                if arguments == [0; 6] {
                    total += steps;
                }
            }
        }
        let mean = total / NUMBERS;
        let length = program.len();
        assert!(
            longest <= LONGEST_PATH,
            "{architecture:?}: path of {longest}"
        );
        assert!(mean <= MEAN_PATH, "{architecture:?}: mean path of {mean}");
        assert!(
            length <= LONGEST_PROGRAM,
            "{architecture:?}: {length} instructions"
        );
    }
}
