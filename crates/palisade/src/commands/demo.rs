//! `palisade demo`: a misbehaving agent, first outside, then inside. Needs nothing but the kernel.
//!
//! The agent is this binary itself in a hidden mode, the upstream is a thread of it, and every secret it goes for is
//! a decoy made for the purpose in a temporary folder.

mod agent;
mod upstream;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::failure::{Failure, NO};
use crate::terminal_text::{Palette, harmless};
use agent::{Attempt, Finding, Outcome};
use upstream::Upstream;

/// Run a misbehaving agent inside a boundary and show what becomes of each attempt.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Be the misbehaving agent (used by the demo itself).
    #[arg(long, hide = true, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Keep the temporary folder and say where it is.
    #[arg(long)]
    keep: bool,
    /// Show it although this machine holds a control less well than its words say, such as landlock.
    #[arg(long, value_name = "CONTROL")]
    accept_weaker: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if let Some(plan) = &args.agent {
        return agent::run(plan);
    }
    let stage = Stage::new().map_err(|error| Failure::new(format!("prepare the demo: {error}")))?;
    let findings = stage.play(&args.accept_weaker);
    if args.keep {
        println!("\nkept: {}", stage.folder.display());
    } else {
        // A folder that cannot be removed holds decoys only.
        let _ = fs::remove_dir_all(&stage.folder);
    }
    let (outside, inside) = findings?;
    Ok(if print(&outside, &inside) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NO)
    })
}

/// The decoys, the policy and the upstream.
struct Stage {
    folder: PathBuf,
    executable: PathBuf,
    upstream: Upstream,
}

