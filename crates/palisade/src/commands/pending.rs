//! The session whose changes a person decides about: found by name, opened, read.

pub(crate) mod ask;
mod contents;
mod examine;
pub(crate) mod git;
pub(crate) mod show;
mod spellings;
pub(crate) mod summary;

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use palisade_session::{SessionId, SessionRecord, StateDir};
use palisade_workspace::changes::{ChangeSet, Pending};
use palisade_workspace::review::Except;

pub(crate) use contents::Body;
pub(crate) use examine::{Entry, Examined, Lines};

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{harmless, harmless_bytes, harmless_path};

/// Sessions named in a message; more are counted.
const MOST_NAMED: usize = 5;

/// What a command line names: perhaps a session, and paths of its workspace.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The session, by its name, the day and time in it or its last letters, and paths: only what lies there [default: the newest session with
    /// changes of this folder, and all of them].
    #[arg(value_name = "SESSION] [PATH")]
    named: Vec<OsString>,
    /// Paths that could be taken for the name of a session.
    #[arg(last = true, value_name = "PATH")]
    paths: Vec<OsString>,
}

/// A session that has ended, and its changes, not read yet.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) id: SessionId,
    pub(crate) record: SessionRecord,
    pub(crate) folder: PathBuf,
    pub(crate) pending: Pending,
    paths: Vec<PathBuf>,
    /// What was taken for a part of its name.
    part: Option<PathBuf>,
}

/// What the arguments mean.
struct Meant<'a> {
    record: SessionRecord,
    part: Option<&'a str>,
    paths: Vec<&'a OsStr>,
}

/// A session and what it changed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) record: SessionRecord,
    pub(crate) folder: PathBuf,
    pub(crate) pending: Pending,
    pub(crate) set: ChangeSet,
    /// From the workspace's root; none for all.
    pub(crate) paths: Vec<PathBuf>,
    except: Except,
}

impl Which {
    /// Finds the session; nothing if none has pending changes, which is said.
    pub(crate) fn locate(&self, here: &Surroundings) -> Result<Option<Located>, Failure> {
        let Some(meant) = self.find(here)? else {
            eprintln!("palisade: no session has pending changes");
            return Ok(None);
        };
        let record = meant.record;
        let id = SessionId::parse(&record.id)
            .ok_or_else(|| Failure::new("the session's record holds an impossible name"))?;
        if here.state.running(&id) {
            return Err(Failure::new(format!("session {id} is running"))
                .hint("its changes can be decided about when it has ended"));
        }
        let Some(pending) = here.state.pending(&record)? else {
            say_nothing(&record);
            return Ok(None);
        };
        let path = |typed: &OsStr| in_workspace(typed, &record.workspace, here);
        Ok(Some(Located {
            paths: meant
                .paths
                .into_iter()
                .map(path)
                .collect::<Result<_, _>>()?,
            part: meant.part.map(OsStr::new).and_then(|part| path(part).ok()),
            folder: here.state.changes(&id),
            id,
            record,
            pending,
        }))
    }

    fn find(&self, here: &Surroundings) -> Result<Option<Meant<'_>>, Failure> {
        let sessions = here.state.sessions()?;
        let meant = |record: &SessionRecord, part, from: usize| {
            let named = self.named[from..].iter().chain(&self.paths);
            let (record, paths) = (record.clone(), named.map(OsString::as_os_str).collect());
            Ok(Some(Meant {
                record,
                part,
                paths,
            }))
        };
        if let Some(first) = self.named.first().and_then(|first| first.to_str()) {
            if let Some(exact) = sessions.iter().find(|session| session.id == first) {
                return meant(exact, None, 1);
            }
            let fits = sessions.iter().filter(|session| fits(&session.id, first));
            // What is also a file stands for the file.
            let is_file = here.current_dir.join(first).symlink_metadata().is_ok();
            match fits.collect::<Vec<_>>().as_slice() {
                _ if is_file => {}
                [one] => return meant(one, Some(first), 1),
                several @ [_, _, ..] => return Err(ambiguous(first, several)),
                [] if reads_as_session(first) => {
                    return Err(unknown(first, &here.state, &sessions));
                }
                [] => {}
            }
        }
        match newest(here, &sessions) {
            Some(record) => meant(&record, None, 0),
            None => Ok(None),
        }
    }
}

