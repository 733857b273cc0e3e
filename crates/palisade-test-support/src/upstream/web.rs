//! A web server with one page of each shape that a proxy has to carry.

use serde_json::json;

use super::http::{Body, Handler, Request, Response};

/// `/` a greeting · `/echo` the request as JSON · `/chunked` ten chunks · `/bytes/N` N bytes · `/sink` counts the
/// body it was sent · anything else 404.
#[derive(Clone, Copy, Debug, Default)]
pub struct Web;

impl Web {
    /// What `/` says.
    pub const GREETING: &str = "hello from the upstream\n";
}

impl Handler for Web {
    fn answer(&self, request: &Request) -> Response {
        match request.path() {
            "/" => Response::new(200, "text/plain", Self::GREETING),
            "/echo" => echo(request),
            "/chunked" => Response {
                status: 200,
                headers: Vec::new(),
                body: Body::Chunks((0..10).map(|n| format!("chunk {n}\n").into()).collect()),
            },
            "/sink" => Response::new(200, "text/plain", request.body_length.to_string()),
            path => match path.strip_prefix("/bytes/").and_then(|n| n.parse().ok()) {
                Some(length) => Response {
                    status: 200,
                    headers: Vec::new(),
                    body: Body::Generated(length),
                },
                None => Response::not_found(),
            },
        }
    }
}

fn echo(request: &Request) -> Response {
    let value = json!({
        "method": request.method,
        "target": request.target,
        "headers": request.headers,
        "body": String::from_utf8_lossy(&request.body),
        "tls": request.tls,
    });
    Response::json(200, &value)
}
