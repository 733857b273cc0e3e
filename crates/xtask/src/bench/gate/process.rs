//! A process on a core of its own, and what it costs.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::shell::{self, Done};

/// Whatever stands between.
pub(super) const PROXY: &str = "0";
/// Load and origin.
pub(super) const ENDS: &str = "1";
/// Clock ticks a second in /proc/PID/stat, the same on every Linux port in use.
const TICKS: f64 = 100.0;
/// How long a server may take to listen.
const START: Duration = Duration::from_secs(20);

/// A command pinned to a core, ahead of whatever else the machine does where this user may ask for that. It ends with the
/// bench, however that ends.
pub(super) fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if shell::is_root() {
        command.args(["chrt", "--rr", "10"]);
    }
    command.args(["taskset", "-c", core]).arg(program);
    command
}

/// A server. It is ended when dropped.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts one that prints a line of JSON once it listens, and ends when its standard input does.
    pub(super) fn announced(command: &mut Command) -> Done<(Self, Value)> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("start {command:?}: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).ok();
        }
        let own = Self { child };
        let said = serde_json::from_str(&line).map_err(|_| format!("{command:?} says {line:?}"))?;
        Ok((own, said))
    }

    /// Starts one that says nothing, and waits until its port answers.
    pub(super) fn listening(command: &mut Command, port: u16, log: &Path) -> Done<Self> {
        let failed = |error| format!("start {command:?}: {error}");
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command
            .spawn()
            .map_err(|error| format!("start {command:?}: {error}"))?;
        let mut own = Self { child };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = own.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || started.elapsed() > START {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{command:?} does not listen:\n{said}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(own)
    }

    /// Seconds of processor time so far, its helpers included.
    pub(super) fn processor(&self) -> f64 {
        let all = tree(self.child.id());
        all.into_iter().map(|id| processor(id).unwrap_or(0.0)).sum()
    }

    /// MiB resident, its helpers included.
    pub(super) fn resident(&self) -> f64 {
        let all = tree(self.child.id());
        all.into_iter().map(|id| resident(id).unwrap_or(0.0)).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Helpers first: they would outlive the one that started them.
        for id in tree(self.child.id()).into_iter().skip(1) {
            Command::new("kill").arg(id.to_string()).status().ok();
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The process and all below it.
fn tree(id: u32) -> Vec<u32> {
    let mut all = vec![id];
    let mut at = 0;
    while let Some(id) = all.get(at) {
        let list = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        all.extend(
            list.unwrap_or_default()
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
        at += 1;
    }
    all
}

fn processor(id: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

fn resident(id: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}

/// Runs a command that prints one line of JSON and ends.
pub(super) fn figures(command: &mut Command) -> Done<Value> {
    let done = command.stdin(Stdio::null()).stderr(Stdio::piped()).output();
    let done = done.map_err(|error| format!("start {command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&done.stdout);
    serde_json::from_str(&text).map_err(|_| {
        format!(
            "{command:?}: {text}{}",
            String::from_utf8_lossy(&done.stderr)
        )
    })
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Done<u16> {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| format!("find a port: {error}"))
}

/// How busy the machine was over the last minute.
pub(super) fn machine_load() -> String {
    let mut text = String::new();
    File::open("/proc/loadavg")
        .and_then(|mut file| file.read_to_string(&mut text))
        .ok();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}
