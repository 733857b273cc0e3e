//! The same beyond HTTP/1.1: HTTP/2, server-sent events, WebSocket, gRPC, signed requests.

use palisade_test_support::Skip;
use palisade_test_support::upstream::Script;

use super::*;

each_identity! {
    fn curl_over_http2(who) {
        need(&[CURL])?;
        let (lab, authority) = (lab(who), Authority::new());
        let value = format!("Bearer {SECRET}");
        let server = Script::Http2.start(&authority, &[HOST], &["authorization", &value])?;
        let command = words(&format!("curl -sS -f -w %{{http_version}} https://{HOST}/"));
        let without = policy(&authority, server.address(), "intercept = true");
        lab.run(&without, &command).env(VARIABLE, SECRET).run().expect(22);
        let with = policy(&authority, server.address(), "credential = \"upstream\"").tables(&credential(BEARER));
        let done = lab.run(&with, &command).env(VARIABLE, SECRET).run().expect(0);
        assert_eq!(done.stdout, "hello over 2.0\n2");
        let one = words(&format!("curl -sS -f --http1.1 -w %{{http_version}} https://{HOST}/"));
        let done = lab.run(&with, &one).env(VARIABLE, SECRET).run().expect(0);
        assert_eq!(done.stdout, "hello over 1.1\n1.1");
        assert_kept(&lab, &done);
    }

    fn events_are_not_held_back(who) {
        need(&[CURL])?;
        let (lab, authority) = (lab(who), Authority::new());
        let value = format!("Bearer {SECRET}");
        let server = Script::Http2.start(&authority, &[HOST], &["authorization", &value])?;
        let with = policy(&authority, server.address(), "credential = \"upstream\"").tables(&credential(BEARER));
        for version in ["--http1.1", "--http2"] {
            // Each line gets the time at which it came: five events that are 50 ms apart do not come at once.
            let line = format!("curl -sSN -f {version} https://{HOST}/events | while read -r line; do test -n \"$line\" && date +%s%N; done");
            let done = lab.run(&with, script("sh -c", &line)).env(VARIABLE, SECRET).run();
            let times: Vec<u64> = done.stdout.lines().filter_map(|line| line.parse().ok()).collect();
            assert_eq!(times.len(), 5, "{done}");
            let spread = times[4] - times[0];
            assert!(spread > 100_000_000, "{version}: {spread} ns from the first to the last\n{done}");
        }
    }

    fn a_websocket_carries_messages_both_ways(who) {
        need(&[PYTHON, Need::PythonModule("websockets", "python3-websockets")])?;
        let (lab, authority) = (lab(who), Authority::new());
        let value = format!("Bearer {SECRET}");
        let server = Script::WebSocket.start(&authority, &[HOST], &["authorization", &value])?;
        let text = format!("
import asyncio, websockets
async def main():
    async with websockets.connect('wss://{HOST}/socket') as connection:
        for n in range(3):
            await connection.send('message %d' % n)
            print(await connection.recv())
asyncio.run(main())");
        let command = script("python3 -c", &text);
        let without = policy(&authority, server.address(), "protocol = \"websocket\"");
        let refused = lab.run(&without, &command).env(VARIABLE, SECRET).run();
        assert_ne!(refused.status, 0);
        refused.expect_error("401");
        let with = policy(&authority, server.address(), "protocol = \"websocket\"\ncredential = \"upstream\"")
            .tables(&credential(BEARER));
        let done = lab.run(&with, &command).env(VARIABLE, SECRET).run().expect(0);
        assert_eq!(done.stdout, "message 0\nmessage 1\nmessage 2\n");
        assert_kept(&lab, &done);
    }

    fn grpc_calls_and_streams(who) {
        need(&[PYTHON, Need::PythonModule("grpc", "python3-grpcio")])?;
        let (lab, authority) = (lab(who), Authority::new());
        let value = format!("Bearer {SECRET}");
        let server = Script::Grpc.start(&authority, &[HOST], &["authorization", &value])?;
        let text = format!("
import grpc
channel = grpc.secure_channel('{HOST}:443', grpc.ssl_channel_credentials())
answer, call = channel.unary_unary('/echo.Echo/One').with_call(b'one', timeout=20)
print(answer, dict(call.trailing_metadata()).get('x-trailer'))
print(list(channel.unary_stream('/echo.Echo/Many')(b'many', timeout=20)))");
        let command = script("python3 -c", &text);
        let without = policy(&authority, server.address(), "protocol = \"grpc\"");
        let refused = lab.run(&without, &command).env(VARIABLE, SECRET).run();
        assert_ne!(refused.status, 0);
        refused.expect_error("UNAUTHENTICATED");
        let with = policy(&authority, server.address(), "protocol = \"grpc\"\ncredential = \"upstream\"")
            .tables(&credential(BEARER));
        let done = lab.run(&with, &command).env(VARIABLE, SECRET).run().expect(0);
        assert_eq!(done.stdout, "b'one' at-the-end\n[b'many', b'many', b'many']\n");
        assert_kept(&lab, &done);
    }

    fn aws_requests_are_signed_anew(who) {
        aws(who)?;
    }
}

/// botocore signs with placeholders; the server checks with botocore's own signer and the real key.
fn aws(who: Identity) -> Result<(), Skip> {
    need(&[PYTHON, Need::PythonModule("botocore", "python3-botocore")])?;
    const KEYS: [(&str, &str); 3] = [
        ("AWS_ACCESS_KEY_ID", "AKIAREALREALREALREAL"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "real/secret+key0123456789abcdefghijklmno",
        ),
        ("AWS_SESSION_TOKEN", "real-session-token-with-some-length"),
    ];
    let (lab, authority) = (lab(who), Authority::new());
    let values = KEYS.map(|(_, value)| value);
    let server = Script::Aws.start(&authority, &[HOST], &values)?;
    let text = format!(
        "
import botocore.session
session = botocore.session.get_session()
make = lambda service: session.create_client(service, region_name='eu-west-1', endpoint_url='https://{HOST}')
print(make('sts').get_caller_identity()['Account'])
s3 = make('s3')
s3.put_object(Bucket='bucket', Key='a key/with +signs', Body=b'some content')
print(s3.get_object(Bucket='bucket', Key='a key/with +signs')['Body'].read().decode())"
    );
    let command = script("python3 -c", &text);
    let run = |policy: &Policy| {
        let run = lab.run(policy, &command);
        let run = run.env("AWS_EC2_METADATA_DISABLED", "true");
        KEYS.iter()
            .fold(run, |run, (name, value)| run.env(name, value))
            .run()
    };
    let tables = "[credentials.aws]\nsource = { env = { access_key = \"AWS_ACCESS_KEY_ID\", \
        secret_key = \"AWS_SECRET_ACCESS_KEY\", session_token = \"AWS_SESSION_TOKEN\" } }\ninject = \"aws-sigv4\"\n\
        placeholder = { env = { access_key = \"AWS_ACCESS_KEY_ID\", secret_key = \"AWS_SECRET_ACCESS_KEY\", \
        session_token = \"AWS_SESSION_TOKEN\" } }\n";
    let with = policy(&authority, server.address(), "credential = \"aws\"").tables(tables);
    let done = run(&with).expect(0);
    assert_eq!(done.stdout, "1\nobject content\n\n");
    let log = server.log();
    assert!(
        log.len() >= 3 && log.iter().all(|seen| seen["refused"].is_null()),
        "{log:#?}"
    );
    for secret in values {
        assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret));
    }
    // The control: the same placeholders, not signed anew, convince nobody.
    let text = "import os; print(os.environ['AWS_ACCESS_KEY_ID'])";
    let shown = lab.run(&with, script("python3 -c", text));
    let shown = KEYS
        .iter()
        .fold(shown, |run, (name, value)| run.env(name, value))
        .run();
    assert_ne!(shown.expect(0).stdout.trim(), values[0]);
    let without = policy(&authority, server.address(), "intercept = true").tables(
        "[environment.set]\nAWS_ACCESS_KEY_ID = \"AKIAFAKEFAKEFAKEFAKE\"\nAWS_SECRET_ACCESS_KEY = \"fake\"\n",
    );
    assert_ne!(run(&without).status, 0);
    Ok(())
}
