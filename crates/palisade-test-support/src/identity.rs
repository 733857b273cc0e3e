//! Who runs palisade in a test.

use std::fmt;
use std::path::Path;
use std::process::Command;

use crate::require::Skip;

/// Root, or an ordinary user without any right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// uid 0.
    Root,
    /// An ordinary user. Tests run by root take on [`Identity::USER_ID`]; others stay who they are.
    User,
}

impl Identity {
    /// The uid and gid that root takes on to be an ordinary user. It needs no entry in the user database.
    pub const USER_ID: u32 = 1000;

    /// Whether the test process can take it on.
    ///
    /// # Errors
    /// Root is wanted and the tests were not started by root.
    pub fn available(self) -> Result<Self, Skip> {
        if self == Self::Root && !running_as_root() {
            return Err(Skip::because("needs root", "run the tests as root too"));
        }
        Ok(self)
    }

    /// The uid that palisade will have.
    pub fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::User if running_as_root() => Self::USER_ID,
            Self::User => rustix::process::getuid().as_raw(),
        }
    }

    /// Lets this command run as this identity, without supplementary groups.
    pub fn apply(self, command: &mut Command) {
        use std::os::unix::process::CommandExt as _;
        if running_as_root() && self == Self::User {
            command.uid(Self::USER_ID).gid(Self::USER_ID);
        }
    }

    /// Gives a path, and what is below it, to this identity.
    ///
    /// # Panics
    /// If the file system refuses.
    pub fn own(self, path: &Path) {
        if !running_as_root() {
            return;
        }
        let uid = self.uid();
        let given = std::os::unix::fs::lchown(path, Some(uid), Some(uid));
        given.unwrap_or_else(|error| panic!("give {} to uid {uid}: {error}", path.display()));
        if path.is_dir() && !path.is_symlink() {
            for entry in std::fs::read_dir(path).expect("read a directory of the test") {
                self.own(&entry.expect("read a directory of the test").path());
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::User => "user",
        })
    }
}

fn running_as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Makes each function two tests, `NAME::as_root` and `NAME::as_user`. The function gets the [`Identity`] and returns
/// an [`Outcome`](crate::Outcome).
#[macro_export]
macro_rules! each_identity {
    ($($(#[$meta:meta])* fn $name:ident($who:ident) $body:block)+) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            fn body($who: $crate::Identity) -> $crate::Outcome {
                let $who = $who.available()?;
                $body
                #[allow(unreachable_code)]
                Ok(())
            }

            #[test]
            fn as_root() {
                $crate::conclude(concat!(stringify!($name), "::as_root"), body($crate::Identity::Root));
            }

            #[test]
            fn as_user() {
                $crate::conclude(concat!(stringify!($name), "::as_user"), body($crate::Identity::User));
            }
        }
    )+};
}
