//! The clients that are tried inside, each by one request for a path of its own.

/// How a client is run. In every text `{url}` stands for the address of its own path, `{host}` for the host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    /// Its name, which is its path too.
    pub(crate) name: &'static str,
    /// The program that has to be there.
    pub(crate) program: &'static str,
    /// Its arguments.
    pub(crate) arguments: &'static [&'static str],
    /// A file it needs, name and content, in the directory it is run in.
    pub(crate) file: Option<(&'static str, &'static str)>,
    /// What it reads.
    pub(crate) input: &'static str,
}

/// The exit status of a script that found its library missing: then the client is not here.
pub(crate) const NOT_HERE: i32 = 86;

const fn client(
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
) -> Client {
    Client {
        name,
        program,
        arguments,
        file: None,
        input: "",
    }
}

/// All of them. A client is tried the way it is used most, without an option that would change whom it trusts.
pub(crate) const CLIENTS: &[Client] = &[
    client("curl", "curl", &["-sS", "{url}"]),
    client("wget", "wget", &["-nv", "--tries=1", "-O", "-", "{url}"]),
    client("git", "git", &["ls-remote", "{url}"]),
    Client {
        input: "GET /openssl HTTP/1.0\r\nHost: {host}\r\n\r\n",
        ..client(
            "openssl",
            "openssl",
            &[
                "s_client",
                "-quiet",
                "-verify_return_error",
                "-servername",
                "{host}",
                "-connect",
                "{host}:443",
            ],
        )
    },
    client("python-urllib", "python3", &["-c", PYTHON_URLLIB]),
    client("python-requests", "python3", &["-c", PYTHON_REQUESTS]),
    client("python-httpx", "python3", &["-c", PYTHON_HTTPX]),
    client("python-aiohttp", "python3", &["-c", PYTHON_AIOHTTP]),
    client("python-botocore", "python3", &["-c", PYTHON_BOTOCORE]),
    client(
        "pip",
        "python3",
        &[
            "-c",
            PIP,
            "--disable-pip-version-check",
            "download",
            "--retries=0",
            "--index-url={url}",
            "palisade-doctor",
        ],
    ),
    Client {
        input: "palisade-doctor\n",
        ..client("uv", "uv", &["pip", "compile", "--index-url={url}", "-"])
    },
    client("node-fetch", "node", &["-e", NODE_FETCH]),
    client("node-https", "node", &["-e", NODE_HTTPS]),
    client(
        "npm",
        "npm",
        &["ping", "--fetch-retries=0", "--registry={url}"],
    ),
    client("deno", "deno", &["eval", FETCH]),
    client("bun", "bun", &["-e", FETCH]),
    Client {
        file: Some(("doctor.go", GO)),
        ..client("go", "go", &["run", "doctor.go", "{url}"])
    },
    Client {
        file: Some(("Doctor.java", JAVA)),
        ..client("java", "java", &["Doctor.java", "{url}"])
    },
    client(
        "ruby",
        "ruby",
        &["-rnet/http", "-e", "Net::HTTP.get(URI('{url}'))"],
    ),
    client(
        "php",
        "php",
        &["-r", "exit(file_get_contents('{url}') === false ? 1 : 0);"],
    ),
    client("php-curl", "php", &["-r", PHP_CURL]),
    client("perl", "perl", &["-e", PERL]),
    client(
        "cargo",
        "cargo",
        &[
            "search",
            "--config=registries.doctor.index='sparse+{url}/'",
            "--config=net.retry=0",
            "--registry=doctor",
            "palisade-doctor",
        ],
    ),
    client(
        "chromium",
        "chromium",
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            "{url}",
        ],
    ),
    client(
        "chrome",
        "google-chrome",
        &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--dump-dom",
            "{url}",
        ],
    ),
];

const PYTHON_URLLIB: &str =
    "import urllib.request; urllib.request.urlopen('{url}', timeout=20).read()";

const PYTHON_REQUESTS: &str = "
import sys
try: import requests
except ImportError: sys.exit(86)
requests.get('{url}', timeout=20)";

const PYTHON_HTTPX: &str = "
import sys
try: import httpx
except ImportError: sys.exit(86)
httpx.get('{url}', timeout=20)";

const PYTHON_AIOHTTP: &str = "
import asyncio, sys
try: import aiohttp
except ImportError: sys.exit(86)
async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get('{url}') as response: await response.read()
asyncio.run(main())";

const PYTHON_BOTOCORE: &str = "
import sys
try: import botocore.session, botocore.config, botocore.exceptions
except ImportError: sys.exit(86)
client = botocore.session.Session().create_client('s3', region_name='us-east-1', endpoint_url='{url}',
    aws_access_key_id='none', aws_secret_access_key='none',
    config=botocore.config.Config(retries={'max_attempts': 0}, s3={'addressing_style': 'path'}))
try: client.list_buckets()
except botocore.exceptions.SSLError: raise
except Exception: pass";

const PIP: &str = "
import sys
try: from pip._internal.cli.main import main
except ImportError: sys.exit(86)
sys.exit(main())";

const NODE_FETCH: &str = "
if (typeof fetch === 'undefined') process.exit(86);
fetch('{url}').then((r) => r.text()).catch((e) => { console.error(String(e.cause || e)); process.exit(1); });";

const NODE_HTTPS: &str = "
require('https').get('{url}', (r) => r.resume()).on('error', (e) => { console.error(String(e)); process.exit(1); });";

const FETCH: &str = "await (await fetch('{url}')).text();";

const GO: &str = r#"package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	if _, err := http.Get(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
"#;

const JAVA: &str = r#"public class Doctor {
    public static void main(String[] arguments) throws Exception {
        new java.net.URL(arguments[0]).openStream().readAllBytes();
    }
}
"#;

const PHP_CURL: &str = "
if (!function_exists('curl_init')) exit(86);
$c = curl_init('{url}');
curl_setopt($c, CURLOPT_RETURNTRANSFER, true);
if (curl_exec($c) === false) { fwrite(STDERR, curl_error($c)); exit(1); }";

const PERL: &str = "
eval { require LWP::UserAgent; require LWP::Protocol::https; 1 } or exit 86;
my $r = LWP::UserAgent->new->get('{url}');
unless ($r->is_success) { print STDERR $r->status_line; exit 1 }";
