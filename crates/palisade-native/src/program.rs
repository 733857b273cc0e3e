//! The agent's program: where it may lie, in what order to try, as `execvp` does it.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use palisade_boundary::{Command, StartError};
use palisade_sys::exec::Program;

/// Where programs are looked for when the environment has no `PATH` (`_PATH_STDPATH` without the administrator's).
const DEFAULT_PATH: &str = "/usr/bin:/bin";

/// Lays out what `execve` needs.
pub(crate) fn program(command: &Command) -> Result<Program, StartError> {
    let Some(name) = command.argv.first() else {
        return Err(refused("no program was named"));
    };
    let candidates = c_strings(candidates(name, search_path(command)))?;
    let arguments = c_strings(command.argv.iter().cloned())?;
    let environment = c_strings(command.environment.iter().map(|(name, value)| {
        let mut entry = name.clone();
        entry.push("=");
        entry.push(value);
        entry
    }))?;
    Ok(Program::new(candidates, arguments, environment))
}

fn search_path(command: &Command) -> &OsStr {
    let variable = command.environment.iter().find(|(name, _)| name == "PATH");
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

fn c_strings(of: impl IntoIterator<Item = OsString>) -> Result<Vec<CString>, StartError> {
    of.into_iter()
        .map(|s| {
            CString::new(s.as_bytes())
                .map_err(|_| refused("an argument or a variable holds a zero byte"))
        })
        .collect()
}

fn refused(cause: &str) -> StartError {
    StartError {
        what: "prepare the agent's program".into(),
        cause: cause.into(),
        fix: None,
    }
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
        let mut command = Command {
            argv: vec!["a\0b".into()],
            environment: Vec::new(),
            directory: "/".into(),
        };
        assert!(program(&command).is_err());
        command.argv.clear();
        assert!(program(&command).is_err());
        command.argv.push("true".into());
        assert!(program(&command).is_ok());
    }
}
