//! Time of one decision, with few rules and with many.

use std::hint::black_box;
use std::time::Instant;

use palisade_policy::{Host, HttpKind, HttpRequest, NetworkPolicy, Request, RequestPath};

use crate::Result;
use crate::gate::{HOST, rules};

const DECISIONS: u32 = 200_000;
const ROUNDS: usize = 9;

pub(crate) fn measure() -> Result<()> {
    let mut lines = Vec::new();
    for count in [10, 10_000] {
        let builder = rules(count)?
            .into_iter()
            .fold(NetworkPolicy::builder(), |b, rule| b.allow(rule));
        let policy = builder.build();
        let mut times: Vec<f64> = (0..ROUNDS).map(|_| round(&policy)).collect::<Result<_>>()?;
        times.sort_by(f64::total_cmp);
        lines.push(format!(r#""{count}": {:.1}"#, times[ROUNDS / 2]));
    }
    println!("{{{}}}", lines.join(", "));
    Ok(())
}

/// Nanoseconds of one decision about a permitted request, its path parsed as part of it.
fn round(policy: &NetworkPolicy) -> Result<f64> {
    let host = Host::parse(HOST.as_bytes())?;
    let from = Instant::now();
    for _ in 0..DECISIONS {
        let path = RequestPath::parse(black_box(b"/small/item?q=1"));
        let http = HttpRequest {
            method: "GET",
            path: &path,
            kind: HttpKind::Plain,
            secure: true,
        };
        black_box(policy.decide(&Request::with_http(black_box(&host), 443, http)));
    }
    Ok(from.elapsed().as_nanos() as f64 / f64::from(DECISIONS))
}
