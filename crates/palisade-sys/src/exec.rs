//! Starting a program, with everything it needs laid out before `clone`.

use std::ffi::{CStr, CString, c_char};
use std::io;

/// What runs a script that has no interpreter line (POSIX, `execvp`).
const SHELL: &CStr = c"/bin/sh";

/// A program to be tried at several paths, its arguments and its environment.
#[derive(Debug)]
pub struct Program {
    candidates: Vec<CString>,
    arguments: PointerList,
    /// The shell, a place for the script's path, then the arguments but the first.
    shell_arguments: PointerList,
    environment: PointerList,
}

/// Strings and the null-ended list of pointers to them that the kernel wants.
#[derive(Debug)]
struct PointerList {
    pointers: Vec<*const c_char>,
    /// What the pointers point to. The bytes are on the heap, so moving this value does not move them.
    _strings: Vec<CString>,
}

impl PointerList {
    fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self {
            pointers,
            _strings: strings,
        }
    }
}

impl Program {
    /// `arguments` begins with the program's own name, `environment` holds `NAME=value` strings.
    pub fn new(
        candidates: Vec<CString>,
        arguments: Vec<CString>,
        environment: Vec<CString>,
    ) -> Self {
        let rest = arguments.iter().skip(1).cloned();
        let shell_arguments = [SHELL.to_owned(), CString::default()]
            .into_iter()
            .chain(rest)
            .collect();
        Self {
            candidates,
            arguments: PointerList::new(arguments),
            shell_arguments: PointerList::new(shell_arguments),
            environment: PointerList::new(environment),
        }
    }

    /// Becomes the first candidate that can be started, as `execvp` does it: a path that is not there is passed over, one
    /// that may not be executed is remembered, a script without interpreter line goes to the shell. Returns only the
    /// reason why none could. For use after `clone`.
    pub fn exec(&mut self) -> io::Error {
        let mut result = libc::ENOENT;
        for path in &self.candidates {
            let mut errno = execute(path, &self.arguments, &self.environment);
            if errno == libc::ENOEXEC
                && let Some(place) = self.shell_arguments.pointers.get_mut(1)
            {
                *place = path.as_ptr();
                errno = execute(SHELL, &self.shell_arguments, &self.environment);
            }
            match errno {
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG => {}
                libc::EACCES => result = libc::EACCES,
                other => return io::Error::from_raw_os_error(other),
            }
        }
        io::Error::from_raw_os_error(result)
    }
}

fn execute(path: &CStr, arguments: &PointerList, environment: &PointerList) -> i32 {
    // SAFETY: needed because no wrapper takes ready-made lists. Sound because both lists end with a null pointer, and each
    // other pointer refers to a null-ended string that the list or the candidates own.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    fn strings(of: &[&str]) -> Vec<CString> {
        of.iter()
            .map(|s| CString::new(*s).expect("no nul"))
            .collect()
    }

    /// The exit status of the program, or 200 and the error's number when it did not start.
    fn run(candidates: &[&str], arguments: &[&str]) -> i32 {
        let mut program = Program::new(
            strings(candidates),
            strings(arguments),
            strings(&["WORD=inner"]),
        );
        let child = crate::clone::spawn(0, || {
            let errno = program.exec().raw_os_error().unwrap_or(0);
            200 + u8::try_from(errno).unwrap_or(55)
        })
        .expect("spawn");
        let (_, status) = waitpid(Some(child.pid), WaitOptions::empty())
            .expect("wait")
            .expect("status");
        status.exit_status().expect("exited")
    }

    #[test]
    fn candidates_are_tried_in_order() {
        let sh = ["/nowhere/sh", "/etc/passwd/sh", "/bin/sh"];
        assert_eq!(run(&sh, &["sh", "-c", "exit 3"]), 3);
        assert_eq!(run(&["/nowhere/sh"], &["sh"]), 200 + libc::ENOENT);
        assert_eq!(run(&[], &["sh"]), 200 + libc::ENOENT);
    }

    #[test]
    fn the_environment_is_the_one_given() {
        let script = "test \"$WORD\" = inner && test -z \"$HOME\" && exit 4";
        assert_eq!(run(&["/bin/sh"], &["sh", "-c", script]), 4);
    }

    #[test]
    fn a_file_that_may_not_run_is_told_apart_and_a_bare_script_goes_to_the_shell() {
        let dir = std::env::temp_dir().join(format!("palisade-exec-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("directory");
        let script = dir.join("script");
        std::fs::write(&script, "exit $1\n").expect("script");
        let path = script.to_str().expect("utf-8");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o644)).expect("mode");
        let refused = run(&[path, "/nowhere/script"], &["script", "6"]);
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).expect("mode");
        let ran = run(&[path], &["script", "6"]);
        std::fs::remove_dir_all(&dir).expect("clean up");
        assert_eq!(refused, 200 + libc::EACCES);
        assert_eq!(ran, 6);
    }
}
