//! What is hidden while the agent runs is hidden from then on.

use std::fs;

use crate::support::{Said, as_everybody, workspace};

/// Looks at what is there, says it is ready, waits, and looks again: each thing it can do, a line each.
const LOOK: &str = r#"
import os, time
def attempt(what):
    try: return repr(what())
    except OSError as error: return os.strerror(error.errno)
def again():
    os.rename('inner', 'moved')
    try: return open('moved/secret').read()
    finally: os.rename('moved', 'inner')
ways = dict(
    read=lambda: open('secret').read(),
    held=lambda: os.read(os.open('/proc/self/fd/%d' % directory, os.O_RDONLY), 9) if 0 else open('secret', opener=lambda n, f: os.open(n, f, dir_fd=directory)).read(),
    inner=lambda: open('inner/secret').read(),
    moved=again,
    listed=lambda: os.listdir('keys'),
    linked=lambda: (os.link('secret', 'name'), os.unlink('name'))[0],
    written=lambda: open('secret', 'r+').close(),
    renamed=lambda: (os.rename('secret', 'away'), os.rename('away', 'secret'))[0],
    replaced=lambda: (open('new', 'w').close(), os.replace('new', 'secret'))[0],
    removed=lambda: os.unlink('secret'),
)
directory = os.open('.', os.O_PATH)
def look(prefix, names):
    for name in names: print(prefix, name, attempt(ways[name]))
look('before', ['read', 'held', 'inner', 'moved', 'listed', 'linked', 'written', 'renamed'])
open('ready', 'w').close()
while not os.path.exists('ready3.done'): time.sleep(0.002)
look('after', list(ways))
"#;

const EXPECTED: &str = "\
before read 'secret'
before held 'secret'
before inner 'secret'
before moved 'secret'
before listed ['token']
before linked None
before written None
before renamed None
after read ''
after held ''
after inner ''
after moved ''
after listed []
after linked Invalid cross-device link
after written Permission denied
after renamed Device or resource busy
after replaced Device or resource busy
after removed Device or resource busy
";

#[test]
fn what_is_masked_while_the_agent_runs_is_gone_by_every_name() {
    as_everybody(|who| {
        let directory = workspace(who, &["inner", "keys"]);
        let path = directory.path();
        for name in ["secret", "inner/secret", "keys/token"] {
            who.file(&path.join(name), "secret");
        }
        let show = path.display().to_string();
        // One begins when the one before it has ended.
        let later = |when: &str, masked: &str| format!("later:{show}/{when}:{show}/{masked}");
        let options = [
            "system".to_owned(),
            format!("own:{show}"),
            format!("cwd:{show}"),
            later("ready", "secret"),
            later("ready", "inner/secret"),
            // Masked already, gone, and a link: nothing to do.
            later("ready", "secret"),
            later("ready", "none"),
            later("ready", "keys"),
            later("ready3", "keys"),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let script = LOOK.replace(
            "open('ready', 'w').close()",
            "open('ready', 'w').close(); open('ready3', 'w').close()",
        );
        let mut enter = who.enter(&options, &["/usr/bin/python3", "-c", &script]);
        let said = Said::of(&enter.output().expect("enter starts"));
        assert_eq!(said.out, EXPECTED, "{said:?}");
        assert_eq!(said.err, "");
        // On the host all is as it was.
        for name in ["secret", "inner/secret", "keys/token"] {
            assert_eq!(fs::read_to_string(path.join(name)).expect("read"), "secret");
        }
    });
}
