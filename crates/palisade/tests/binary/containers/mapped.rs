//! With a daemon that maps users (`userns-remap`). `cargo xtask test` starts one for these.

use palisade_test_support::{Identity, Lab, Policy, Skip, each_identity};

use super::{contained, engine};

fn mapped(who: Identity) -> Result<Lab, Skip> {
    let lab = contained(who)?;
    let options = ["info", "--format", "{{json .}}"];
    if engine(&lab, &options).stdout.contains("name=userns") {
        return Ok(lab);
    }
    let fix = "cargo xtask test, or DOCKER_HOST of such a daemon";
    Err(Skip::because("the daemon maps no users", fix))
}

each_identity! {
    fn not_even_the_first_process_is_root_of_this_machine(who) {
        let lab = mapped(who)?;
        if who == Identity::User {
            let refused = lab.run(&Policy::new(), ["true"]).run().expect(125);
            refused.expect_error("maps users (userns-remap)").expect_error("run palisade as root");
            return Ok(());
        }
        let script = "read -r first host count < /proc/self/uid_map; echo $first $host; id -u; echo words > own; stat -c %u . own";
        let done = lab.run(&Policy::new(), ["sh", "-c", script]).run().expect(0);
        let found: Vec<u32> = done.stdout.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [first, host, agent, folder, file] = found[..] else { panic!("{done}") };
        assert!(first == 0 && host >= 1 << 16, "{done}");
        assert!(agent != 0 && (folder, file) == (agent, agent), "{done}");
        // Outside it is whose the workspace is.
        use std::os::unix::fs::MetadataExt as _;
        let owner = |path: std::path::PathBuf| std::fs::metadata(path).unwrap().uid();
        assert_eq!(owner(lab.workspace().join("own")), owner(lab.workspace().to_path_buf()));
    }

    fn a_user_by_number_would_be_somebody_else(who) {
        let lab = mapped(who)?;
        let policy = Policy::new().tables("[boundary.container]\nuser = \"4321:5432\"");
        let refused = lab.run(&policy, ["true"]).run().expect(125);
        refused.expect_error("4321:5432 inside would be somebody else").expect_error("take `user` out");
    }

    fn doctor_sees_it(who) {
        let lab = mapped(who)?;
        let doctor = lab.palisade(["doctor"]).run();
        let words = match who {
            Identity::Root => "remapped (userns-remap): root of a container is user",
            Identity::User => "the daemon maps users (userns-remap)",
        };
        assert!(doctor.stdout.contains(words), "{doctor}");
    }
}
