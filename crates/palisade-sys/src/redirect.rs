//! Rules of the older packet filter (`iptables`) that lead connections elsewhere on the same machine: the only ones that gVisor has.
//!
//! A table is replaced as a whole, by one option of a raw socket. What is laid out here is `struct ipt_replace` and
//! `struct ip6t_replace` with their entries (linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, RawProtocol, SocketFlags, SocketType, socket_with};

const SET_REPLACE: i32 = 64;
/// Of the table `nat`: prerouting, input, output and postrouting.
const HOOKS: [usize; 4] = [0, 1, 3, 4];
const OUTPUT: usize = 3;
const ALL_HOOKS: usize = 5;
/// `-NF_ACCEPT - 1`.
const ACCEPT: i32 = -2;
/// Bytes of a target without what it says.
const TARGET: usize = 32;
const NAME: usize = 29;
/// Of a packet's protocol, for the rule that takes queries.
const UDP: u8 = 17;
const TCP: u8 = 6;
/// Port and range are said: `NF_NAT_RANGE_PROTO_SPECIFIED`.
const PORT_SAID: u32 = 2;

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What is led where, beside what is for loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Every TCP connection, to this port.
    Tcp(u16),
    /// Every UDP datagram for this port, to the same one here.
    Udp(u16),
}

