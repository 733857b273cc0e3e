"""Signs requests with botocore, once with placeholders and once with the real keys, and prints both as JSON.

Offline: nothing is sent. The clock is the one that is passed in, in seconds since 1970.
"""

import datetime
import hashlib
import json
import sys
import types

import botocore.auth
from botocore.auth import (
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
    UNSIGNED_PAYLOAD,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

REAL_TIME = datetime.datetime.fromtimestamp(int(sys.argv[1]), datetime.timezone.utc)
# The agent's clock is off, by years.
AGENT_TIME = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)

# Names, shapes and values of the documentation's examples: no real keys.
REAL = {"access_key": "AKIAREALREALREALREAL", "secret_key": "real/secret+key/0123456789abcdefghijklmnop"}
AGENT = {"access_key": "AKIAPLACEHOLDERPLACE", "secret_key": "placeholder"}
TOKEN = "real//session+token=="

DYNAMO = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.GetItem",
}
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
TRAILER = {
    "Content-Encoding": "aws-chunked",
    "X-Amz-Trailer": "x-amz-checksum-crc32",
    "X-Amz-Decoded-Content-Length": "5",
}

# name, signer, service, method, URL, fields, body, what the request's context says
CASES = [
    ("sts", SigV4Auth, "sts", "POST", "https://sts.amazonaws.com/", FORM, b"Action=GetCallerIdentity&Version=2011-06-15", {}),
    ("dynamodb", SigV4Auth, "dynamodb", "POST", "https://dynamodb.eu-west-1.amazonaws.com/", DYNAMO, b'{"TableName": "t"}', {}),
    ("execute-api, encoded path", SigV4Auth, "execute-api", "GET", "https://x.execute-api.eu-west-1.amazonaws.com/stage/a%20b%3Ac/./d//e/?q=%2Fx%20y&q=a&Z=&b", {}, b"", {}),
    ("lambda, port", SigV4Auth, "lambda", "GET", "https://localhost:4566/2015-03-31/functions/f%3A1/", {}, b"", {}),
    ("s3 get, odd key", S3SigV4Auth, "s3", "GET", "https://b.s3.eu-west-1.amazonaws.com/a//b/../c%20d%2Be%3D%E2%82%AC~?versionId=a%2Fb&acl", {}, b"", {}),
    ("s3 put, hashed", S3SigV4Auth, "s3", "PUT", "https://b.s3.eu-west-1.amazonaws.com/key", {"X-Amz-Meta-A": "  many   spaces  "}, b"hello", {}),
    ("s3 put, unsigned payload", S3SigV4Auth, "s3", "PUT", "https://b.s3.eu-west-1.amazonaws.com/key", {"Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="}, b"hello", {"has_streaming_input": True}),
    ("s3 put, unsigned trailer", S3SigV4Auth, "s3", "PUT", "https://b.s3.eu-west-1.amazonaws.com/key", TRAILER, b"hello", {"checksum": {"request_algorithm": {"in": "trailer", "algorithm": "crc32", "name": "x-amz-checksum-crc32"}}}),
    ("s3, signed url", S3SigV4QueryAuth, "s3", "GET", "https://b.s3.eu-west-1.amazonaws.com/a%20b?response-content-type=text%2Fplain", {}, b"", {}),
    ("sts, signed url", SigV4QueryAuth, "sts", "GET", "https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15", {"x-k8s-aws-id": "cluster"}, b"", {}),
]


def set_clock(time):
    """Sets botocore's clock: older versions ask the datetime class, newer ones a function."""

    class Clock(datetime.datetime):
        @classmethod
        def utcnow(cls):
            return time

        @classmethod
        def now(cls, tz=None):
            return time

    botocore.auth.datetime = types.SimpleNamespace(datetime=Clock, timezone=datetime.timezone)
    botocore.auth.get_current_datetime = lambda *_, **__: time


def sign(case, keys, time):
    _, signer, service, method, url, fields, body, context = case
    set_clock(time)
    request = AWSRequest(method=method, url=url, headers=dict(fields), data=body)
    request.context.update(context)
    if "timestamp" not in request.context:
        request.context["timestamp"] = time.strftime("%Y%m%dT%H%M%SZ")
    signer(Credentials(**keys), service, "eu-west-1").add_auth(request)
    rest = request.url.split("://", 1)[1]
    host, _, target = rest.partition("/")
    return {
        "method": method,
        "host": host,
        "target": "/" + target,
        "fields": [[name, value] for name, value in request.headers.items()],
    }


cases = []
for case in CASES:
    for session in (False, True):
        real = dict(REAL, token=TOKEN) if session else REAL
        # The agent has a token where there is one, and in a second run it has not got the news yet.
        for agent in (AGENT, dict(AGENT, token="placeholder-token")):
            cases.append({
                "name": f"{case[0]}, session {session}, agent's token {'token' in agent}",
                "body_sha256": hashlib.sha256(case[6]).hexdigest(),
                "session": session,
                "agent": sign(case, agent, AGENT_TIME),
                "real": sign(case, real, REAL_TIME),
            })
json.dump({"keys": dict(REAL, token=TOKEN), "cases": cases, "unsigned": UNSIGNED_PAYLOAD}, sys.stdout)
