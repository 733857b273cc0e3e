//! What a person reads when a value cannot be meant.

use crate::errors::each_is_shown;
use crate::world::World;

#[test]
fn limits_out_of_range() {
    each_is_shown(
        r#"
[limits]
memory = ‹"2G"›
  not a size
  = help: write a number with a unit (`"2GiB"`, `"500MB"`), or plain bytes

[limits]
memory = ‹2›
  2 bytes of memory is too little to start a program
  = help: a unit may be missing, as in `"2GiB"`; the least is 8MiB

[limits]
cpus = ‹0›
  processors are a number from 0.01 to 8192

[limits]
cpus = ‹nan›
  processors are a number from 0.01 to 8192

[limits]
processes = ‹1›
  processes are a number from 2 to 4194304
"#,
    );
}

#[test]
fn bad_hosts_and_ports() {
    each_is_shown(
        r#"
[[network.allow]]
host = ‹"a.*.example"›
  `*` may only stand as the whole first label, as in `*.example.com`

[[network.allow]]
host = "a.example"
ports = [‹0›]
  a port is a number from 1 to 65535

[[network.allow]]
host = "a.example"
ports = [443, ‹70000›]
  a port is a number from 1 to 65535

[[network.allow]]
host = "a.example"
ports = ‹[]›
  a rule without ports matches nothing
  = help: leave `ports` out for the default

[[network.allow]]
host = ‹"https://a.example"›
  a host pattern has no scheme and no path
"#,
    );
}

#[test]
fn bad_mappings() {
    each_is_shown(
        r#"
[network]
resolve = { ‹"a.example"› = "127.0.0.1:1" }
  port is not a number from 1 to 65535
  = help: as in `"api.example.com:443" = "127.0.0.1:8443"`

[network]
resolve = { "a.example:1" = ‹"localhost:1"› }
  not an address with a port
  = help: as in `"api.example.com:443" = "127.0.0.1:8443"`
"#,
    );
}

#[test]
fn bad_names_of_variables() {
    each_is_shown(
        r#"
[environment]
pass = [‹"LC_*"›]
  variables are named one by one; `*` is not known here

[environment]
set = { ‹"A-B"› = "x" }
  the name of a variable is made of letters, digits and `_`
"#,
    );
}

#[test]
fn the_password_of_a_proxy_is_not_shown() {
    assert_eq!(
        World::error_of("[network]\nupstream_proxy = \"https://u:pw@proxy:1\"\n"),
        r#"a proxy that is itself spoken to over TLS is not supported
 --> ~/.config/palisade/policy.toml:3:18
  |
3 | upstream_proxy = "https://****@proxy:1"
  |                  ^^^^^^^^^^^^^^^^^^^^^^"#
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

#[test]
fn settings_of_the_container_backend() {
    each_is_shown(
        r#"
[boundary.container]
engine = ‹"lxc"›
  `lxc` is not known here
  = help: use `docker` or `podman`

[boundary.container]
root = ‹"image"›
  there is no root `image`
  = help: write `"host"`, or `{ image = "…" }` for an image

[boundary.container]
root = { image = ‹"--privileged"› }
  not the name of an image, such as `node:22`

[boundary.container]
runtime = ‹"run c"›
  not the name of a runtime, such as `crun`

[boundary.container]
user = ‹"ada"›
  not a user and a group
  = help: write user and group by number, as in `"1000:1000"`

[boundary.container]
user = ‹"1000:0"›
  an agent is never root
  = help: write user and group by number, as in `"1000:1000"`
"#,
    );
}
