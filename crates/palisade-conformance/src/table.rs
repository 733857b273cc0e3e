//! The table: every attempt, what it tries, and where its control has to work.

use crate::attack::{Got, files, kernel, limits, network, processes, secrets, system};
use crate::stage::Stage;

/// One thing an agent must not be able to do.
#[derive(Debug)]
pub struct Attempt {
    /// Its name, which is API.
    pub name: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// What it tries, in words that fit after "an agent cannot".
    pub what: &'static str,
    /// The attack itself, the same outside and inside.
    pub(crate) attack: fn(&Stage) -> Got,
    /// Whether it is held as well where it is ended instead of refused.
    pub(crate) ended_by_limit: bool,
}

/// What an attempt belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What can be read and written.
    Files,
    /// What can be reached.
    Network,
    /// What can be done to other processes.
    Processes,
    /// What can be asked of the kernel.
    Kernel,
    /// What rights can be gained.
    Rights,
    /// Whether secrets are seen.
    Secrets,
    /// How much can be used up.
    Limits,
}

impl Group {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Network => "network",
            Self::Processes => "processes",
            Self::Kernel => "kernel",
            Self::Rights => "rights",
            Self::Secrets => "secrets",
            Self::Limits => "limits",
        }
    }
}

macro_rules! table {
    ($($group:ident { $($name:literal, $what:literal, $attack:path $(, $ended:ident)?;)+ })+) => {
        &[$($(Attempt {
            name: $name,
            group: Group::$group,
            what: $what,
            attack: $attack,
            ended_by_limit: table!(@ $($ended)?),
        },)+)+]
    };
    (@ ended_by_limit) => { true };
    (@) => { false };
}

/// All attempts, in the order they are made: what uses much up comes last.
pub const ATTEMPTS: &[Attempt] = table! {
    Files {
        "masked-planted", "read a file that was planted by a masked name", files::planted_mask;
        "masked-root", "read it by way of /proc/self/root", files::masked_by_root;
        "masked-handle", "read it by a descriptor that has no rights", files::masked_by_handle;
        "masked-link", "read it by another name (a hard link)", files::masked_by_link;
        "masked-move", "move it away and read it there", files::masked_by_move;
        "masked", "read what is masked, of each kind that is here", files::masks;
        "outside-file", "read a file beside the workspace", files::outside_file;
        "home-secrets", "read the keys and tokens of your home", files::home;
        "system-secrets", "read the system's passwords and keys", files::system_secrets;
        "write-outside", "write beside the workspace", files::write_outside;
        "write-system", "write to the system's folders", files::write_system;
        "sysfs", "list /sys", files::list_sys;
        "device-nodes", "make device nodes", files::device_nodes;
        "devices", "open disks, kernel memory or the kernel's log", files::devices;
        "kernel-memory", "read the kernel's memory", files::kernel_memory;
        "descriptors", "use descriptors that palisade was started with", files::descriptors;
    }
    Network {
        "loopback-v4", "reach a service on the host's 127.0.0.1", network::loopback_v4;
        "loopback-v6", "reach a service on the host's ::1", network::loopback_v6;
        "loopback-udp", "reach a UDP service on the host's 127.0.0.1", network::loopback_udp;
        "direct-address", "reach a service by a typed-in address", network::direct;
        "udp", "send UDP to a typed-in address", network::udp;
        "metadata", "reach the cloud's metadata service", network::metadata;
        "gate", "talk the gate into reaching loopback or metadata", network::proxy;
        "dns-udp", "ask another resolver by UDP", network::dns_udp;
        "dns-tcp", "ask another resolver by TCP", network::dns_tcp;
        "ipv6", "get out by IPv6", network::ipv6;
        "abstract-socket", "connect to an abstract socket of the host", network::abstract_socket;
        "path-socket", "connect to a socket in a folder of the host", network::path_socket;
        "engine-socket", "connect to a container engine", network::engines;
        "raw-sockets", "open raw sockets", network::raw_sockets;
        "packet-sockets", "open packet sockets", network::packet_sockets;
        "vsock", "open sockets to the hypervisor", network::vsock;
        "kernel-sockets", "open sockets to the kernel's packet filter or ciphers", network::kernel_sockets;
    }
    Processes {
        "host-processes", "see processes of the host", processes::seen;
        "signals", "send signals to processes of the host", processes::signal;
        "trace", "trace processes of the host", processes::trace;
        "first-process", "read the environment or the memory of process 1", processes::first;
        "process-roots", "read the host's files by /proc/1/root or that of any process", processes::roots;
        "process-environments", "read the environment of other processes", processes::environments;
    }
    Kernel {
        "io-uring", "set up io_uring", kernel::io_uring;
        "bpf", "use bpf", kernel::bpf;
        "performance-counters", "use performance counters", kernel::performance_counter;
        "page-faults", "hold up page faults", kernel::page_faults;
        "keyring", "use the kernel's keyrings", kernel::keyring;
        "settings", "write core_pattern and other settings of the machine", kernel::settings;
        "control-groups", "write to control groups, release_agent among it", kernel::control_groups;
    }
    Rights {
        "mount", "mount file systems", system::mounts;
        "mount-objects", "prepare mounts by the newer calls", system::mount_objects;
        "namespaces", "make namespaces by unshare", system::new_namespaces;
        "clone3", "make namespaces by clone3", system::clone3;
        "change-root", "change the root", system::change_root;
        "other-user", "become another user", system::other_user;
        "set-user-id", "gain rights by a set-user-id program", system::set_user_id_program;
        "set-user-id-file", "leave a set-user-id file behind", files::set_user_id_file;
        "terminal", "type into your terminal", system::type_into_terminal;
    }
    Secrets {
        "secret-environment", "find a secret in the environment", secrets::environment;
        "secret-memory", "find a secret in memory", secrets::memory;
        "secret-files", "find a secret in files", secrets::files;
    }
    Limits {
        "fork-bomb", "start more processes than the limit", limits::fork_bomb, ended_by_limit;
        "memory-hog", "use more memory than the limit", limits::memory_hog, ended_by_limit;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<_> = ATTEMPTS.iter().map(|attempt| attempt.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ATTEMPTS.len());
    }
}
