//! The guest on the host: whether it is there, and whether it runs where there is no library.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use palisade_boundary::{BoundarySpec, CapabilityState, StartError};

use crate::engine::cannot;
use crate::settings::Settings;
use crate::tree::{Layout, Reach, What};

/// How one comes by one that runs anywhere.
fn build() -> String {
    format!(
        "build it static: RUSTFLAGS=\"-C target-feature=+crt-static\" cargo install --path crates/palisade-guest --target {}-unknown-linux-gnu \
         (docs/containers.md)",
        std::env::consts::ARCH
    )
}

const INSTALL: &str = "install palisade-guest beside palisade (docs/containers.md)";

/// Where it really lies.
pub(crate) fn real_guest(guest: &Path) -> Result<PathBuf, StartError> {
    guest.canonicalize().map_err(|e| StartError {
        what: format!("find the guest {}", guest.display()),
        cause: e.to_string(),
        fix: Some(INSTALL.into()),
    })
}

/// Whether it is there, for backends that show it the host's libraries.
pub(crate) fn installed(guest: &Path) -> CapabilityState {
    if guest.is_file() {
        return CapabilityState::Present(guest.display().to_string());
    }
    CapabilityState::Missing {
        cause: format!("{} is not there", guest.display()),
        fix: INSTALL.into(),
    }
}

/// The same for containers, some of which have none.
pub(crate) fn installed_for(settings: &Settings, guest: &Path) -> CapabilityState {
    let needs = match (installed(guest), needs_libraries(guest)) {
        (CapabilityState::Present(_), Ok(needs)) => needs,
        (CapabilityState::Present(_), Err(error)) => {
            let cause = format!("{}: {error}", guest.display());
            let fix = INSTALL.into();
            return CapabilityState::Missing { cause, fix };
        }
        (missing, _) => return missing,
    };
    let at = guest.display();
    match (needs, &settings.image) {
        (false, _) => CapabilityState::Present(at.to_string()),
        (true, Some(image)) => CapabilityState::Missing {
            cause: format!(
                "{at} needs this machine's libraries, and the image {image} has its own"
            ),
            fix: build(),
        },
        (true, None) => CapabilityState::Degraded {
            cause: format!(
                "{at} needs this machine's libraries: an image as the root, and for who is not root masks that come later and changes \
                 that are kept apart, cannot be had"
            ),
            fix: build(),
        },
    }
}

/// Before anything is made: whether it runs in each container that this session takes.
pub(crate) fn check(
    guest: &Path,
    settings: &Settings,
    spec: &BoundarySpec,
    layout: &Layout,
    reach: Reach,
) -> Result<(), StartError> {
    let changes = |what: &What| matches!(what, What::Overlay { .. });
    let overlays = layout.mounts.iter().any(|mount| changes(&mount.what));
    // In gVisor nothing is laid later.
    let by_engine = reach == Reach::Engine && !settings.sandboxed;
    let without = match &settings.image {
        Some(image) => format!("the image {image} has not"),
        None if by_engine && !layout.late.is_empty() => {
            "the container that keeps changes apart has not".to_owned()
        }
        None if by_engine && spec.late_masks => {
            "the container that masks what comes later has not".to_owned()
        }
        None if overlays => "the container that removes what an overlay leaves has not".to_owned(),
        None => return Ok(()),
    };
    let what = || format!("use the guest {}", guest.display());
    let needs = needs_libraries(guest).map_err(|e| cannot(what(), e.to_string()))?;
    if !needs {
        return Ok(());
    }
    let mut error = cannot(
        what(),
        format!("it is dynamically linked: it needs this machine's libraries, which {without}"),
    );
    error.fix = Some(build());
    Err(error)
}

/// A program names its loader where it needs one (`PT_INTERP`, elf(5)).
const INTERPRETER: u32 = 3;

/// Whether a program is dynamically linked.
fn needs_libraries(program: &Path) -> io::Result<bool> {
    let foreign = || io::Error::other("it is no program of a 64-bit Linux");
    let file = File::open(program)?;
    let mut head = [0; 64];
    file.read_exact_at(&mut head, 0).map_err(|_| foreign())?;
    // 64 bits, least byte first: all that palisade is built for.
    if head.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err(foreign());
    }
    let number = |at: usize, length: usize| {
        let bytes = head.get(at..at + length).unwrap_or_default();
        let bytes = bytes.iter().rev();
        bytes.fold(0u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    for index in 0..count {
        let mut kind = [0; 4];
        let place = table.checked_add(index * size).ok_or_else(foreign)?;
        file.read_exact_at(&mut kind, place)
            .map_err(|_| foreign())?;
        if u32::from_le_bytes(kind) == INTERPRETER {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of nothing but a head and these kinds of program headers.
    fn program(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01".to_vec();
        bytes.resize(64, 0);
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = u8::try_from(kinds.len()).expect("few");
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn a_program_that_names_a_loader_needs_libraries() {
        let folder = tempfile::tempdir().expect("folder");
        let place = folder.path().join("program");
        let of = |bytes: &[u8]| {
            std::fs::write(&place, bytes).expect("written");
            needs_libraries(&place).map_err(|error| error.to_string())
        };
        assert_eq!(of(&program(&[1, 6, 2])), Ok(false));
        assert_eq!(of(&program(&[6, 3, 1])), Ok(true));
        assert_eq!(of(&program(&[])), Ok(false));
        for wrong in [&b"#!/bin/sh\n"[..], b"", &program(&[1, 3])[..100]] {
            assert!(of(wrong).is_err_and(|error| error.contains("no program")));
        }
        // The tests themselves are linked dynamically.
        let own = std::env::current_exe().expect("own program");
        assert!(needs_libraries(&own).expect("a program"));
    }
}
