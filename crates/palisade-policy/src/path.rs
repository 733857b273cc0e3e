//! Paths: one canonical form of what a request asks for, and the globs that rules judge it by.
//!
//! Servers differ in how they read `%2e`, `//`, `;x`, `\` and an encoded slash. Where a rule judges paths, what can be read
//! in more than one way is therefore refused, and the very text that was judged is what is sent on.

use std::fmt;

/// Why a path can be read in more than one way, or is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It does not begin with a slash.
    NotAbsolute,
    /// A `.` or `..` segment, plain or encoded.
    DotSegment,
    /// An empty segment: `//`.
    EmptySegment,
    /// A backslash, plain or encoded.
    Backslash,
    /// `;`, which some servers cut parameters off at.
    Parameter,
    /// A `%` that begins no two hexadecimal digits, or that encodes another `%`.
    Encoding,
    /// A control byte, plain or encoded, or a byte beyond ASCII that is not encoded.
    ControlByte,
    /// Encoded bytes that are not UTF-8.
    NotUtf8,
    /// A segment that ends in a dot or a space, which some servers cut off.
    TrailingDot,
    /// An encoded slash where a deny rule judges paths.
    EncodedSlash,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::DotSegment => "the path has a dot segment",
            Self::EmptySegment => "the path has an empty segment",
            Self::Backslash => "the path has a backslash",
            Self::Parameter => "the path has a semicolon",
            Self::Encoding => "the path has a malformed or double percent-encoding",
            Self::ControlByte => "the path has a control byte",
            Self::NotUtf8 => "the path is not UTF-8",
            Self::TrailingDot => "a segment of the path ends in a dot or a space",
            Self::EncodedSlash => "the path has an encoded slash",
        })
    }
}

/// The path of a request, without its query, in canonical form: unreserved characters decoded, what stays encoded in
/// upper-case digits, case kept (paths are case-sensitive).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath {
    canonical: Result<String, PathError>,
    encoded_slash: bool,
}

impl RequestPath {
    /// Reads a path as it was sent; whatever follows `?` is not looked at. Never fails: an ambiguous path is refused
    /// only where a rule judges paths.
    pub fn parse(sent: &[u8]) -> Self {
        let end = sent.iter().position(|b| *b == b'?').unwrap_or(sent.len());
        let canonical = canonical(&sent[..end]);
        let encoded_slash = canonical.as_ref().is_ok_and(|path| path.contains("%2F"));
        Self {
            canonical,
            encoded_slash,
        }
    }

    /// The canonical form.
    ///
    /// # Errors
    /// The path can be read in more than one way.
    pub fn canonical(&self) -> Result<&str, PathError> {
        self.canonical.as_deref().map_err(|error| *error)
    }

    /// Whether it has an encoded slash, which servers may or may not take for a separator.
    pub fn has_encoded_slash(&self) -> bool {
        self.encoded_slash
    }
}

fn canonical(sent: &[u8]) -> Result<String, PathError> {
    if sent.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let mut out = String::with_capacity(sent.len());
    let segments = sent[1..].split(|b| *b == b'/');
    let count = sent[1..].iter().filter(|b| **b == b'/').count() + 1;
    for (at, segment) in segments.enumerate() {
        // An empty last segment is a trailing slash.
        if segment.is_empty() && at + 1 < count {
            return Err(PathError::EmptySegment);
        }
        out.push('/');
        canonical_segment(segment, &mut out)?;
    }
    Ok(out)
}

fn canonical_segment(segment: &[u8], out: &mut String) -> Result<(), PathError> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        let (value, encoded) = if byte == b'%' {
            let digits = segment.get(at + 1..at + 3).ok_or(PathError::Encoding)?;
            at += 3;
            (hex(digits)?, true)
        } else {
            at += 1;
            (byte, false)
        };
        put(value, encoded, out)?;
        decoded.push(value);
    }
    let text = std::str::from_utf8(&decoded).map_err(|_| PathError::NotUtf8)?;
    // An encoded slash may be a separator to the server: what stands between two of them is a segment as well.
    for part in text.split('/') {
        match part {
            "." | ".." => return Err(PathError::DotSegment),
            _ if part.ends_with(['.', ' ']) => return Err(PathError::TrailingDot),
            _ => {}
        }
    }
    Ok(())
}

