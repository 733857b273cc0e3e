//! `palisade apply --branch`: the changes as a commit on a new branch. The working tree, the index and the checked-out
//! branch stay as they are.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use palisade_workspace::changes::{Change, ChangeKind};
use palisade_workspace::review::{Contents, in_patch};

use crate::commands::pending::Session;
use crate::commands::pending::git::{Repository, failed, not_started, run};
use crate::commands::review::is_folder;
use crate::failure::Failure;
use crate::terminal_text::{harmless, harmless_path};

/// Before a path, so that it is nothing else.
const CURRENT: &[u8] = b"./";

/// What became of the changes.
#[derive(Debug)]
pub(super) struct Committed {
    /// The commit.
    pub(super) id: String,
    /// How many files it changes.
    pub(super) files: usize,
    /// How many were left out, and why.
    pub(super) left_out: Vec<LeftOut>,
}

/// How many, and why.
type LeftOut = (usize, &'static str);

/// Makes the commit and the branch.
pub(super) fn commit(
    session: &Session,
    name: &str,
    message: &str,
    all_links: bool,
) -> Result<Committed, Failure> {
    let repository = Repository::of(&session.record.workspace)?;
    let reference = new_branch(&repository, name)?;
    let parent = head(&repository);
    let (changes, left_out) = committed(session, &repository, all_links)?;
    if changes.is_empty() {
        return Err(Failure::new("none of the changes can be in a commit"));
    }
    let index = Index::new(session)?;
    let start = parent.as_deref().unwrap_or("--empty");
    run(index.git(&repository).args(["read-tree", start]))?;
    let listing = listing(session, &repository, &changes)?;
    feed(
        index
            .git(&repository)
            .args(["update-index", "-z", "--index-info"]),
        &listing,
    )?;
    let tree = line(run(index.git(&repository).arg("write-tree"))?);
    let unchanged = parent.as_ref().is_some_and(|parent| {
        let mut git = repository.command();
        let found = run(git.args(["rev-parse", "--verify", &format!("{parent}^{{tree}}")]));
        found.is_ok_and(|found| line(found) == tree)
    });
    if unchanged {
        return Err(Failure::new("nothing differs from the last commit"));
    }
    let mut commit = repository.command();
    commit.args(["commit-tree", &tree, "-m", message]);
    if let Some(parent) = &parent {
        commit.args(["-p", parent]);
    }
    let id = line(run(&mut commit)?);
    // All zeros: only if there is no such branch, also not since it was looked for.
    let mut update = repository.command();
    run(update.args([
        "update-ref",
        "-m",
        "palisade apply --branch",
        &reference,
        &id,
        &repository.no_object(),
    ]))?;
    Ok(Committed {
        id,
        files: changes.len(),
        left_out,
    })
}

/// The full name of a branch that does not exist yet.
fn new_branch(repository: &Repository, name: &str) -> Result<String, Failure> {
    let reference = format!("refs/heads/{name}");
    let valid = run(repository.command().args(["check-ref-format", &reference]));
    if name.starts_with('-') || valid.is_err() {
        return Err(Failure::new(format!(
            "`{}` is no name for a branch",
            harmless(name)
        )));
    }
    let mut exists = repository.command();
    if run(exists.args(["show-ref", "--verify", "--quiet", &reference])).is_ok() {
        return Err(
            Failure::new(format!("there is a branch `{}` already", harmless(name)))
                .hint("choose another name; palisade never moves a branch"),
        );
    }
    Ok(reference)
}

/// The commit the new one follows; none in a repository without commits.
fn head(repository: &Repository) -> Option<String> {
    let mut git = repository.command();
    run(git.args(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]))
        .ok()
        .map(line)
}

/// The changes that a commit can hold, and what is left out.
fn committed<'s>(
    session: &'s Session,
    repository: &Repository,
    all_links: bool,
) -> Result<(Vec<&'s Change>, Vec<LeftOut>), Failure> {
    let meant = session
        .set
        .changes()
        .iter()
        .filter(|change| session.means(&change.path));
    let files = meant.filter(|change| !is_folder(change));
    let (files, own): (Vec<_>, Vec<_>) = files.partition(|change| in_patch(&change.path));
    // As where they would land in files: named, or forced.
    let leads_out = |change: &&Change| {
        let named = all_links || session.paths.contains(&change.path);
        !named && change.leaves_tree(&session.record.workspace)
    };
    let (out, files): (Vec<_>, Vec<_>) = files.into_iter().partition(leads_out);
    let modules = submodules(repository)?;
    let in_module = |c: &&Change| modules.iter().any(|module| c.path.starts_with(module));
    let (inner, files): (Vec<_>, Vec<_>) = files.into_iter().partition(in_module);
    let ignored = ignored(session, repository, &files)?;
    let (hidden, files): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|c| ignored.contains(&c.path));
    let left_out = [
        (own.len(), "of git's own files"),
        (
            out.len(),
            "links that lead out of the workspace, and were not named",
        ),
        (inner.len(), "in a submodule"),
        (hidden.len(), "that git ignores"),
    ];
    let left_out = left_out
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .collect();
    Ok((files, left_out))
}

/// Folders of the workspace that are repositories of their own.
fn submodules(repository: &Repository) -> Result<Vec<PathBuf>, Failure> {
    let entries = run(repository.command().args(["ls-files", "--stage", "-z"]))?;
    let entries = entries.split(|byte| *byte == 0);
    let modules = entries.filter(|entry| entry.starts_with(b"160000 "));
    // `MODE ID STAGE<tab>PATH`, the path from the workspace.
    let path = |entry: &[u8]| {
        let at = entry.iter().position(|byte| *byte == b'\t')?;
        Some(path_of(&entry[at + 1..]))
    };
    Ok(modules.filter_map(path).collect())
}

