//! A stand-in that answers only who shows the right credential.

use super::http::{Handler, Request, Response};
use super::npm::base64;

/// What a guarded stand-in demands of every request.
#[derive(Clone, Debug)]
pub enum Demand {
    /// A header field with exactly this value.
    Header(&'static str, String),
    /// HTTP Basic authentication.
    Basic(&'static str, String),
    /// A parameter of the query.
    Query(&'static str, String),
}

/// A handler behind a demand. Whoever does not meet it gets 401 and learns nothing else.
#[derive(Clone, Debug)]
pub struct Guarded<H> {
    inner: H,
    demand: Demand,
}

impl<H: Handler> Guarded<H> {
    /// Puts the demand before this handler.
    pub fn new(inner: H, demand: Demand) -> Self {
        Self { inner, demand }
    }
}

impl Demand {
    fn met_by(&self, request: &Request) -> bool {
        match self {
            Self::Header(name, value) => one(request, name) == Some(value.as_str()),
            Self::Basic(user, password) => {
                let login = base64(format!("{user}:{password}").as_bytes());
                one(request, "authorization") == Some(format!("Basic {login}").as_str())
            }
            Self::Query(name, value) => {
                let wanted = format!("{name}={value}");
                request.query().split('&').any(|pair| pair == wanted)
            }
        }
    }
}

/// The value of a field that is there exactly once: two of them would be read differently by different servers.
fn one<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut values = request
        .headers
        .iter()
        .filter(|(own, _)| own.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str());
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

impl<H: Handler> Handler for Guarded<H> {
    fn answer(&self, request: &Request) -> Response {
        if self.demand.met_by(request) {
            return self.inner.answer(request);
        }
        let mut refusal = Response::new(401, "text/plain", "who are you?\n");
        // Clients such as git ask for a login only after this.
        let challenge = "Basic realm=\"stand-in\"".to_owned();
        refusal.headers.push(("www-authenticate".into(), challenge));
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Web;

    fn status(demand: Demand, target: &str, headers: &[(&str, &str)]) -> u16 {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request = Request {
            method: "GET".into(),
            target: target.into(),
            headers: headers.iter().map(own).collect(),
            body: Vec::new(),
            body_length: 0,
            tls: true,
        };
        Guarded::new(Web, demand).answer(&request).status
    }

    #[test]
    fn only_the_right_credential_passes() {
        let header = || Demand::Header("x-api-key", "k".into());
        assert_eq!(status(header(), "/", &[("X-Api-Key", "k")]), 200);
        assert_eq!(status(header(), "/", &[("X-Api-Key", "other")]), 401);
        let twice = [("x-api-key", "k"), ("x-api-key", "k")];
        assert_eq!(status(header(), "/", &twice), 401);
        let basic = || Demand::Basic("ci", "pw".into());
        assert_eq!(
            status(basic(), "/", &[("authorization", "Basic Y2k6cHc=")]),
            200
        );
        assert_eq!(status(basic(), "/", &[]), 401);
        let query = || Demand::Query("api_key", "k".into());
        assert_eq!(status(query(), "/?a=b&api_key=k", &[]), 200);
        assert_eq!(status(query(), "/?api_key=kk", &[]), 401);
    }
}
