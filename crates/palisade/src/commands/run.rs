//! `palisade run`: any command inside a boundary.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use palisade_boundary::Backend;
use palisade_config::Effective;
use palisade_credential::Credentials;
use palisade_gate::Summary;
use palisade_protocol::{TreeAccess, TreeEntry};
use palisade_session::{
    Changed, ContinueError, Handed, Outcome, Plan, Report, Request, RunError, SessionId,
};
use palisade_workspace::{Home, WorkspaceAccess, check_shown, locate};

use super::policy_options::{PolicyOptions, load};
use super::verify::Watched;
use crate::backends;
use crate::failure::{FAILED, Failure, NOT_EXECUTABLE, NOT_FOUND};
use crate::notices::Notices;
use crate::secrets;
use crate::surroundings::Surroundings;
use crate::terminal_text::{first_paths, harmless};

/// The hosts named in the line at the end. More are counted, and `palisade log` has them all.
const NAMED_HOSTS: usize = 3;

/// Run a command inside a boundary.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The agent's exit status passes through; 125 palisade failed, 126 not executable, 127 not found, \
128+N ended by signal N."
)]
pub(crate) struct Args {
    /// Say nothing unless palisade fails.
    #[arg(long, short)]
    quiet: bool,
    /// Go on with the undecided changes of an earlier session of this workspace (access review).
    #[arg(long = "continue", value_name = "SESSION")]
    go_on_from: Option<String>,
    /// Let the watch of this folder have the session stand still (used by `palisade verify --watch`).
    #[arg(long, hide = true, value_name = "DIR")]
    watch_folder: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(flatten)]
    policy: PolicyOptions,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    let policy = load(
        &args.policy,
        &here,
        args.command.first().map(OsString::as_os_str),
    )?;
    let credentials = secrets::credentials(&policy)?;
    let backend = backends::of_policy(&policy, &here)?;
    let watch = args.watch_folder.as_deref().map(Watched::new).transpose()?;
    let mut plan = match &watch {
        Some(watch) => watch.planned(&policy, &here, &args.command, &credentials)?,
        None => planned(&policy, &here, &args.command, &credentials)?,
    };
    let id = plan.id.clone();
    if let Some(earlier) = &args.go_on_from {
        go_on(&mut plan, &here, earlier)?;
    }
    if !args.quiet {
        say_before(&policy, &credentials, &*backend, &plan);
    }
    let notices = Notices::new();
    let handed = Handed {
        credentials,
        notices: notices.clone(),
        watch: watch.map(Into::into),
        served: false,
    };
    let report = palisade_session::run(plan, handed, &*backend, &here.state);
    notices.say_held();
    let report = report.map_err(|error| failed(&error))?;
    if let Outcome::NotStarted(errno) = report.outcome {
        return Err(not_started(&args.command[0], &here, policy.image(), errno));
    }
    Ok(finish(args.quiet, &id, &report))
}

/// The plan of a session of this command.
pub(super) fn planned(
    policy: &Effective,
    here: &Surroundings,
    command: &[OsString],
    credentials: &Credentials,
) -> Result<Plan, Failure> {
    planned_as(policy, here, command, command, &[], credentials)
}

/// The same of a command that something else starts, which is to be shown.
pub(super) fn planned_as(
    policy: &Effective,
    here: &Surroundings,
    command: &[OsString],
    argv: &[OsString],
    shown: &[(PathBuf, PathBuf)],
    credentials: &Credentials,
) -> Result<Plan, Failure> {
    let id = SessionId::new(SystemTime::now(), random());
    let image_path = backends::image_path(policy)?;
    let program = command.first().and_then(|name| lone_program(name, here));
    // What an image's programs are is the image's affair.
    let program = program.filter(|_| policy.image().is_none());
    let mut plan = Plan::new(
        id.clone(),
        &Request {
            policy,
            argv,
            environment: &here.environment(policy, &image_path),
            home: &here.home,
            current_dir: &here.current_dir,
            user: &backends::user_of(policy, here)?,
            program: program
                .as_ref()
                .map(|(found, real)| (found.as_path(), real.as_path())),
            image_path: &image_path,
            shown,
            own: &here.own_folders(),
            kept: &here.kept(&id),
            credentials,
        },
    )?;
    if let Some(program) = command.first() {
        plan.program = program.to_string_lossy().into_owned();
    }
    Ok(plan)
}

