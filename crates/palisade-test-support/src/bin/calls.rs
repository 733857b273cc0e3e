//! What common operations cost, where this is run: outside, or inside a boundary. One line each: name, tab, nanoseconds.
//!
//! Each is repeated for a while and the best of several rounds counts, since everything else on the machine only adds to it.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout)]

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pipe::pipe;

/// How long a round takes, and how many there are.
const ROUND: Duration = Duration::from_millis(60);
const ROUNDS: usize = 5;
/// Of a large transfer.
const LARGE: usize = 64 << 20;
const PIECE: usize = 1 << 20;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(workspace), Some(memory)) = (arguments.next(), arguments.next()) else {
        return Err(io::Error::other(
            "usage: calls FOLDER-ON-DISK FOLDER-IN-MEMORY",
        ));
    };
    say("computing: a loop of a million steps", || {
        black_box((0u64..1_000_000).fold(0, |sum: u64, n| {
            sum.wrapping_mul(31).wrapping_add(black_box(n))
        }));
        Ok(())
    })?;
    say("getppid", || {
        black_box(rustix::process::getppid());
        Ok(())
    })?;
    let (reader, writer) = pipe()?;
    say("pipe, one byte through it", || {
        rustix::io::write(&writer, &[1])?;
        rustix::io::read(&reader, &mut [0])?;
        Ok(())
    })?;
    for (name, folder) in [("workspace", &workspace), ("in memory", &memory)] {
        of_files(name, folder)?;
    }
    say("start and end of a program", || {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).status().map(drop)
    })
}

fn of_files(name: &str, folder: &Path) -> io::Result<()> {
    let file = folder.join("calls.file");
    fs::write(&file, b"x")?;
    say(&format!("{name}: stat"), || fs::metadata(&file).map(drop))?;
    say(&format!("{name}: open and close"), || {
        File::open(&file).map(drop)
    })?;
    let fresh = folder.join("calls.fresh");
    say(&format!("{name}: create, write, close, remove"), || {
        let mut made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&fresh)?;
        made.write_all(b"x")?;
        drop(made);
        fs::remove_file(&fresh)
    })?;
    let piece = vec![1; PIECE];
    say(&format!("{name}: write 64 MiB"), || {
        let mut large = File::create(&file)?;
        (0..LARGE / PIECE).try_for_each(|_| large.write_all(&piece))
    })?;
    let mut piece = vec![0; PIECE];
    say(&format!("{name}: read 64 MiB"), || {
        let mut large = File::open(&file)?;
        while large.read(&mut piece)? > 0 {}
        Ok(())
    })?;
    fs::remove_file(&file)
}

/// Measures one and says it.
fn say(name: &str, mut operation: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    operation()?;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (mut times, began) = (0u32, Instant::now());
        while began.elapsed() < ROUND {
            // The clock itself costs something where calls do.
            for _ in 0..16 {
                operation()?;
                times += 1;
                if times < 16 && began.elapsed() >= ROUND {
                    break;
                }
            }
        }
        best = best.min(began.elapsed().as_secs_f64() / f64::from(times));
    }
    println!("{name}\t{:.0}", best * 1e9);
    Ok(())
}
