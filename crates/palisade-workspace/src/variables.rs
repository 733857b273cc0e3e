//! The environment variables that a session sets inside, as data: which there are, and what each one holds.

/// What a variable holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The agent's home directory.
    Home,
    /// The agent's user name.
    User,
    /// The working directory.
    Directory,
    /// The folder for temporary files.
    Temporary,
    /// The session's name.
    Session,
    /// The agent's shell.
    Shell,
    /// Where programs are looked for.
    SearchPath,
    /// The gate, as the URL of a proxy.
    ProxyUrl,
    /// The gate's address.
    ProxyAddress,
    /// The gate's port.
    ProxyPort,
    /// Which hosts are reached without the gate.
    NoProxy,
    /// Always this, since it says how the gate is spoken to.
    Proxy(&'static str),
    /// The file that replaces a client's own roots. This and what follows is set where roots were added.
    Bundle,
    /// The file of the added roots alone.
    ExtraRoots,
    /// This, since it makes a client look at the system's roots.
    Trust(&'static str),
    /// Settings of PHP that name the bundle. This and the next are set where the host has no system store.
    PhpSettings,
    /// Settings of wget that name the bundle.
    WgetSettings,
}

/// Every variable that a session sets inside. The policy's own words win over them; a placeholder can stand in none.
pub const SESSION_VARIABLES: [(&str, Holds); 53] = [
    ("HOME", Holds::Home),
    ("USER", Holds::User),
    ("LOGNAME", Holds::User),
    ("PWD", Holds::Directory),
    ("TMPDIR", Holds::Temporary),
    ("PALISADE_SESSION", Holds::Session),
    ("SHELL", Holds::Shell),
    ("PATH", Holds::SearchPath),
    // In both spellings where clients differ: wget and gRPC read lower case only, Java build tools and .NET prefer upper case.
    ("HTTP_PROXY", Holds::ProxyUrl),
    ("http_proxy", Holds::ProxyUrl),
    ("HTTPS_PROXY", Holds::ProxyUrl),
    ("https_proxy", Holds::ProxyUrl),
    ("ALL_PROXY", Holds::ProxyUrl),
    ("all_proxy", Holds::ProxyUrl),
    ("WS_PROXY", Holds::ProxyUrl),
    ("ws_proxy", Holds::ProxyUrl),
    ("WSS_PROXY", Holds::ProxyUrl),
    ("wss_proxy", Holds::ProxyUrl),
    ("grpc_proxy", Holds::ProxyUrl),
    ("npm_config_proxy", Holds::ProxyUrl),
    ("npm_config_https_proxy", Holds::ProxyUrl),
    ("GLOBAL_AGENT_HTTP_PROXY", Holds::ProxyUrl),
    ("NO_PROXY", Holds::NoProxy),
    ("no_proxy", Holds::NoProxy),
    ("npm_config_noproxy", Holds::NoProxy),
    ("NODE_USE_ENV_PROXY", Holds::Proxy("1")),
    ("CLOUDSDK_PROXY_TYPE", Holds::Proxy("http")),
    ("CLOUDSDK_PROXY_ADDRESS", Holds::ProxyAddress),
    ("CLOUDSDK_PROXY_PORT", Holds::ProxyPort),
    ("SSL_CERT_FILE", Holds::Bundle),
    ("CURL_CA_BUNDLE", Holds::Bundle),
    ("REQUESTS_CA_BUNDLE", Holds::Bundle),
    ("PIP_CERT", Holds::Bundle),
    ("GIT_SSL_CAINFO", Holds::Bundle),
    ("AWS_CA_BUNDLE", Holds::Bundle),
    ("CARGO_HTTP_CAINFO", Holds::Bundle),
    ("npm_config_cafile", Holds::Bundle),
    ("YARN_HTTPS_CA_FILE_PATH", Holds::Bundle),
    ("HTTPLIB2_CA_CERTS", Holds::Bundle),
    ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", Holds::Bundle),
    ("WEBSOCKET_CLIENT_CA_BUNDLE", Holds::Bundle),
    ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", Holds::Bundle),
    ("PERL_LWP_SSL_CA_FILE", Holds::Bundle),
    ("NIX_SSL_CERT_FILE", Holds::Bundle),
    ("BUNDLE_SSL_CA_CERT", Holds::Bundle),
    ("DENO_CERT", Holds::Bundle),
    ("NODE_EXTRA_CA_CERTS", Holds::ExtraRoots),
    ("NODE_USE_SYSTEM_CA", Holds::Trust("1")),
    ("DENO_TLS_CA_STORE", Holds::Trust("system")),
    ("UV_NATIVE_TLS", Holds::Trust("1")),
    ("UV_SYSTEM_CERTS", Holds::Trust("1")),
    ("PHP_INI_SCAN_DIR", Holds::PhpSettings),
    ("WGETRC", Holds::WgetSettings),
];
