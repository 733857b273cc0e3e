//! What a person reads when something is wrong: keys, types, and what is no TOML at all.

use crate::world::World;

const FILE: &str = "~/.config/palisade/policy.toml";

/// Shows each case as a person sees it. The cases are texts with a blank line between: what the person wrote below the line
/// `version = 1`, with `‹` and `›` around what is wrong; then, set in, the message, and the help if there is any.
#[track_caller]
pub(crate) fn each_is_shown(cases: &str) {
    for case in cases.trim().split("\n\n") {
        let (said, written): (Vec<&str>, Vec<&str>) =
            case.lines().partition(|line| line.starts_with("  "));
        let body = written.join("\n") + "\n";
        let found = World::error_of(&body.replace(['‹', '›'], ""));
        assert_eq!(found, rendered(&written, &said), "\n{found}\n");
    }
}

/// The error as it is to be laid out.
fn rendered(written: &[&str], said: &[&str]) -> String {
    let (message, help) = said.split_first().expect("a message");
    let wrong = written.iter().position(|line| line.contains('‹'));
    let wrong = wrong.expect("a mark");
    let (before, rest) = written[wrong].split_once('‹').expect("a beginning");
    let (marked, after) = rest.split_once('›').expect("an end on the same line");
    let line = wrong + 2;
    let column = before.chars().count() + 1;
    // A place between two characters is shown by one caret as well.
    let carets = "^".repeat(marked.chars().count().max(1));
    let mut text = format!(
        "{}\n --> {FILE}:{line}:{column}\n  |\n{line} | {before}{marked}{after}\n  | {carets:>width$}",
        message.trim_start(),
        width = column - 1 + carets.len(),
    );
    for line in help {
        text = format!("{text}\n{line}");
    }
    text
}

/// The layout in full, for once without the helper above.
#[test]
fn an_error_shows_the_line_and_the_place() {
    assert_eq!(
        World::error_of("[netwrok]\n"),
        "unknown key `netwrok`
 --> ~/.config/palisade/policy.toml:2:2
  |
2 | [netwrok]
  |  ^^^^^^^
  = help: did you mean `network`?"
    );
    assert_eq!(
        World::error_of("[filesystem]\naccess = 1\n"),
        "wrong type: expected a string
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | access = 1
  |          ^"
    );
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    each_is_shown(
        r#"
[‹netwrok›]
  unknown key `netwrok`
  = help: did you mean `network`?

[[network.allow]]
‹hots› = "a.example"
  unknown key `hots`
  = help: did you mean `host`?

[[network.allow]]
host = "a.example"
‹rate› = "x"
  unknown key `rate`
  = help: the keys here are `host`, `ports`, `private`, `protocol`, `methods`, `paths`, `intercept`, `credential` or `dangerous_plaintext`
"#,
    );
}

#[test]
fn missing_and_doubled_keys() {
    each_is_shown(
        r#"
‹[[network.allow]]›
ports = [443]
  the key `host` is missing
  = help: each rule names a host, as in `host = "api.example.com"`

[network]
allow = [‹{ ports = [1] }›]
  the key `host` is missing
  = help: each rule names a host, as in `host = "api.example.com"`

‹version› = 1
  duplicate key

[limits]
cpus = 1
‹cpus› = 2
  duplicate key
"#,
    );
}

#[test]
fn wrong_types() {
    each_is_shown(
        r#"
‹[network.allow]›
host = "a.example"
  wrong type: a table, expected a list
  = help: tables of a list are written `[[…]]`, as in `[[network.allow]]`

[filesystem]
read = ‹"~/.x"›
  wrong type: string "~/.x", expected a list
  = help: write a list, in brackets: `[…]`

[filesystem]
access = ‹1›
  wrong type: expected a string

[environment]
set = { CI = ‹1› }
  wrong type: integer `1`, expected a string

[limits]
memory = ‹true›
  wrong type: boolean `true`, expected a size such as "2GiB", or a number of bytes

[limits]
cpus = ‹"two"›
  wrong type: string "two", expected a number

[limits]
processes = ‹1.5›
  wrong type: floating point `1.5`, expected a whole number

[[network.allow]]
host = "a.example"
ports = ‹443›
  wrong type: integer `443`, expected a list
  = help: write a list, in brackets: `[…]`

network = ‹1›
  wrong type: integer `1`, expected a table

[environment]
set = ‹1›
  wrong type: integer `1`, expected a table

[[network.allow]]
host = "a.example"
private = ‹1›
  wrong type: integer `1`, expected a boolean
"#,
    );
}

#[test]
fn values_out_of_a_fixed_set() {
    each_is_shown(
        r#"
[filesystem]
access = ‹"rw"›
  `rw` is not known here
  = help: use `read`, `scratch`, `review` or `write`

[[network.allow]]
host = "a.example"
protocol = ‹"ftp"›
  `ftp` is not known here
  = help: use `http`, `websocket`, `grpc` or `tcp`

[boundary]
backend = ‹"natvie"›
  there is no backend `natvie`
  = help: did you mean `native`?

[boundary]
require = ‹"none"›
  `none` is not known here
  = help: use `all`, and name exceptions in `accept_weaker`

[boundary]
accept_weaker = ["landlock", ‹"limits.cpu"›]
  there is no control `limits.cpu`
  = help: did you mean `limits.cpus`?

[boundary]
accept_weaker = [‹"everything"›]
  there is no control `everything`
  = help: the controls are `filesystem`, `access`, `masks`, `protect`, `volumes`, `tmpfs`, `network`, `network.capture`, `dns`, `interception`, `credentials`, `identity`, `system-calls`, `landlock`, `limits.memory`, `limits.cpus`, `limits.processes` or `lifetime`

[boundary.gvisor]
platform = ‹"pvm"›
  `pvm` is not known here
  = help: use `auto`, `systrap`, `kvm` or `ptrace`

[boundary.gvisor]
runsc = ‹"bin/runsc"›
  gVisor's program is a name or an absolute path
  = help: such as "runsc" or "/usr/local/bin/runsc"

[boundary.gvisor]
runsc = ‹""›
  gVisor's program is a name or an absolute path
  = help: such as "runsc" or "/usr/local/bin/runsc"

[boundary]
‹accept_weeker› = []
  unknown key `accept_weeker`
  = help: did you mean `accept_weaker`?
"#,
    );
}

#[test]
fn broken_toml() {
    each_is_shown(
        r#"
a = ‹›
  string values must be quoted, expected literal string

[network‹›
  unclosed table, expected `]`
"#,
    );
}
