//! The system-call filter: an allow-list in the spirit of the container engines' default, as one table.
//!
//! ```text
//!   table (name, numbers, rule, reason) ──▶ segments by number ──▶ BPF program ──▶ seccomp::install
//!        └──▶ describe(): the same for people
//! ```
//!
//! * A call in no list fails with `ENOSYS`: what a future kernel adds is closed until somebody has looked at it.
//! * Nothing is killed. A refused program can say so, and often has a second way.
//! * Other architectures' calls on the same machine (i386 and x32, 32-bit Arm) fail with `ENOSYS`.
//!
//! Non-goals: the filter does not decide about paths or destinations; the tree, Landlock and the gate do.

mod assemble;
mod rule;
mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use palisade_sys::seccomp::Instruction;

use self::assemble::{Segment, UNKNOWN, assemble};
pub use self::rule::{Action, Call, Group, Holds, Rule, Switch, Test};
pub use self::table::groups;

/// What a session may choose about the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Debuggers: `ptrace` and reading another process's memory, among the inside's own processes.
    pub ptrace: bool,
    /// Whether a process may choose its processors. Off where binding to processors is what limits the session.
    pub affinity: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ptrace: true,
            affinity: true,
        }
    }
}

/// The filter for this machine, ready to be attached.
pub fn compile(options: Options) -> Vec<Instruction> {
    compile_for(Architecture::HERE, options)
}

/// Every call by name, with its answer, for other forms of the same filter. Those that this architecture lacks are left
/// out.
pub fn rules(options: Options) -> impl Iterator<Item = (&'static str, &'static Rule)> {
    groups().flat_map(move |group| {
        let here = |call: &&Call| Architecture::HERE.number(call).is_some();
        let rule = rule_of(group, options);
        group
            .calls
            .iter()
            .filter(here)
            .map(move |call| (call.name, rule))
    })
}

/// The table as Markdown, for the documentation.
pub fn describe() -> String {
    let mut text = String::from("| what | answer | calls | why |\n|---|---|---|---|\n");
    for group in groups() {
        let names: Vec<&str> = group.calls.iter().map(|c| c.name).collect();
        let answer = match group.rule {
            Rule::Always(action) => action.to_string(),
            Rule::If { .. } => "by argument".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {answer} | {} | {} |",
            group.title,
            names.join(", "),
            group.reason
        );
    }
    text
}

/// An architecture the table has numbers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Architecture {
    // Each is unused where the other is built, but for tests, which build both programs everywhere.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    X86_64,
    #[cfg_attr(not(target_arch = "aarch64"), allow(dead_code))]
    Aarch64,
}

impl Architecture {
    #[cfg(target_arch = "x86_64")]
    const HERE: Self = Self::X86_64;
    #[cfg(target_arch = "aarch64")]
    const HERE: Self = Self::Aarch64;

    /// `AUDIT_ARCH_…` (`linux/audit.h`).
    fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::Aarch64 => 0xC000_00B7,
        }
    }

    fn number(self, call: &Call) -> Option<u16> {
        match self {
            Self::X86_64 => call.x86_64,
            Self::Aarch64 => call.aarch64,
        }
    }
}

fn compile_for(architecture: Architecture, options: Options) -> Vec<Instruction> {
    assemble(architecture.audit(), &segments(architecture, options))
}

/// What this call is answered with these options.
fn rule_of(group: &Group, options: Options) -> &'static Rule {
    let on = match group.switch {
        None => true,
        Some(Switch::Ptrace) => options.ptrace,
        Some(Switch::Affinity) => options.affinity,
    };
    if on { group.rule } else { &table::NOT_FOR_YOU }
}

/// Ranges of numbers with the same answer, over all numbers from 0 to the last.
fn segments(architecture: Architecture, options: Options) -> Vec<Segment> {
    let mut rules: Vec<&'static Rule> = vec![&UNKNOWN; NUMBERS];
    for group in groups() {
        let rule = rule_of(group, options);
        for number in group.calls.iter().filter_map(|c| architecture.number(c)) {
            rules[usize::from(number)] = rule;
        }
    }
    let mut segments: Vec<Segment> = Vec::with_capacity(128);
    for (number, rule) in (0u32..).zip(rules) {
        let weight = weight(rule);
        match segments.last_mut() {
            Some(last) if last.rule == rule => last.weight += weight,
            _ => segments.push(Segment {
                first: number,
                rule,
                weight,
            }),
        }
    }
    segments
}

/// One more than the highest number in the table, with room; a test holds the table below it. Numbers from here on
/// belong to the last segment, which is unknown by this very bound.
const NUMBERS: usize = 512;

/// How many unchecked calls a checked one counts for: the former are walked once for each attaching, the latter on
/// each use. A build opens tens of thousands of files; attaching costs less than 1 ns for each step of each call.
const CHECKED_WEIGHT: u32 = 24;

fn weight(rule: &Rule) -> u32 {
    match rule {
        Rule::Always(_) => 1,
        Rule::If { .. } => CHECKED_WEIGHT,
    }
}
