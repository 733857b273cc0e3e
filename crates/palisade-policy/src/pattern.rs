//! Host patterns as a policy writes them.

use std::collections::HashSet;
use std::fmt;

use crate::host::{DnsName, Host, HostError};

/// What a rule says of the host: one host, or every name below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host alone.
    Exact(Host),
    /// `*.example.com`: any depth below `example.com`, and not `example.com` itself.
    Below(DnsName),
}

impl HostPattern {
    /// Parses `api.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`.
    ///
    /// # Errors
    /// A `*` anywhere but as the whole first label, a bare `*`, a wildcard over a single label (`*.com`), a
    /// scheme, port or path, and whatever is no host.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.contains("://") || text.contains('/') {
            return Err(PatternError::Url);
        }
        let Some(parent) = text.strip_prefix("*.") else {
            if text.contains('*') {
                return Err(PatternError::Star);
            }
            if !text.starts_with('[')
                && text
                    .rsplit_once(':')
                    .is_some_and(|(_, p)| p.bytes().all(|b| b.is_ascii_digit()))
            {
                return Err(PatternError::Port);
            }
            return Host::parse_unicode(text)
                .map(Self::Exact)
                .map_err(PatternError::Host);
        };
        if parent.contains('*') {
            return Err(PatternError::Star);
        }
        match Host::parse_unicode(parent).map_err(PatternError::Host)? {
            Host::Name(name) if name.labels().count() >= 2 => Ok(Self::Below(name)),
            _ => Err(PatternError::TooWide),
        }
    }

    /// Whether the host is meant.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Exact(own), other) => own == other,
            (Self::Below(parent), Host::Name(name)) => name
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            (Self::Below(_), Host::Ip(_)) => false,
        }
    }
}

impl HostPattern {
    /// Whether there is a host that both mean.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => pattern.matches(host),
            (Self::Below(a), Self::Below(b)) => {
                let below = |name: &DnsName| Host::Name(name.clone());
                a == b || self.matches(&below(b)) || other.matches(&below(a))
            }
        }
    }
}

/// Patterns, ready to be asked whether one of them overlaps another without a scan: with 10,000 rules on either side a scan
/// would be 100 million comparisons at the start of a session.
pub(crate) struct PatternSet<'a> {
    exact: HashSet<&'a Host>,
    below: HashSet<&'a str>,
    /// Every name that one of the patterns lies below.
    parents: HashSet<&'a str>,
}

impl<'a> PatternSet<'a> {
    pub(crate) fn new(patterns: impl IntoIterator<Item = &'a HostPattern>) -> Self {
        let mut set = Self {
            exact: HashSet::new(),
            below: HashSet::new(),
            parents: HashSet::new(),
        };
        for pattern in patterns {
            let name = match pattern {
                HostPattern::Exact(host) => {
                    set.exact.insert(host);
                    match host {
                        Host::Name(name) => name,
                        Host::Ip(_) => continue,
                    }
                }
                HostPattern::Below(name) => {
                    set.below.insert(name.as_str());
                    name
                }
            };
            set.parents.extend(parents(name));
        }
        set
    }

    /// Whether [`HostPattern::overlaps`] holds for one of them.
    pub(crate) fn overlaps(&self, pattern: &HostPattern) -> bool {
        let above = |name: &DnsName| parents(name).any(|parent| self.below.contains(parent));
        match pattern {
            HostPattern::Exact(host @ Host::Ip(_)) => self.exact.contains(host),
            HostPattern::Exact(host @ Host::Name(name)) => self.exact.contains(host) || above(name),
            HostPattern::Below(name) => {
                let own = name.as_str();
                self.below.contains(own) || self.parents.contains(own) || above(name)
            }
        }
    }
}

/// The names a name lies below, without the root.
fn parents(name: &DnsName) -> impl Iterator<Item = &str> {
    let mut rest = name.as_str();
    std::iter::from_fn(move || {
        rest = rest.split_once('.')?.1;
        Some(rest)
    })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => host.fmt(f),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Why text is not a host pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It has a scheme or a path.
    Url,
    /// It has a port, which belongs in `ports`.
    Port,
    /// A `*` that is not the whole first label.
    Star,
    /// A wildcard over a whole top-level domain.
    TooWide,
    /// The rest is not a host.
    Host(HostError),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url => f.write_str("a host pattern has no scheme and no path"),
            Self::Port => f.write_str("a host pattern has no port; write it in `ports`"),
            Self::Star => {
                f.write_str("`*` may only stand as the whole first label, as in `*.example.com`")
            }
            Self::TooWide => {
                f.write_str("a wildcard needs at least two labels after it, as in `*.example.com`")
            }
            Self::Host(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d16_wildcards_match_by_label() {
        let pattern = HostPattern::parse("*.allowed.com").unwrap();
        let cases = [
            ("a.allowed.com", true),
            ("a.b.allowed.com", true),
            ("A.ALLOWED.com.", true),
            ("allowed.com", false),
            ("evilallowed.com", false),
            ("a.allowed.com.evil.example", false),
            ("10.0.0.1", false),
        ];
        for (text, expected) in cases {
            assert_eq!(
                pattern.matches(&Host::parse(text.as_bytes()).unwrap()),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn bad_patterns_say_what_is_wrong() {
        let cases = [
            ("https://a.example", PatternError::Url),
            ("a.example:443", PatternError::Port),
            ("*", PatternError::Star),
            ("a.*.example", PatternError::Star),
            ("api*.example.com", PatternError::Star),
            ("*.com", PatternError::TooWide),
            ("", PatternError::Host(HostError::Empty)),
        ];
        for (text, expected) in cases {
            assert_eq!(HostPattern::parse(text), Err(expected), "{text}");
        }
    }
}
