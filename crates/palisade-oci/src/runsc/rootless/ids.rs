//! Who is who in the user namespace of an ordinary caller: the agent is the caller, and root is a subordinate id of the caller's.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use palisade_boundary::StartError;

use crate::engine::cannot;

/// What gVisor becomes: "nobody", by its number in every distribution.
const NOBODY: u32 = 65534;

/// What to do where there are none.
const FIX: &str = "install newuidmap (Debian: uidmap) and give yourself subordinate ids (usermod --add-subuids 100000-165535 --add-subgids \
                   100000-165535 USER), run it by sudo, or use the native boundary";

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// The caller's user and the first of two subordinate ids.
    user: (u32, u32),
    /// The same for the group.
    group: (u32, u32),
}

impl Ids {
    /// The caller's.
    ///
    /// # Errors
    /// The caller has no subordinate ids.
    pub(crate) fn of_caller() -> Result<Self, StartError> {
        let own = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = name_of(&users, own);
        let first = |file: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            first_of_two(&text, own, name).ok_or_else(|| {
                let cause = format!("{file} gives no two subordinate ids to user {own}");
                failed(cause)
            })
        };
        Ok(Self {
            user: (own, first("/etc/subuid")?),
            group: (group, first("/etc/subgid")?),
        })
    }

    /// Writes the maps of a process's new user namespace, by the programs that may.
    ///
    /// # Errors
    /// They are missing or refuse.
    pub(super) fn write(self, process: u32) -> Result<(), StartError> {
        write("newuidmap", process, self.user)?;
        write("newgidmap", process, self.group)
    }
}

/// Whether there are the programs that write maps.
pub(crate) fn has_programs() -> Result<(), StartError> {
    for program in ["newuidmap", "newgidmap"] {
        // Without arguments they say how they are used.
        let mut command = Command::new(program);
        let found = command.stdin(Stdio::null()).output();
        found.map_err(|error| not_run(program, &error))?;
    }
    Ok(())
}

fn write(program: &str, process: u32, (own, first): (u32, u32)) -> Result<(), StartError> {
    let output = Command::new(program)
        .arg(process.to_string())
        .args(map(own, first).map(|number| number.to_string()))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_run(program, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(format!("{program}: {}", said.trim())))
}

/// As the programs take it: an id inside, the id outside, how many; for root, the caller, nobody.
fn map(own: u32, first: u32) -> [u32; 9] {
    // A caller who is that nobody leaves gVisor another number, which it does not use.
    let nobody = if own == NOBODY { NOBODY - 1 } else { NOBODY };
    [0, first, 1, own, own, 1, nobody, first.saturating_add(1), 1]
}

fn not_run(program: &str, error: &io::Error) -> StartError {
    failed(format!("run {program}: {error}"))
}

fn failed(cause: String) -> StartError {
    let mut error = cannot("map ids for the sandbox".into(), cause);
    error.fix = Some(FIX.into());
    error
}

fn name_of(users: &str, uid: u32) -> Option<&str> {
    let id = uid.to_string();
    let mut lines = users.lines();
    let line = lines.find(|line| line.split(':').nth(2) == Some(id.as_str()))?;
    line.split(':').next()
}

/// Lines of subuid(5) and subgid(5): a user by name or number, the first id, how many.
fn first_of_two(text: &str, uid: u32, name: Option<&str>) -> Option<u32> {
    let id = uid.to_string();
    text.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let of = parts.next()?;
        let first: u32 = parts.next()?.parse().ok()?;
        let count: u32 = parts.next()?.parse().ok()?;
        let fits = count >= 2 && first > 0 && first.checked_add(count).is_some();
        ((of == id || Some(of) == name) && fits).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        let text = "bob:100000:65536\n# nonsense\nada:200000:1\nada:300000:65536\n1001:400000:2\nx:4294967295:9\n";
        assert_eq!(first_of_two(text, 1000, Some("ada")), Some(300_000));
        assert_eq!(first_of_two(text, 1001, None), Some(400_000));
        assert_eq!(first_of_two(text, 1002, Some("eve")), None);
        assert_eq!(first_of_two(text, 1002, Some("x")), None);
    }

    #[test]
    fn names_are_those_of_passwd() {
        let users = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_of(users, 1000), Some("ada"));
        assert_eq!(name_of(users, 100), None);
    }

    #[test]
    fn no_id_is_mapped_twice() {
        assert_eq!(map(1000, 7), [0, 7, 1, 1000, 1000, 1, NOBODY, 8, 1]);
        assert_eq!(map(NOBODY, 7)[6], NOBODY - 1);
    }
}
