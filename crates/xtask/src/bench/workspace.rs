//! What a workspace costs: starting a session in a large one, with many masks, and builds inside beside the same outside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::place::{Binaries, Place, places};
use super::statistics::Times;
use crate::shell::{self, Done};

/// Rounds of starts, each tree once a round.
const STARTS: usize = 25;
/// Rounds of builds.
const BUILDS: usize = 5;
/// Thrown away.
const WARM_UP: usize = 2;

/// Measures as each user.
pub(super) fn run(binaries: &Binaries) -> Done {
    for place in places(binaries)? {
        starts(binaries, &place)?;
        builds(binaries, &place)?;
    }
    Ok(())
}

/// A tree of this many files.
struct Tree {
    name: &'static str,
    own: u32,
    dependencies: u32,
    files_per_folder: u32,
}

const TREES: [Tree; 5] = [
    tree("empty", 0, 0, 20),
    tree("10,000 files", 2_000, 8_000, 20),
    tree("100,000 files", 10_000, 90_000, 20),
    tree("500,000 files, most in node_modules", 30_000, 470_000, 20),
    tree("500,000 files, all the project's own", 500_000, 0, 67),
];

const fn tree(name: &'static str, own: u32, dependencies: u32, files_per_folder: u32) -> Tree {
    Tree {
        name,
        own,
        dependencies,
        files_per_folder,
    }
}

fn starts(binaries: &Binaries, place: &Place) -> Done {
    let mut ways: Vec<(String, Vec<String>)> = Vec::new();
    for (number, tree) in TREES.iter().enumerate() {
        let folder = place.workspace().join(format!("tree{number}"));
        fill(&folder, tree)?;
        place.own(&folder)?;
        ways.push((tree.name.to_owned(), session(binaries, &folder, None)));
    }
    let empty = place.workspace().join("tree0");
    for count in [10, 1000] {
        let lines: Vec<String> = (0..count / 2)
            .map(|n| format!("\"secrets-{n}-*.txt\", \"conf/{n}/*.yml\""))
            .collect();
        let text = format!("version = 1\n[filesystem]\nmask = [{}]\n", lines.join(", "));
        let policy = place.write(&format!("masks-{count}.toml"), &text)?;
        ways.push((
            format!("empty, {count} more rules"),
            session(binaries, &empty, Some(&policy)),
        ));
    }
    // What was just made could change once more without a newer time, so a list of it is not believed yet.
    std::thread::sleep(Duration::from_secs(3));
    let mut starts: Vec<Times> = ways.iter().map(|_| Times::default()).collect();
    let mut wholes: Vec<Times> = ways.iter().map(|_| Times::default()).collect();
    for round in 0..STARTS + WARM_UP {
        for (at, way) in ways.iter().enumerate() {
            let (start, whole) = started(place, &way.1)?;
            if round >= WARM_UP {
                starts[at].push(start);
                wholes[at].push(whole);
            }
        }
    }
    println!(
        "start by size of the workspace, as {}: lists warm, {STARTS} interleaved runs, medians and ratios to the empty one",
        place.user
    );
    for (at, (name, _)) in ways.iter().enumerate() {
        println!(
            "  {name:<40} until the command runs {:>8.2?} {:.2}  to the end of the session {:>8.2?} {:.2}",
            starts[at].median(),
            starts[at].paired_ratio(&starts[0]),
            wholes[at].median(),
            wholes[at].paired_ratio(&wholes[0])
        );
    }
    Ok(())
}

/// How long until a session's command says what time it is, and how long until the session's end.
fn started(place: &Place, words: &[String]) -> Done<(Duration, Duration)> {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|error| format!("read the clock: {error}"))?;
    let begun = Instant::now();
    let text = said(place, words, &place.workspace())?;
    let whole = begun.elapsed();
    let told = text.trim().parse().map(Duration::from_nanos);
    let told = told.map_err(|_| format!("{} says {text:?}", words.join(" ")))?;
    Ok((told.saturating_sub(clock), whole))
}

fn session(binaries: &Binaries, workspace: &Path, policy: Option<&Path>) -> Vec<String> {
    let mut words = vec![
        binaries.path("palisade").display().to_string(),
        "run".into(),
        "--quiet".into(),
        "--workspace".into(),
        workspace.display().to_string(),
    ];
    if let Some(policy) = policy {
        words.extend(["--policy".into(), policy.display().to_string()]);
    }
    words.extend(["--", "date", "+%s%N"].map(str::to_owned));
    words
}