/// Lets the session start on what an earlier one changed.
fn go_on(plan: &mut Plan, here: &Surroundings, earlier: &str) -> Result<(), Failure> {
    let unknown = || {
        Failure::new(format!(
            "`{}` is not the name of a session",
            harmless(earlier)
        ))
    };
    let earlier = SessionId::parse(earlier)
        .ok_or_else(|| unknown().hint("`palisade sessions` lists them"))?;
    plan.go_on(&here.state, &earlier).map_err(|error| {
        let hint = match &error {
            ContinueError::State(_) | ContinueError::None(_) => {
                "`palisade sessions` shows which have pending changes"
            }
            ContinueError::Runs(_) => "wait for its end, or start without --continue",
            ContinueError::Workspace { .. } => "start in that folder, or name it with --workspace",
            ContinueError::Access(_) => "add `--access review`",
            ContinueError::Busy(_) => "wait for it, or finish it with `palisade apply --resume`",
        };
        Failure::new(&error).hint(hint)
    })
}

/// A session that could not be run, with what to do about it.
pub(super) fn failed(error: &RunError) -> Failure {
    let failure = Failure::new(error);
    match error.fix() {
        Some(fix) => failure.hint(harmless(fix)),
        None => failure,
    }
}

/// What the person should know before the agent runs.
pub(super) fn say_before(
    policy: &Effective,
    credentials: &Credentials,
    backend: &dyn Backend,
    plan: &Plan,
) {
    say_notes(policy);
    say_missing(credentials);
    say_accepted(policy, backend, plan);
    say_writable_program(plan);
    say_foreign_owner(plan);
}

fn say_notes(policy: &Effective) {
    if let Some(profile) = policy.known_agent {
        eprintln!(
            "palisade: no policy found, using the built-in profile {profile} (`palisade explain --profile {profile}`)"
        );
    }
    for note in &policy.notes {
        eprintln!("palisade: note: {}", harmless(note));
    }
}

/// A credential whose variable is not set may never be needed, so the session starts; but the person may have forgotten it.
fn say_missing(credentials: &Credentials) {
    for error in credentials.missing() {
        eprintln!("palisade: note: {}", harmless(&error.to_string()));
    }
}

/// What is held less well here is said each time, although it was accepted. Nothing is looked at where nothing was.
fn say_accepted(policy: &Effective, backend: &dyn Backend, plan: &Plan) {
    if policy.accept_weaker.is_empty() {
        return;
    }
    let held = plan.held(backend);
    let weaker = held.iter().filter(|held| held.weakness().is_some());
    let weaker: Vec<String> = weaker
        .filter_map(|held| Some((held.assessment.control, held.accepted.as_ref()?)))
        .map(|(control, source)| format!("{control} (accepted by {})", harmless(source.as_str())))
        .collect();
    if !weaker.is_empty() {
        eprintln!(
            "palisade: note: weaker on the {} boundary here: {}; `palisade plan` says why",
            backend.name(),
            weaker.join(", ")
        );
    }
}

/// An overlay copies a file to where changes land before it is changed, and cannot give the copy to somebody who does not
/// exist inside. Run by root, the workspace's owner is mapped to the agent.
fn say_foreign_owner(plan: &Plan) {
    let overlay = matches!(
        plan.access,
        WorkspaceAccess::Scratch | WorkspaceAccess::Review
    );
    let Ok(found) = std::fs::metadata(&plan.workspace) else {
        return;
    };
    let agent = &plan.spec.identity;
    let by_root = rustix::process::geteuid().is_root();
    let foreign = (found.uid(), found.gid()) != (agent.host_uid, agent.host_gid);
    if overlay && foreign && !by_root {
        eprintln!(
            "palisade: note: {} is not of your user and group ({}:{}); with access \"{}\", files that are not can be read and not changed \
             (`sg GROUP -c COMMAND` starts palisade as that group)",
            harmless(&plan.workspace.display().to_string()),
            found.uid(),
            found.gid(),
            plan.access,
        );
    }
}

/// An agent that can replace palisade's program decides how the next session goes. Somebody who works on palisade
/// itself has it in the workspace, so this is said, not refused.
fn say_writable_program(plan: &Plan) {
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let writable = |entry: &TreeEntry| matches!(entry, TreeEntry::Bind { source, access: TreeAccess::Write, .. } if program.starts_with(source));
    if plan.spec.tree.iter().any(writable) {
        eprintln!(
            "palisade: note: the agent can change palisade's own program, {}",
            harmless(&program.display().to_string())
        );
    }
}

/// Says what is to be said at the end, and yields the status to pass on.
pub(super) fn finish(quiet: bool, id: &SessionId, report: &Report) -> ExitCode {
    if !quiet {
        if let Outcome::Killed(_, Some(limit)) = &report.outcome {
            eprintln!("palisade: {limit}");
        }
        say_to_look_at(&report.to_look_at);
        if let Some(line) = denied_line(id, &report.gate) {
            eprintln!("{line}");
        }
        if let Some(changed) = &report.changed {
            eprintln!("{}", changed_line(id, changed));
        }
    }
    ExitCode::from(u8::try_from(report.outcome.status()).unwrap_or(FAILED))
}

