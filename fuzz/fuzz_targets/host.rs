//! Hosts, authorities and host patterns. A name the gate accepts is the name a browser would read in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_policy::{Authority, Host, HostPattern};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(host) = Host::parse(bytes) {
        let text = host.to_string();
        assert_eq!(Host::parse(text.as_bytes()).as_ref(), Ok(&host), "{text}");
        assert!(text.is_ascii() && text.len() <= 253);
        compare(&host, bytes);
    }
    if let Ok(authority) = Authority::parse(bytes, Some(443)) {
        let text = authority.to_string();
        assert_eq!(
            Authority::parse(text.as_bytes(), None).as_ref(),
            Ok(&authority),
            "{text}"
        );
        assert_ne!(authority.port, 0);
        assert!(!bytes.contains(&b'@'));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        pattern(text);
    }
});

/// The URL standard repairs where the gate refuses; what the gate takes as it is must mean the same to both.
fn compare(host: &Host, bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        panic!("a host that is not text");
    };
    match (host, url::Host::parse(text)) {
        (Host::Name(name), Ok(url::Host::Domain(other))) => {
            assert_eq!(name.as_str(), other.strip_suffix('.').unwrap_or(&other));
        }
        (Host::Ip(ip), Ok(url::Host::Ipv4(other))) => assert_eq!(*ip, other),
        (Host::Ip(ip), Ok(url::Host::Ipv6(other))) => assert_eq!(*ip, other.to_canonical()),
        // More is an error there: labels that UTS 46 refuses in general use.
        (Host::Name(_), Err(_)) => {}
        (_, other) => panic!("{text}: {host:?} and {other:?}"),
    }
}

fn pattern(text: &str) {
    let Ok(pattern) = HostPattern::parse(text) else {
        return;
    };
    let written = pattern.to_string();
    assert_eq!(
        HostPattern::parse(&written).as_ref(),
        Ok(&pattern),
        "{written}"
    );
    assert!(pattern.overlaps(&pattern));
    match &pattern {
        HostPattern::Exact(host) => assert!(pattern.matches(host)),
        HostPattern::Below(parent) => {
            let host = |text: String| Host::parse(text.as_bytes());
            assert!(parent.labels().count() >= 2);
            assert!(!pattern.matches(&Host::Name(parent.clone())));
            for (text, expected) in [
                (format!("x.{parent}"), true),
                (format!("x.y.{parent}"), true),
                (format!("x{parent}"), false),
                (format!("x.{parent}.example"), false),
            ] {
                if let Ok(host) = host(text) {
                    assert_eq!(pattern.matches(&host), expected, "{host} by {pattern}");
                }
            }
        }
    }
}