fn fill(folder: &Path, tree: &Tree) -> Done {
    let made = (|| {
        fs::create_dir_all(folder)?;
        for (below, files, each) in [
            ("src", tree.own, tree.files_per_folder),
            ("node_modules", tree.dependencies, 8),
        ] {
            for number in 0..files.div_ceil(each) {
                let folder = folder.join(format!(
                    "{below}/{}/{}/{number}",
                    number / 1000,
                    number / 50 % 20
                ));
                fs::create_dir_all(&folder)?;
                for file in 0..each.min(files - number * each) {
                    fs::write(folder.join(format!("file{file}.js")), "")?;
                }
            }
        }
        Ok::<_, std::io::Error>(())
    })();
    made.map_err(|error| format!("fill {}: {error}", folder.display()))
}

fn once(place: &Place, words: &[String], directory: &Path) -> Done<Duration> {
    let started = Instant::now();
    said(place, words, directory)?;
    Ok(started.elapsed())
}

fn said(place: &Place, words: &[String], directory: &Path) -> Done<String> {
    let (program, rest) = words.split_first().ok_or("no command to run")?;
    let mut command = place.command(program);
    command
        .args(rest)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let done = command
        .output()
        .map_err(|error| format!("start {program}: {error}"))?;
    match done.status.success() {
        true => Ok(String::from_utf8_lossy(&done.stdout).into_owned()),
        false => Err(format!(
            "{} failed: {}\n{}",
            words.join(" "),
            done.status,
            String::from_utf8_lossy(&done.stderr)
        )),
    }
}

/// What a shell says that it took, without what it takes to start a session.
fn timed(place: &Place, words: &[String], directory: &Path) -> Done<Duration> {
    let text = said(place, words, directory)?;
    let line = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("took "));
    let nanoseconds = line.and_then(|number| number.trim().parse().ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("{} says {text:?}", words.join(" ")))
}

/// A build: a folder to do it in, what clears it, and what is timed.
struct Build {
    name: &'static str,
    folder: PathBuf,
    clear: &'static str,
    /// Done in the session before the clock runs.
    before: &'static str,
    command: String,
    /// Host folders it needs beside the system.
    read: Vec<PathBuf>,
}

fn builds(binaries: &Binaries, place: &Place) -> Done {
    println!(
        "builds, as {}: inside beside outside, {BUILDS} interleaved rounds, medians of ratios",
        place.user
    );
    let all = cargo(place)?
        .into_iter()
        .chain(npm(place)?)
        .chain(git(place)?);
    for build in all {
        let read: Vec<String> = build
            .read
            .iter()
            .map(|path| format!("\"{}\"", path.display()))
            .collect();
        let script = format!(
            "{}; begun=$(date +%s%N); {} && echo took $(($(date +%s%N) - begun))",
            build.before, build.command
        );
        let mut ways = vec![(
            "outside",
            vec!["sh".to_owned(), "-c".to_owned(), script.clone()],
        )];
        for access in ["write", "review"] {
            let text = format!(
                "version = 1\n[filesystem]\naccess = \"{access}\"\nread = [{}]\n",
                read.join(", ")
            );
            let policy = place.write(&format!("build-{access}.toml"), &text)?;
            let mut words = session(binaries, &build.folder, Some(&policy));
            words.truncate(words.len() - 2);
            words.extend(["sh", "-c", script.as_str()].map(str::to_owned));
            ways.push((access, words));
        }
        let mut times: Vec<Times> = ways.iter().map(|_| Times::default()).collect();
        for round in 0..BUILDS + 1 {
            for (way, times) in ways.iter().zip(&mut times) {
                let clear = ["sh", "-c", build.clear].map(str::to_owned);
                once(place, &clear, &build.folder)?;
                let time = timed(place, &way.1, &build.folder)?;
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let ratio = |at: usize| times[at].paired_ratio(&times[0]);
        println!(
            "  {:<40} outside {:>8.2?}  write {:.3} of it  review {:.3} of it",
            build.name,
            times[0].median(),
            ratio(1),
            ratio(2)
        );
    }
    Ok(())
}

/// A workspace of a few crates without dependencies.
fn cargo(place: &Place) -> Done<Option<Build>> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map_err(|error| format!("ask rustc where it is: {error}"))?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&sysroot.stdout).trim());
    let cargo = sysroot.join("bin/cargo").display().to_string();
    if once(place, &[cargo, "--version".into()], &place.workspace()).is_err() {
        println!("  cargo build: this user cannot run {}", sysroot.display());
        return Ok(None);
    }
    let folder = place.workspace().join("crates");
    let put = |path: String, text: String| {
        place
            .write(&format!("project/crates/{path}"), &text)
            .map(drop)
    };
    put(
        "Cargo.toml".into(),
        "[workspace]\nresolver = \"3\"\nmembers = [\"a\", \"b\", \"c\", \"d\"]\n".into(),
    )?;
    for (name, uses) in [("a", ""), ("b", "a"), ("c", "b"), ("d", "c")] {
        let dependency = if uses.is_empty() {
            String::new()
        } else {
            format!("[dependencies]\n{uses} = {{ path = \"../{uses}\" }}\n")
        };
        put(
            format!("{name}/Cargo.toml"),
            format!(
                "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{dependency}"
            ),
        )?;
        let functions: String = (0..400)
            .map(|n| format!("pub fn f{n}(x: u64) -> String {{ format!(\"{{}}-{{:?}}\", x.wrapping_mul({n}), vec![x; {n} % 7]) }}\n"))
            .collect();
        put(format!("{name}/src/lib.rs"), functions)?;
    }
    place.own(&folder)?;
    Ok(Some(Build {
        name: "cargo build, 4 crates",
        folder,
        clear: "rm -rf target",
        before: "true",
        command: format!(
            "PATH={0}/bin:$PATH cargo build --offline --quiet",
            sysroot.display()
        ),
        read: vec![sysroot],
    }))
}

