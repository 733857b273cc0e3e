//! The head of a request on its way out, as data: what an injection works on.

/// A request head that is about to be sent upstream. The gate has removed hop-by-hop fields already, so nothing
/// that an injection writes can be stripped by what the agent said in `Connection`.
#[derive(Clone)]
pub struct OutgoingHead {
    /// The method, upper case.
    pub method: String,
    /// Whether it goes out in TLS.
    pub secure: bool,
    /// Host (and port, unless it is the scheme's own) as the `Host` field or `:authority` says it.
    pub host: String,
    /// `path?query`, exactly the bytes that are sent on.
    pub target: String,
    /// Name and value of each field in order. Names in any case; a `host` field may be there or not.
    pub fields: Vec<(String, Vec<u8>)>,
}
