//! The peers, each as somebody would set it up for the same job: one worker, rules by host, method and path, a header that is
//! added, a log of requests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Origin;
use super::certificates::Certificates;
use super::process::{PROXY, Process, free_port, pinned};
use super::proxy::{Proxy, Way};
use crate::shell::{self, Done};

const SQUID: &str = "/usr/sbin/squid";
const CERTIFICATE_HELPER: &str = "/usr/lib/squid/security_file_certgen";

/// Starts each peer that is installed, and names those that are not.
pub(super) fn start(origin: &Origin, certificates: &Certificates) -> Done<Vec<Proxy>> {
    let mut found = Vec::new();
    let folder = shell::tools().join("peers/bin");
    let (envoy_program, mitmdump) = (folder.join("envoy"), folder.join("mitmdump"));
    if installed("Envoy", &envoy_program) {
        found.push(envoy(&envoy_program, origin, certificates)?);
    }
    if installed("Squid", Path::new(SQUID)) {
        found.push(squid(origin, certificates)?);
    }
    if installed("mitmproxy", &mitmdump) {
        found.push(mitmproxy(&mitmdump, origin, certificates)?);
    }
    Ok(found)
}

fn installed(name: &str, program: &Path) -> bool {
    let is_there = program.exists();
    if !is_there {
        println!("  skipped {name}: not installed (cargo xtask setup --bench)");
    }
    is_there
}

fn write(path: &Path, text: &str) -> Done {
    fs::write(path, text).map_err(|error| format!("write {}: {error}", path.display()))
}

/// Envoy routes by name and ends TLS with a certificate it was given: it cannot make one up.
fn envoy(program: &Path, origin: &Origin, certificates: &Certificates) -> Done<Proxy> {
    let (plain, secure) = (free_port()?, free_port()?);
    let name = |path: PathBuf| path.display().to_string();
    let filled = ENVOY
        .replace("{HTTP_PLAIN}", &ENVOY_HTTP.replace("{NAME}", "plain"))
        .replace("{HTTP_SECURE}", &ENVOY_HTTP.replace("{NAME}", "secure"))
        .replace("{LOG}", &name(certificates.file("envoy-requests.log")))
        .replace("{PLAIN}", &plain.to_string())
        .replace("{SECURE}", &secure.to_string())
        .replace("{ORIGIN_PLAIN}", &origin.plain.to_string())
        .replace("{ORIGIN_SECURE}", &origin.secure.to_string())
        .replace("{ORIGIN_CA}", &name(certificates.certificate("origin-ca")))
        .replace("{CERTIFICATE}", &name(certificates.certificate("proxy")))
        .replace("{KEY}", &name(certificates.key("proxy")));
    let config = certificates.file("envoy.yaml");
    write(&config, &filled)?;
    let mut command = pinned(PROXY, program);
    command
        .args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "error",
            "-c",
        ])
        .arg(config);
    let process = Process::listening(&mut command, secure, &certificates.file("envoy.log"))?;
    let roots = certificates.certificate("proxy-ca");
    Ok(Proxy {
        name: "Envoy",
        process,
        plain: Some(Way::to(format!("127.0.0.1:{plain}")).absolute()),
        secure: vec![Way::to(format!("127.0.0.1:{secure}")).trusting(&roots)],
        minted: None,
        tunnel: None,
    })
}

const ENVOY: &str = r#"
static_resources:
  listeners:
  - address: {socket_address: {address: 127.0.0.1, port_value: {PLAIN}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config: {{HTTP_PLAIN}}
  - address: {socket_address: {address: 127.0.0.1, port_value: {SECURE}}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [http/1.1]
            tls_certificates: [{certificate_chain: {filename: "{CERTIFICATE}"}, private_key: {filename: "{KEY}"}}]
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config: {{HTTP_SECURE}}
  clusters:
  - name: plain
    type: STATIC
    load_assignment: {cluster_name: plain, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {ORIGIN_PLAIN}}}}}]}]}
  - name: secure
    type: STATIC
    load_assignment: {cluster_name: secure, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {ORIGIN_SECURE}}}}}]}]}
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: bench.example
        common_tls_context:
          validation_context:
            trusted_ca: {filename: "{ORIGIN_CA}"}
            match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: bench.example}}]
"#;