/// Packages from archives beside it: what npm does with the disk, without a network.
fn npm(place: &Place) -> Done<Option<Build>> {
    const PACKAGES: usize = 60;
    if shell::program("npm").is_none() || shell::program("tar").is_none() {
        return Ok(None);
    }
    let folder = place.workspace().join("packages");
    let mut dependencies = Vec::new();
    for number in 0..PACKAGES {
        let name = format!("package-{number}");
        place.write(
            &format!("project/packages/pack/{name}/package/package.json"),
            &format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}"),
        )?;
        for file in 0..40 {
            place.write(
                &format!("project/packages/pack/{name}/package/lib/{file}.js"),
                &format!("exports.n = {file};\n").repeat(40),
            )?;
        }
        dependencies.push(format!("\"{name}\": \"file:pack/{name}.tgz\""));
    }
    let manifest = format!(
        "{{\"name\": \"bench\", \"version\": \"1.0.0\", \"dependencies\": {{{}}}}}",
        dependencies.join(", ")
    );
    place.write("project/packages/package.json", &manifest)?;
    place.own(&folder)?;
    let pack = "cd pack && for p in package-*; do tar -C $p -czf $p.tgz package && rm -r $p; done && cd .. && \
                npm install --offline --no-audit --no-fund --silent && rm -rf node_modules";
    once(place, &["sh", "-c", pack].map(str::to_owned), &folder)?;
    Ok(Some(Build {
        name: "npm ci, 60 packages of 40 files",
        folder,
        clear: "rm -rf node_modules .cache",
        before: "true",
        // The home is empty inside: without this the one side would have a cache and the other none.
        command: "npm ci --cache .cache --offline --no-audit --no-fund --silent".into(),
        read: Vec::new(),
    }))
}

/// A repository of many files.
fn git(place: &Place) -> Done<Vec<Build>> {
    if shell::program("git").is_none() {
        return Ok(Vec::new());
    }
    let folder = place.workspace().join("repository");
    fill(&folder, &tree("", 100_000, 0, 20))?;
    place.own(&folder)?;
    let make = "git init -q && git add -A && git -c user.name=a -c user.email=a@example.com commit -qm all && git status > /dev/null";
    once(place, &["sh", "-c", make].map(str::to_owned), &folder)?;
    let build = |name, before| Build {
        name,
        folder: folder.clone(),
        clear: "true",
        before,
        command: "git status --short".into(),
        read: Vec::new(),
    };
    Ok(vec![
        build("git status, 100,000 files, the first one", "true"),
        build(
            "git status, 100,000 files, from then on",
            "git status --short > /dev/null",
        ),
    ])
}
