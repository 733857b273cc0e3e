//! What is spoken within TLS, as ALPN names it (RFC 7301).

/// The protocol that both sides agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alpn {
    /// HTTP/1.1, also where no protocol was named.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What one side offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offer {
    /// `http/1.1`.
    pub http1: bool,
    /// `h2`.
    pub http2: bool,
}

impl Offer {
    /// No ALPN at all, which means HTTP/1.1.
    pub const NONE: Self = Self {
        http1: false,
        http2: false,
    };

    pub(crate) fn names(self) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        if self.http2 {
            names.push(b"h2".to_vec());
        }
        if self.http1 {
            names.push(b"http/1.1".to_vec());
        }
        names
    }
}

/// What was agreed upon.
pub(crate) fn agreed(name: Option<&[u8]>) -> Alpn {
    match name {
        Some(b"h2") => Alpn::Http2,
        _ => Alpn::Http1,
    }
}
