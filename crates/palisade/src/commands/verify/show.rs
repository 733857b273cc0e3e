//! The result, for people and for machines.

use palisade_conformance::{Row, Status};
use serde_json::json;

use crate::terminal_text::{Palette, harmless};

/// Prints all rows.
pub(super) fn print(rows: &[Row], untold: &[String], boundary: &str, as_json: bool) {
    if as_json {
        print_json(rows, untold, boundary);
    } else {
        print_table(rows, untold, boundary);
    }
}

fn print_table(rows: &[Row], untold: &[String], boundary: &str) {
    let palette = Palette::for_stdout();
    println!(
        "Attacks from inside the {boundary} boundary. Each was tried outside first, where it works."
    );
    let mut group = "";
    for row in rows {
        if row.attempt.group.as_str() != group {
            group = row.attempt.group.as_str();
            println!("\n{}", palette.strong(group));
        }
        let mark = match row.status {
            Status::Held => palette.good("held     "),
            Status::NotHeld => palette.bad("NOT HELD "),
            Status::Open => palette.warn("open     "),
            Status::NotTried => palette.faint("not tried"),
        };
        let detail = harmless(&row.detail);
        let detail = match row.status {
            Status::NotHeld | Status::Open => detail,
            Status::Held | Status::NotTried => palette.faint(&detail),
        };
        println!(
            "  {mark} {:<22} {}: {detail}",
            row.attempt.name, row.attempt.what
        );
    }
    println!();
    for line in untold {
        println!("{} {}", palette.warn("note:"), harmless(line));
    }
    let count = |status| count(rows, status);
    println!(
        "{} held, {} not held, {} open by the policy, {} not tried (what does not work outside proves nothing inside)",
        count(Status::Held),
        count(Status::NotHeld),
        count(Status::Open),
        count(Status::NotTried),
    );
    if count(Status::NotHeld) > 0 {
        println!(
            "{}",
            palette.bad("Do not rely on this boundary on this machine; docs/verify.md says what each attempt means.")
        );
    }
}

fn print_json(rows: &[Row], untold: &[String], boundary: &str) {
    let attempts: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "name": row.attempt.name,
                "group": row.attempt.group.as_str(),
                "tries": row.attempt.what,
                "result": row.status.as_str(),
                "detail": row.detail,
            })
        })
        .collect();
    let report = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "boundary": boundary,
        "attempts": attempts,
        "notes": untold,
        "held": count(rows, Status::Held),
        "not_held": count(rows, Status::NotHeld),
        "open": count(rows, Status::Open),
        "not_tried": count(rows, Status::NotTried),
    });
    println!("{report}");
}

fn count(rows: &[Row], status: Status) -> usize {
    rows.iter().filter(|row| row.status == status).count()
}
