"""Answers requests that are signed with AWS Signature Version 4, checked by botocore's own signer.

Prints its port, then one line of JSON a request. Arguments: certificate, key, access key, secret key, session token or "".
"""
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

certificate, key, access_key, secret_key, token = sys.argv[1:6]


def signature_of(request, scope, signed, when, service, region):
    """What botocore would have signed, given the very fields and the very time that were."""
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(
        Credentials(access_key, secret_key, token or None), service, region
    )
    request.context["timestamp"] = when
    canonical = auth.canonical_request(request)
    return auth.signature(auth.string_to_sign(request, canonical), request), canonical


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def decision(self, body):
        authorization = self.headers.get("authorization", "")
        if not authorization.startswith("AWS4-HMAC-SHA256 "):
            return "not signed"
        parts = dict(
            part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(",")
        )
        own, scope = parts["Credential"].split("/", 1)
        if own != access_key:
            return "another access key: " + own
        if (self.headers.get("x-amz-security-token") or "") != token:
            return "another session token"
        _, region, service, _ = scope.split("/")
        signed = parts["SignedHeaders"].split(";")
        fields = {name: self.headers[name] for name in signed if name in self.headers}
        url = "https://" + self.headers["host"] + self.path
        request = AWSRequest(method=self.command, url=url, data=body, headers=fields)
        # botocore takes the hash of the body from there, signed or not; a second assignment would add a second field.
        if "x-amz-content-sha256" in self.headers and "x-amz-content-sha256" not in signed:
            request.headers["X-Amz-Content-SHA256"] = self.headers["x-amz-content-sha256"]
        expected, canonical = signature_of(
            request, scope, signed, self.headers["x-amz-date"], service, region
        )
        if expected != parts["Signature"]:
            return "the signature does not match; canonical request:\n" + canonical
        return None

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        why_not = self.decision(body)
        seen = {
            "method": self.command,
            "target": self.path,
            "headers": [list(pair) for pair in self.headers.items()],
            "body": body.decode(errors="replace"),
            "refused": why_not,
        }
        print(json.dumps(seen), flush=True)
        if why_not is None:
            status, kind, text = 200, "text/xml", RESPONSE
        else:
            status, kind, text = 403, "text/xml", ERROR
        if urlsplit(self.path).path.startswith("/bucket"):
            kind = "application/octet-stream"
            text = "object content\n" if why_not is None else ERROR
        if status == 200 and self.command == "PUT":
            text = ""
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer


RESPONSE = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
    "<GetCallerIdentityResult><Arn>arn:aws:iam::1:user/t</Arn><UserId>U</UserId><Account>1</Account>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>"
)
ERROR = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error></ErrorResponse>"

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
