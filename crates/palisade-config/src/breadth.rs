//! How wide a wildcard is: names below one that anybody can register under are nobody's in particular.

use palisade_policy::{HostPattern, Rule};

/// Whose names a pattern covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// One owner's.
    Owner,
    /// Those of many tenants of one service, such as `*.github.io`: a person may mean it, and should know.
    Tenants,
    /// A whole registry's, such as `*.co.uk`: never meant.
    Registry,
}

/// By the public suffix list (<https://publicsuffix.org>), which is compiled in.
pub(crate) fn breadth(pattern: &HostPattern) -> Breadth {
    let HostPattern::Below(parent) = pattern else {
        return Breadth::Owner;
    };
    let name = parent.as_str().as_bytes();
    let Some(suffix) = psl::suffix(name).filter(|suffix| suffix.as_bytes() == name) else {
        return Breadth::Owner;
    };
    match suffix.typ() {
        Some(psl::Type::Icann) => Breadth::Registry,
        Some(psl::Type::Private) => Breadth::Tenants,
        // A suffix the list does not know is one label long, and a pattern has two at least.
        None => Breadth::Owner,
    }
}

/// What a person should know of an allow rule that covers the names of many.
pub(crate) fn note(rule: &Rule) -> Option<String> {
    (breadth(&rule.pattern) == Breadth::Tenants).then(|| {
        format!(
            "{}: {} covers the names of many owners, and anybody can get one",
            rule.source, rule.pattern
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d17_wildcards_over_shared_names_are_told_apart() {
        for (pattern, expected) in [
            ("*.example.com", Breadth::Owner),
            ("*.co.uk", Breadth::Registry),
            ("*.example.co.uk", Breadth::Owner),
            ("*.github.io", Breadth::Tenants),
            ("*.acme.github.io", Breadth::Owner),
            ("*.s3.amazonaws.com", Breadth::Tenants),
            ("*.corp.internal", Breadth::Owner),
            ("github.io", Breadth::Owner),
        ] {
            let parsed = HostPattern::parse(pattern).unwrap();
            assert_eq!(breadth(&parsed), expected, "{pattern}");
        }
    }
}
