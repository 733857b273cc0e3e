//! Classes of addresses, after the IANA special-purpose registries (RFC 6890 and its updates).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressClass {
    /// Globally reachable.
    Public,
    /// The host itself.
    Loopback,
    /// RFC 1918, unique local, site local, carrier-grade NAT.
    Private,
    /// Link local, other than a metadata service.
    LinkLocal,
    /// A cloud's instance metadata service.
    Metadata,
    /// One to many.
    Multicast,
    /// Everything else that is not globally reachable: unspecified, broadcast, documentation, benchmarks, reserved.
    Reserved,
}

impl AddressClass {
    /// A word for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        }
    }

    /// Whether a rule with `private = true` may reach it. Multicast and reserved addresses are no place for a
    /// connection, and a metadata service hands out the machine's own credentials, so it has to be named by address.
    pub fn opened_by_private(self) -> bool {
        matches!(
            self,
            Self::Public | Self::Private | Self::Loopback | Self::LinkLocal
        )
    }
}

/// The class of an address. Where an IPv6 address carries an IPv4 one, the stricter class of both counts.
pub fn classify(ip: IpAddr) -> AddressClass {
    match ip.to_canonical() {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) if classify_v4(v4) != AddressClass::Public => classify_v4(v4),
            _ => classify_v6(v6),
        },
    }
}

/// Metadata services outside the link-local range: Alibaba and Oracle (IPv4), AWS (IPv6), Azure's wire server.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn classify_v4(ip: Ipv4Addr) -> AddressClass {
    use AddressClass::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved};
    if METADATA_V4.contains(&ip) {
        return Metadata;
    }
    match ip.octets() {
        [127, ..] => Loopback,
        [10, ..] | [192, 168, ..] => Private,
        [172, b, ..] if (16..32).contains(&b) => Private,
        [100, b, ..] if (64..128).contains(&b) => Private,
        [169, 254, ..] => LinkLocal,
        [224..=239, ..] => Multicast,
        [0, ..] | [240..=255, ..] => Reserved,
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => Reserved,
        [198, 18 | 19, ..] => Reserved,
        _ => Public,
    }
}

fn classify_v6(ip: Ipv6Addr) -> AddressClass {
    use AddressClass::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved};
    if METADATA_V6.contains(&ip) {
        return Metadata;
    }
    if ip == Ipv6Addr::LOCALHOST {
        return Loopback;
    }
    let [a, b, ..] = ip.segments();
    match a {
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Private,
        0xfe80..=0xfebf => LinkLocal,
        0xff00..=0xffff => Multicast,
        // Global unicast is 2000::/3; inside it the protocol block 2001::/23 and documentation are not routed.
        0x2001 if b < 0x200 || b == 0xdb8 => Reserved,
        0x3fff if b < 0x1000 => Reserved,
        0x2000..=0x3fff => Public,
        // NAT64 of a public address (private ones were caught by the embedded address).
        0x64 if b == 0xff9b && ip.segments()[2..6] == [0; 4] => Public,
        _ => Reserved,
    }
}

/// The IPv4 address inside NAT64, 6to4, Teredo, ISATAP, IPv4-compatible and IPv4-translated forms.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let join = |hi: u16, lo: u16| Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo));
    match s {
        [0x64, 0xff9b, 0 | 1, ..] => Some(join(s[6], s[7])),
        [0x2002, hi, lo, ..] => Some(join(hi, lo)),
        [0x2001, 0, ..] => Some(join(!s[6], !s[7])),
        [_, _, _, _, 0 | 0x200, 0x5efe, hi, lo] => Some(join(hi, lo)),
        [0, 0, 0, 0, 0xffff, 0, hi, lo] => Some(join(hi, lo)),
        [0, 0, 0, 0, 0, 0, hi, lo] if hi != 0 => Some(join(hi, lo)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressClass::*;

    #[test]
    fn d10_d13_classes() {
        let table = [
            ("8.8.8.8", Public),
            ("127.0.0.1", Loopback),
            ("127.255.255.254", Loopback),
            ("10.0.0.1", Private),
            ("172.16.0.1", Private),
            ("172.32.0.1", Public),
            ("192.168.1.1", Private),
            ("100.64.0.1", Private),
            ("100.100.100.200", Metadata),
            ("169.254.169.254", Metadata),
            ("169.254.1.1", LinkLocal),
            ("224.0.0.1", Multicast),
            ("255.255.255.255", Reserved),
            ("0.0.0.0", Reserved),
            ("198.18.0.1", Reserved),
            ("::1", Loopback),
            ("::", Reserved),
            ("fd00:ec2::254", Metadata),
            ("fd12::1", Private),
            ("fe80::1", LinkLocal),
            ("ff02::1", Multicast),
            ("2606:4700::1111", Public),
            ("2001:db8::1", Reserved),
            ("::ffff:127.0.0.1", Loopback),
            ("::ffff:169.254.169.254", Metadata),
            ("::127.0.0.1", Loopback),
            ("64:ff9b::a00:1", Private),
            ("64:ff9b::8.8.8.8", Public),
            ("64:ff9b:1::a00:1", Private),
            ("2002:7f00:1::", Loopback),
            ("2002:a9fe:a9fe::", Metadata),
            ("2001:0:1234::f5ff:fffe", Private),
            ("2001:4860::5efe:10.0.0.1", Private),
            ("::ffff:0:10.0.0.1", Private),
        ];
        for (text, class) in table {
            assert_eq!(classify(text.parse().unwrap()), class, "{text}");
        }
    }
}
