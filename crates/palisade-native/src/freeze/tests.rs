use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use std::path::PathBuf;

use super::*;

/// Counts to a file without end, starts others, and lets each go on that was stopped.
const RESTLESS: &str = r#"
my $dir = shift; my @all;
sub count { my $n = 0; while (1) { open(my $f, '>', "$dir/$$") or die; print $f $n++; close $f; select(undef, undef, undef, 0.001); } }
for (1 .. 3) { my $p = fork; if (!$p) { count() } push @all, $p; }
print "ready\n"; close STDOUT;
while (1) { kill 'CONT', @all; my $p = fork; if (!$p) { select(undef, undef, undef, 0.002); exit 0 } waitpid($p, 0); }
"#;

struct Restless {
    child: Child,
    folder: tempfile::TempDir,
}

impl Restless {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut child = Command::new("perl")
            .args(["-e", RESTLESS])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("perl");
        let output = child.stdout.take().expect("output");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("ready");
        Self { child, folder }
    }

    /// What all have counted to.
    fn counted(&self) -> Vec<(PathBuf, String)> {
        let files = fs::read_dir(self.folder.path()).expect("folder").flatten();
        let mut all: Vec<_> = files
            .map(|file| file.path())
            .map(|path| (path.clone(), fs::read_to_string(path).unwrap_or_default()))
            .collect();
        all.sort();
        all
    }

    fn goes_on(&self) -> bool {
        let before = self.counted();
        (0..200).any(|_| {
            sleep(PAUSE);
            self.counted() != before
        })
    }

    fn ends(mut self, frozen: &Frozen) {
        let all = descendants(self.child.id());
        for pid in &all {
            signal(*pid, Signal::KILL);
        }
        frozen.release();
        self.child.wait().expect("ended");
        wait_for(|| all.iter().all(|pid| !runs(*pid))).expect("all ended");
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn stands_still(by: impl Fn(u32) -> io::Result<Means>) {
    let restless = Restless::start();
    assert!(restless.goes_on());
    let means = by(restless.child.id()).expect("frozen");
    assert!(!restless.goes_on());
    restless.ends(&Frozen { means });
}

#[test]
fn all_stand_still_by_whatever_is_there() {
    stands_still(|init| {
        freeze(init).map(|mut frozen| std::mem::replace(&mut frozen.means, Means::Signals))
    });
}

#[test]
fn all_stand_still_by_signals_though_they_wake_each_other() {
    stands_still(|init| stop_each(init).map(|()| Means::Signals));
}

#[test]
fn all_stand_still_in_a_group_of_version_2() {
    let here = Surroundings::read().expect("groups").groups;
    if !is_root() || here.unified.is_none() {
        return;
    }
    stands_still(|init| unified(init, &here, &GroupView::default()));
}

#[test]
fn all_stand_still_in_a_group_of_version_1_and_die_there() {
    let here = Surroundings::read().expect("groups").groups;
    if !is_root() || here.legacy("freezer").is_none() {
        return;
    }
    stands_still(|init| legacy(init, &here));
}
