//! What a person reads when something is wrong.

use crate::world::World;

/// The whole error of a policy file in the person's settings, whose first line is `version = 1`.
#[track_caller]
fn shows(body: &str, expected: &str) {
    let found = World::error_of(body);
    assert_eq!(found, expected, "\n{found}\n");
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    shows(
        "[netwrok]\n",
        "unknown key `netwrok`
 --> ~/.config/palisade/policy.toml:2:2
  |
2 | [netwrok]
  |  ^^^^^^^
  = help: did you mean `network`?",
    );
    shows(
        "[[network.allow]]\nhots = \"a.example\"\n",
        r#"unknown key `hots`
 --> ~/.config/palisade/policy.toml:3:1
  |
3 | hots = "a.example"
  | ^^^^
  = help: did you mean `host`?"#,
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nrate = \"x\"\n",
        r#"unknown key `rate`
 --> ~/.config/palisade/policy.toml:4:1
  |
4 | rate = "x"
  | ^^^^
  = help: the keys here are `host`, `ports`, `private`, `protocol`, `methods`, `paths`, `intercept`, `credential` or `dangerous_plaintext`"#,
    );
}

#[test]
fn missing_and_doubled_keys() {
    shows(
        "[[network.allow]]\nports = [443]\n",
        r#"the key `host` is missing
 --> ~/.config/palisade/policy.toml:2:1
  |
2 | [[network.allow]]
  | ^^^^^^^^^^^^^^^^^
  = help: each rule names a host, as in `host = "api.example.com"`"#,
    );
    shows(
        "[network]\nallow = [{ ports = [1] }]\n",
        r#"the key `host` is missing
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | allow = [{ ports = [1] }]
  |          ^^^^^^^^^^^^^^^
  = help: each rule names a host, as in `host = "api.example.com"`"#,
    );
    shows(
        "version = 1\n",
        "duplicate key
 --> ~/.config/palisade/policy.toml:2:1
  |
2 | version = 1
  | ^^^^^^^",
    );
    shows(
        "[limits]\ncpus = 1\ncpus = 2\n",
        "duplicate key
 --> ~/.config/palisade/policy.toml:4:1
  |
4 | cpus = 2
  | ^^^^",
    );
}

#[test]
fn wrong_types() {
    shows(
        "[network.allow]\nhost = \"a.example\"\n",
        r#"wrong type: a table, expected a list
 --> ~/.config/palisade/policy.toml:2:1
  |
2 | [network.allow]
  | ^^^^^^^^^^^^^^^
  = help: tables of a list are written `[[…]]`, as in `[[network.allow]]`"#,
    );
    shows(
        "[filesystem]\nread = \"~/.x\"\n",
        r#"wrong type: string "~/.x", expected a list
 --> ~/.config/palisade/policy.toml:3:8
  |
3 | read = "~/.x"
  |        ^^^^^^
  = help: write a list, in brackets: `[…]`"#,
    );
    shows(
        "[filesystem]\naccess = 1\n",
        "wrong type: expected a string
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | access = 1
  |          ^",
    );
    shows(
        "[environment]\nset = { CI = 1 }\n",
        "wrong type: integer `1`, expected a string
 --> ~/.config/palisade/policy.toml:3:14
  |
3 | set = { CI = 1 }
  |              ^",
    );
    shows(
        "[limits]\nmemory = true\n",
        r#"wrong type: boolean `true`, expected a size such as "2GiB", or a number of bytes
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | memory = true
  |          ^^^^"#,
    );
    shows(
        "[limits]\ncpus = \"two\"\n",
        r#"wrong type: string "two", expected a number
 --> ~/.config/palisade/policy.toml:3:8
  |
3 | cpus = "two"
  |        ^^^^^"#,
    );
    shows(
        "[limits]\nprocesses = 1.5\n",
        "wrong type: floating point `1.5`, expected a whole number
 --> ~/.config/palisade/policy.toml:3:13
  |
3 | processes = 1.5
  |             ^^^",
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nports = 443\n",
        "wrong type: integer `443`, expected a list
 --> ~/.config/palisade/policy.toml:4:9
  |
4 | ports = 443
  |         ^^^
  = help: write a list, in brackets: `[…]`",
    );
    shows(
        "network = 1\n",
        "wrong type: integer `1`, expected a table
 --> ~/.config/palisade/policy.toml:2:11
  |
2 | network = 1
  |           ^",
    );
    shows(
        "[environment]\nset = 1\n",
        "wrong type: integer `1`, expected a table
 --> ~/.config/palisade/policy.toml:3:7
  |
3 | set = 1
  |       ^",
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nprivate = 1\n",
        "wrong type: integer `1`, expected a boolean
 --> ~/.config/palisade/policy.toml:4:11
  |
4 | private = 1
  |           ^",
    );
}

