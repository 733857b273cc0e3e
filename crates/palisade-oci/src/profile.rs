//! The system-call filter of the native boundary, as a profile that engines take (moby's JSON, runc's `seccomp` section).
//!
//! It is one source: the table of `palisade-guest`. The guest lays the very filter of the native boundary over it before the
//! agent starts, so the profile is what holds until then and what people see in the engine. It allows one thing more,
//! which the guest needs: a netlink socket for the capture rule.
//!
//! # How a rule becomes a profile
//! An engine allows a call where every condition of one of its entries holds, with at most one condition an argument. So
//! each way to `Allow` becomes one *cube*: for each argument, which bits are looked at and what they are. What is not one of
//! some values is covered by the prefixes that lead past them.

use palisade_guest::filter::{self, Action, Holds, Options, Rule, Test};
use serde_json::{Value, json};

/// For each argument, bits that are looked at and what they have to be. No bits mean that any value will do. The high half is
/// never looked at, as the kernel does not.
type Cube = [(u32, u32); 6];

/// The name of the architecture in libseccomp.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";

/// The profile, without a blank, as docker shows it again.
pub(crate) fn profile(options: Options) -> String {
    let mut always = Vec::new();
    let mut entries = Vec::new();
    for (call, rule) in filter::rules(options) {
        let mut cubes = ways_to_allow(rule);
        if call == "socket" {
            cubes.push(CAPTURE_RULES);
        }
        if cubes.contains(&Cube::default()) {
            always.push(call);
            continue;
        }
        for cube in cubes {
            entries.push(
                json!({ "names": [call], "action": "SCMP_ACT_ALLOW", "args": conditions(&cube) }),
            );
        }
    }
    entries.push(json!({ "names": always, "action": "SCMP_ACT_ALLOW" }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc_enosys(),
        "architectures": [ARCHITECTURE],
        "syscalls": entries,
    })
    .to_string()
}

/// A netlink socket to nftables (`AF_NETLINK`, `NETLINK_NETFILTER`). It is of use only with `CAP_NET_ADMIN`.
const CAPTURE_RULES: Cube = [
    (u32::MAX, 16),
    (0, 0),
    (u32::MAX, 12),
    (0, 0),
    (0, 0),
    (0, 0),
];

fn libc_enosys() -> i32 {
    rustix::io::Errno::NOSYS.raw_os_error()
}

fn conditions(cube: &Cube) -> Vec<Value> {
    let looked_at = cube.iter().enumerate().filter(|(_, (mask, _))| *mask != 0);
    looked_at
        .map(|(index, (mask, value))| {
            json!({ "index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ" })
        })
        .collect()
}

/// Cubes that together are exactly the arguments that the rule allows.
fn ways_to_allow(rule: &Rule) -> Vec<Cube> {
    match rule {
        Rule::Always(Action::Allow) => vec![Cube::default()],
        Rule::Always(Action::Fail(_)) => Vec::new(),
        Rule::If {
            test,
            then,
            otherwise,
        } => {
            let mut cubes = both(test, &holds(test), &ways_to_allow(then));
            cubes.extend(both(test, &fails(test), &ways_to_allow(otherwise)));
            cubes
        }
    }
}

/// Where one of the conditions on the test's argument holds and one of the cubes too.
fn both(test: &Test, conditions: &[(u32, u32)], cubes: &[Cube]) -> Vec<Cube> {
    let argument = usize::from(test.argument);
    let mut found = Vec::new();
    for (mask, value) in conditions {
        for cube in cubes {
            let mut cube = *cube;
            let Some(place) = cube.get_mut(argument) else {
                continue;
            };
            if (place.1 ^ value) & place.0 & mask == 0 {
                *place = (place.0 | mask, place.1 | value);
                found.push(cube);
            }
        }
    }
    found
}

/// Bits that are looked at and their values, for all arguments that satisfy the test.
fn holds(test: &Test) -> Vec<(u32, u32)> {
    match test.holds {
        // The lowest of the bits that is set, and none below it.
        Holds::AnyBit(bits) => each_bit(bits)
            .map(|bit| (bits & (bit | (bit - 1)), bit))
            .collect(),
        Holds::OneOf { mask, values } => values.iter().map(|value| (mask, *value)).collect(),
    }
}

/// The same for all that do not.
fn fails(test: &Test) -> Vec<(u32, u32)> {
    match test.holds {
        Holds::AnyBit(bits) => vec![(bits, 0)],
        Holds::OneOf { mask, values } => {
            let mut found = Vec::new();
            past(values, mask, (0, 0), &mut found);
            found
        }
    }
}

/// Prefixes of the bits in `mask` that lead past every value, from the prefix `(looked_at, is)`.
fn past(values: &[u32], mask: u32, prefix: (u32, u32), found: &mut Vec<(u32, u32)>) {
    let (looked_at, is) = prefix;
    if !values.iter().any(|value| value & looked_at == is) {
        found.push(prefix);
        return;
    }
    let Some(next) = each_bit(mask & !looked_at).last() else {
        return;
    };
    past(values, mask, (looked_at | next, is), found);
    past(values, mask, (looked_at | next, is | next), found);
}

fn each_bit(bits: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS)
        .map(|n| 1 << n)
        .filter(move |bit| bits & bit != 0)
}

#[cfg(test)]
mod tests;
