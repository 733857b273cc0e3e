//! What a palisade that was killed left over. Its containers end by themselves, because their connection does; one that was
//! made and never started stays, and so does the session's folder.

use std::path::Path;

use crate::engine::Engine;
use crate::flags::{LABEL_BASE, LABEL_SESSION};
use crate::folder::{look_through, remove as remove_folder};
use crate::podman;

/// Removes it. Whatever stands in the way now is tried again by the next session.
pub(crate) fn remove(engine: Engine, base: &Path) {
    let Ok((living, dead)) = look_through(base) else {
        return;
    };
    // Who left a container over left a folder too. The engine is not asked for nothing: it takes as long as a start.
    if dead.is_empty() {
        return;
    }
    let of_this_base = format!("label={LABEL_BASE}={}", base.display());
    let label = match engine {
        Engine::Docker => ".Label",
        Engine::Podman => "index .Labels",
    };
    let session = format!("{{{{.ID}}}} {{{{{label} \"{LABEL_SESSION}\"}}}}");
    let list = [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        &of_this_base,
        "--format",
        &session,
    ];
    let Ok(found) = engine.ask("look for what is left over", &list) else {
        return;
    };
    for line in found.lines() {
        let Some((id, session)) = line.split_once(' ') else {
            continue;
        };
        // A session that began after the folders were read has a folder now.
        if !living.iter().any(|name| name == session) && !lives(base, session) {
            let _ = engine.ask(
                "remove what is left over",
                &["rm", "--force", "--volumes", id],
            );
        }
    }
    podman::remove_stale_volumes(engine, base, |session| {
        living.iter().any(|name| name == session) || lives(base, session)
    });
    for folder in dead {
        let _ = remove_folder(&folder);
    }
}

fn lives(base: &Path, session: &str) -> bool {
    look_through(base).is_ok_and(|(living, _)| living.iter().any(|name| name == session))
}