#[test]
fn values_out_of_a_fixed_set() {
    shows(
        "[filesystem]\naccess = \"review\"\n",
        r#"`review` is not known here
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | access = "review"
  |          ^^^^^^^^
  = help: use `read` or `write`"#,
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nprotocol = \"ftp\"\n",
        r#"`ftp` is not known here
 --> ~/.config/palisade/policy.toml:4:12
  |
4 | protocol = "ftp"
  |            ^^^^^
  = help: use `http`, `websocket`, `grpc` or `tcp`"#,
    );
    shows(
        "[boundary]\nbackend = \"natvie\"\n",
        r#"there is no backend `natvie`
 --> ~/.config/palisade/policy.toml:3:11
  |
3 | backend = "natvie"
  |           ^^^^^^^^
  = help: did you mean `native`?"#,
    );
}

#[test]
fn broken_toml() {
    shows(
        "a = \n",
        "string values must be quoted, expected literal string
 --> ~/.config/palisade/policy.toml:2:5
  |
2 | a = 
  |     ^",
    );
    shows(
        "[network\n",
        "unclosed table, expected `]`
 --> ~/.config/palisade/policy.toml:2:9
  |
2 | [network
  |         ^",
    );
}

#[test]
fn limits_out_of_range() {
    shows(
        "[limits]\nmemory = \"2G\"\n",
        r#"not a size
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | memory = "2G"
  |          ^^^^
  = help: write a number with a unit (`"2GiB"`, `"500MB"`), or plain bytes"#,
    );
    shows(
        "[limits]\nmemory = 2\n",
        r#"2 bytes of memory is too little to start a program
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | memory = 2
  |          ^
  = help: a unit may be missing, as in `"2GiB"`; the least is 8MiB"#,
    );
    shows(
        "[limits]\ncpus = 0\n",
        "processors are a number from 0.01 to 8192
 --> ~/.config/palisade/policy.toml:3:8
  |
3 | cpus = 0
  |        ^",
    );
    shows(
        "[limits]\ncpus = nan\n",
        "processors are a number from 0.01 to 8192
 --> ~/.config/palisade/policy.toml:3:8
  |
3 | cpus = nan
  |        ^^^",
    );
    shows(
        "[limits]\nprocesses = 1\n",
        "processes are a number from 2 to 4194304
 --> ~/.config/palisade/policy.toml:3:13
  |
3 | processes = 1
  |             ^",
    );
}

#[test]
fn bad_hosts_and_ports() {
    shows(
        "[[network.allow]]\nhost = \"a.*.example\"\n",
        r#"`*` may only stand as the whole first label, as in `*.example.com`
 --> ~/.config/palisade/policy.toml:3:8
  |
3 | host = "a.*.example"
  |        ^^^^^^^^^^^^^"#,
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nports = [0]\n",
        "a port is a number from 1 to 65535
 --> ~/.config/palisade/policy.toml:4:10
  |
4 | ports = [0]
  |          ^",
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nports = [443, 70000]\n",
        "a port is a number from 1 to 65535
 --> ~/.config/palisade/policy.toml:4:15
  |
4 | ports = [443, 70000]
  |               ^^^^^",
    );
    shows(
        "[[network.allow]]\nhost = \"a.example\"\nports = []\n",
        "a rule without ports matches nothing
 --> ~/.config/palisade/policy.toml:4:9
  |
4 | ports = []
  |         ^^
  = help: leave `ports` out for the default",
    );
    shows(
        "[[network.allow]]\nhost = \"https://a.example\"\n",
        r#"a host pattern has no scheme and no path
 --> ~/.config/palisade/policy.toml:3:8
  |
3 | host = "https://a.example"
  |        ^^^^^^^^^^^^^^^^^^^"#,
    );
}

#[test]
fn bad_mappings_and_proxies() {
    shows(
        "[network]\nupstream_proxy = \"https://u:pw@proxy:1\"\n",
        r#"a proxy that is itself spoken to over TLS is not supported
 --> ~/.config/palisade/policy.toml:3:18
  |
3 | upstream_proxy = "https://****@proxy:1"
  |                  ^^^^^^^^^^^^^^^^^^^^^^"#,
    );
    shows(
        "[network]\nresolve = { \"a.example\" = \"127.0.0.1:1\" }\n",
        r#"port is not a number from 1 to 65535
 --> ~/.config/palisade/policy.toml:3:13
  |
3 | resolve = { "a.example" = "127.0.0.1:1" }
  |             ^^^^^^^^^^^
  = help: as in `"api.example.com:443" = "127.0.0.1:8443"`"#,
    );
    shows(
        "[network]\nresolve = { \"a.example:1\" = \"localhost:1\" }\n",
        r#"not an address with a port
 --> ~/.config/palisade/policy.toml:3:29
  |
3 | resolve = { "a.example:1" = "localhost:1" }
  |                             ^^^^^^^^^^^^^
  = help: as in `"api.example.com:443" = "127.0.0.1:8443"`"#,
    );
}

#[test]
fn profiles_and_files_that_cannot_be_extended() {
    shows(
        "extends = [\"nodejs\"]\n",
        r#"there is no profile `nodejs`
 --> ~/.config/palisade/policy.toml:2:12
  |
2 | extends = ["nodejs"]
  |            ^^^^^^^^
  = help: did you mean `node`?"#,
    );
    shows(
        "extends = [\"cobol\"]\n",
        r#"there is no profile `cobol`
 --> ~/.config/palisade/policy.toml:2:12
  |
2 | extends = ["cobol"]
  |            ^^^^^^^
  = help: the profiles are `anthropic-api-key`, `anthropic-oauth-token`, `claude-code`, `git`, `github`, `node`, `python` or `rust`"#,
    );
    shows(
        "extends = [\"./none.toml\"]\n",
        r#"cannot extend `./none.toml`: there is no such file
 --> ~/.config/palisade/policy.toml:2:12
  |
2 | extends = ["./none.toml"]
  |            ^^^^^^^^^^^^^"#,
    );
    shows(
        "extends = [\"policy.toml\"]\n",
        r#"`policy.toml` extends this file in turn
 --> ~/.config/palisade/policy.toml:2:12
  |
2 | extends = ["policy.toml"]
  |            ^^^^^^^^^^^^^
  = help: a circle of files has no beginning; take one of the entries out"#,
    );
}

#[test]
fn paths_that_cannot_be_shown() {
    shows(
        "[filesystem]\nread = [\"~/.none\"]\n",
        r#"`~/.none` does not exist
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | read = ["~/.none"]
  |         ^^^^^^^^^
  = help: create it, or take the entry out"#,
    );
    shows(
        "[filesystem]\nread = [\"~\"]\n",
        r#"`~` holds the whole home folder
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | read = ["~"]
  |         ^^^
  = help: name the files and folders that are needed"#,
    );
    shows(
        "[filesystem]\nread = [\"~root/x\"]\n",
        r#"`~root/x` names another user's home
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | read = ["~root/x"]
  |         ^^^^^^^^^"#,
    );
    shows(
        "[filesystem]\nwrite = [\"/etc\"]\n",
        r#"`/etc` is a system folder
 --> ~/.config/palisade/policy.toml:3:10
  |
3 | write = ["/etc"]
  |          ^^^^^^"#,
    );
    shows(
        "[filesystem]\nread = [\"/proc/self\"]\n",
        r#"`/proc/self` belongs to the host's kernel or services
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | read = ["/proc/self"]
  |         ^^^^^^^^^^^^"#,
    );
    shows(
        "[filesystem]\nread = [\"/dev/null\"]\n",
        r#"`/dev/null` is a device, not a file or folder
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | read = ["/dev/null"]
  |         ^^^^^^^^^^^"#,
    );
}

#[test]
fn bad_workspaces() {
    shows(
        "[filesystem]\nworkspace = \"/\"\n",
        r#"/ cannot be the workspace: it is the whole file system
 --> ~/.config/palisade/policy.toml:3:13
  |
3 | workspace = "/"
  |             ^^^
  = help: start in a project folder, or name one with `--workspace`"#,
    );
}

#[test]
fn bad_roots() {
    shows(
        "[network]\nextra_ca = [\"none.pem\"]\n",
        r#"cannot read `none.pem`: there is no such file
 --> ~/.config/palisade/policy.toml:3:13
  |
3 | extra_ca = ["none.pem"]
  |             ^^^^^^^^^^"#,
    );
    shows(
        "[network]\nextra_ca = [\"policy.toml\"]\n",
        r#"`policy.toml` holds no PEM certificate
 --> ~/.config/palisade/policy.toml:3:13
  |
3 | extra_ca = ["policy.toml"]
  |             ^^^^^^^^^^^^^"#,
    );
}

#[test]
fn bad_names_of_variables() {
    shows(
        "[environment]\npass = [\"LC_*\"]\n",
        r#"variables are named one by one; `*` is not known here
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | pass = ["LC_*"]
  |         ^^^^^^"#,
    );
    shows(
        "[environment]\nset = { \"A-B\" = \"x\" }\n",
        r#"the name of a variable is made of letters, digits and `_`
 --> ~/.config/palisade/policy.toml:3:9
  |
3 | set = { "A-B" = "x" }
  |         ^^^^^"#,
    );
}

#[test]
fn d17_a_wildcard_over_a_registry_is_refused_and_one_over_tenants_is_named() {
    let body = |host: &str| format!("[[network.allow]]\nhost = \"{host}\"\n");
    let rule = |host: &str| format!("version = 1\n{}", body(host));
    assert_eq!(
        World::error_of(&body("*.co.uk")),
        "`*.co.uk` covers a whole registry, where anybody can get a name\n \
         --> ~/.config/palisade/policy.toml:3:8\n  \
         |\n\
         3 | host = \"*.co.uk\"\n  \
         |        ^^^^^^^^^\n  \
         = help: name the hosts that are needed"
    );
    let world = World::new();
    world.user_policy(&rule("*.github.io"));
    assert_eq!(
        world.effective().notes,
        [
            "~/.config/palisade/policy.toml:3: *.github.io covers the names of many owners, and anybody can get one"
        ]
    );
    let world = World::new();
    world.user_policy(&rule("*.example.com"));
    assert_eq!(world.effective().notes, [""; 0]);
}
