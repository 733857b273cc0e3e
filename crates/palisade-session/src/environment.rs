//! The environment inside, built from nothing.
//!
//! No secret can get here: what is passed on was named in the policy or on the command line, and the rest is made up. Of
//! credentials this module knows the placeholders alone.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use palisade_credential::Placeholder;
use palisade_workspace::{
    EXTRA_ROOTS, Holds, PHP_SETTINGS, SESSION_VARIABLES, TRUST_BUNDLE, WGET_SETTINGS,
};

/// The loopback port inside for clients that know the proxy. 3128 is the port proxies are known by.
pub const PROXY_PORT: u16 = 3128;

/// Where it is.
const PROXY_ADDRESS: &str = "127.0.0.1";

/// Host names that never go through the gate. Each client has its own dialect of this list; plain names and
/// addresses, comma between, no spaces, are understood by all.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";

/// Search path where nothing of the host's own is visible inside.
const DEFAULT_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// What the environment is made from.
#[derive(Clone, Copy, Debug)]
pub struct InnerEnvironment<'a> {
    /// The host's environment: its search path and shell are taken from it, as far as they are shown inside.
    pub host: &'a [(OsString, OsString)],
    /// What the policy passes and sets; it wins over what is made up.
    pub chosen: &'a BTreeMap<OsString, OsString>,
    /// The agent's home directory.
    pub home: &'a Path,
    /// The agent's user name.
    pub user: &'a str,
    /// The working directory.
    pub directory: &'a Path,
    /// The session's name.
    pub session: &'a str,
    /// What there is of trust bundles.
    pub bundles: Bundles,
    /// Variables with placeholders for secrets. They win over everything: the name is the one that the policy gives to the
    /// placeholder, and a policy may give none of [`SESSION_VARIABLES`].
    pub placeholders: &'a [(String, Placeholder)],
}

/// What the inside has of trust bundles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bundles {
    /// Nothing was added to what the host trusts.
    #[default]
    HostsOwn,
    /// Roots were added, and the system's store has them.
    InStore,
    /// Roots were added, and there is no system store: they are only where variables name them.
    ByVariable,
}

impl InnerEnvironment<'_> {
    /// The whole environment. `visible` says whether a folder of the host's search path is shown inside.
    pub fn build(&self, visible: impl Fn(&Path) -> bool) -> Vec<(OsString, OsString)> {
        let mut env: BTreeMap<OsString, OsString> = BTreeMap::new();
        for (name, holds) in SESSION_VARIABLES {
            let value = self.value(holds, &visible);
            env.extend(value.map(|value| (name.into(), value)));
        }
        env.extend(
            self.chosen
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        env.extend(
            self.placeholders
                .iter()
                .map(|(name, value)| (name.into(), value.as_str().into())),
        );
        env.into_iter().collect()
    }

    fn on_host(&self, name: &str) -> Option<&OsStr> {
        self.host
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_os_str())
    }

    /// What a variable of the session holds; none where it is not set.
    fn value(&self, holds: Holds, visible: impl Fn(&Path) -> bool) -> Option<OsString> {
        let added = self.bundles != Bundles::HostsOwn;
        let by_variable = self.bundles == Bundles::ByVariable;
        Some(match holds {
            Holds::Home => self.home.into(),
            Holds::User => self.user.into(),
            Holds::Directory => self.directory.into(),
            Holds::Temporary => "/tmp".into(),
            Holds::Session => self.session.into(),
            Holds::Shell => {
                let shell = self.on_host("SHELL");
                let shell = shell.filter(|shell| visible(Path::new(shell)));
                shell.unwrap_or(OsStr::new("/bin/sh")).to_owned()
            }
            Holds::SearchPath => self.search_path(visible),
            Holds::ProxyUrl => format!("http://{PROXY_ADDRESS}:{PROXY_PORT}").into(),
            Holds::ProxyAddress => PROXY_ADDRESS.into(),
            Holds::ProxyPort => PROXY_PORT.to_string().into(),
            Holds::NoProxy => NO_PROXY.into(),
            Holds::Proxy(value) => value.into(),
            Holds::Bundle if added => TRUST_BUNDLE.into(),
            Holds::ExtraRoots if added => EXTRA_ROOTS.into(),
            Holds::Trust(value) if added => value.into(),
            // The colon keeps PHP's own folder. wget reads this file in place of the one in the home folder.
            Holds::PhpSettings if by_variable => format!(":{PHP_SETTINGS}").into(),
            Holds::WgetSettings if by_variable => WGET_SETTINGS.into(),
            Holds::Bundle
            | Holds::ExtraRoots
            | Holds::Trust(_)
            | Holds::PhpSettings
            | Holds::WgetSettings => return None,
        })
    }

    /// The host's search path as far as it is shown inside, so that the inside finds the same programs in the same
    /// order, then the usual folders.
    fn search_path(&self, visible: impl Fn(&Path) -> bool) -> OsString {
        let host = self.on_host("PATH").unwrap_or_default();
        let own =
            std::env::split_paths(host).filter(|folder| folder.is_absolute() && visible(folder));
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in own.chain(DEFAULT_PATH.iter().map(PathBuf::from)) {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        // Joining fails only for a folder with a colon in its name, which splitting cannot yield.
        std::env::join_paths(folders).unwrap_or_else(|_| DEFAULT_PATH.join(":").into())
    }
}

