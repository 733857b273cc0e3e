use std::collections::BTreeMap;

use super::*;

/// What the profile says of a call, as an engine reads it.
fn allowed(profile: &BTreeMap<String, Vec<Cube>>, call: &str, arguments: &[u64; 6]) -> bool {
    let Some(cubes) = profile.get(call) else {
        return false;
    };
    cubes.iter().any(|cube| {
        let mut places = cube.iter().zip(arguments);
        places.all(|((mask, value), argument)| argument & u64::from(*mask) == u64::from(*value))
    })
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().expect("number")).expect("32 bits")
}

fn read(profile: &str) -> BTreeMap<String, Vec<Cube>> {
    let profile: Value = serde_json::from_str(profile).expect("JSON");
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let mut found: BTreeMap<String, Vec<Cube>> = BTreeMap::new();
    for entry in profile["syscalls"].as_array().expect("entries") {
        assert_eq!(entry["action"], "SCMP_ACT_ALLOW");
        let mut cube = Cube::default();
        for condition in entry["args"].as_array().into_iter().flatten() {
            assert_eq!(condition["op"], "SCMP_CMP_MASKED_EQ");
            let index = usize::try_from(number(&condition["index"])).expect("index");
            assert_eq!(cube[index], (0, 0), "one condition an argument");
            cube[index] = (number(&condition["value"]), number(&condition["valueTwo"]));
        }
        for name in entry["names"].as_array().expect("names") {
            let name = name.as_str().expect("text").to_owned();
            found.entry(name).or_default().push(cube);
        }
    }
    found
}

/// Values that some rule tells apart, their neighbours, and the same with the high half dirty.
fn values() -> Vec<u64> {
    let told_apart = [
        0u64,
        1,
        2,
        3,
        5,
        6,
        8,
        10,
        12,
        16,
        17,
        38,
        40,
        0o100,
        0o4644,
        0o2755,
        0o2_0644,
        0o6_0644,
        0o10_0644,
        0o2020_0002,
        0x80,
        0x5412,
        0x541C,
        0x5423,
        0x2_0000,
        0x2_0008,
        0x4_0000,
        0x1000_0000,
        0x1000_0011,
        0x2000_0000,
        0x4000_0000,
        0xFFFF_FFFF,
    ];
    let near = told_apart.into_iter().flat_map(|v| [v, v ^ 1, v + 1]);
    let mut all: Vec<u64> = near.flat_map(|v| [v, v | 0xDEAD << 32]).collect();
    all.extend((0..32).map(|bit| 1 << bit));
    all
}

/// Fewer, where three arguments decide: what names families, types and protocols.
fn few_values() -> Vec<u64> {
    let numbers = 0..=18;
    numbers
        .chain([38, 40, 132, 262, 0x8_0002, 0xFFFF_FFFF, 0xDEAD_0000_0010])
        .collect()
}

fn every_combination(looked_at: &[usize]) -> Vec<[u64; 6]> {
    let values = if looked_at.len() > 2 {
        few_values
    } else {
        values
    };
    let mut all = vec![[0x77; 6]];
    for index in looked_at {
        let with = |old: [u64; 6]| {
            values().into_iter().map(move |value| {
                let mut new = old;
                new[*index] = value;
                new
            })
        };
        all = all.into_iter().flat_map(with).collect();
    }
    all
}

/// Which arguments a rule looks at.
fn looked_at(rule: &Rule, found: &mut Vec<usize>) {
    if let Rule::If {
        test,
        then,
        otherwise,
    } = rule
    {
        found.push(test.argument.into());
        looked_at(then, found);
        looked_at(otherwise, found);
        found.sort_unstable();
        found.dedup();
    }
}

/// Both forms, over all calls of the table and all arguments that matter.
#[test]
fn the_profile_allows_what_the_native_filter_allows() {
    for ptrace in [true, false] {
        let options = Options {
            ptrace,
            ..Options::default()
        };
        let profile = read(&profile(options));
        let mut calls = 0;
        for (call, rule) in filter::rules(options) {
            let mut arguments = Vec::new();
            looked_at(rule, &mut arguments);
            for sample in every_combination(&arguments) {
                let low = |index: usize| sample[index] & u64::from(u32::MAX);
                let capture_rules = call == "socket" && low(0) == 16 && low(2) == 12;
                let native = rule.eval(&sample) == Action::Allow || capture_rules;
                assert_eq!(
                    allowed(&profile, call, &sample),
                    native,
                    "{call} {sample:x?}"
                );
            }
            calls += 1;
        }
        assert!(calls > 350, "{calls}");
        let known = |name: &String| filter::rules(options).any(|(call, _)| call == name);
        assert!(profile.keys().all(known));
    }
}

#[test]
fn what_is_not_one_of_some_values_is_covered_once() {
    let mut cubes = Vec::new();
    past(&[5, 6], 0xF, (0, 0), &mut cubes);
    for value in 0..16 {
        let covered = cubes
            .iter()
            .filter(|(mask, is)| value & mask == *is)
            .count();
        assert_eq!(covered, usize::from(![5, 6].contains(&value)), "{value}");
    }
}
