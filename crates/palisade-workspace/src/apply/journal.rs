//! What an apply is about to do, on disk before it does anything.
//!
//! `plan` records: a head with the run's number, the steps, and an end that counts them. Without the end nothing was begun.
//! Which steps are done needs no record: the host says so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::changes::record::{self, Fields};

use super::step::Step;

/// Its name in the folder of the changes.
const JOURNAL: &str = "journal";
/// Files with contents that are not the session's.
const STAGED: &str = "staged";
/// The first word, with the version of the format.
const HEAD: &str = "palisade-apply-1";

/// The plan of one apply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Makes its temporary names its own.
    pub(super) run: u64,
    pub(super) steps: Vec<Step>,
}

/// Whether there is a journal.
pub(super) fn exists(folder: &Path) -> bool {
    folder.join(JOURNAL).symlink_metadata().is_ok()
}

/// Writes a plan, durably.
pub(super) fn write(folder: &Path, plan: &Plan) -> io::Result<()> {
    let path = folder.join(JOURNAL);
    let written = || -> io::Result<()> {
        let mut file = io::BufWriter::new(create(&path)?);
        file.write_all(&Fields::default().add(HEAD).add(plan.run).bytes())?;
        for step in &plan.steps {
            for record in step.records() {
                file.write_all(&record.bytes())?;
            }
        }
        file.write_all(&Fields::default().add("end").add(plan.steps.len()).bytes())?;
        file.into_inner()
            .map_err(io::IntoInnerError::into_error)?
            .sync_all()?;
        sync_folder(folder)
    };
    let done = written();
    if done.is_err() {
        // Nothing was begun: no plan has to be finished.
        let _ = fs::remove_file(&path);
    }
    done
}

/// Reads the plan that was cut short. Nothing, where none was begun.
pub(super) fn read(folder: &Path) -> io::Result<Option<Plan>> {
    let records = record::read(&folder.join(JOURNAL))?;
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the journal is damaged");
    let Some(end) = records.last().filter(|last| last.word(0) == Some("end")) else {
        return Ok(None);
    };
    let head = records.first().filter(|head| head.word(0) == Some(HEAD));
    let run = head.and_then(|head| head.number(1)).ok_or_else(damaged)?;
    let mut steps = Vec::with_capacity(records.len());
    for (index, fields) in records.iter().enumerate() {
        if fields.word(0) == Some("step") {
            steps.push(Step::parse(fields, records.get(index + 1)).ok_or_else(damaged)?);
        }
    }
    if end.number(1) != Some(steps.len() as u64) {
        return Err(damaged());
    }
    Ok(Some(Plan { run, steps }))
}

/// Ends an apply: nothing is left to be resumed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    let gone = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    gone(fs::remove_file(folder.join(JOURNAL)))?;
    gone(fs::remove_dir_all(folder.join(STAGED)))?;
    sync_folder(folder)
}

/// Keeps contents for a step, durably but for the folder.
pub(super) fn stage(folder: &Path, number: u64, contents: &[u8]) -> io::Result<()> {
    let staged = folder.join(STAGED);
    match fs::create_dir(&staged) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut file = create(&staged.join(number.to_string()))?;
    file.write_all(contents)?;
    file.sync_all()?;
    sync_folder(&staged)
}

/// Where the contents of a step are kept.
pub(super) fn staged(folder: &Path, number: u64) -> PathBuf {
    folder.join(STAGED).join(number.to_string())
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::super::step::{Action, Expected};
    use super::*;

    #[test]
    fn a_plan_that_was_not_written_whole_was_never_begun() {
        let folder = tempfile::tempdir().unwrap();
        let step = |path: &str| Step {
            path: path.into(),
            action: Action::Remove,
            expected: Expected::Nothing,
        };
        let plan = Plan {
            run: 7,
            steps: vec![step("a"), step("b\n")],
        };
        write(folder.path(), &plan).unwrap();
        assert!(exists(folder.path()));
        let path = folder.path().join(JOURNAL);
        let whole = fs::read(&path).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(plan));
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(folder.path()).unwrap(), None, "{length} bytes");
        }
        let mut damaged = whole.clone();
        let at = whole.windows(6).position(|w| w == b"remove").unwrap();
        damaged[at] = 0;
        fs::write(&path, &damaged).unwrap();
        assert!(read(folder.path()).is_err());
        remove(folder.path()).unwrap();
        assert!(!exists(folder.path()));
    }
}
