//! The workspace and other files in plain words.

use palisade_policy::FileAccess;
use palisade_workspace::WorkspaceAccess;

use crate::effective::{Effective, Sourced};
use crate::value;

pub(super) fn workspace(policy: &Effective) -> Vec<String> {
    let path = policy.workspace.value.display();
    let access = &policy.access;
    let mut lines = vec![
        format!("{path} ({})", policy.workspace.source),
        format!("{} ({})", in_words(policy), access.source),
    ];
    let protect = &policy.protect;
    if access.value == WorkspaceAccess::Write {
        lines.push(match protect.value {
            true => format!(
                "read-only in it: what the host would execute later, such as .git/hooks ({})",
                protect.source
            ),
            false => format!(
                "writable in it: what the host would execute later, such as .git/hooks ({})",
                protect.source
            ),
        });
    }
    lines
}

fn in_words(policy: &Effective) -> String {
    match policy.access.value {
        WorkspaceAccess::Read => "read-only".to_owned(),
        WorkspaceAccess::Scratch => {
            let size = policy.scratch_size.as_ref();
            let size = size.map(|size| format!(", at most {}", value::show_size(size.value)));
            format!(
                "writable, changes live in memory{} and are gone with the session",
                size.unwrap_or_default()
            )
        }
        WorkspaceAccess::Review => {
            "writable, changes are kept apart until they are applied (palisade review)".to_owned()
        }
        WorkspaceAccess::Write => "writable, changes land at once".to_owned(),
    }
}

pub(super) fn files(policy: &Effective) -> Vec<String> {
    let system = match policy.image() {
        Some(image) => format!("read-only: the image {image}, and nothing of the host's system"),
        None => "read-only: the host's programs and libraries (/usr, /bin, /lib, /opt, named parts of /etc)".to_owned(),
    };
    let mut lines = vec![
        system,
        "empty, gone with the session: the home folder, /tmp, /run".to_owned(),
    ];
    lines.extend(policy.shown.iter().map(|shown| {
        let path = shown.path.written.display();
        let word = match shown.access {
            FileAccess::Read => "read-only",
            FileAccess::Write => "writable",
        };
        format!("{word}: {path} ({})", shown.source)
    }));
    lines.extend(policy.volumes.iter().map(|volume| {
        let (path, name) = (volume.value.path.display(), &volume.value.name);
        format!(
            "kept between sessions: {path}, volume {name} ({})",
            volume.source
        )
    }));
    lines.extend(policy.tmpfs.iter().map(|tmpfs| {
        let path = tmpfs.value.path.display();
        let size = tmpfs.value.size.map(value::show_size);
        let size = size
            .map(|size| format!(", at most {size}"))
            .unwrap_or_default();
        let exec = if tmpfs.value.exec {
            ""
        } else {
            ", no programs"
        };
        format!("in memory: {path}{size}{exec} ({})", tmpfs.source)
    }));
    let pattern =
        |what: &str, entry: &Sourced<String>| format!("{what}: {} ({})", entry.value, entry.source);
    lines.extend(
        policy
            .mask
            .iter()
            .map(|entry| pattern("reads as empty", entry)),
    );
    lines.extend(
        policy
            .unmask
            .iter()
            .map(|entry| pattern("not hidden", entry)),
    );
    lines.push("hidden: everything else".to_owned());
    lines
}
