//! Every bound of the gate in one place, with how each number was chosen.

use std::time::Duration;

/// Bounds on what one session may make the gate hold or wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateLimits {
    /// Bytes of one message head. Twice the largest default of common servers (32 KiB), as cookies and tokens of real
    /// services reach 20 KiB.
    pub head_bytes: usize,
    /// Header fields of one head. The default of common servers; browsers send below 30.
    pub head_fields: usize,
    /// From the first byte of a head (or of a connection) to its end. An agent is a few microseconds away.
    pub head_time: Duration,
    /// How long a kept-alive connection may wait for its next request. Longer than the pool of any client seen (4 min).
    pub keep_alive: Duration,
    /// Bytes of a `ClientHello`, over all its records. A post-quantum one has about 1.8 KiB; the handshake format
    /// would allow 16 MiB.
    pub hello_bytes: usize,
    /// From the start of a tunnel to its complete `ClientHello`, and how long a tunnel may stay silent before it.
    pub hello_time: Duration,
    /// A TLS handshake, on either side.
    pub tls_time: Duration,
    /// Certificates kept for hosts that are looked into; the least used go first and are minted again in 0.03 ms.
    pub leaves: usize,
    /// One attempt to connect to one address.
    pub connect_time: Duration,
    /// All attempts of one request, look-up included.
    pub dial_time: Duration,
    /// One look-up of a name.
    pub resolve_time: Duration,
    /// Look-ups at a time. Each holds a thread.
    pub resolve_at_once: usize,
    /// Addresses tried for one name.
    pub addresses: usize,
    /// No byte moves while one side owes one: a request body that stops, a response nobody reads.
    pub stall: Duration,
    /// Wait for a response, or for the next part of one. Model APIs think for up to ten minutes before the first byte.
    pub response_wait: Duration,
    /// A tunnel in which nothing moves either way. An ssh or WebSocket session may rest for long.
    pub tunnel_idle: Duration,
    /// What is left of a connection after one side has ended it.
    pub half_closed: Duration,
    /// Connections of the session at a time. Real agents were seen with up to 60; each costs about 20 KiB.
    pub connections: usize,
    /// Interim (1xx) responses before the final one.
    pub interim_responses: usize,
    /// Idle upstream connections kept for one destination. As many as an agent was seen to have open (60): with fewer, each
    /// burst would make TLS handshakes anew, which cost 20 times a request.
    pub pool_per_host: usize,
    /// Idle upstream connections kept in all.
    pub pool_total: usize,
    /// How long an idle upstream connection is kept. Below the shortest common server default but one (Apache closes
    /// after 5 s, and the retry handles that; nginx after 75 s).
    pub pool_idle: Duration,
    /// Names that get a synthetic address, at most 131,070 (the addresses in 198.18.0.0/15).
    pub names: usize,
    /// Hosts listed in the summary; further ones are only counted.
    pub summary_hosts: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            head_fields: 100,
            head_time: Duration::from_secs(10),
            keep_alive: Duration::from_secs(300),
            hello_bytes: 64 * 1024,
            hello_time: Duration::from_secs(5),
            tls_time: Duration::from_secs(15),
            leaves: 1024,
            connect_time: Duration::from_secs(10),
            dial_time: Duration::from_secs(30),
            resolve_time: Duration::from_secs(10),
            resolve_at_once: 16,
            addresses: 8,
            stall: Duration::from_secs(120),
            response_wait: Duration::from_secs(900),
            tunnel_idle: Duration::from_secs(3600),
            half_closed: Duration::from_secs(60),
            connections: 1024,
            interim_responses: 16,
            pool_per_host: 64,
            pool_total: 256,
            pool_idle: Duration::from_secs(60),
            names: 131_070,
            summary_hosts: 256,
        }
    }
}