fn put(value: u8, encoded: bool, out: &mut String) -> Result<(), PathError> {
    match value {
        b'\\' => Err(PathError::Backslash),
        b';' => Err(PathError::Parameter),
        b'%' => Err(PathError::Encoding),
        0..=0x1f | 0x7f => Err(PathError::ControlByte),
        0x80.. if !encoded => Err(PathError::ControlByte),
        b'#' | b'?' if !encoded => Err(PathError::Encoding),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            out.push(char::from(value));
            Ok(())
        }
        _ if encoded => {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(value >> 4)]));
            out.push(char::from(DIGITS[usize::from(value & 15)]));
            Ok(())
        }
        _ => {
            out.push(char::from(value));
            Ok(())
        }
    }
}

fn hex(digits: &[u8]) -> Result<u8, PathError> {
    let digit = |b: u8| char::from(b).to_digit(16).ok_or(PathError::Encoding);
    let value = digit(digits[0])? * 16 + digit(digits[1])?;
    u8::try_from(value).map_err(|_| PathError::Encoding)
}

/// A glob over canonical paths: `*` stands for any part of one segment, `**` as a whole segment for any number of
/// segments, none included. An encoded slash is matched by nothing but `%2F` in the pattern itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`.
    Any,
    /// Literal parts with a `*` between each two.
    Parts(Box<[Box<str>]>),
}

/// Why text is not a path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPatternError {
    /// It does not begin with a slash.
    NotAbsolute,
    /// It has a query or fragment, which no rule judges.
    Query,
    /// `**` beside other characters of its segment.
    DoubleStar,
    /// As a path it could be read in more than one way.
    Path(PathError),
}

impl fmt::Display for PathPatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAbsolute => f.write_str("a path pattern begins with a slash"),
            Self::Query => f.write_str("a path pattern has no query and no fragment"),
            Self::DoubleStar => f.write_str("`**` stands alone between two slashes"),
            Self::Path(error) => error.fmt(f),
        }
    }
}

