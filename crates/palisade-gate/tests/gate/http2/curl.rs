//! A client that is not of this workspace: curl, with nghttp2.

use std::process::Command;

use bytes::Bytes;
use http::Response;
use palisade_test_support::{Outcome, conclude, program};

use super::{Upstream, gate};
use crate::harness::TestGate;

/// What curl prints of this request: version, status, and the body.
fn curl(program: &std::path::Path, gate: &TestGate, arguments: &[&str]) -> String {
    let trust = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(trust.path(), &gate.trust).unwrap();
    let proxy = gate.proxy().stream.peer_addr().unwrap();
    let output = Command::new(program)
        .args(["--silent", "--show-error", "--http2", "--max-time", "60"])
        .args([
            "--write-out",
            "\n%{http_version} %{http_code} %{size_download}",
        ])
        .args(["--proxy", &format!("http://{proxy}"), "--cacert"])
        .arg(trust.path())
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn both_ways() -> Outcome {
    let curl_path = program("curl", "curl")?;
    let upstream = Upstream::new(|request, mut respond| async move {
        let mut body = request.into_body();
        let mut count = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            count += data.len();
            let _ = body.flow_control().release_capacity(data.len());
        }
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let text = Bytes::from(format!("{count} bytes").into_bytes());
        stream.send_data(text, true).unwrap();
    });
    let gate = gate(&upstream);
    let got = curl(&curl_path, &gate, &["https://a.example/x"]);
    assert_eq!(got, "0 bytes\n2 200 7");
    let mut large = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut large, &vec![b'x'; 3_000_000]).unwrap();
    let file = format!("@{}", large.path().display());
    let got = curl(
        &curl_path,
        &gate,
        &["--data-binary", &file, "https://a.example/x"],
    );
    assert_eq!(got, "3000000 bytes\n2 200 13");
    let refused = curl(
        &curl_path,
        &gate,
        &["--header", "Host: b.example", "https://a.example/x"],
    );
    assert!(refused.contains("\n2 421"), "{refused}");
    Ok(())
}

#[test]
fn curl_asks_and_uploads() {
    conclude("curl_asks_and_uploads", both_ways());
}
