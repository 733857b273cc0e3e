//! A git host: one repository, served by git's own `http-backend`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use super::http::{Handler, Request, Response};
use crate::require::{Skip, program};

/// The host. Clones share its repository.
#[derive(Clone, Debug)]
pub struct GitHost {
    git: PathBuf,
    root: Arc<TempDir>,
}

impl GitHost {
    /// The path of the one repository.
    pub const REPOSITORY: &str = "/team/sample.git";
    /// What its file `README` holds.
    pub const README: &str = "a sample repository\n";

    /// Makes the repository with one commit.
    ///
    /// # Errors
    /// There is no git.
    ///
    /// # Panics
    /// If git fails.
    pub fn new() -> Result<Self, Skip> {
        let host = Self {
            git: program("git", "git")?,
            root: Arc::new(tempfile::tempdir().expect("make a directory")),
        };
        let work = host.root.path().join("work");
        fs::create_dir(&work).expect("make a directory");
        fs::write(work.join("README"), Self::README).expect("write");
        host.git(&work, &["init", "--quiet", "--initial-branch=main"]);
        host.git(&work, &["add", "README"]);
        host.git(&work, &["commit", "--quiet", "--message=first"]);
        let bare = host.root.path().join(&Self::REPOSITORY[1..]);
        fs::create_dir_all(bare.parent().expect("it has a parent")).expect("make a directory");
        let bare = bare.to_str().expect("plain path");
        host.git(&work, &["clone", "--quiet", "--bare", ".", bare]);
        Ok(host)
    }

    /// The messages of the commits on the branch `main`, the newest first.
    ///
    /// # Panics
    /// If git fails.
    pub fn log(&self) -> Vec<String> {
        let output = self
            .command()
            .args(["log", "--format=%s", "main"])
            .current_dir(self.root.path().join(&Self::REPOSITORY[1..]))
            .output()
            .expect("run git");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(str::to_owned).collect()
    }

    fn git(&self, directory: &Path, arguments: &[&str]) {
        let done = self
            .command()
            .args(arguments)
            .current_dir(directory)
            .output()
            .expect("run git");
        assert!(done.status.success(), "git {arguments:?}: {done:?}");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.git);
        command.env_clear().envs([
            ("PATH", crate::require::PATH),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "T"),
            ("GIT_AUTHOR_EMAIL", "t@example.test"),
            ("GIT_COMMITTER_NAME", "T"),
            ("GIT_COMMITTER_EMAIL", "t@example.test"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ]);
        command
    }

    fn backend(&self, request: &Request) -> std::io::Result<Response> {
        let mut command = self.command();
        command
            .arg("http-backend")
            .env("GIT_PROJECT_ROOT", self.root.path())
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REQUEST_METHOD", &request.method)
            .env("PATH_INFO", request.path())
            .env("QUERY_STRING", request.query())
            .env("REMOTE_ADDR", "127.0.0.1")
            // Without a user the backend takes no push. Who may push is asked before (`Guarded`).
            .env("REMOTE_USER", "somebody")
            .env("CONTENT_LENGTH", request.body.len().to_string());
        for (variable, header) in [
            ("CONTENT_TYPE", "content-type"),
            ("HTTP_CONTENT_ENCODING", "content-encoding"),
            ("GIT_PROTOCOL", "git-protocol"),
        ] {
            if let Some(value) = request.header(header) {
                command.env(variable, value);
            }
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().expect("it is piped");
        // The requests of a clone or a small push fit in a pipe's buffer, so writing first cannot block on unread output.
        stdin.write_all(&request.body)?;
        drop(stdin);
        let mut output = Vec::new();
        child
            .stdout
            .take()
            .expect("it is piped")
            .read_to_end(&mut output)?;
        child.wait()?;
        Ok(from_cgi(&output))
    }
}

impl Handler for GitHost {
    fn answer(&self, request: &Request) -> Response {
        self.backend(request)
            .unwrap_or_else(|error| Response::new(500, "text/plain", error.to_string()))
    }
}

/// RFC 3875 section 6: header lines, an empty line, the body; `Status` stands for the status line.
fn from_cgi(output: &[u8]) -> Response {
    let split = output
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or(output.len());
    let mut response = Response::new(200, "", output.get(split + 4..).unwrap_or_default());
    response.headers.clear();
    for line in String::from_utf8_lossy(&output[..split]).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        if name == "Status" {
            response.status = value
                .get(..3)
                .and_then(|code| code.parse().ok())
                .unwrap_or(500);
        } else {
            response.headers.push((name.into(), value.into()));
        }
    }
    response
}
