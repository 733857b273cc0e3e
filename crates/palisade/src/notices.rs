//! What the gate has to tell the person while the agent runs, a line each.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};

use palisade_gate::Notice;
use rustix::termios::{LocalModes, tcgetattr};

use crate::terminal_text::harmless;

/// Lines kept for the end of a session; more are only counted. One a failing source and a minute is what the gate says.
const MOST_HELD: usize = 20;

/// Says notices at once, or at the end where a line would fall into a full-screen program.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    held: Mutex<(Vec<String>, usize)>,
}

impl Notices {
    /// None said yet.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Says what was held back.
    pub(crate) fn say_held(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, more) = std::mem::take(&mut *held);
        for line in lines {
            say(&line);
        }
        if more > 0 {
            say(&format!("and {more} more of these"));
        }
    }
}

impl Notice for Notices {
    fn notice(&self, line: &str) {
        if !full_screen() {
            return say(line);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.0.len() < MOST_HELD {
            held.0.push(line.to_owned());
        } else {
            held.1 += 1;
        }
    }
}

fn say(line: &str) {
    eprintln!("palisade: {}", harmless(line));
}

/// Whether a program draws on the terminal that standard error goes to: it has taken the terminal's line editing over.
fn full_screen() -> bool {
    let stderr = io::stderr();
    stderr.is_terminal()
        && tcgetattr(&stderr).is_ok_and(|modes| !modes.local_modes.contains(LocalModes::ICANON))
}
