//! The canonical form of a request: the text both sides hash.

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
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{}\n{}\n{}\n",
            self.head.method,
            path(self.head.path(), self.s3),
            query(self.query)
        );
        for name in self.names {
            text.push_str(name);
            text.push(':');
            text.push_str(&self.value(name));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.names.join(";"));
        text.push('\n');
        text.push_str(self.payload);
        text
    }

    /// All values of a field, each without spaces around it and with single ones in it.
    fn value(&self, name: &str) -> String {
        let values: Vec<String> = self
            .head
            .values(name)
            .map(|value| {
                let value = String::from_utf8_lossy(value);
                value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        if values.is_empty() && name == "host" {
            return self.head.host.clone();
        }
        values.join(",")
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

/// The query: each name and value encoded in the one way, then sorted.
pub(super) fn query(query: &str) -> String {
    let encoded = |text: &str| {
        let mut once = String::with_capacity(text.len());
        encode_into(&mut once, &decode(text), b"");
        once
    };
    let mut parameters: Vec<(String, String)> = query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (encoded(name), encoded(value))
        })
        .collect();
    parameters.sort();
    let joined: Vec<String> = parameters
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    joined.join("&")
}