/// What the agent may have left for the host to run is named before the person's next command runs it.
fn say_to_look_at(paths: &[PathBuf]) {
    if paths.is_empty() {
        return;
    }
    eprintln!(
        "palisade: new in this session, and run or obeyed by programs of yours: {}; look at it first (`access = \"review\"` would have held it back)",
        first_paths(paths)
    );
}

/// The one line at the end, when something was refused.
fn denied_line(id: &SessionId, gate: &Summary) -> Option<String> {
    if gate.denied == 0 {
        return None;
    }
    let mut hosts: Vec<String> = gate
        .denied_hosts
        .iter()
        .take(NAMED_HOSTS)
        .map(|denied| match denied.count {
            1 => harmless(&denied.host),
            count => format!("{} ({count} times)", harmless(&denied.host)),
        })
        .collect();
    let more = gate.denied_hosts.len().saturating_sub(NAMED_HOSTS) as u64
        + u64::from(gate.denied_elsewhere > 0);
    if more > 0 {
        hosts.push("and others".into());
    }
    let requests = if gate.denied == 1 {
        "1 request"
    } else {
        &format!("{} requests", gate.denied)
    };
    Some(format!(
        "palisade: denied {requests}: {}; see `palisade log {id} --denied`",
        hosts.join(", ")
    ))
}

/// The one line at the end, when something waits for review.
fn changed_line(id: &SessionId, changed: &Changed) -> String {
    match changed {
        Changed::Paths { files, folders } => {
            let (count, what) = match (files, folders) {
                (0, 1) => (1, "folder"),
                (0, folders) => (*folders, "folders"),
                (1, _) => (1, "file"),
                (files, _) => (*files, "files"),
            };
            format!("palisade: {count} {what} changed; see `palisade review {id}`")
        }
        Changed::Unreadable(why) => format!(
            "palisade: the changes of the session are kept, and cannot be counted: {}",
            harmless(why)
        ),
    }
}

/// Says why the agent's program did not start. The usual reason is that it lies where the policy shows nothing.
pub(super) fn not_started(
    program: &OsStr,
    here: &Surroundings,
    image: Option<&str>,
    errno: i32,
) -> Failure {
    let shown = harmless(&program.to_string_lossy());
    let cause = std::io::Error::from_raw_os_error(errno);
    if rustix::io::Errno::from_raw_os_error(errno) != rustix::io::Errno::NOENT {
        return Failure::new(format!(
            "`{shown}` cannot be executed inside the boundary: {cause}"
        ))
        .code(NOT_EXECUTABLE);
    }
    let failure =
        Failure::new(format!("`{shown}` was not found inside the boundary")).code(NOT_FOUND);
    if let Some(image) = image {
        let image = harmless(image);
        return failure.hint(format!(
            "the image {image} does not have it where PATH says: name its path, use another image, or show it (`read` under [filesystem])"
        ));
    }
    // The folder to show is the one the program really lies in, not the one a link to it lies in.
    match find_on_host(program, here).map(|path| path.canonicalize().unwrap_or(path)) {
        Some(path) => {
            let folder = path
                .parent()
                .unwrap_or(Path::new("/"))
                .display()
                .to_string();
            failure.hint(format!(
                "on this machine it is {}, which the policy does not show: add `read = [\"{}\"]` under [filesystem], or use a profile that does",
                harmless(&path.display().to_string()),
                harmless(&folder),
            ))
        }
        None => failure
            .hint("it is not on this machine's PATH either: check the spelling, or install it"),
    }
}

/// The program on the host, if it is one that runs on its own: a script needs what lies beside it, and showing only the
/// script would end in a riddle.
fn lone_program(program: &OsStr, here: &Surroundings) -> Option<(PathBuf, PathBuf)> {
    let found = find_on_host(program, here)?;
    // Without `..` in it, and yet by the name it was called by.
    let found = found
        .parent()?
        .canonicalize()
        .ok()?
        .join(found.file_name()?);
    let found = locate(&found).ok()?;
    // The rules for what a policy may show hold here too: nothing of `/proc`, `/dev` or the host's services.
    check_shown(&found, &Home::new(&here.home), false).ok()?;
    let mut magic = [0; 4];
    File::open(&found.real).ok()?.read_exact(&mut magic).ok()?;
    (magic == *b"\x7fELF").then_some((found.written, found.real))
}

/// Where the host has the program, absolute.
fn find_on_host(program: &OsStr, here: &Surroundings) -> Option<PathBuf> {
    let named = Path::new(program);
    if named.components().count() > 1 {
        let path = here.current_dir.join(named);
        return path.is_file().then_some(path);
    }
    let path = std::env::var_os("PATH")?;
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    folders
        .map(|folder| folder.join(named))
        .find(|path| path.is_file())
}

/// Only keeps two sessions that start in the same second apart, so a failure of the kernel's source is no failure here.
fn random() -> u32 {
    let mut bytes = [0u8; 4];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(4) => u32::from_ne_bytes(bytes),
        _ => std::process::id(),
    }
}
