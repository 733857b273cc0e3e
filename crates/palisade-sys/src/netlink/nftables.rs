//! One nftables rule set: every TCP connection on loopback that is not to a loopback address goes to one listener.
//!
//! In the words of `nft`:
//! ```text
//! table inet palisade {
//!   chain capture {
//!     type filter hook prerouting priority mangle
//!     meta nfproto ipv4 meta l4proto tcp ip daddr & 255.0.0.0 != 127.0.0.0 tproxy ip to :PORT
//!     meta nfproto ipv6 meta l4proto tcp ip6 daddr != ::1 tproxy ip6 to :PORT
//!   }
//! }
//! ```

use std::io;

use rustix::net::Protocol;

use super::{Batch, Refusal};

const NETFILTER: u32 = 12;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const FAMILY_INET: u8 = 1;
const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
const HOOK_PREROUTING: u32 = 0;
const PRIORITY_MANGLE: i32 = -150;
const REGISTER: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const TABLE: &str = "palisade";
const CHAIN: &str = "capture";

/// The messages; see [`Capture::apply`].
#[derive(Clone, Debug)]
pub struct Capture {
    both: Batch,
    ipv4_only: Batch,
}

impl Capture {
    /// For a transparent listener on this port. Allocates, so it is made before `clone`.
    pub fn new(port: u16) -> Self {
        Self {
            both: rules(port, true),
            ipv4_only: rules(port, false),
        }
    }

    /// Loads the rules. For use after `clone`.
    ///
    /// # Errors
    /// `EPROTONOSUPPORT`, `EOPNOTSUPP` or `ENOENT` where the kernel has no nftables or no TPROXY (or would have to load
    /// a module, which it does not for an unprivileged namespace).
    pub fn apply(&self, ipv6: bool) -> io::Result<()> {
        let batch = if ipv6 { &self.both } else { &self.ipv4_only };
        let mut failed = None;
        let family = Protocol::from_raw(rustix::net::RawProtocol::new(NETFILTER).expect("not 0"));
        batch.exchange(Some(family), |Refusal { errno, .. }| {
            failed = failed.or(Some(errno));
        })?;
        match failed {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

fn rules(port: u16, ipv6: bool) -> Batch {
    let mut batch = Batch::default();
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let no_attributes = |_: &mut Batch| {};
    batch.message(BATCH_BEGIN, 0, &[0, 0, high, low], no_attributes);
    let inet = [FAMILY_INET, 0, 0, 0];
    batch.message(SUBSYSTEM << 8, CREATE, &inet, |m| m.string(1, TABLE));
    batch.message(SUBSYSTEM << 8 | 3, CREATE, &inet, |m| {
        m.string(1, TABLE);
        m.string(3, CHAIN);
        m.nested(4, |hook| {
            hook.number(1, HOOK_PREROUTING);
            hook.number(2, PRIORITY_MANGLE.cast_unsigned());
        });
        m.string(7, "filter");
    });
    // The first byte of an IPv4 destination says whether it is loopback.
    batch.rule(FAMILY_IPV4, 16, &[127], port);
    if ipv6 {
        let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
        batch.rule(FAMILY_IPV6, 24, &loopback, port);
    }
    batch.message(BATCH_END, 0, &[0, 0, high, low], no_attributes);
    batch
}

/// Attribute numbers are those of `linux/netfilter/nf_tables.h`; numbers are big-endian there.
impl Batch {
    fn rule(&mut self, family: u8, destination_at: u32, loopback: &[u8], port: u16) {
        let length = u32::try_from(loopback.len()).unwrap_or(0);
        self.message(
            SUBSYSTEM << 8 | 6,
            CREATE | APPEND,
            &[FAMILY_INET, 0, 0, 0],
            |m| {
                m.string(1, TABLE);
                m.string(2, CHAIN);
                m.nested(4, |list| {
                    list.packet_type(15, family);
                    list.packet_type(16, libc::IPPROTO_TCP as u8);
                    list.expression("payload", |e| {
                        e.number(1, REGISTER);
                        e.number(2, NETWORK_HEADER);
                        e.number(3, destination_at);
                        e.number(4, length);
                    });
                    list.compare(NOT_EQUAL, loopback);
                    list.expression("immediate", |e| {
                        e.number(1, REGISTER);
                        e.nested(2, |data| data.attribute(1, &port.to_be_bytes()));
                    });
                    list.expression("tproxy", |e| {
                        e.number(1, u32::from(family));
                        e.number(3, REGISTER);
                    });
                });
            },
        );
    }

    fn packet_type(&mut self, key: u32, value: u8) {
        self.expression("meta", |e| {
            e.number(1, REGISTER);
            e.number(2, key);
        });
        self.compare(EQUAL, &[value]);
    }

    fn compare(&mut self, operation: u32, value: &[u8]) {
        self.expression("cmp", |e| {
            e.number(1, REGISTER);
            e.number(2, operation);
            e.nested(3, |data| data.attribute(1, value));
        });
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Self)) {
        self.nested(1, |element| {
            element.string(1, name);
            element.nested(2, fill);
        });
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }
}
