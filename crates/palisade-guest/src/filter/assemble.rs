//! From answers by number to a short BPF program.
//!
//! Attaching costs twice: the kernel translates the program (about 0.2 us an instruction), and walks it once for each
//! system call to find those it can allow without running it. So the program must be short and its paths too. Hence
//! ranges of numbers with the same answer, found by a binary search that is split by weight (wide ranges and often
//! checked calls lie near the top), and answers that are shared.
//!
//! The program is built from its end to its start, because BPF jumps forward only: every target is known when a
//! jump to it is written.

use palisade_sys::seccomp::Instruction;

use super::rule::{Action, Holds, Rule, Test};

/// Numbers `first..` up to the next segment get this rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u32,
    pub(super) rule: &'static Rule,
    /// How much a short path matters.
    pub(super) weight: u32,
}

/// The answer to a number that no rule knows, and to another architecture's calls.
pub(super) const UNKNOWN: Rule = Rule::Always(Action::Fail(libc::ENOSYS));

/// Offsets in `struct seccomp_data`.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
/// Both architectures are little-endian, so the low half of an argument comes first.
const OFFSET_ARGUMENTS: u32 = 16;

/// The program for one architecture's segments, which begin at number 0 and are sorted.
pub(super) fn assemble(audit_arch: u32, segments: &[Segment]) -> Vec<Instruction> {
    let mut program = Reversed {
        code: Vec::with_capacity(512),
        emitted: Vec::with_capacity(128),
    };
    let tree = program.tree(segments);
    let number = program.push_before(tree, load(OFFSET_NUMBER));
    let foreign = program.rule(&UNKNOWN, None);
    program.jump(libc::BPF_JEQ, audit_arch, number, foreign);
    program.push(load(OFFSET_ARCH));
    program.code.reverse();
    program.code
}

/// An instruction's index in the reversed code.
type Target = usize;

struct Reversed {
    code: Vec<Instruction>,
    /// Rules that stand in the code already, with what they expect in the accumulator, to be shared.
    emitted: Vec<(&'static Rule, Option<Loaded>, Target)>,
}

/// An argument and the mask it went through.
type Loaded = (u8, u32);

/// How far back a rule may lie to be shared. Below the 255 that a jump reaches, for the code in between still grows.
const SHARED_WITHIN: usize = 200;

impl Reversed {
    fn push(&mut self, instruction: Instruction) -> Target {
        self.code.push(instruction);
        self.code.len() - 1
    }

    /// Pushes an instruction that is followed by `next` when the program runs.
    fn push_before(&mut self, next: Target, instruction: Instruction) -> Target {
        if next + 1 != self.code.len() {
            self.bridge(next);
        }
        self.push(instruction)
    }

    /// A target that a conditional jump can reach with its 8 bits, pushed after at most `more` other instructions.
    fn near(&mut self, target: Target, more: usize) -> Target {
        let distance = self.code.len() + more - target - 1;
        if distance <= usize::from(u8::MAX) {
            target
        } else {
            self.bridge(target)
        }
    }

    /// One instruction here that leads to the target.
    fn bridge(&mut self, target: Target) -> Target {
        let instruction = self.code[target];
        if u32::from(instruction.code) & 7 == libc::BPF_RET {
            // A copy is as long as a jump to it, and one step shorter to run.
            return self.push(instruction);
        }
        // The program is far below 2^32 instructions.
        let skip = (self.code.len() - target - 1) as u32;
        self.push(statement(libc::BPF_JMP | libc::BPF_JA, skip))
    }

    /// A conditional jump on the accumulator.
    fn jump(&mut self, comparison: u32, k: u32, then: Target, otherwise: Target) -> Target {
        // Either may still add one instruction before the jump itself.
        let then = self.near(then, 2);
        let otherwise = self.near(otherwise, 1);
        let at = self.code.len();
        // `near` saw to it that both distances fit.
        self.push(Instruction {
            code: (libc::BPF_JMP | libc::BPF_K | comparison) as u16,
            jt: (at - then - 1) as u8,
            jf: (at - otherwise - 1) as u8,
            k,
        })
    }

    /// The search for the number's segment; the accumulator holds the number.
    fn tree(&mut self, segments: &[Segment]) -> Target {
        if let [only] = segments {
            return self.rule(only.rule, None);
        }
        let middle = split(segments);
        let (low, high) = segments.split_at(middle);
        let right = self.tree(high);
        let left = self.tree(low);
        self.jump(libc::BPF_JGE, high[0].first, right, left)
    }

    /// One rule. `loaded` is what the accumulator holds already.
    fn rule(&mut self, rule: &'static Rule, loaded: Option<Loaded>) -> Target {
        let expects = match rule {
            Rule::Always(_) => None,
            Rule::If { test, .. } => loaded.filter(|l| *l == (test.argument, mask(test))),
        };
        let known = self.emitted.iter().rev().find(|(r, e, target)| {
            *r == rule && *e == expects && self.code.len() - target < SHARED_WITHIN
        });
        if let Some((_, _, target)) = known {
            return *target;
        }
        let target = match rule {
            Rule::Always(action) => self.push(statement(libc::BPF_RET, answer(*action))),
            Rule::If {
                test,
                then,
                otherwise,
            } => self.choice(test, then, otherwise, expects),
        };
        self.emitted.push((rule, expects, target));
        target
    }

    fn choice(
        &mut self,
        test: &Test,
        then: &'static Rule,
        otherwise: &'static Rule,
        expects: Option<Loaded>,
    ) -> Target {
        let wanted = (test.argument, mask(test));
        let otherwise = self.rule(otherwise, Some(wanted));
        let then = self.rule(then, Some(wanted));
        let compare = self.compare(test, then, otherwise);
        if expects.is_some() {
            return compare;
        }
        let masked = if wanted.1 == u32::MAX {
            compare
        } else {
            self.push_before(compare, statement(libc::BPF_ALU | libc::BPF_AND, wanted.1))
        };
        let offset = OFFSET_ARGUMENTS + 8 * u32::from(test.argument);
        self.push_before(masked, load(offset))
    }

    fn compare(&mut self, test: &Test, then: Target, otherwise: Target) -> Target {
        match test.holds {
            Holds::AnyBit(bits) => self.jump(libc::BPF_JSET, bits, then, otherwise),
            Holds::OneOf { values, .. } => values.iter().rev().fold(otherwise, |next, value| {
                self.jump(libc::BPF_JEQ, *value, then, next)
            }),
        }
    }
}

fn mask(test: &Test) -> u32 {
    match test.holds {
        Holds::AnyBit(_) => u32::MAX,
        Holds::OneOf { mask, .. } => mask,
    }
}

/// Where the weight of both halves is most alike.
fn split(segments: &[Segment]) -> usize {
    let total: u32 = segments.iter().map(|s| s.weight).sum();
    let mut best = (u32::MAX, 1);
    let mut before = 0;
    for (index, segment) in segments.iter().enumerate().take(segments.len() - 1) {
        before += segment.weight;
        best = best.min((before.abs_diff(total - before), index + 1));
    }
    best.1
}

fn answer(action: Action) -> u32 {
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        // Error numbers are small and positive.
        Action::Fail(errno) => libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA),
    }
}

fn load(offset: u32) -> Instruction {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn statement(code: u32, k: u32) -> Instruction {
    Instruction {
        // Operation codes have 16 bits by definition.
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}
