use super::*;

/// A table with every word that is not 0, by where it stands, as `iptables` 1.8.9 writes it; its own place for counters aside.
type Words = [(usize, u32)];

/// `iptables-legacy -t nat -A OUTPUT -p tcp ! -d 127.0.0.0/8 -j REDIRECT --to-ports 1`
const TCP_V4: &Words = &[
    (0, 0x6e61_7400),
    (32, 0x1b00_0000),
    (36, 0x0600_0000),
    (40, 0xb803_0000),
    (48, 0x9800_0000),
    (56, 0x3001_0000),
    (60, 0x7002_0000),
    (68, 0x9800_0000),
    (76, 0xd801_0000),
    (80, 0x7002_0000),
    (184, 0x7000_9800),
    (208, 0x2800_0000),
    (240, 0xfeff_ffff),
    (336, 0x7000_9800),
    (360, 0x2800_0000),
    (392, 0xfeff_ffff),
    (404, 0x7f00_0000),
    (412, 0xff00_0000),
    (480, 0x0600_0010),
    (488, 0x7000_a800),
    (512, 0x3800_5245),
    (516, 0x4449_5245),
    (520, 0x4354_0000),
    (544, 0x0100_0000),
    (548, 0x0200_0000),
    (560, 0x0001_0001),
    (656, 0x7000_9800),
    (680, 0x2800_0000),
    (712, 0xfeff_ffff),
    (808, 0x7000_9800),
    (832, 0x2800_0000),
    (864, 0xfeff_ffff),
    (960, 0x7000_b000),
    (984, 0x4000_4552),
    (988, 0x524f_5200),
    (1016, 0x4552_524f),
    (1020, 0x5200_0000),
];

/// `ip6tables-legacy -t nat -A OUTPUT -p udp ! -d ::1/128 --dport 53 -j REDIRECT --to-ports 53`
const UDP_V6: &Words = &[
    (0, 0x6e61_7400),
    (32, 0x1b00_0000),
    (36, 0x0600_0000),
    (40, 0x4805_0000),
    (48, 0xd000_0000),
    (56, 0xa001_0000),
    (60, 0x9003_0000),
    (68, 0xd000_0000),
    (76, 0xc002_0000),
    (80, 0x9003_0000),
    (236, 0xa800_d000),
    (264, 0x2800_0000),
    (296, 0xfeff_ffff),
    (444, 0xa800_d000),
    (472, 0x2800_0000),
    (504, 0xfeff_ffff),
    (540, 0x0000_0001),
    (560, 0xffff_ffff),
    (564, 0xffff_ffff),
    (568, 0xffff_ffff),
    (572, 0xffff_ffff),
    (640, 0x1100_0001),
    (644, 0x1000_0000),
    (652, 0xd800_2001),
    (680, 0x3000_7564),
    (684, 0x7000_0000),
    (712, 0x0000_ffff),
    (716, 0x3500_3500),
    (728, 0x4800_5245),
    (732, 0x4449_5245),
    (736, 0x4354_0000),
    (760, 0x0200_0000),
    (796, 0x0035_0035),
    (940, 0xa800_d000),
    (968, 0x2800_0000),
    (1000, 0xfeff_ffff),
    (1148, 0xa800_d000),
    (1176, 0x2800_0000),
    (1208, 0xfeff_ffff),
    (1356, 0xa800_e800),
    (1384, 0x4000_4552),
    (1388, 0x524f_5200),
    (1416, 0x4552_524f),
    (1420, 0x5200_0000),
];

fn words(bytes: &[u8]) -> Vec<(usize, u32)> {
    let words = bytes.chunks_exact(4).enumerate();
    let words = words.map(|(at, word)| (at * 4, u32::from_be_bytes(word.try_into().unwrap())));
    words.filter(|(_, word)| *word != 0).collect()
}

#[test]
#[cfg(target_endian = "little")]
fn tables_are_those_that_the_common_program_writes() {
    let tcp = table(Family::V4, &[Rule::Tcp(1)]);
    assert_eq!((tcp.len(), &words(&tcp)[..]), (1048, TCP_V4));
    let udp = table(Family::V6, &[Rule::Udp(53)]);
    assert_eq!((udp.len(), &words(&udp)[..]), (1448, UDP_V6));
}

#[test]
fn without_the_capability_nothing_is_replaced() {
    let error = std::thread::spawn(|| {
        rustix::thread::set_capabilities(
            None,
            rustix::thread::CapabilitySets {
                effective: rustix::thread::CapabilitySet::empty(),
                permitted: rustix::thread::CapabilitySet::empty(),
                inheritable: rustix::thread::CapabilitySet::empty(),
            },
        )
        .unwrap();
        replace(Family::V4, &[Rule::Tcp(1)]).unwrap_err()
    });
    let error = error.join().unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::EPERM));
}
