//! Single values of a policy, checked.

use std::net::SocketAddr;
use std::time::Duration;

use palisade_policy::{Authority, HostPattern, Ports};

use crate::error::PolicyError;
use crate::format::Size;
use crate::spanned::Spanned;
use crate::text::Text;

/// The least memory a session can have. Below it a shell does not start, and a number this small is most often a forgotten unit.
const LEAST_MEMORY: u64 = 8 << 20;

/// The least a file system in memory can hold: one page.
const LEAST_CAPACITY: u64 = 4 << 10;

/// The least share of a processor: the shortest quota the kernel takes is 1 ms in 100 ms (kernel/sched/core.c, `min_cfs_quota_period`).
const LEAST_CPUS: f64 = 0.01;

/// More processors than any machine has (the kernel's largest `NR_CPUS` is 8192).
const MOST_CPUS: f64 = 8192.0;

/// Palisade's own process inside and the agent.
const LEAST_PROCESSES: i64 = 2;

/// The kernel's own bound (`PID_MAX_LIMIT`).
const MOST_PROCESSES: i64 = 1 << 22;

pub(crate) fn host_pattern(
    text: &Text,
    host: &Spanned<String>,
) -> Result<HostPattern, PolicyError> {
    HostPattern::parse(host.get_ref()).map_err(|error| text.wrong(host, error.to_string()))
}

pub(crate) fn ports(
    text: &Text,
    written: Option<&Spanned<Vec<Spanned<i64>>>>,
    default: Ports,
) -> Result<Ports, PolicyError> {
    let Some(written) = written else {
        return Ok(default);
    };
    if written.get_ref().is_empty() {
        return Err(text
            .wrong(written, "a rule without ports matches nothing")
            .hint("leave `ports` out for the default"));
    }
    let ports: Result<Vec<u16>, PolicyError> = written
        .get_ref()
        .iter()
        .map(|port| match u16::try_from(*port.get_ref()) {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(text.wrong(port, "a port is a number from 1 to 65535")),
        })
        .collect();
    Ok(Ports::list(ports?))
}

pub(crate) fn mapping(
    text: &Text,
    from: &Spanned<String>,
    to: &Spanned<String>,
) -> Result<(Authority, SocketAddr), PolicyError> {
    let hint = "as in `\"api.example.com:443\" = \"127.0.0.1:8443\"`";
    let authority = Authority::parse(from.get_ref().as_bytes(), None)
        .map_err(|error| text.wrong(from, error.to_string()).hint(hint))?;
    let address: SocketAddr = to
        .get_ref()
        .parse()
        .map_err(|_| text.wrong(to, "not an address with a port").hint(hint))?;
    if address.port() == 0 {
        return Err(text.wrong(to, "port is not a number from 1 to 65535"));
    }
    Ok((authority, address))
}

/// What a file system in memory may hold. One page is the least there is.
pub(crate) fn capacity(text: &Text, written: &Spanned<Size>) -> Result<u64, PolicyError> {
    let bytes = bytes(text, written)?;
    if bytes < LEAST_CAPACITY {
        return Err(text
            .wrong(written, format!("{bytes} bytes hold nothing"))
            .hint("a unit may be missing, as in `\"2GiB\"`; the least is 4KiB"));
    }
    Ok(bytes)
}

fn bytes(text: &Text, written: &Spanned<Size>) -> Result<u64, PolicyError> {
    size(written.get_ref()).ok_or_else(|| {
        text.wrong(written, "not a size")
            .hint("write a number with a unit (`\"2GiB\"`, `\"500MB\"`), or plain bytes")
    })
}

pub(crate) fn memory(text: &Text, written: &Spanned<Size>) -> Result<u64, PolicyError> {
    let bytes = bytes(text, written)?;
    if bytes < LEAST_MEMORY {
        return Err(text
            .wrong(
                written,
                format!("{bytes} bytes of memory is too little to start a program"),
            )
            .hint("a unit may be missing, as in `\"2GiB\"`; the least is 8MiB"));
    }
    Ok(bytes)
}

pub(crate) fn cpus(text: &Text, written: &Spanned<f64>) -> Result<f64, PolicyError> {
    let cpus = *written.get_ref();
    if (LEAST_CPUS..=MOST_CPUS).contains(&cpus) {
        return Ok(cpus);
    }
    Err(text.wrong(
        written,
        format!("processors are a number from {LEAST_CPUS} to {MOST_CPUS}"),
    ))
}