const ENVOY_HTTP: &str = r#"
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,
          stat_prefix: bench, codec_type: HTTP1, http_protocol_options: {allow_absolute_url: true},
          normalize_path: true, path_with_escaped_slashes_action: REJECT_REQUEST,
          access_log: [{name: envoy.access_loggers.file, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: "{LOG}",
            log_format: {json_format: {time: "%START_TIME%", method: "%REQ(:METHOD)%", path: "%REQ(:PATH)%",
              host: "%REQ(:AUTHORITY)%", status: "%RESPONSE_CODE%", up: "%BYTES_RECEIVED%", down: "%BYTES_SENT%",
              ms: "%DURATION%", to: "%UPSTREAM_HOST%"}}}}],
          route_config: {virtual_hosts: [{name: bench, domains: [bench.example],
            routes: [{match: {prefix: "/"}, route: {cluster: {NAME}, timeout: 0s}}],
            request_headers_to_add: [{header: {key: authorization, value: "Bearer bench-secret-0123456789abcdef"},
              append_action: OVERWRITE_IF_EXISTS_OR_ADD}]}]},
          http_filters: [{name: envoy.filters.http.rbac, typed_config: {
            "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC,
            rules: {action: ALLOW, policies: {bench: {principals: [{any: true}], permissions: [{and_rules: {rules: [
              {or_rules: {rules: [{header: {name: ":method", string_match: {exact: GET}}},
                {header: {name: ":method", string_match: {exact: POST}}}]}},
              {or_rules: {rules: [{url_path: {path: {prefix: /small/}}}, {url_path: {path: {prefix: /bulk/}}},
                {url_path: {path: {exact: /events}}}]}}]}}]}}}}},
            {name: envoy.filters.http.router, typed_config: {
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]
"#;

/// Squid is asked by CONNECT and makes up a certificate for each name.
fn squid(origin: &Origin, certificates: &Certificates) -> Done<Proxy> {
    let port = free_port()?;
    let file = |name: &str| certificates.file(name).display().to_string();
    let made = Command::new(CERTIFICATE_HELPER)
        .args(["-c", "-s", &file("squid-certificates"), "-M", "64MB"])
        .output();
    made.map_err(|error| format!("start {CERTIFICATE_HELPER}: {error}"))?;
    write(Path::new(&file("hosts")), "127.0.0.1 bench.example\n")?;
    let filled = SQUID_CONF
        .replace("{PORT}", &port.to_string())
        .replace("{CA}", &file("proxy-ca-both.pem"))
        .replace("{DB}", &file("squid-certificates"))
        .replace("{HOSTS}", &file("hosts"))
        .replace("{LOG}", &file("squid-requests.log"))
        .replace("{CACHE_LOG}", &file("squid-cache.log"))
        .replace(
            "{ORIGIN_CA}",
            &certificates.certificate("origin-ca").display().to_string(),
        );
    write(Path::new(&file("squid.conf")), &filled)?;
    if shell::is_root() {
        // It gives up being root.
        let owned = Command::new("chown")
            .args(["-R", "proxy", &file("")])
            .status();
        owned.map_err(|error| format!("start chown: {error}"))?;
        fs::set_permissions(file(""), fs::Permissions::from_mode(0o777))
            .map_err(|error| format!("open the folder: {error}"))?;
    }
    let mut command = pinned(PROXY, Path::new(SQUID));
    command.args(["-N", "-f", &file("squid.conf")]);
    let process = Process::listening(&mut command, port, &certificates.file("squid.log"))?;
    let roots = certificates.certificate("proxy-ca");
    let to = || Way::to(format!("127.0.0.1:{port}"));
    let secure = format!("bench.example:{}", origin.secure);
    Ok(Proxy {
        name: "Squid",
        process,
        plain: Some(
            to().absolute()
                .authority(format!("bench.example:{}", origin.plain)),
        ),
        secure: vec![
            to().connect(&secure)
                .trusting(&roots)
                .authority(secure.clone()),
        ],
        minted: Some(
            to().connect(&secure)
                .trusting(&roots)
                .authority(secure.clone()),
        ),
        tunnel: None,
    })
}

const SQUID_CONF: &str = r#"
http_port 127.0.0.1:{PORT} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=64MB tls-cert={CA}
sslcrtd_program /usr/lib/squid/security_file_certgen -s {DB} -M 64MB
sslcrtd_children 4
tls_outgoing_options cafile={ORIGIN_CA}
acl first at_step SslBump1
ssl_bump peek first
ssl_bump bump all
acl hosts dst 127.0.0.1
acl methods method GET POST
acl paths urlpath_regex ^/small/ ^/bulk/ ^/events$
http_access allow CONNECT hosts
http_access allow hosts methods paths
http_access deny all
request_header_access Authorization deny all
request_header_add Authorization "Bearer bench-secret-0123456789abcdef" hosts
hosts_file {HOSTS}
cache deny all
cache_mem 8 MB
access_log stdio:{LOG}
cache_log {CACHE_LOG}
pid_filename none
visible_hostname bench
workers 1
shutdown_lifetime 0
max_filedescriptors 65536
"#;

/// mitmproxy makes up certificates too.
fn mitmproxy(program: &Path, origin: &Origin, certificates: &Certificates) -> Done<Proxy> {
    let port = free_port()?;
    let folder = certificates.file("mitmproxy");
    let mut command = pinned(PROXY, program);
    command
        .args([
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            &port.to_string(),
        ])
        .args(["--set", &format!("confdir={}", folder.display())])
        .arg("--set")
        .arg(format!(
            "ssl_verify_upstream_trusted_ca={}",
            certificates.certificate("origin-ca").display()
        ))
        .args([
            "--set",
            "http2=false",
            "--set",
            "stream_large_bodies=1m",
            "--set",
            "flow_detail=1",
        ])
        .args([
            "--modify-headers",
            "/~q/authorization/Bearer bench-secret-0123456789abcdef",
        ]);
    let process = Process::listening(&mut command, port, &certificates.file("mitmproxy.log"))?;
    let roots = folder.join("mitmproxy-ca-cert.pem");
    let to = || Way::to(format!("127.0.0.1:{port}"));
    let secure = format!("127.0.0.1:{}", origin.secure);
    Ok(Proxy {
        name: "mitmproxy",
        process,
        plain: Some(
            to().absolute()
                .authority(format!("127.0.0.1:{}", origin.plain)),
        ),
        secure: vec![to().connect(&secure).trusting(&roots)],
        minted: Some(to().connect(&secure).trusting(&roots)),
        tunnel: None,
    })
}