#[cfg(test)]
mod tests {
    use palisade_config::{Environment, Sourced};
    use palisade_policy::Source;

    use super::*;

    fn build(
        host: &[(&str, &str)],
        pass: &[&str],
        set: &[(&str, &str)],
    ) -> BTreeMap<String, String> {
        let host: Vec<_> = host
            .iter()
            .map(|(n, v)| (OsString::from(n), OsString::from(v)))
            .collect();
        let source = || Source::new("test");
        let own = Environment {
            pass: pass.iter().map(|n| ((*n).to_owned(), source())).collect(),
            set: set
                .iter()
                .map(|(n, v)| {
                    let value = Sourced {
                        value: (*v).to_owned(),
                        source: source(),
                    };
                    ((*n).to_owned(), value)
                })
                .collect(),
        };
        let chosen = own.build(|name| {
            let found = host.iter().find(|(own, _)| own == name);
            found.map(|(_, value)| value.clone())
        });
        let inner = InnerEnvironment {
            host: &host,
            chosen: &chosen,
            home: Path::new("/home/u"),
            user: "u",
            directory: Path::new("/w"),
            session: "s",
            bundles: Bundles::HostsOwn,
            placeholders: &[],
        };
        let env = inner.build(|folder| folder.starts_with("/usr") || folder.starts_with("/bin"));
        env.into_iter()
            .map(|(n, v)| (n.into_string().unwrap(), v.into_string().unwrap()))
            .collect()
    }

    #[test]
    fn nothing_is_inherited_that_was_not_named() {
        let env = build(
            &[
                ("AWS_SECRET_ACCESS_KEY", "x"),
                ("TERM", "xterm"),
                ("LD_PRELOAD", "y"),
            ],
            &["TERM"],
            &[],
        );
        assert_eq!(env["TERM"], "xterm");
        assert!(!env.contains_key("AWS_SECRET_ACCESS_KEY") && !env.contains_key("LD_PRELOAD"));
        assert_eq!(
            (env["HOME"].as_str(), env["TMPDIR"].as_str()),
            ("/home/u", "/tmp")
        );
    }

    #[test]
    fn d37_proxy_variables_name_the_gate_and_only_loopback_is_exempt() {
        let env = build(
            &[("HTTP_PROXY", "http://corp:1"), ("NO_PROXY", "*")],
            &[],
            &[],
        );
        for name in [
            "HTTP_PROXY",
            "http_proxy",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            assert_eq!(env[name], "http://127.0.0.1:3128");
        }
        assert_eq!(env["NO_PROXY"], "localhost,127.0.0.1,::1");
    }

    #[test]
    fn the_search_path_keeps_the_hosts_order_and_drops_what_is_hidden() {
        let env = build(
            &[
                ("PATH", "/usr/games:/home/u/secret/bin:relative:/usr/bin"),
                ("SHELL", "/home/u/sh"),
            ],
            &[],
            &[],
        );
        assert_eq!(
            env["PATH"],
            "/usr/games:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin"
        );
        assert_eq!(env["SHELL"], "/bin/sh");
    }

    /// Invariant 4: of credentials the environment's code can name the stand-in alone.
    #[test]
    fn this_module_names_no_secret() {
        let own = include_str!("environment.rs");
        let code = own.split("#[cfg(test)]").next().unwrap();
        assert!(code.contains("use palisade_credential::Placeholder;"));
        for word in ["Secret", "Material", "Credentials", "Prepared"] {
            assert!(!code.contains(word), "{word}");
        }
    }

    #[test]
    fn set_values_win() {
        assert_eq!(
            build(
                &[("CI", "0")],
                &["CI"],
                &[("CI", "1"), ("TMPDIR", "/w/tmp")]
            )["CI"],
            "1"
        );
    }
}
