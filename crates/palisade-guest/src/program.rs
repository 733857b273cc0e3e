//! The agent's program: where it may lie, in what order to try, as `execvp` does it.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use palisade_sys::exec::Program;

/// Where programs are looked for when the environment has no `PATH` (`_PATH_STDPATH` without the administrator's).
const DEFAULT_PATH: &str = "/usr/bin:/bin";

/// Why there is nothing to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoProgram {
    /// No program was named.
    Unnamed,
    /// An argument or a variable holds a zero byte.
    ZeroByte,
}

impl fmt::Display for NoProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unnamed => "no program was named",
            Self::ZeroByte => "an argument or a variable holds a zero byte",
        })
    }
}

impl std::error::Error for NoProgram {}

/// Lays out what `execve` needs.
///
/// # Errors
/// There is nothing to run, or it cannot be told to the kernel.
pub fn program(
    argv: &[OsString],
    environment: &[(OsString, OsString)],
) -> Result<Program, NoProgram> {
    let Some(name) = argv.first() else {
        return Err(NoProgram::Unnamed);
    };
    let candidates = c_strings(candidates(name, search_path(environment)))?;
    let arguments = c_strings(argv.iter().cloned())?;
    let environment = c_strings(environment.iter().map(|(name, value)| {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        entry
    }))?;
    Ok(Program::new(candidates, arguments, environment))
}

fn search_path(environment: &[(OsString, OsString)]) -> &OsStr {
    let variable = environment.iter().find(|(name, _)| name == "PATH");
    variable.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value)
}

fn candidates(name: &OsStr, search_path: &OsStr) -> Vec<OsString> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    let directories = search_path.as_bytes().split(|b| *b == b':');
    directories
        .map(|directory| {
            // An empty element means the working directory (POSIX, "Environment Variables").
            let directory = if directory.is_empty() {
                b"."
            } else {
                directory
            };
            let mut path = OsStr::from_bytes(directory).to_owned();
            path.push("/");
            path.push(name);
            path
        })
        .collect()
}

fn c_strings(of: impl IntoIterator<Item = OsString>) -> Result<Vec<CString>, NoProgram> {
    of.into_iter()
        .map(|s| CString::new(s.as_bytes()).map_err(|_| NoProgram::ZeroByte))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(name: &str, path: &str) -> Vec<OsString> {
        candidates(OsStr::new(name), OsStr::new(path))
    }

    #[test]
    fn the_search_follows_path_unless_the_name_has_a_slash() {
        assert_eq!(tried("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
        assert_eq!(tried("ls", ":/b:"), ["./ls", "/b/ls", "./ls"]);
        assert_eq!(tried("./ls", "/a"), ["./ls"]);
        assert!(tried("", "/a").is_empty());
    }

    #[test]
    fn zero_bytes_and_an_empty_command_are_refused() {
        let of = |argv: &[OsString]| program(argv, &[]).map(|_| ());
        assert_eq!(of(&["a\0b".into()]), Err(NoProgram::ZeroByte));
        assert_eq!(of(&[]), Err(NoProgram::Unnamed));
        assert_eq!(of(&["true".into()]), Ok(()));
    }
}
