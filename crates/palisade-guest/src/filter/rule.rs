//! What the filter answers, as data: one table yields the program, its description and its tests.

use std::fmt;

/// The filter's answer to a call. Nothing is ever killed: a program that is told no can say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel goes on with the call.
    Allow,
    /// The call fails with this error number: `ENOSYS` for "not there", `EPERM` for "not for you".
    Fail(i32),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.write_str("allowed"),
            Self::Fail(libc::ENOSYS) => f.write_str("ENOSYS"),
            Self::Fail(libc::EPERM) => f.write_str("EPERM"),
            Self::Fail(libc::EAFNOSUPPORT) => f.write_str("EAFNOSUPPORT"),
            Self::Fail(libc::EPROTONOSUPPORT) => f.write_str("EPROTONOSUPPORT"),
            Self::Fail(errno) => write!(f, "error {errno}"),
        }
    }
}

/// A look at the low 32 bits of one argument. Every argument judged here is an `int`, an `unsigned int` or a mode in
/// the kernel, which drops the high half as well; comparing all 64 bits would let a dirty high half pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Test {
    /// Which argument, from 0.
    pub argument: u8,
    /// How it is judged.
    pub holds: Holds,
}

/// How an argument is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// At least one of these bits is set.
    AnyBit(u32),
    /// What the mask leaves is one of these values.
    OneOf {
        /// Applied first.
        mask: u32,
        /// The values.
        values: &'static [u32],
    },
}

impl Test {
    /// Whether the arguments satisfy it.
    pub fn eval(&self, arguments: &[u64; 6]) -> bool {
        // Dropping the high half is the point, see the type.
        let low = arguments[usize::from(self.argument)] as u32;
        match self.holds {
            Holds::AnyBit(bits) => low & bits != 0,
            Holds::OneOf { mask, values } => values.contains(&(low & mask)),
        }
    }
}

/// The answer to a call, by its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Always this.
    Always(Action),
    /// One rule or the other.
    If {
        /// What is looked at.
        test: Test,
        /// Where it holds.
        then: &'static Rule,
        /// Where it does not.
        otherwise: &'static Rule,
    },
}

impl Rule {
    /// The answer for these arguments.
    pub fn eval(&self, arguments: &[u64; 6]) -> Action {
        match self {
            Self::Always(action) => *action,
            Self::If {
                test,
                then,
                otherwise,
            } => {
                let next = if test.eval(arguments) {
                    then
                } else {
                    otherwise
                };
                next.eval(arguments)
            }
        }
    }
}

/// A switch of [`super::Options`] that a group hangs on. Off means `EPERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// [`super::Options::ptrace`].
    Ptrace,
    /// [`super::Options::affinity`].
    Affinity,
}

/// A system call with its number on each architecture, `None` where that architecture lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The kernel's name.
    pub name: &'static str,
    /// Number on x86_64.
    pub x86_64: Option<u16>,
    /// Number on aarch64.
    pub aarch64: Option<u16>,
}

/// Calls that get the same answer for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What the calls are about.
    pub title: &'static str,
    /// The answer.
    pub rule: &'static Rule,
    /// Why it is that.
    pub reason: &'static str,
    /// What it hangs on, if anything.
    pub switch: Option<Switch>,
    /// The calls.
    pub calls: &'static [Call],
}
