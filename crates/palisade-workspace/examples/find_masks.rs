//! How long it takes to know what is masked below a folder: `find_masks FOLDER [KEPT]`, in microseconds.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program for people")]

use std::path::PathBuf;
use std::time::Instant;

use palisade_workspace::{MaskRules, Masks, locate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().ok_or("name a folder")?.canonicalize()?;
    let kept = arguments.next();
    let begun = Instant::now();
    let rules = MaskRules::new(&[], &[], &folder, "/home/ada".as_ref());
    let mut masks = Masks::find(&rules, vec![locate(&folder)?], kept.as_deref())?;
    let first = begun.elapsed();
    masks.look_through_the_rest(&rules, kept.as_deref())?;
    println!(
        "{} masks in {} µs, the rest in {} µs",
        masks.masks.len(),
        first.as_micros(),
        (begun.elapsed() - first).as_micros()
    );
    Ok(())
}
