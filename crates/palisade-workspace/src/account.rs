//! Who the agent is inside, and the files that say so.

use std::path::{Path, PathBuf};

use palisade_protocol::TreeEntry;

/// The address that the inside's `/etc/resolv.conf` names. It lies in the range the gate answers from (RFC 2544's
/// benchmark network), and a query to any other address reaches the gate just as well.
const NAMESERVER: &str = "198.18.0.1";

/// The agent's account, as programs inside find it by `getpwuid` and `gethostname`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAccount {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
    shell: PathBuf,
    hostname: String,
}

impl AgentAccount {
    /// An account. What `/etc/passwd` could not hold is replaced: a name that is not plain (or is `root`, since the
    /// agent never is) becomes `agent`, a host name that is not plain becomes `palisade`, and a home that is no
    /// folder of its own (`/`, a system folder, a relative path) becomes `/home/<name>`.
    pub fn new(name: &str, uid: u32, gid: u32, home: &Path, hostname: &str) -> Self {
        let name = if is_plain(name) && !matches!(name, "root" | "nobody" | "tty") {
            name
        } else {
            "agent"
        };
        let home = if is_usable_home(home) {
            home.to_path_buf()
        } else {
            Path::new("/home").join(name)
        };
        let hostname = if is_plain(hostname) {
            hostname
        } else {
            "palisade"
        };
        Self {
            name: name.to_owned(),
            uid,
            gid,
            home,
            shell: "/bin/sh".into(),
            hostname: hostname.to_owned(),
        }
    }

    /// With this login shell in place of `/bin/sh`. A path that is not plain text is ignored.
    #[must_use]
    pub fn with_shell(mut self, shell: &Path) -> Self {
        if shell.is_absolute() && is_field(shell) {
            self.shell = shell.to_path_buf();
        }
        self
    }

    /// The account's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The home folder inside.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The login shell.
    pub fn shell(&self) -> &Path {
        &self.shell
    }

    /// The host name inside.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// The files of `/etc` that are made up rather than shown. The host's own list its users, its name server and its
    /// neighbours.
    pub(crate) fn files(&self) -> Vec<TreeEntry> {
        let hostname = &self.hostname;
        [
            ("/etc/passwd", self.passwd()),
            ("/etc/group", self.group()),
            (
                "/etc/hosts",
                format!(
                    "127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n"
                ),
            ),
            ("/etc/hostname", format!("{hostname}\n")),
            (
                "/etc/resolv.conf",
                format!("nameserver {NAMESERVER}\noptions timeout:2 attempts:2\n"),
            ),
            ("/etc/nsswitch.conf", NSSWITCH.to_owned()),
        ]
        .into_iter()
        .map(|(path, text)| TreeEntry::File {
            path: path.into(),
            content: text.into_bytes(),
        })
        .collect()
    }

    fn passwd(&self) -> String {
        let Self {
            name,
            uid,
            gid,
            home,
            shell,
            ..
        } = self;
        let (home, shell) = (home.display(), shell.display());
        let mut text = String::from("root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n");
        text.push_str(&format!("{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n"));
        if *uid != NOBODY {
            text.push_str("nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n");
        }
        text
    }

    fn group(&self) -> String {
        let Self { name, gid, .. } = self;
        // Group 5 is the one that pseudo-terminals are made for (devpts `gid=5`, every distribution).
        let mut text = format!("root:x:0:\ntty:x:5:\n{name}:x:{gid}:\n");
        if *gid != NOBODY {
            text.push_str("nogroup:x:65534:\n");
        }
        text
    }
}

/// The overflow id: what files of unmapped owners appear to belong to (`/proc/sys/kernel/overflowuid`).
const NOBODY: u32 = 65534;

/// Without the host's modules (`systemd`, `sss`, `mymachines`), whose sockets do not exist inside: each would cost a
/// failed connect per look-up.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
     protocols: files\nservices: files\nethers: files\nrpc: files\n";

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && !text.starts_with(['-', '.'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_field(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|text| !text.contains(':') && !text.chars().any(char::is_control))
}

fn is_usable_home(home: &Path) -> bool {
    home.is_absolute() && is_field(home) && !crate::paths::is_system_path(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(account: &AgentAccount, wanted: &str) -> String {
        let found = account.files().into_iter().find_map(|entry| match entry {
            TreeEntry::File { path, content } if path == Path::new(wanted) => Some(content),
            _ => None,
        });
        String::from_utf8(found.unwrap()).unwrap()
    }

    #[test]
    fn the_agent_is_the_only_account_with_a_shell() {
        let account = AgentAccount::new("ada", 1000, 100, Path::new("/home/ada"), "box")
            .with_shell(Path::new("/bin/bash"));
        assert_eq!(
            text_of(&account, "/etc/passwd"),
            "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n\
             ada:x:1000:100:ada:/home/ada:/bin/bash\n\
             nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(
            text_of(&account, "/etc/group"),
            "root:x:0:\ntty:x:5:\nada:x:100:\nnogroup:x:65534:\n"
        );
        assert!(text_of(&account, "/etc/hosts").contains("127.0.0.1\tlocalhost box\n"));
    }

    #[test]
    fn what_passwd_cannot_hold_is_replaced() {
        let account = AgentAccount::new(
            "a:b\nroot",
            1000,
            1000,
            Path::new("/"),
            "evil\nnameserver x",
        );
        assert_eq!(
            (account.name(), account.home(), account.hostname()),
            ("agent", Path::new("/home/agent"), "palisade")
        );
        let root = AgentAccount::new("root", 65534, 65534, Path::new("/root"), "box");
        assert_eq!((root.name(), root.home()), ("agent", Path::new("/root")));
        assert_eq!(text_of(&root, "/etc/passwd").matches("65534").count(), 2);
    }
}
