//! The part of `doctor --inside` that runs inside: starts each client that is there and says what it said.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::clients::{CLIENTS, Client, NOT_HERE};
use crate::failure::Failure;

/// No client takes longer, compilers included.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at a client.
const POLL: Duration = Duration::from_millis(10);
/// Of what a client says this much is read.
const SAID: u64 = 64 << 10;

/// What became of one client.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    /// Its name.
    pub(crate) client: String,
    /// The program, where it is there.
    pub(crate) program: Option<PathBuf>,
    /// The last line it said, where it failed.
    pub(crate) said: String,
}

/// Tries all clients and prints a line of JSON for each.
pub(crate) fn run(host: &str) -> Result<ExitCode, Failure> {
    let folder = std::env::temp_dir().join("palisade-doctor");
    fs::create_dir_all(&folder)
        .map_err(|error| Failure::new(format!("make {}: {error}", folder.display())))?;
    for client in CLIENTS {
        let tried = try_client(client, host, &folder);
        println!("{}", serde_json::to_string(&tried)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn try_client(client: &Client, host: &str, folder: &Path) -> Tried {
    let mut tried = Tried {
        client: client.name.to_owned(),
        program: None,
        said: String::new(),
    };
    let Some(program) = find(client.program) else {
        return tried;
    };
    match outcome(client, host, &program, folder) {
        Ok((NOT_HERE, _)) => return tried,
        Ok((_, said)) => tried.said = last_line(&said),
        Err(error) => tried.said = error.to_string(),
    }
    tried.program = Some(program);
    tried
}

fn outcome(
    client: &Client,
    host: &str,
    program: &Path,
    folder: &Path,
) -> io::Result<(i32, String)> {
    let url = format!("https://{host}/{}", client.name);
    let fill = |text: &str| text.replace("{url}", &url).replace("{host}", host);
    if let Some((name, content)) = client.file {
        fs::write(folder.join(name), content)?;
    }
    // A file takes what the client says, so that a full pipe cannot stop it.
    let said = folder.join("said");
    let output = fs::File::create(&said)?;
    let mut child = Command::new(program)
        .args(client.arguments.iter().map(|argument| fill(argument)))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A client that ended already needs none.
        let _ = input.write_all(fill(client.input).as_bytes());
        wait(&mut child, input)?;
    }
    let status = child.wait()?.code().unwrap_or(-1);
    let mut text = Vec::new();
    fs::File::open(&said)?.take(SAID).read_to_end(&mut text)?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// Waits for its end, or makes one. Its input stays open until then: `openssl s_client` ends with it.
fn wait(child: &mut Child, input: impl Write) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() {
        if Instant::now() >= until {
            child.kill()?;
            break;
        }
        std::thread::sleep(POLL);
    }
    drop(input);
    Ok(())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// The line that tells most: of a stack of errors the last one that speaks of a certificate, else the last.
fn last_line(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = |line: &&str| {
        let line = line.to_ascii_lowercase();
        ["certificate", "x509", "ssl", "tls", "pkix"]
            .iter()
            .any(|word| line.contains(word))
    };
    let line = lines().rev().find(telling).or_else(|| lines().next_back());
    line.unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_line_is_shown() {
        assert_eq!(last_line("a\n\n  b  \n"), "b");
        assert_eq!(
            last_line("ssl.SSLError: no\nretrying\n"),
            "ssl.SSLError: no"
        );
        assert_eq!(last_line(""), "it said nothing");
    }
}
