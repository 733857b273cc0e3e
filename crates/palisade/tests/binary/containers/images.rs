//! An image as the root, made on the spot from programs of this machine and what they are linked to.

use palisade_test_support::authority::Authority;
use palisade_test_support::upstream::{MessagesApi, Server, ToolCall};
use palisade_test_support::{Identity, Lab, Policy, claude, each_identity, program};
use serde_json::json;

use super::{contained, containers, folders};

/// An image of a lab's, gone when dropped.
struct Image<'a> {
    lab: &'a Lab,
    name: String,
}

impl<'a> Image<'a> {
    /// Of these programs (of one with a path what it is linked to alone), with whatever an image may declare that must not count.
    fn new(lab: &'a Lab, programs: &[&str]) -> Self {
        let name = lab
            .path("")
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_lowercase();
        let guest = lab.binary().with_file_name("palisade-guest");
        let script = "
            set -e
            engine=$1 name=$2 guest=$3; shift 3
            root=$(mktemp -d); trap 'rm -rf $root' EXIT; cd $root
            mkdir -p etc own/bin data usr/bin
            ln -s usr/bin bin
            echo 'of the image' > etc/made
            printf '#!/bin/sh\\necho hello\\n' > own/bin/hello
            chmod 755 . own/bin/hello
            for program in $guest \"$@\"; do
                found=$(readlink -f $(command -v $program))
                case $program in */*) ;; *) cp $found usr/bin/$program ;; esac
                ldd $found | grep -o '/[^ ]*' | while read -r library; do
                    mkdir -p .$(dirname $library); cp -L $library .$library
                done
            done
            tar -c . | $engine import --change 'ENV FOO=bar' --change 'ENV PATH=/own/bin:/usr/bin' \
                --change 'ENV LD_PRELOAD=/nonexistent' \
                --change 'USER 12:13' --change 'WORKDIR /own' --change 'ENTRYPOINT [\"/bin/false\"]' --change 'CMD [\"x\"]' \
                --change 'VOLUME /data' - $name";
        let done = lab
            .outside("sh")
            .args(["-c", script, "sh", lab.engine(), &name]);
        done.args([&guest]).args(programs).run().expect(0);
        Self { lab, name }
    }

    fn policy(&self) -> Policy {
        Policy::new().tables(&format!(
            "[boundary.container]\nroot = {{ image = {:?} }}",
            self.name
        ))
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        self.lab
            .outside(self.lab.engine())
            .args(["rmi", &self.name])
            .run();
    }
}

each_identity! {
    fn a_guest_that_needs_libraries_is_named_where_it_would_have_none(who) {
        let lab = contained(who)?;
        let folder = lab.path("beside");
        let own = lab.write(&folder.join("palisade"), std::fs::read(lab.binary()).unwrap());
        // Any program that is linked to libraries.
        let other = lab.write(&folder.join("palisade-guest"), std::fs::read("/bin/true").unwrap());
        for program in [&own, &other] {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let palisade = |words: &[&str], policy: &Policy| {
            let file = lab.policy(policy.to_toml());
            lab.outside(own.to_str().unwrap()).args(words).args([file])
        };
        let engine = format!("[boundary.container]\nengine = {:?}", lab.engine());
        let host = Policy::new().tables(&engine);
        let of_image = Image::new(&lab, &["sh"]);
        let image = of_image.policy();
        let run = ["run", "--boundary", "container", "--access", "review", "--policy"];
        for (policy, refused) in [(&image, true), (&host, who == Identity::User)] {
            let done = palisade(&run, policy).args(["--", "true"]).run().expect(125);
            assert_eq!(done.stderr.contains("dynamically linked"), refused, "{done}");
        }
        let doctor = |policy: &Policy| {
            let done = palisade(&["doctor", "--json", "--policy"], policy).run();
            let found: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
            let all = found["boundaries"][1]["capabilities"].as_array().unwrap().clone();
            let guest = all.into_iter().find(|one| one["name"] == "guest").unwrap();
            assert!(guest["fix"].as_str().unwrap().contains("crt-static"), "{guest}");
            guest["state"].as_str().unwrap().to_owned()
        };
        assert_eq!((doctor(&image).as_str(), doctor(&host).as_str()), ("missing", "degraded"));
        assert_eq!((containers(&lab).len(), folders(&lab)), (0, 0));
    }

    fn the_agent_sees_the_image_and_not_the_hosts_system(who) {
        let lab = contained(who)?;
        let image = Image::new(&lab, &["sh", "cat", "env", "id", "ls", "touch"]);
        lab.write(&lab.workspace().join(".env"), "TOKEN=S3CRET\n");
        let script = "cat /etc/made README.md .env; hello; id -un; touch made; ls /usr/bin";
        let done = lab.run(&image.policy(), ["sh", "-c", script]).run().expect(0);
        let user = if who == palisade_test_support::Identity::Root { "agent" } else { "tester" };
        let seen = format!("of the image\n# a project\nhello\n{user}\ncat\nenv\nid\nls\nsh\ntouch\n");
        assert_eq!(done.stdout, seen, "{done}");
        assert!(lab.workspace().join("made").exists());
        // Neither the image nor the host can be written, and nothing of the person's is there.
        for path in ["/etc/made", "/usr/bin/x", "/own/x", "/data/x", "/x"] {
            let refused = lab.run(&image.policy(), ["touch", path]).run();
            assert_eq!(refused.status, 1, "{path}: {refused}");
        }
        let secret = lab.home().join(".ssh/id_ed25519");
        lab.run(&image.policy(), ["cat", secret.to_str().unwrap()]).run().expect(1);
    }

    fn what_an_image_declares_decides_nothing(who) {
        let lab = contained(who)?;
        let image = Image::new(&lab, &["sh", "env"]);
        let done = lab.run(&image.policy(), ["sh", "-c", "pwd; env"]).run().expect(0);
        assert_eq!(done.stdout.lines().next(), lab.workspace().to_str(), "{done}");
        for declared in ["FOO=", "LD_PRELOAD="] {
            assert!(!done.stdout.contains(declared), "{done}");
        }
        // Its search path counts, unless the policy has one.
        assert!(done.stdout.contains("PATH=/own/bin:/usr/bin:"), "{done}");
        let own = image.policy().tables("[environment]\nset = { PATH = \"/usr/bin\" }");
        let done = lab.run(&own, ["env"]).run().expect(0);
        assert!(done.stdout.contains("\nPATH=/usr/bin\n"), "{done}");
        lab.run(&own, ["hello"]).run().expect(127).expect_error("does not have it where PATH says");
    }

    fn an_image_that_is_not_there_is_not_pulled(who) {
        let lab = contained(who)?;
        let policy = Policy::new().tables("[boundary.container]\nroot = { image = \"nowhere.test/none:1\" }");
        let pull = format!("{} pull nowhere.test/none:1", lab.engine());
        lab.run(&policy, ["true"]).run().expect(125).expect_error(&pull);
    }

    fn the_sessions_authority_is_at_every_usual_place(who) {
        let lab = contained(who)?;
        let image = Image::new(&lab, &["sh", "grep", "cmp", "curl"]);
        let authority = Authority::new();
        let server = Server::https(MessagesApi::new(Vec::new(), ""), &authority, &["api.example.test"]);
        let rule = "host = \"api.example.test\"\nports = [443]\nintercept = true";
        let policy = image.policy().trust(&authority).rule("allow", rule);
        let policy = policy.resolve("api.example.test:443", server.address());
        let script = "for place in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem /etc/ssl/ca-bundle.pem
            do cmp $place $SSL_CERT_FILE || exit 1; done
            unset SSL_CERT_FILE CURL_CA_BUNDLE; curl -sS -o /dev/null -w '%{ssl_verify_result}' https://api.example.test/";
        let done = lab.run(&policy, ["sh", "-c", script]).run().expect(0);
        assert_eq!(done.stdout, "0", "{done}");
        lab.expect_allowed("api.example.test");
    }

    fn claude_code_edits_a_file_in_an_image_with_node(who) {
        let lab = contained(who)?;
        let folder = claude::folder()?;
        program("node", "nodejs")?;
        let claude = folder.join("claude").display().to_string();
        let image = Image::new(&lab, &["sh", "bash", "cat", "node", "grep", "sed", "mkdir", "ls", "uname", "git", &claude]);
        let target = lab.workspace().join("NOTES.md");
        let script = vec![
            ToolCall::new("Write", json!({ "file_path": target, "content": "one\n" })),
            ToolCall::new("Bash", json!({ "command": "cat /etc/made; node -e 'console.log(6 * 7)' >> NOTES.md", "description": "append" })),
        ];
        let api = MessagesApi::new(script, "The task is done.").require_key("test");
        let authority = Authority::new();
        let server = Server::https(api.clone(), &authority, &["api.anthropic.com"]);
        let policy = image.policy().extends(&["claude-code"]).trust(&authority);
        let policy = policy.resolve("api.anthropic.com:443", server.address());
        let policy = policy.filesystem(&format!("read = [\"{}\"]\naccess = \"review\"", folder.display()));
        let policy = policy.tables("[environment]\nset = { ANTHROPIC_API_KEY = \"test\" }");
        let task = [claude.as_str(), "-p", "edit the file", "--dangerously-skip-permissions"];
        let done = lab.run(&policy, task).patience(std::time::Duration::from_secs(90)).run();
        done.expect(0).expect_output("The task is done.");
        let results = api.results();
        assert!(results.len() == 2 && results.iter().all(|result| !result.is_error), "{results:?}");
        assert!(results[1].text.contains("of the image"), "{results:?}");
        assert!(!target.exists(), "nothing lands by itself");
        lab.palisade(["apply", "--yes"]).run().expect(0);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "one\n42\n");
    }
}