impl Stage {
    fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir()
            .canonicalize()?
            .join(format!("palisade-demo-{}", std::process::id()));
        let home = folder.join("home");
        fs::create_dir(&folder)?;
        for made in ["home/.ssh", "home/.aws", "home/project", "outside"] {
            fs::create_dir_all(folder.join(made))?;
        }
        fs::write(
            home.join(".ssh/id_ed25519"),
            "-----BEGIN DECOY KEY-----\nmade by palisade demo\n",
        )?;
        fs::write(
            home.join(".aws/credentials"),
            "[default]\naws_secret_access_key = decoy-made-by-palisade-demo\n",
        )?;
        Ok(Self {
            folder,
            executable: std::env::current_exe()?.canonicalize()?,
            upstream: Upstream::start()?,
        })
    }

    fn play(&self, accepted: &[String]) -> Result<(Vec<Finding>, Vec<Finding>), Failure> {
        let policy = self.folder.join("policy.toml");
        fs::write(&policy, self.policy())
            .map_err(|error| Failure::new(format!("write the demo's policy: {error}")))?;
        let outside = self.attempts(false);
        let inside = self.attempts(true);
        let mut command = Command::new(&self.executable);
        let control = self.run_agent(&mut command, &outside)?;
        let mut command = Command::new(&self.executable);
        command
            .args(["run", "--quiet", "--policy"])
            .arg(&policy)
            .args(accepted.iter().flat_map(|name| ["--accept-weaker", name]))
            .arg("--")
            .arg(&self.executable);
        let found = self.run_agent(&mut command, &inside)?;
        Ok((control, found))
    }

    /// Runs the agent in its project folder, with a decoy home, and collects what it says.
    fn run_agent(
        &self,
        command: &mut Command,
        attempts: &[Attempt],
    ) -> Result<Vec<Finding>, Failure> {
        let home = self.folder.join("home");
        let plan = home.join("project/attempts.json");
        let written = serde_json::to_vec(attempts)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&plan, text));
        written.map_err(|error| Failure::new(format!("write the demo's plan: {error}")))?;
        let output = command
            .args(["demo", "--agent"])
            .arg(&plan)
            .current_dir(home.join("project"))
            .env("HOME", &home)
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env("DEMO_SECRET", "decoy")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Failure::new(format!("start the demo's agent: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!(
                "the demo's agent ended with {}:\n{}",
                output.status,
                said.trim()
            ))
            .hint("`palisade doctor` says what this machine lacks"));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::new(format!("read the demo's findings: {error}")))
    }

    fn policy(&self) -> String {
        let quoted = |path: &Path| toml_string(&path.to_string_lossy());
        format!(
            "version = 1\n\n[filesystem]\naccess = \"write\"\nread = [{}]\n\n[network]\nresolve = {{ \"allowed.example:80\" = \"{}\" }}\n\n[[network.allow]]\nhost = \"allowed.example\"\nports = [80]\n",
            quoted(&self.executable),
            self.upstream.http,
        )
    }

    /// The same attempts twice. Outside, where an attempt would touch the real network, its control is the same code
    /// against the demo's own upstream.
    fn attempts(&self, inside: bool) -> Vec<Attempt> {
        let home = self.folder.join("home");
        let own = self.upstream.http.to_string();
        let url = |inner: &str| {
            if inside {
                inner.to_owned()
            } else {
                own.clone()
            }
        };
        let file = |path: PathBuf| path.to_string_lossy().into_owned();
        vec![
            Attempt::read("read ~/.ssh/id_ed25519", file(home.join(".ssh/id_ed25519"))),
            Attempt::read(
                "read ~/.aws/credentials",
                file(home.join(".aws/credentials")),
            ),
            Attempt::variable("read a secret from the environment", "DEMO_SECRET"),
            Attempt::write(
                "write a file outside the project",
                file(self.folder.join("outside/planted")),
            ),
            Attempt::write(
                "write a file inside the project",
                file(home.join("project/made")),
            )
            .permitted(),
            Attempt::http(
                "call a service on this machine's loopback",
                own.clone(),
                "loopback.example",
            ),
            Attempt::http("call a raw IP address", url("192.0.2.10:80"), "192.0.2.10"),
            Attempt::http(
                "call the metadata address",
                url("169.254.169.254:80"),
                "169.254.169.254",
            ),
            Attempt::http(
                "call a host no rule names, ignoring the proxy",
                url("exfil.example:80"),
                "exfil.example",
            ),
            Attempt::dns(
                "ask a foreign DNS server",
                if inside {
                    "203.0.113.53:53".into()
                } else {
                    self.upstream.dns.to_string()
                },
            ),
            Attempt::http(
                "call an allowed URL, ignoring the proxy",
                url("allowed.example:80"),
                "allowed.example",
            )
            .permitted(),
            Attempt::proxy(
                "call an allowed URL through the proxy",
                if inside { "proxy".into() } else { own.clone() },
                "allowed.example",
            )
            .permitted(),
        ]
    }
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|c| {
            if matches!(c, '"' | '\\') {
                vec!['\\', c]
            } else {
                vec![c]
            }
        })
        .collect();
    format!("\"{escaped}\"")
}

/// Prints the table and says whether all went as it must.
fn print(outside: &[Finding], inside: &[Finding]) -> bool {
    let palette = Palette::for_stdout();
    println!(
        "A misbehaving agent, run twice: outside (the control) and inside a palisade boundary.\n"
    );
    println!(
        "  {:<46} {:<26} {}",
        palette.strong("attempt"),
        palette.strong("outside"),
        palette.strong("inside")
    );
    let mut all_good = outside.len() == inside.len();
    for (control, found) in outside.iter().zip(inside) {
        let control_worked = control.outcome == Outcome::Succeeded;
        let as_it_must = (found.outcome == Outcome::Succeeded) == found.permitted;
        all_good &= control_worked && as_it_must;
        let mark = match (as_it_must && control_worked, found.permitted) {
            (true, true) => palette.good("allowed"),
            (true, false) => palette.good("blocked"),
            (false, _) => palette.bad("WRONG  "),
        };
        println!(
            "  {:<46} {:<26} {mark} {}",
            found.what,
            harmless(&control.detail),
            palette.faint(&harmless(&found.detail))
        );
    }
    let stopped = inside
        .iter()
        .filter(|f| !f.permitted && f.outcome == Outcome::Failed)
        .count();
    if all_good {
        println!(
            "\n{stopped} attempts blocked, every permitted action worked. `palisade run -- COMMAND` does this for any agent."
        );
    } else {
        println!("\n{}", palette.bad("Something is wrong: an attempt got through, or a control did not work. Do not rely on this machine."));
    }
    all_good
}
