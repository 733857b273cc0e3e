//! Questions to the person at the terminal.

use std::io::{self, IsTerminal, Write};

use crate::failure::Failure;
use crate::terminal_text::Palette;

/// Fails unless a person is there to be asked.
pub(crate) fn need_terminal() -> Result<(), Failure> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::new("there is no terminal to ask on")
        .hint("say --yes to go ahead without a question"))
}

/// Asks until one of these letters is typed. The end of the input is `q`; `?` and anything else shows the help.
pub(crate) fn ask(palette: Palette, question: &str, letters: &[(char, &str)]) -> io::Result<char> {
    let list: Vec<_> = letters
        .iter()
        .map(|(letter, _)| letter.to_string())
        .collect();
    let question = palette.place(&format!("{question} [{},?]? ", list.join(",")));
    loop {
        let mut out = io::stdout().lock();
        write!(out, "{question}")?;
        out.flush()?;
        let mut line = String::new();
        if io::stdin().read_line(&mut line)? == 0 {
            writeln!(out)?;
            return Ok('q');
        }
        let typed = line
            .trim()
            .chars()
            .next()
            .map(|letter| letter.to_ascii_lowercase());
        if let Some(typed) = typed.filter(|typed| letters.iter().any(|(letter, _)| letter == typed))
        {
            return Ok(typed);
        }
        for (letter, meaning) in letters {
            writeln!(out, "{}", palette.faint(&format!("{letter} - {meaning}")))?;
        }
    }
}
