//! What the kernel does with a filter, in 40 lines.

use palisade_sys::seccomp::Instruction;

use super::super::Action;

/// The kernel's `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Data {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) arguments: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..=63 => {
                let index = (offset as usize - 16) / 8;
                let half = (offset % 8) * 8;
                (self.arguments[index] >> half) as u32
            }
            _ => panic!("load at offset {offset}"),
        }
    }
}

/// The raw answer and the number of instructions run.
pub(super) fn run(program: &[Instruction], data: &Data) -> (u32, usize) {
    let mut accumulator = 0;
    let mut at = 0;
    for steps in 1.. {
        let instruction = program[at];
        let Instruction { jt, jf, k, .. } = instruction;
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1;
        match instruction.code {
            0x20 => accumulator = data.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(accumulator == k),
            0x25 => at += branch(accumulator > k),
            0x35 => at += branch(accumulator >= k),
            0x45 => at += branch(accumulator & k != 0),
            0x06 => return (k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
    unreachable!("the loop returns")
}

/// The answer in the table's terms.
pub(super) fn action(raw: u32) -> Action {
    match raw & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => Action::Allow,
        libc::SECCOMP_RET_ERRNO => Action::Fail((raw & libc::SECCOMP_RET_DATA) as i32),
        other => panic!("answer {other:#x}"),
    }
}
