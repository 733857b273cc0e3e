//! Which name stands behind which synthetic address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use palisade_policy::DnsName;

/// 198.18.0.0/15, set aside for benchmarks (RFC 2544): never routed, and never an upstream's.
const V4_BASE: u32 = 0xc612_0000;
/// Addresses in it but the first and the last.
const V4_COUNT: usize = (1 << 17) - 2;
/// A unique local prefix of our own (RFC 4193), drawn at random once.
const V6_BASE: Ipv6Addr = Ipv6Addr::new(0xfd50, 0xa115, 0xade0, 0, 0, 0, 0, 0);

/// Names and their addresses, stable for the session.
pub(crate) struct SyntheticNames {
    capacity: usize,
    table: Mutex<Table>,
    full: AtomicBool,
}

#[derive(Default)]
struct Table {
    index: HashMap<DnsName, u32>,
    names: Vec<DnsName>,
}

/// A name's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Synthetic {
    number: u32,
    /// It was asked for the first time.
    pub(crate) is_new: bool,
}

impl Synthetic {
    pub(crate) fn v4(self) -> Ipv4Addr {
        Ipv4Addr::from(V4_BASE + self.number + 1)
    }

    pub(crate) fn v6(self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(V6_BASE) + u128::from(self.number) + 1)
    }
}

impl SyntheticNames {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.min(V4_COUNT),
            table: Mutex::default(),
            full: AtomicBool::new(false),
        }
    }

    /// The name's address; none if the table is full.
    pub(crate) fn of(&self, name: &DnsName) -> Option<Synthetic> {
        let mut table = self.lock();
        if let Some(number) = table.index.get(name) {
            return Some(Synthetic {
                number: *number,
                is_new: false,
            });
        }
        if table.names.len() >= self.capacity {
            return None;
        }
        let number = u32::try_from(table.names.len()).ok()?;
        table.index.insert(name.clone(), number);
        table.names.push(name.clone());
        Some(Synthetic {
            number,
            is_new: true,
        })
    }

    /// True once: a full table is recorded, but not for each of the names that an agent may go on asking for.
    pub(crate) fn full_for_the_first_time(&self) -> bool {
        !self.full.swap(true, Ordering::Relaxed)
    }

    /// The name behind an address, if it is one of ours and was given out.
    pub(crate) fn name_of(&self, ip: IpAddr) -> Option<DnsName> {
        let number = match ip {
            IpAddr::V4(ip) => u32::from(ip).checked_sub(V4_BASE + 1)?,
            IpAddr::V6(ip) => {
                let number = u128::from(ip).checked_sub(u128::from(V6_BASE) + 1)?;
                u32::try_from(number).ok()?
            }
        };
        self.lock()
            .names
            .get(usize::try_from(number).ok()?)
            .cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DnsName {
        DnsName::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn addresses_are_stable_and_lead_back() {
        let names = SyntheticNames::new(10);
        let first = names.of(&name("a.example")).unwrap();
        assert!(first.is_new);
        assert_eq!(first.v4(), Ipv4Addr::new(198, 18, 0, 1));
        let again = names.of(&name("A.example.")).unwrap();
        assert!(!again.is_new);
        assert_eq!((again.v4(), again.v6()), (first.v4(), first.v6()));
        let second = names.of(&name("b.example")).unwrap();
        assert_ne!(second.v4(), first.v4());
        assert_eq!(names.name_of(first.v4().into()), Some(name("a.example")));
        assert_eq!(names.name_of(second.v6().into()), Some(name("b.example")));
        for other in [
            "198.18.0.0",
            "198.18.0.3",
            "198.17.255.255",
            "8.8.8.8",
            "fd50:a115:ade0::",
            "::1",
        ] {
            assert_eq!(names.name_of(other.parse().unwrap()), None, "{other}");
        }
    }

    #[test]
    fn f26_the_table_is_bounded() {
        let names = SyntheticNames::new(2);
        assert!(names.of(&name("a")).is_some());
        assert!(names.of(&name("b")).is_some());
        assert_eq!(names.of(&name("c")), None);
        assert!(names.of(&name("a")).is_some());
    }

    #[test]
    fn the_last_address_lies_within_the_prefix() {
        let last = Synthetic {
            number: u32::try_from(V4_COUNT).unwrap() - 1,
            is_new: true,
        };
        assert_eq!(last.v4(), Ipv4Addr::new(198, 19, 255, 254));
    }
}
