//! What a person reads when a file, folder or profile cannot be used.

use crate::errors::each_is_shown;

#[test]
fn profiles_and_files_that_cannot_be_extended() {
    each_is_shown(
        r#"
extends = [‹"nodejs"›]
  there is no profile `nodejs`
  = help: did you mean `node`?

extends = [‹"cobol"›]
  there is no profile `cobol`
  = help: the profiles are `anthropic-api-key`, `anthropic-oauth-token`, `claude-code`, `git`, `github`, `node`, `python` or `rust`

extends = [‹"./none.toml"›]
  cannot extend `./none.toml`: there is no such file

extends = [‹"policy.toml"›]
  `policy.toml` extends this file in turn
  = help: a circle of files has no beginning; take one of the entries out
"#,
    );
}

#[test]
fn paths_that_cannot_be_shown() {
    each_is_shown(
        r#"
[filesystem]
read = [‹"~/.none"›]
  `~/.none` does not exist
  = help: create it, or take the entry out

[filesystem]
read = [‹"~"›]
  `~` holds the whole home folder
  = help: name the files and folders that are needed

[filesystem]
read = [‹"~root/x"›]
  `~root/x` names another user's home

[filesystem]
write = [‹"/etc"›]
  `/etc` is a system folder

[filesystem]
read = [‹"/proc/self"›]
  `/proc/self` belongs to the host's kernel or services

[filesystem]
read = [‹"/dev/null"›]
  `/dev/null` is a device, not a file or folder
"#,
    );
}

#[test]
fn bad_workspaces() {
    each_is_shown(
        r#"
[filesystem]
workspace = ‹"/"›
  / cannot be the workspace: it is the whole file system
  = help: start in a project folder, or name one with `--workspace`
"#,
    );
}

#[test]
fn bad_roots() {
    each_is_shown(
        r#"
[network]
extra_ca = [‹"none.pem"›]
  cannot read `none.pem`: there is no such file

[network]
extra_ca = [‹"policy.toml"›]
  `policy.toml` holds no PEM certificate
"#,
    );
}
