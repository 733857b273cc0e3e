//! The table of system calls.

mod allowed;
mod checked;
mod denied;

use super::rule::{Action, Call, Group, Rule, Switch};

pub(super) static ALLOW: Rule = Rule::Always(Action::Allow);
pub(super) static NOT_FOR_YOU: Rule = Rule::Always(Action::Fail(libc::EPERM));
pub(super) static NOT_THERE: Rule = Rule::Always(Action::Fail(libc::ENOSYS));

/// Every group: what passes, what is looked at, what fails.
pub fn groups() -> impl Iterator<Item = &'static Group> {
    allowed::GROUPS
        .iter()
        .chain(checked::GROUPS)
        .chain(denied::GROUPS)
}

/// `name x86_64 aarch64, …`, where `-` means that the architecture lacks the call.
macro_rules! calls {
    ($($name:ident $x86_64:tt $aarch64:tt),+) => {
        &[$(super::Call {
            name: stringify!($name),
            x86_64: super::number!($x86_64),
            aarch64: super::number!($aarch64),
        }),+]
    };
}
macro_rules! number {
    (-) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}
use {calls, number};
