//! What the attacker has to know of the host, as data that crosses the boundary. No secret is among it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Fingerprint;

/// Everything an attempt aims at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// The attempts to make, in this order.
    pub attempts: Vec<String>,
    /// A file beside the workspace that holds the decoy.
    pub outside_file: PathBuf,
    /// The folder it lies in, which the person may write.
    pub outside_folder: PathBuf,
    /// A file within the workspace that holds the decoy, by a name that is masked.
    pub planted: PathBuf,
    /// One thing for each kind of mask that is there.
    pub masked: Vec<MaskedKind>,
    /// Files with secrets of the person's home that nothing but this suite names.
    pub home: Vec<PathBuf>,
    /// Where an attempt may leave files of its own.
    pub scratch: PathBuf,
    /// Where secrets are looked for in files.
    pub searched: Vec<PathBuf>,
    /// What the listeners outside answer with, and what the command line of the process to attack holds.
    pub token: String,
    /// A listener on the host's 127.0.0.1.
    pub loopback_v4: SocketAddr,
    /// A listener on the host's `::1`.
    pub loopback_v6: Option<SocketAddr>,
    /// A UDP socket on the host's 127.0.0.1.
    pub loopback_udp: SocketAddr,
    /// A listener on an address of the host that others reach.
    pub direct: Option<SocketAddr>,
    /// A UDP socket there.
    pub direct_udp: Option<SocketAddr>,
    /// What to use as the gate's proxy, in place of the one that the environment names.
    pub proxy: Option<SocketAddr>,
    /// A cloud's metadata service.
    pub metadata: SocketAddr,
    /// Resolvers that are not the gate's.
    pub resolvers: Vec<SocketAddr>,
    /// The same by IPv6.
    pub resolvers_v6: Vec<SocketAddr>,
    /// A web server of the world that has an IPv6 address.
    pub web_v6: Option<SocketAddr>,
    /// A socket of the host without a path.
    pub abstract_socket: String,
    /// A socket of the host with a path.
    pub path_socket: PathBuf,
    /// Sockets of container engines that are there.
    pub engines: Vec<PathBuf>,
    /// A process of the person's.
    pub victim: i32,
    /// Memory, disks and the like that are there.
    pub devices: Vec<PathBuf>,
    /// Programs that root lends its rights and that wait for a password.
    pub lending: Vec<PathBuf>,
    /// Most processes and threads of a session, or why that is not tried.
    pub processes: Result<u32, String>,
    /// Most memory of a session, in bytes, or why that is not tried.
    pub memory: Result<u64, String>,
    /// What to look for: the decoy and each secret that is known outside.
    pub secrets: Vec<Fingerprint>,
}

/// One thing that a kind of mask hides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedKind {
    /// The rule.
    pub rule: String,
    /// What it hides.
    pub path: PathBuf,
    /// Whether that is a folder.
    pub directory: bool,
}
