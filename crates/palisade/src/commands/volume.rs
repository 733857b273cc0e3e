//! `palisade volume`: what is kept between sessions.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use palisade_audit::rfc3339;
use palisade_session::VolumeState;
use palisade_workspace::VolumeName;

use crate::failure::Failure;
use crate::surroundings::Surroundings;
use crate::terminal_text::{Palette, harmless};

/// List or remove volumes: folders that sessions keep, apart from your own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: VolumeCommand,
}

#[derive(Debug, clap::Subcommand)]
enum VolumeCommand {
    /// Each with its size and when a session last used it.
    List {
        /// One JSON object a volume.
        #[arg(long)]
        json: bool,
    },
    /// Remove a volume and all in it. Refused while a session uses it.
    Remove {
        /// Which.
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let here = Surroundings::read()?;
    match &args.command {
        VolumeCommand::List { json } => list(&here, *json)?,
        VolumeCommand::Remove { names } => {
            for name in names {
                remove(&here, name)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(here: &Surroundings, json: bool) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let palette = Palette::for_stdout();
    for volume in here.state.all_volumes()? {
        let line = if json {
            json_line(&volume)
        } else {
            text_line(&volume, palette)
        };
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    Ok(())
}

fn remove(here: &Surroundings, written: &str) -> Result<(), Failure> {
    let volumes = here.state.all_volumes()?;
    let known = |name: &VolumeName| volumes.iter().find(|volume| volume.name == *name);
    let name = VolumeName::parse(written).filter(|name| known(name).is_some());
    let Some(name) = name else {
        let failure = Failure::new(format!("there is no volume `{}`", harmless(written)));
        return Err(failure.hint("`palisade volume list` names them"));
    };
    if known(&name).is_some_and(|volume| volume.in_use) {
        let failure = Failure::new(format!("volume {name} is in use by a session"));
        return Err(failure.hint("`palisade sessions --running` shows which run"));
    }
    here.state.remove_volume(&name)?;
    println!("removed {name}");
    Ok(())
}

fn json_line(volume: &VolumeState) -> String {
    serde_json::json!({
        "name": volume.name.as_str(),
        "bytes": volume.bytes,
        "last_used": volume.last_used.map(rfc3339),
        "in_use": volume.in_use,
    })
    .to_string()
}

fn text_line(volume: &VolumeState, palette: Palette) -> String {
    let last_used = match (volume.in_use, volume.last_used) {
        (true, _) => palette.good("in use"),
        (false, Some(time)) => format!("last used {}", to_the_minute(time)),
        (false, None) => "never used".to_owned(),
    };
    format!(
        "{:<24}  {:>10}  {last_used}",
        volume.name.as_str(),
        size(volume.bytes)
    )
}

/// `2026-11-23 03:15`, UTC.
fn to_the_minute(time: SystemTime) -> String {
    rfc3339(time)
        .chars()
        .take(16)
        .map(|c| if c == 'T' { ' ' } else { c })
        .collect()
}

/// A size with one decimal in the largest unit that it fills.
fn size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size((5 << 30) + (15 << 26)), "5.9 GiB");
        assert_eq!(to_the_minute(SystemTime::UNIX_EPOCH), "1970-01-01 00:00");
    }
}