impl Located {
    /// Whether only a part of the changes is meant.
    pub(crate) fn names_paths(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Reads the changes; nothing if there are none, which is said.
    pub(crate) fn read(
        self,
        here: &Surroundings,
        except: Except,
    ) -> Result<Option<Session>, Failure> {
        let set = self.pending.read().map_err(|error| {
            let hint = format!(
                "`palisade discard {} --unread` throws all of them away without looking",
                self.id
            );
            Failure::new(error).hint(hint)
        })?;
        if set.is_empty() {
            say_nothing(&self.record);
            return Ok(None);
        }
        if let Some(part) = self.part.filter(|part| set.get(part).is_some()) {
            // The agent names its files, and may know its session's name.
            let part = harmless_path(&part);
            let message =
                format!("`{part}` is a part of a session's name, and a path that it changed");
            let hint = format!(
                "write `{}` for the session, or `-- {part}` for the path",
                self.id
            );
            return Err(Failure::new(message).hint(hint));
        }
        let session = Session {
            set,
            id: self.id,
            record: self.record,
            folder: self.folder,
            pending: self.pending,
            paths: self.paths,
            except,
        };
        session.check_paths(&here.state)?;
        Ok(Some(session))
    }
}

impl Session {
    /// Whether a path was meant by the command line.
    pub(crate) fn means(&self, path: &Path) -> bool {
        let below = |meant: &PathBuf| path.starts_with(meant);
        (self.paths.is_empty() || self.paths.iter().any(below)) && !self.except.fits(path)
    }

    /// A path with nothing below it is a mistake, and must not look like a decision.
    fn check_paths(&self, state: &StateDir) -> Result<(), Failure> {
        let refused = self.set.refused();
        let nothing = self.paths.iter().find(|path| {
            self.set.at_or_below(path).is_empty()
                && !refused.iter().any(|refused| refused.path.starts_with(path))
        });
        let Some(path) = nothing else { return Ok(()) };
        let message = format!(
            "session {} changed nothing at {}",
            self.id,
            harmless_path(path)
        );
        let sessions = state.sessions()?;
        Err(Failure::new(message).hint(pending_names(state, &sessions)))
    }
}

fn say_nothing(record: &SessionRecord) {
    match &record.continued_by {
        Some(next) => eprintln!(
            "palisade: the changes of session {} went on to session {}",
            record.id,
            harmless(next)
        ),
        None => eprintln!("palisade: session {} has no pending changes", record.id),
    }
}

/// The newest with changes of the folder the person is in, or of any.
fn newest(here: &Surroundings, sessions: &[SessionRecord]) -> Option<SessionRecord> {
    let pending = || {
        let newest_first = sessions.iter().rev();
        newest_first.filter(|record| here.state.has_pending(record))
    };
    let mut of_this = pending().filter(|s| here.current_dir.starts_with(&s.workspace));
    of_this.next().or_else(|| pending().next()).cloned()
}

/// A path of the command line, from the workspace's root. Not resolved: a link in the workspace may be the agent's.
fn in_workspace(typed: &OsStr, workspace: &Path, here: &Surroundings) -> Result<PathBuf, Failure> {
    let inside = here.current_dir.starts_with(workspace);
    let from = if inside { &here.current_dir } else { workspace };
    let mut path = PathBuf::new();
    for part in from.join(typed).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path.strip_prefix(workspace)
        .map(Path::to_owned)
        .map_err(|_| {
            let typed = harmless_bytes(typed.as_encoded_bytes());
            Failure::new(format!(
                "{typed} is not in the workspace {}",
                harmless_path(workspace)
            ))
            .hint("name a path below it")
        })
}

/// Whether a person means a session by this part of its name: its day and as much of the time as they like, or the letters
/// at its end. Any other part may as well be a file's name, and a decision about another path than the one meant must
/// not happen.
fn fits(id: &str, part: &str) -> bool {
    let end = id.rsplit('-').next();
    (reads_as_session(part) && id.starts_with(part)) || end == Some(part)
}

/// `20261123`, `20261123-0315`: nobody names a file so.
fn reads_as_session(text: &str) -> bool {
    let (day, time) = text.split_at_checked(8).unwrap_or_default();
    day.len() == 8
        && day.bytes().all(|b| b.is_ascii_digit())
        && (time.is_empty() || time.starts_with('-'))
}

fn ambiguous(part: &str, fits: &[&SessionRecord]) -> Failure {
    let names: Vec<_> = fits
        .iter()
        .rev()
        .take(MOST_NAMED)
        .map(|s| s.id.as_str())
        .collect();
    let message = format!(
        "`{}` fits {} sessions: {}",
        harmless(part),
        fits.len(),
        names.join(", ")
    );
    Failure::new(message).hint("write more of the name, or `-- PATH` if it is a path")
}

fn unknown(name: &str, state: &StateDir, sessions: &[SessionRecord]) -> Failure {
    Failure::new(format!("no session is named `{}`", harmless(name)))
        .hint(pending_names(state, sessions))
}

fn pending_names(state: &StateDir, sessions: &[SessionRecord]) -> String {
    let pending = sessions
        .iter()
        .rev()
        .filter(|record| state.has_pending(record));
    let names: Vec<_> = pending.map(|record| record.id.as_str()).collect();
    match names.split_at_checked(MOST_NAMED) {
        _ if names.is_empty() => "no session has pending changes".into(),
        Some((first, more @ [_, ..])) => {
            format!(
                "sessions with pending changes: {}, and {} more",
                first.join(", "),
                more.len()
            )
        }
        _ => format!("sessions with pending changes: {}", names.join(", ")),
    }
}