/// Which of these git would not add by itself. It takes what is tracked for not ignored.
fn ignored(
    session: &Session,
    repository: &Repository,
    changes: &[&Change],
) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut list = Vec::new();
    // Git refuses to look behind a link, which is what the host still has there.
    let behind_link = |path: &Path| {
        let mut above = path
            .ancestors()
            .skip(1)
            .filter_map(|above| session.set.get(above));
        above.any(|change| change.kind == ChangeKind::Type)
    };
    for change in changes.iter().filter(|change| !behind_link(&change.path)) {
        // A name that begins with a colon would be read as more than a name.
        list.extend_from_slice(CURRENT);
        list.extend_from_slice(change.path.as_os_str().as_encoded_bytes());
        list.push(0);
    }
    if list.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut git = repository.command();
    git.args(["check-ignore", "-z", "--stdin"]);
    // 1: none is ignored.
    let said = feed_any(&mut git, &list, &[0, 1])?;
    let paths = said.split(|byte| *byte == 0);
    let paths = paths.filter_map(|path| path.strip_prefix(CURRENT));
    Ok(paths.map(path_of).collect())
}

/// What `git update-index --index-info` reads: removals first, so that a file can take a folder's place.
fn listing(
    session: &Session,
    repository: &Repository,
    changes: &[&Change],
) -> Result<Vec<u8>, Failure> {
    let mut objects = Objects::start(repository)?;
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let none = repository.no_object();
    for change in changes {
        let path = repository.path(&change.path);
        let [before, after] = session.versions(change);
        if before.is_some() {
            gone.extend_from_slice(format!("0 {none}\t").as_bytes());
            gone.extend_from_slice(&path);
            gone.push(0);
        }
        let Some(after) = after else { continue };
        let version = after.version();
        let stored = objects.store(version.contents);
        let id = stored.map_err(|error| {
            Failure::new(format!(
                "store {} in git: {error}",
                harmless_path(&change.path)
            ))
        })?;
        let mode = version.mode.text();
        new.extend_from_slice(format!("{mode} {id}\t").as_bytes());
        new.extend_from_slice(&path);
        new.push(0);
    }
    objects.end()?;
    gone.extend(new);
    Ok(gone)
}

/// A `git fast-import` that stores contents as they are, no filter runs, in one pack: a file for each would cost half a
/// millisecond.
struct Objects {
    git: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Objects {
    fn start(repository: &Repository) -> Result<Self, Failure> {
        let mut git = repository.command();
        git.args(["fast-import", "--quiet", "--done"]);
        let mut child = piped(&mut git)?;
        let (input, output) = child
            .stdin
            .take()
            .zip(child.stdout.take())
            .ok_or_else(broken)?;
        Ok(Self {
            git: child,
            input: BufWriter::new(input),
            output: BufReader::new(output),
        })
    }

    /// Stores one and yields its name.
    fn store(&mut self, contents: &dyn Contents) -> io::Result<String> {
        let size = contents.size();
        write!(self.input, "blob\nmark :1\ndata {size}\n")?;
        let copied = io::copy(&mut contents.open()?.take(size), &mut self.input)?;
        if copied < size {
            return Err(io::Error::other("it changed while it was read"));
        }
        write!(self.input, "\nget-mark :1\n")?;
        self.input.flush()?;
        let mut id = String::new();
        self.output.read_line(&mut id)?;
        match id.trim_end() {
            "" => Err(io::Error::other("git ended early")),
            id => Ok(id.to_owned()),
        }
    }

    /// Brings the pack to disk.
    fn end(mut self) -> Result<(), Failure> {
        let told = self
            .input
            .write_all(b"done\n")
            .and_then(|()| self.input.flush());
        drop(self.input);
        let status = self.git.wait().map_err(not_started)?;
        if status.success() && told.is_ok() {
            Ok(())
        } else {
            Err(broken())
        }
    }
}

/// An index of its own, beside the session, gone when dropped.
struct Index(PathBuf);

impl Index {
    fn new(session: &Session) -> Result<Self, Failure> {
        let index = Self(
            session
                .folder
                .with_file_name(format!("branch-{}.index", std::process::id())),
        );
        // One that a process of the same number left in a crash would be added to.
        index.remove();
        Ok(index)
    }

    fn git(&self, repository: &Repository) -> Command {
        let mut git = repository.command();
        git.env("GIT_INDEX_FILE", &self.0);
        git
    }

    fn remove(&self) {
        // Not there is as good as removed.
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_file(self.0.with_extension("index.lock"));
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.remove();
    }
}

fn feed(git: &mut Command, input: &[u8]) -> Result<Vec<u8>, Failure> {
    feed_any(git, input, &[0])
}

/// Runs a command that reads `input`; these exit codes are its success.
fn feed_any(git: &mut Command, input: &[u8], fine: &[i32]) -> Result<Vec<u8>, Failure> {
    let mut child = piped(git.stderr(Stdio::piped()))?;
    let mut pipe = child.stdin.take().ok_or_else(broken)?;
    // From a thread of its own: git may answer before it has read everything.
    let output = std::thread::scope(|scope| {
        scope.spawn(move || drop(pipe.write_all(input)));
        child.wait_with_output()
    });
    let output = output.map_err(not_started)?;
    match output.status.code() {
        Some(code) if fine.contains(&code) => Ok(output.stdout),
        _ => Err(failed(git, &output.stderr)),
    }
}

fn piped(git: &mut Command) -> Result<Child, Failure> {
    git.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(not_started)
}

fn broken() -> Failure {
    Failure::new("git ended before it was done")
}

fn line(output: Vec<u8>) -> String {
    String::from_utf8_lossy(output.trim_ascii_end()).into_owned()
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned()
}
