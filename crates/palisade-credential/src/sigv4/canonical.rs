//! The canonical form of a request: the text both sides hash.

use zeroize::Zeroizing;

use crate::OutgoingHead;
use crate::percent::{decode, decode_path, encode_into};

/// A request, and what of it is signed.
pub(super) struct Canonical<'a> {
    pub(super) head: &'a OutgoingHead,
    pub(super) query: &'a str,
    /// The fields, lower case and sorted.
    pub(super) names: &'a [String],
    /// The hash of the body, or the word that stands for it.
    pub(super) payload: &'a str,
    /// S3 has rules of its own for paths.
    pub(super) s3: bool,
}

impl Canonical<'_> {
    /// The text. It holds the session token, so it is wiped, and allocated once.
    pub(super) fn text(&self) -> Zeroizing<String> {
        let path = path(self.head.path(), self.s3);
        let query = query(self.query);
        let values: Vec<_> = self.names.iter().map(|name| self.value(name)).collect();
        let names: usize = self.names.iter().map(|name| 2 * (name.len() + 1)).sum();
        let lengths: usize = values.iter().map(|value| value.len() + 2).sum();
        let length = path.len() + query.len() + names + lengths + self.payload.len();
        let mut text = Zeroizing::new(String::with_capacity(length + self.head.method.len() + 8));
        for part in [&self.head.method, "\n", &path, "\n", &query, "\n"] {
            text.push_str(part);
        }
        for (name, value) in self.names.iter().zip(&values) {
            for part in [name, ":", value, "\n"] {
                text.push_str(part);
            }
        }
        text.push('\n');
        for (index, name) in self.names.iter().enumerate() {
            text.push_str(if index == 0 { "" } else { ";" });
            text.push_str(name);
        }
        text.push('\n');
        text.push_str(self.payload);
        text
    }

    /// All values of a field, each without spaces around it and with single ones in it.
    fn value(&self, name: &str) -> Zeroizing<String> {
        let length: usize = self.head.values(name).map(|value| value.len() + 1).sum();
        // Bytes that are no UTF-8 become three each.
        let mut joined = Zeroizing::new(String::with_capacity(3 * length));
        let mut values = 0;
        for value in self.head.values(name) {
            joined.push_str(if values == 0 { "" } else { "," });
            values += 1;
            let value = String::from_utf8_lossy(value);
            for (index, word) in value.split_ascii_whitespace().enumerate() {
                joined.push_str(if index == 0 { "" } else { " " });
                joined.push_str(word);
            }
        }
        if values == 0 && name == "host" {
            joined.push_str(&self.head.host);
        }
        joined
    }
}

/// The path. S3 takes it as it is, encoded once: `a/../b` is a name of its own there. All others normalise it and encode
/// what is encoded once more.
pub(super) fn path(path: &str, s3: bool) -> String {
    let mut text = String::with_capacity(path.len() + 16);
    if s3 {
        for (index, segment) in path.split('/').enumerate() {
            if index > 0 {
                text.push('/');
            }
            encode_into(&mut text, &decode_path(segment), b"");
        }
    } else {
        encode_into(&mut text, without_dots(path).as_bytes(), b"/");
    }
    if text.is_empty() {
        text.push('/');
    }
    text
}

fn without_dots(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let end = if path.ends_with('/') && !segments.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", segments.join("/"))
}

/// The query: each name and value encoded in the one way, then sorted. In a signed URL it holds the session token.
pub(super) fn query(query: &str) -> Zeroizing<String> {
    let encoded = |text: &str| {
        let mut once = Zeroizing::new(String::with_capacity(3 * text.len()));
        encode_into(&mut once, &Zeroizing::new(decode(text)), b"");
        once
    };
    let mut parameters: Vec<_> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (encoded(name), encoded(value))
        })
        .collect();
    parameters.sort_by(|(a, b), (c, d)| (a.as_str(), b.as_str()).cmp(&(c.as_str(), d.as_str())));
    let mut joined = Zeroizing::new(String::with_capacity(3 * query.len() + 3));
    for (index, (name, value)) in parameters.iter().enumerate() {
        for part in [if index == 0 { "" } else { "&" }, name, "=", value] {
            joined.push_str(part);
        }
    }
    joined
}
