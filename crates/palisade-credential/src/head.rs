//! The head of a request on its way out, as data: what an injection works on.

/// A request head that is about to be sent upstream. The gate has removed hop-by-hop fields already, so nothing
/// that an injection writes can be stripped by what the agent said in `Connection`.
///
/// There is no `Debug` and no `Clone`: after an injection it holds a secret.
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

impl OutgoingHead {
    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query, without its question mark.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of a field.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// Removes a field in every spelling that a server may take for it (C02).
    pub(crate) fn remove(&mut self, name: &str) {
        self.fields.retain(|(own, _)| !same_field(own, name));
    }

    /// Adds a field behind all others.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        self.fields.push((name.to_owned(), value.to_vec()));
    }
}

/// Whether a server may take one name for the other. CGI, WSGI and their like turn a field into a variable: upper
/// case, and an underscore for every other character, so `X_Api_Key` and `x.api.key` arrive as `X-Api-Key` does.
pub(crate) fn same_field(one: &str, other: &str) -> bool {
    fn plain(name: &str) -> impl Iterator<Item = u8> {
        name.trim_matches(|c: char| !c.is_ascii_alphanumeric())
            .bytes()
            .map(|byte| match byte {
                byte if byte.is_ascii_alphanumeric() => byte.to_ascii_lowercase(),
                _ => b'-',
            })
    }
    plain(one).eq(plain(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c02_spellings_a_server_may_take_for_the_same_field() {
        for same in [
            "X-API-KEY",
            "x_api_key",
            "X.Api.Key",
            "x-api-key_",
            " x-api-key\t",
            "_x~api-key",
        ] {
            assert!(same_field(same, "x-api-key"), "{same:?}");
        }
        for other in [
            "x-api-keys",
            "xapikey",
            "x--api-key",
            "api-key",
            "",
            "x-api",
        ] {
            assert!(!same_field(other, "x-api-key"), "{other:?}");
        }
    }
}