/// Replaces the family's table `nat` by one with these rules for what is sent from here. Needs `CAP_NET_ADMIN` and, for the socket,
/// `CAP_NET_RAW`.
///
/// # Errors
/// `EPERM` without them; a kernel without this filter says `ENOPROTOOPT`. Linux itself says `EINVAL`, because it would
/// have to be given room for counters.
pub fn replace(family: Family, rules: &[Rule]) -> io::Result<()> {
    let (domain, level) = match family {
        Family::V4 => (AddressFamily::INET, libc::IPPROTO_IP),
        Family::V6 => (AddressFamily::INET6, libc::IPPROTO_IPV6),
    };
    let Some(raw) = RawProtocol::new(libc::IPPROTO_RAW.cast_unsigned()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let protocol = rustix::net::Protocol::from_raw(raw);
    let socket = socket_with(
        domain,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )?;
    set(&socket, level, &table(family, rules))
}

fn set(socket: &OwnedFd, level: i32, table: &[u8]) -> io::Result<()> {
    let length = libc::socklen_t::try_from(table.len()).map_err(io::Error::other)?;
    // SAFETY: needed because no library has this option. Sound because the kernel reads `length` bytes, which are
    // there, and writes nothing: the table says that it has no room for counters.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            SET_REPLACE,
            table.as_ptr().cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Each hook's rules, its policy, and the entry that ends the table.
fn table(family: Family, rules: &[Rule]) -> Vec<u8> {
    let mut entries = Vec::new();
    let (mut first, mut policy) = ([0u32; ALL_HOOKS], [0u32; ALL_HOOKS]);
    let mut count = 1u32;
    let at = |entries: &Vec<u8>| u32::try_from(entries.len()).unwrap_or(u32::MAX);
    for hook in HOOKS {
        first[hook] = at(&entries);
        for rule in rules.iter().filter(|_| hook == OUTPUT) {
            count += 1;
            put_entry(&mut entries, family, Some(*rule), &redirect(family, *rule));
        }
        policy[hook] = at(&entries);
        count += 1;
        let accept = [&ACCEPT.to_ne_bytes()[..], &[0; 4]].concat();
        put_entry(&mut entries, family, None, &target("", &accept));
    }
    let mut error = b"ERROR".to_vec();
    error.resize(TARGET, 0);
    put_entry(&mut entries, family, None, &target("ERROR", &error));
    let mut bytes = b"nat".to_vec();
    bytes.resize(TARGET, 0);
    let hooks: u32 = HOOKS.iter().map(|hook| 1 << hook).sum();
    for number in [hooks, count, at(&entries)] {
        bytes.extend(number.to_ne_bytes());
    }
    for number in first.into_iter().chain(policy) {
        bytes.extend(number.to_ne_bytes());
    }
    // No counters, and no place for them.
    bytes.extend([0; 12]);
    bytes.extend(entries);
    bytes
}

/// `struct ipt_entry` or `struct ip6t_entry`, with its match and target.
fn put_entry(bytes: &mut Vec<u8>, family: Family, rule: Option<Rule>, target: &[u8]) {
    let start = bytes.len();
    match family {
        Family::V4 => put_v4(bytes, rule),
        Family::V6 => put_v6(bytes, rule),
    }
    let matches = rule.map_or_else(Vec::new, port_match);
    // Offsets from the entry's start: this head ends with 8 bytes and two counters of 8, aligned.
    let head = (bytes.len() - start + 12).next_multiple_of(8) + 16;
    let target_at = head + matches.len();
    bytes.extend([0; 4]);
    for offset in [target_at, target_at + target.len()] {
        bytes.extend(u16::try_from(offset).unwrap_or(u16::MAX).to_ne_bytes());
    }
    bytes.resize(start + head, 0);
    bytes.extend(matches);
    bytes.extend(target);
}

/// `struct ipt_ip`: sources, destinations, their masks, interfaces, protocol, flags, and what is meant the other way round.
fn put_v4(bytes: &mut Vec<u8>, rule: Option<Rule>) {
    const NOT_TO: u8 = 0x10;
    let start = bytes.len();
    bytes.extend([0; 4]);
    bytes.extend(if rule.is_some() {
        [127, 0, 0, 0]
    } else {
        [0; 4]
    });
    bytes.extend([0; 4]);
    bytes.extend(if rule.is_some() {
        [255, 0, 0, 0]
    } else {
        [0; 4]
    });
    bytes.resize(start + 80, 0);
    bytes.extend(u16::from(protocol(rule)).to_ne_bytes());
    bytes.extend([0, if rule.is_some() { NOT_TO } else { 0 }]);
}

/// `struct ip6t_ip6`: the same with longer addresses and masks, and a flag that a protocol is named.
fn put_v6(bytes: &mut Vec<u8>, rule: Option<Rule>) {
    const NOT_TO: u8 = 0x10;
    let start = bytes.len();
    bytes.resize(start + 31, 0);
    bytes.push(u8::from(rule.is_some()));
    bytes.resize(start + 48, 0);
    bytes.extend([if rule.is_some() { 0xff } else { 0 }; 16]);
    bytes.resize(start + 128, 0);
    bytes.extend(u16::from(protocol(rule)).to_ne_bytes());
    let (named, not) = if rule.is_some() { (1, NOT_TO) } else { (0, 0) };
    bytes.extend([0, named, not, 0, 0, 0]);
}

fn protocol(rule: Option<Rule>) -> u8 {
    match rule {
        Some(Rule::Tcp(_)) => TCP,
        Some(Rule::Udp(_)) => UDP,
        None => 0,
    }
}

/// `struct xt_udp` behind its name: any source port, this destination port.
fn port_match(rule: Rule) -> Vec<u8> {
    let Rule::Udp(port) = rule else {
        return Vec::new();
    };
    let mut said = Vec::new();
    for number in [0, u16::MAX, port, port] {
        said.extend(number.to_ne_bytes());
    }
    said.extend([0; 8]);
    target("udp", &said)
}

/// `struct nf_nat_ipv4_multi_range_compat` with one range, or `struct nf_nat_range`.
fn redirect(family: Family, rule: Rule) -> Vec<u8> {
    let (Rule::Tcp(port) | Rule::Udp(port)) = rule;
    let said = PORT_SAID.to_ne_bytes();
    let port = port.to_be_bytes();
    let ports = [port, port].concat();
    let range = match family {
        Family::V4 => [&1u32.to_ne_bytes()[..], &said, &[0; 8], &ports, &[0; 4]].concat(),
        Family::V6 => [&said[..], &[0; 32], &ports].concat(),
    };
    target("REDIRECT", &range)
}

/// `struct xt_entry_target`, and `struct xt_entry_match` alike: size, name, revision 0, and what it says.
fn target(name: &str, said: &[u8]) -> Vec<u8> {
    let size = TARGET + said.len();
    let mut bytes = u16::try_from(size)
        .unwrap_or(u16::MAX)
        .to_ne_bytes()
        .to_vec();
    bytes.extend(name.as_bytes());
    bytes.resize(2 + NAME + 1, 0);
    bytes.extend(said);
    bytes
}

#[cfg(test)]
mod tests;
