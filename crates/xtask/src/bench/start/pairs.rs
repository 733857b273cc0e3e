//! A session in a stronger wall beside that wall alone.

use super::super::place::Place;
use super::super::statistics::{Times, median};
use super::once;
use crate::shell::Done;

/// Pairs; each takes most of a second.
const PAIRS: usize = 20;
const WARM_UP: usize = 2;

/// Runs both in turn, each first in every other pair, and prints what palisade takes more.
pub(super) fn compare(
    place: &Place,
    what: &str,
    ours: &[String],
    (peer, theirs): (&str, &[String]),
) -> Done {
    let (mut own, mut others, mut more) = (Times::default(), Times::default(), Vec::new());
    for pair in 0..PAIRS + WARM_UP {
        let (a, b) = match pair % 2 {
            0 => (once(place, ours)?, once(place, theirs)?),
            _ => {
                let b = once(place, theirs)?;
                (once(place, ours)?, b)
            }
        };
        if pair >= WARM_UP {
            own.push(a);
            others.push(b);
            more.push((a.as_secs_f64() - b.as_secs_f64()) * 1e3);
        }
    }
    println!(
        "  {what}: palisade median {:.0?}, {peer} {:.0?}; median of the differences {:.0} ms ({PAIRS} interleaved runs)",
        own.median(),
        others.median(),
        median(more)
    );
    Ok(())
}
