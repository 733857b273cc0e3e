//! What a person reads when something on the command line is wrong.

use crate::world::World;

#[test]
fn arguments_are_named_as_typed() {
    for (set, expected) in [
        (
            (|o| o.allow = vec!["a.example:0".into()]) as fn(&mut palisade_config::Options),
            "a port is a number from 1 to 65535\n  --> --allow a.example:0",
        ),
        (
            |o| o.allow = vec!["*.com".into()],
            "a wildcard needs at least two labels after it, as in `*.example.com`\n  --> --allow *.com",
        ),
        (
            |o| o.env = vec!["MY-KEY=secret".into()],
            "the name of a variable is made of letters, digits and `_`\n  --> --env MY-KEY",
        ),
        (
            |o| o.profiles = vec!["rusty".into()],
            "there is no profile `rusty`\n  --> --profile rusty\n  = help: did you mean `rust`?",
        ),
        (
            |o| o.policy = Some("none.toml".into()),
            "the policy file cannot be read: there is no such file\n  --> --policy none.toml",
        ),
        (
            |o| o.workspace = Some("..".into()),
            ".. cannot be the workspace: it holds the whole home folder\n  --> --workspace ..\n  \
             = help: start in a project folder, or name one with `--workspace`",
        ),
        (
            |o| o.boundary = Some("microwm".into()),
            "there is no backend `microwm`\n  --> --boundary microwm\n  \
             = help: the backends here are `native` or `container`",
        ),
    ] {
        let mut world = World::new();
        set(&mut world.options);
        assert_eq!(world.error(), expected);
    }
}

#[test]
fn the_home_folder_is_no_workspace_even_by_default() {
    let world = World::new();
    let mut around = world.around();
    around.current_dir = world.home();
    let error = palisade_config::load(&world.options, &around).unwrap_err();
    assert!(
        error
            .message()
            .ends_with("cannot be the workspace: it holds the whole home folder"),
        "{error}"
    );
}