impl PathPattern {
    /// Parses `/repos/acme/**`, `/v1/models/*`.
    ///
    /// # Errors
    /// What could never match a canonical path, or would not mean what it seems to.
    pub fn parse(text: &str) -> Result<Self, PathPatternError> {
        let rest = text
            .strip_prefix('/')
            .ok_or(PathPatternError::NotAbsolute)?;
        if text.contains(['?', '#']) {
            return Err(PathPatternError::Query);
        }
        let path = canonical(text.as_bytes()).map_err(PathPatternError::Path)?;
        if rest
            .split('/')
            .any(|part| part != "**" && part.contains("**"))
        {
            return Err(PathPatternError::DoubleStar);
        }
        let segments = path[1..]
            .split('/')
            .map(|part| match part {
                "**" => Segment::Any,
                _ => Segment::Parts(part.split('*').map(Box::from).collect()),
            })
            .collect();
        Ok(Self {
            text: text.into(),
            segments,
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether this canonical path is meant.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else {
            return false;
        };
        let asked: Vec<&str> = rest.split('/').collect();
        segments_match(&self.segments, &asked)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Greedy with one step back, which is enough for globs and linear in the product of both lengths.
fn segments_match(pattern: &[Segment], asked: &[&str]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while from < asked.len() {
        match pattern.get(at) {
            Some(Segment::Any) => {
                retry = Some((at + 1, from));
                at += 1;
                continue;
            }
            Some(Segment::Parts(parts)) if segment_matches(parts, asked[from]) => {
                at += 1;
                from += 1;
                continue;
            }
            _ => {}
        }
        let Some((next, start)) = retry else {
            return false;
        };
        // `**` takes one segment more, unless a server might take that one for several.
        if asked[start].contains("%2F") {
            return false;
        }
        retry = Some((next, start + 1));
        at = next;
        from = start + 1;
    }
    pattern[at..].iter().all(|segment| *segment == Segment::Any)
}

fn segment_matches(parts: &[Box<str>], asked: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| **only == *asked);
    };
    let slashes = |text: &str| text.matches("%2F").count();
    if slashes(asked) != parts.iter().map(|part| slashes(part)).sum() {
        return false;
    }
    let Some(mut rest) = asked.strip_prefix(&**first) else {
        return false;
    };
    for part in middle {
        let Some(found) = find(rest, part) else {
            return false;
        };
        rest = &rest[found + part.len()..];
    }
    let end = rest.len().checked_sub(last.len());
    end.is_some_and(|end| rest.ends_with(&**last) && between_characters(rest, end))
}

fn find(text: &str, part: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let place = from + text[from..].find(part)?;
        if between_characters(text, place) {
            return Some(place);
        }
        from = place + 1;
    }
}

/// An escape is one character: the `2` of a pattern is not the one in `%20`.
fn between_characters(text: &str, place: usize) -> bool {
    !text.as_bytes()[place.saturating_sub(2)..place].contains(&b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str) -> Result<String, PathError> {
        RequestPath::parse(path.as_bytes())
            .canonical()
            .map(str::to_owned)
    }

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern)
            .unwrap()
            .matches(&canonical(path).unwrap())
    }

    #[test]
    fn p01_what_can_be_read_in_two_ways_is_an_error() {
        let cases = [
            ("/pub/../admin", PathError::DotSegment),
            ("/pub/%2e%2E/admin", PathError::DotSegment),
            ("/pub/..%2fadmin", PathError::DotSegment),
            ("/pub%5c..%5cadmin", PathError::Backslash),
            ("/pub\\admin", PathError::Backslash),
            ("//admin", PathError::EmptySegment),
            ("/a//b", PathError::EmptySegment),
            ("/admin;x=1", PathError::Parameter),
            ("/admin%3bx", PathError::Parameter),
            ("/%252e%252e/", PathError::Encoding),
            ("/a%00", PathError::ControlByte),
            ("/a%0d%0a", PathError::ControlByte),
            ("/%c0%ae", PathError::NotUtf8),
            ("/admin.", PathError::TrailingDot),
            ("/admin%20", PathError::TrailingDot),
            ("/a%2", PathError::Encoding),
            ("/a%zz", PathError::Encoding),
            ("*", PathError::NotAbsolute),
            ("", PathError::NotAbsolute),
        ];
        for (path, error) in cases {
            assert_eq!(canonical(path), Err(error), "{path}");
        }
    }

    #[test]
    fn one_form_of_each_path() {
        assert_eq!(canonical("/%7Ea/%41?x=%zz").unwrap(), "/~a/A");
        assert_eq!(canonical("/%c3%a9/a%2fb").unwrap(), "/%C3%A9/a%2Fb");
        assert_eq!(canonical("/").unwrap(), "/");
        assert_eq!(canonical("/a/").unwrap(), "/a/");
        assert_eq!(canonical("/@scope/x+y:z").unwrap(), "/@scope/x+y:z");
    }

    #[test]
    fn globs() {
        for path in [
            "/repos/acme",
            "/repos/acme/",
            "/repos/acme/a",
            "/repos/acme/a/b",
        ] {
            assert!(matches("/repos/acme/**", path), "{path}");
        }
        for path in ["/repos/acmes", "/repos", "/Repos/acme/a", "/x/repos/acme/a"] {
            assert!(!matches("/repos/acme/**", path), "{path}");
        }
        assert!(
            matches("/v1/models/*", "/v1/models/x") && !matches("/v1/models/*", "/v1/models/x/y")
        );
        assert!(matches("/v1/models/*", "/v1/models/") && !matches("/v1/models/*", "/v1/models"));
        assert!(
            matches("/a/**/z", "/a/z")
                && matches("/a/**/z", "/a/b/z/z")
                && !matches("/a/**/z", "/a/b/z/y")
        );
        assert!(matches("/x-*-y*", "/x-1-y2") && !matches("/x-*-y*", "/x-y"));
        assert!(matches("/**", "/") && matches("/**", "/a/b"));
        assert!(matches("/", "/") && !matches("/", "/a"));
    }

    #[test]
    fn an_escape_is_one_character() {
        assert!(!matches("/*2*", "/a%20b") && !matches("/a*0", "/a%40"));
        assert!(matches("/*44*", "/%2444J488"));
        assert!(matches("/*2*", "/a%202") && matches("/a*0", "/a%400"));
        assert!(matches("/*%20*", "/a%20b") && matches("/a*%40", "/a%20%40"));
        assert!(!matches("/*2*", "/x)1-yi%2F"));
    }

    #[test]
    fn an_encoded_slash_is_matched_by_itself_alone() {
        assert!(!matches("/repos/*", "/repos/acme%2fsecret"));
        assert!(!matches("/repos/**", "/repos/acme%2fsecret"));
        assert!(!matches("/**", "/a/b%2fc/d"));
        assert!(
            matches("/@acme%2f*", "/@acme%2Fpkg") && !matches("/@acme%2f*", "/@acme%2Fpkg%2Fx")
        );
    }

    #[test]
    fn patterns_that_cannot_be_meant() {
        let error = |text: &str| PathPattern::parse(text).unwrap_err();
        assert_eq!(error("repos"), PathPatternError::NotAbsolute);
        assert_eq!(error("/a?b"), PathPatternError::Query);
        assert_eq!(error("/a**"), PathPatternError::DoubleStar);
        assert_eq!(
            error("/a/../b"),
            PathPatternError::Path(PathError::DotSegment)
        );
    }
}