pub(crate) fn processes(text: &Text, written: &Spanned<i64>) -> Result<u32, PolicyError> {
    let processes = *written.get_ref();
    if (LEAST_PROCESSES..=MOST_PROCESSES).contains(&processes) {
        return u32::try_from(processes).map_err(|_| text.wrong(written, "out of range"));
    }
    Err(text.wrong(
        written,
        format!("processes are a number from {LEAST_PROCESSES} to {MOST_PROCESSES}"),
    ))
}

/// Bytes of a size as written.
pub(crate) fn size(written: &Size) -> Option<u64> {
    match written {
        Size::Bytes(bytes) => u64::try_from(*bytes).ok(),
        Size::Text(size) => parse_size(size),
    }
}

const UNITS: [(u64, &str); 4] = [
    (1 << 40, "TiB"),
    (1 << 30, "GiB"),
    (1 << 20, "MiB"),
    (1 << 10, "KiB"),
];

/// A size in the largest unit that divides it, as it could be written.
pub(crate) fn show_size(bytes: u64) -> String {
    let fits = |(unit, _): &&(u64, &str)| bytes > 0 && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

const TIMES: [(u64, &str); 5] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "m"),
    (1000, "s"),
    (1, "ms"),
];

/// `500ms`, `10s`, `5m`, `1h`, `7d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (scale, _) = TIMES.iter().find(|(_, name)| *name == unit)?;
    let millis = number.parse::<u64>().ok()?.checked_mul(*scale)?;
    Some(Duration::from_millis(millis))
}

/// A time in the largest unit that divides it, as it could be written.
pub(crate) fn show_duration(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fits = |(unit, _): &&(u64, &str)| millis > 0 && millis.is_multiple_of(*unit);
    match TIMES.iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => "0s".to_owned(),
    }
}

/// Bytes of `2GiB`, `500MB`, `1.5GB`, `4096B`.
fn parse_size(text: &str) -> Option<u64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(split);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let (base, power) = match unit.as_str() {
        "b" => (1u64, 0),
        "kb" => (1000, 1),
        "mb" => (1000, 2),
        "gb" => (1000, 3),
        "tb" => (1000, 4),
        "kib" => (1024, 1),
        "mib" => (1024, 2),
        "gib" => (1024, 3),
        "tib" => (1024, 4),
        _ => return None,
    };
    let scale = base.pow(power);
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    // Six decimals of a tebibyte are about a mebibyte, and their product with it stays in 64 bits.
    if whole.is_empty() || part.is_empty() || part.len() > 6 || part.contains('.') {
        return None;
    }
    let tenths = 10u64.pow(u32::try_from(part.len()).ok()?);
    let fraction = part.parse::<u64>().ok()?.checked_mul(scale)? / tenths;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(scale)?
        .checked_add(fraction)
}

/// What is wrong with the name of an environment variable, if anything.
pub(crate) fn bad_name(name: &str) -> Option<&'static str> {
    let mut bytes = name.bytes();
    let first_fits = bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if first_fits && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    if name.contains('*') {
        return Some("variables are named one by one; `*` is not known here");
    }
    if name.contains('=') {
        return Some("the name of a variable holds no `=`; give it a value in `environment.set`");
    }
    Some("the name of a variable is made of letters, digits and `_`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("2GiB", Some(2 << 30)),
            ("512MiB", Some(512 << 20)),
            ("1.5GB", Some(1_500_000_000)),
            ("1.5 GiB", Some(3 << 29)),
            ("100kb", Some(100_000)),
            ("4096B", Some(4096)),
            ("0.000001TB", Some(1_000_000)),
            ("2", None),
            ("2G", None),
            ("GiB", None),
            (".5GiB", None),
            ("1.GiB", None),
            ("1.2.3GB", None),
            ("-1GiB", None),
            ("99999999999TiB", None),
            ("2GiB ", None),
            ("", None),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_and_times_are_shown_as_they_are_written() {
        for text in ["64KiB", "1MiB", "3GiB", "1000B", "0B"] {
            assert_eq!(show_size(parse_size(text).unwrap()), text);
        }
        for text in ["500ms", "10s", "5m", "1h", "7d", "90s", "0s"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        for bad in [
            "",
            "10",
            "s",
            "1.5s",
            "-1s",
            "10 seconds",
            "1s ",
            "99999999999999999999d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_of_variables() {
        for good in ["A", "_x", "LC_ALL", "a1"] {
            assert_eq!(bad_name(good), None, "{good}");
        }
        for bad in ["", "1A", "A-B", "A=B", "LC_*", "\u{e4}", "A\0"] {
            assert!(bad_name(bad).is_some(), "{bad}");
        }
    }
}
