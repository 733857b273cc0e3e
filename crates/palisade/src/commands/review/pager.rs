//! The user's pager, on a terminal and nowhere else.

use std::ffi::OsString;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

use palisade_session::Interrupts;

/// What pages where the person named nothing, and the program it needs. `-R` passes colours on and shows every other
/// control character.
const DEFAULT: (&str, &str) = ("less -R", "less");

/// Writes to standard output, through the pager if a person reads it.
pub(crate) fn through(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let Some(named) = pager() else {
        let mut out = BufWriter::new(io::stdout().lock());
        return write(&mut out).and_then(|()| out.flush());
    };
    let mut pager = start(named)?;
    // Ctrl-C is for the pager, which stops searching. It runs already, so that it does not inherit this.
    let _held = Interrupts::hold()?;
    // Taken, so that the pager sees the end when it is dropped.
    let mut input = pager.stdin.take().map(BufWriter::new);
    let written = match &mut input {
        Some(input) => write(input).and_then(|()| input.flush()),
        None => Ok(()),
    };
    // A pager that was left early took its pipe along; what is buffered still is for nobody.
    drop(input.map(BufWriter::into_parts));
    pager.wait()?;
    written
}

/// The pager's command line, on a terminal.
fn pager() -> Option<OsString> {
    if !io::stdout().is_terminal() {
        return None;
    }
    let named = std::env::var_os("PAGER").filter(|pager| !pager.is_empty());
    let (default, program) = DEFAULT;
    named
        .or_else(|| installed(program).then(|| default.into()))
        .filter(|pager| pager != "cat")
}

fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn start(pager: OsString) -> io::Result<Child> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(pager).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // As git does: what fits the screen is left there.
        command.env("LESS", "FRX");
    }
    command.spawn()
}
