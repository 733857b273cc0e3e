//! User namespaces as values: a mapping of owners for id-mapped mounts.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::clone::{Stack, USER_NAMESPACE, spawn_sharing_memory};

/// One line of a user or group map: this one id inside is that one id outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IdPair {
    /// Inside the namespace (on an id-mapped mount: the owner as stored on disk).
    pub inside: u32,
    /// Outside of it.
    pub outside: u32,
}

/// Writes the maps of a process's new user namespace. `deny_groups` gives up `setgroups` inside, which the kernel demands
/// of a caller without privileges (user_namespaces(7)).
///
/// # Errors
/// `EPERM` where the caller may not map these ids.
pub fn write_maps(pid: Pid, user: IdPair, group: IdPair, deny_groups: bool) -> io::Result<()> {
    write_all(pid, &[user], &[group], deny_groups)
}

fn write_all(pid: Pid, users: &[IdPair], groups: &[IdPair], deny_groups: bool) -> io::Result<()> {
    let base = format!("/proc/{}", pid.as_raw_nonzero());
    if deny_groups {
        fs::write(format!("{base}/setgroups"), "deny")?;
    }
    let line = |pair: &IdPair| format!("{} {} 1\n", pair.inside, pair.outside);
    let map = |pairs: &[IdPair]| pairs.iter().map(line).collect::<String>();
    fs::write(format!("{base}/gid_map"), map(groups))?;
    fs::write(format!("{base}/uid_map"), map(users))
}

/// A user namespace that nobody is in, with these maps.
///
/// It is made by a process that ends at once. Until that is waited for it still has its place in `/proc`, and there its
/// namespace is given its maps and opened.
///
/// # Errors
/// As [`spawn_sharing_memory`] and [`write_maps`].
pub fn user_namespace(user: IdPair, group: IdPair) -> io::Result<OwnedFd> {
    namespace_of(&[user], &[group])
}

fn namespace_of(users: &[IdPair], groups: &[IdPair]) -> io::Result<OwnedFd> {
    let pid = spawn_sharing_memory(USER_NAMESPACE, &mut Stack::new(), &mut || {})?;
    let made = write_all(pid, users, groups, false)
        .and_then(|()| File::open(format!("/proc/{}/ns/user", pid.as_raw_nonzero())));
    waitpid(Some(pid), WaitOptions::empty())?;
    made.map(OwnedFd::from)
}

/// User namespaces that show files of other owners as one agent's, one for each owner met.
#[derive(Debug)]
pub struct Owners {
    agent: (u32, u32),
    /// Whether root, too, may make files there.
    for_root: bool,
    made: Vec<((u32, u32), OwnedFd)>,
}

impl Owners {
    /// For an agent with these ids.
    pub fn new(agent: (u32, u32)) -> Self {
        Self {
            agent,
            for_root: false,
            made: Vec::new(),
        }
    }

    /// The same for who makes files as root and gives them to the agent after that. Until then they are nobody's of the host: on disk
    /// they have the agent's ids, as long as those are not the owner's.
    pub fn with_root(agent: (u32, u32)) -> Self {
        Self {
            for_root: true,
            ..Self::new(agent)
        }
    }

    /// The one for this owner, or none where that is the agent.
    ///
    /// # Errors
    /// As [`user_namespace`].
    pub fn of(&mut self, owner: (u32, u32)) -> io::Result<Option<&OwnedFd>> {
        if owner == self.agent {
            return Ok(None);
        }
        let known = self.made.iter().position(|(made, _)| *made == owner);
        let index = match known {
            Some(index) => index,
            None => {
                let users = self.pairs(owner.0, self.agent.0);
                let groups = self.pairs(owner.1, self.agent.1);
                let namespace = namespace_of(&users, &groups)?;
                self.made.push((owner, namespace));
                self.made.len() - 1
            }
        };
        Ok(self.made.get(index).map(|(_, namespace)| namespace))
    }

    fn pairs(&self, owner: u32, agent: u32) -> Vec<IdPair> {
        let pair = |inside, outside| IdPair { inside, outside };
        let free = if owner == agent { 0 } else { agent };
        let root = self.for_root.then(|| pair(free, 0));
        std::iter::once(pair(owner, agent)).chain(root).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn who_makes_files_as_root_has_an_id_of_its_own_on_disk() {
        let pair = |inside, outside| IdPair { inside, outside };
        let owners = Owners::with_root((70_000, 70_000));
        assert_eq!(owners.pairs(0, 70_000), [pair(0, 70_000), pair(70_000, 0)]);
        assert_eq!(
            owners.pairs(1000, 70_000),
            [pair(1000, 70_000), pair(70_000, 0)]
        );
        assert_eq!(
            owners.pairs(70_000, 70_000),
            [pair(70_000, 70_000), pair(0, 0)]
        );
        assert_eq!(
            Owners::new((70_000, 70_000)).pairs(0, 70_000),
            [pair(0, 70_000)]
        );
    }

    #[test]
    fn a_namespace_is_made_and_nobody_is_left_in_it() {
        let id = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let pair = |inside, outside| IdPair { inside, outside };
        if id != 0 {
            // An ordinary user has to give up setgroups first; nothing here is for such a caller.
            let error = user_namespace(pair(5, id), pair(6, gid)).expect_err("not root");
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            return;
        }
        let namespace = user_namespace(pair(0, 64_000), pair(7, 64_001)).expect("made");
        let link = fs::read_link(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
        let own = fs::read_link("/proc/self/ns/user").expect("own");
        let link = link.expect("link");
        assert!(link.to_string_lossy().starts_with("user:["), "{link:?}");
        assert_ne!(link, own);
    }
}
