//! What is hidden here, path by path.

use std::time::SystemTime;

use palisade_config::Effective;
use palisade_session::{Hidden, HiddenPath, SessionId};
use palisade_workspace::{Why, WorkspaceAccess};

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, first_paths, harmless, harmless_path};

/// What a session would hide here.
pub(crate) fn find(policy: &Effective, here: &Surroundings) -> Result<Hidden, Failure> {
    let no_session = SessionId::new(SystemTime::now(), 0);
    Ok(Hidden::find(
        policy,
        &here.home,
        &here.kept(&no_session).masks,
    )?)
}

/// Prints every path that is hidden or protected.
pub(crate) fn print(policy: &Effective, here: &Surroundings) -> Result<(), Failure> {
    let hidden = find(policy, here)?;
    let palette = Palette::for_stdout();
    println!("{}", palette.strong("masked"));
    let mut none = true;
    for path in hidden.paths() {
        none = false;
        let end = if path.directory { "/" } else { "" };
        let name = harmless_path(path.path);
        println!("  {name}{end}: {}", harmless(&in_words(&path)));
    }
    if none {
        println!("  nothing");
    }
    if policy.protect.value && policy.access.value == WorkspaceAccess::Write {
        println!(
            "{}",
            palette.strong("read-only, since programs of the host run or obey it")
        );
        for path in hidden.protected() {
            println!("  {}", harmless_path(&path));
        }
    }
    warn_of_tracked(&hidden);
    Ok(())
}

/// Why a path is hidden.
pub(crate) fn in_words(path: &HiddenPath<'_>) -> String {
    let rule = path.rule.map(|rule| {
        let only_if = rule
            .only_if()
            .map_or_else(String::new, |why| format!(", since {why}"));
        format!("`{}` ({}){only_if}", rule.pattern, rule.source)
    });
    match (path.why, rule) {
        (Why::Name | Why::Protected, Some(rule)) => format!("masked by {rule}"),
        (Why::LinkTarget, Some(rule)) => format!("masked, a link to it is masked by {rule}"),
        (Why::HardLink, _) => "masked, it is another name of a masked file (hard link)".to_owned(),
        (Why::Unreadable, _) => "masked, since it cannot be looked into".to_owned(),
        (_, None) => "masked".to_owned(),
    }
}

/// One line, and what to know of it.
pub(crate) fn print_summary(hidden: &Hidden) {
    let count = hidden.paths().count();
    if count > 0 {
        let paths = if count == 1 {
            "1 path is".to_owned()
        } else {
            format!("{count} paths are")
        };
        println!("  {paths} masked here: `palisade explain --masks`");
    }
    warn_of_tracked(hidden);
}

/// Names masked files whose contents git shows.
pub(crate) fn warn_of_tracked(hidden: &Hidden) {
    let tracked = hidden.tracked();
    if tracked.is_empty() {
        return;
    }
    println!(
        "{} git tracks {}: `git show HEAD:…` prints what the mask hides, and `git add` inside sees an empty file. Take it out of the repository and change the secret",
        Palette::for_stdout().warn("warning:"),
        first_paths(&tracked)
    );
}
