//! The parts of the host's system that are shown. What is not in these tables does not exist inside.

/// Folders of `/` that hold programs and libraries, shown whole. On most systems all but `/usr` and `/opt` are links into `/usr`.
/// The Nix and Guix stores hold programs too, and are readable by everyone by their own rules.
pub(super) const ROOT: [&str; 10] = [
    "bin",
    "gnu/store",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "nix/store",
    "opt",
    "sbin",
    "usr",
];

/// Names directly in `/etc`, sorted. Left out on purpose, beside secrets (`shadow`, host keys, `machine-id`, …):
/// * `profile`, `profile.d`: Debian's resets `PATH`, so a login shell would lose the one the boundary composed;
/// * `npmrc`, `pip.conf`, `wgetrc`, `environment`, `maven/settings.xml`: the place for registry passwords and proxies;
/// * `python3`, `skel`, `magic`, `rpc`, `networks`, `gai.conf`, `host.conf`, `login.defs`: nothing breaks without them, and each costs some
///   10 µs of every start.
pub(super) const ETC: &[&str] = &[
    // Names that end in -release or _version: installers and build scripts choose by them.
    "OpenCL", // compute drivers
    "R",      // R's site profile; /usr/lib/R links here
    "alpine-release",
    "alternatives", // /usr/bin/awk, cc, java, editor lead through here
    "arch-release",
    "bash.bashrc", // prompt of an interactive shell (Debian)
    "bashrc",      // the same (Red Hat)
    "centos-release",
    "chromium.d",      // Debian's start script reads every file of it
    "claude-code",     // managed settings: the organisation's own rules for the agent
    "crypto-policies", // Red Hat: openssl.cnf includes it
    "debian_version",
    "dotnet", // where the .NET runtime is installed
    "emacs",
    "fedora-release",
    "fish",
    "fonts", // fontconfig: headless browsers, plotting, PDF
    "gemrc",
    "gitconfig", // safe.directory and the like
    "gnutls",    // Red Hat: priorities that wget and git (GnuTLS) insist on
    "inputrc",   // Home, End and Delete on a command line
    "ld-musl-aarch64.path",
    "ld-musl-x86_64.path",
    "ld.so.cache", // the dynamic linker's index
    "ld.so.conf",  // GNU ld looks here for libraries of libraries
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime", // time zone
    "lsb-release",
    "man_db.conf",
    "manpath.config",
    "mime.types", // Python's mimetypes, web servers
    "mono",
    "mtab", // df and older build tools; a link to /proc
    "nanorc",
    "os-release",
    "paperspecs", // libpaper, typesetting
    "perl",       // in @INC
    "php",        // /usr/lib/php reads its ini files
    "php.d",
    "php.ini",
    "protocols", // getprotobyname
    "redhat-release",
    "rocky-release",
    "ruby",
    "services", // getservbyname
    "shells",   // programs that check $SHELL
    "system-release",
    "terminfo", // descriptions of terminals the administrator added
    "texmf",
    "timezone",
    "vim",
    "vimrc",
    "vulkan", // drivers
    "xml",    // catalogues of xmllint and xsltproc
    "zsh",
];

/// Beginnings of versioned names in `/etc`.
pub(super) const ETC_PREFIXES: [&str; 3] = [
    "java-",        // /usr/lib/jvm/*/conf leads here
    "ImageMagick-", // policy and delegates
    "llvm-",        // compiler configuration
];

/// Paths deeper in `/etc`, each behind the name of the folder it stands in, whose other content stays hidden.
pub(super) const ETC_DEEP: [(&str, &[&str]); 5] = [
    // Arch keeps the real bundle here.
    ("ca-certificates", &["extracted"]),
    // Without settings.xml, which holds the passwords of repositories.
    ("maven", &["m2.conf", "logging/simplelogger.properties"]),
    // Without pki/tls/private, pki/consumer, pki/entitlement.
    (
        "pki",
        &[
            "ca-trust",
            "java",
            "tls/cert.pem",
            "tls/certs",
            "tls/openssl.cnf",
        ],
    ),
    // The client's settings; the host's keys stay hidden.
    ("ssh", &["ssh_config", "ssh_config.d"]),
    // Without ssl/private.
    (
        "ssl",
        &["ca-bundle.pem", "cert.pem", "certs", "openssl.cnf"],
    ),
];

/// Whether a name directly in `/etc` is shown.
pub(super) fn is_etc_name(name: &str) -> bool {
    ETC.binary_search(&name).is_ok() || ETC_PREFIXES.iter().any(|p| name.starts_with(p))
}

/// The shown paths below a folder of `/etc` that is not shown whole.
pub(super) fn deep_names(folder: &str) -> &'static [&'static str] {
    ETC_DEEP
        .iter()
        .find(|(name, _)| *name == folder)
        .map_or(&[], |(_, inner)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_it_can_be_searched() {
        assert!(ETC.is_sorted());
        assert!(is_etc_name("alternatives") && is_etc_name("java-21-openjdk"));
    }

    #[test]
    fn secrets_are_not_in_the_table() {
        for name in [
            "shadow",
            "shadow-",
            "gshadow",
            "ssh",
            "ssl",
            "pki",
            "sudoers",
            "sudoers.d",
            "machine-id",
            "apt",
            "NetworkManager",
            "wireguard",
            "docker",
            "kubernetes",
            "krb5.keytab",
            "cron.d",
            "passwd",
            "hosts",
            "resolv.conf",
            "npmrc",
            "pip.conf",
            "fstab",
            "crypttab",
            "rancher",
            "letsencrypt",
            "openvpn",
        ] {
            assert!(!is_etc_name(name), "{name}");
        }
        let deep: Vec<&str> = ETC_DEEP
            .iter()
            .flat_map(|(_, inner)| *inner)
            .copied()
            .collect();
        for part in [
            "private",
            "ssh_host",
            "settings.xml",
            "consumer",
            "entitlement",
        ] {
            assert!(deep.iter().all(|path| !path.contains(part)), "{part}");
        }
    }
}
