//! A compose file with two services: the agent's container in compose's words, and the gate in one of its own.
//!
//! Compose makes all containers before it starts the first, so what they mount has to be there by then.

mod gate;

use std::path::Path;

use palisade_boundary::{BoundarySpec, StartError};
use palisade_protocol::GUEST_FOLDER;
use serde_json::{Map, Value, json};

use super::ServedBackend;
use crate::backend::Root;
use crate::engine::Engine;
use crate::flags::{
    HostMount, IPV6, LABEL_BASE, LABEL_SESSION, StartedBy, Wanted, capabilities, hidden_mount,
    own_mounts, processes,
};
use crate::image::RootImage;
use crate::launch::{name, provide};
use crate::podman::volume_name;

pub use self::gate::Gate;

impl ServedBackend {
    /// The same for what a compose file starts.
    #[must_use]
    pub fn by_compose(mut self) -> Self {
        self.by = StartedBy::Compose;
        self
    }

    /// The compose file. What it names is made: the images of both roots, and the session's folder.
    ///
    /// # Errors
    /// No such container could be served, or the engine cannot be asked.
    pub fn compose(&self, spec: &BoundarySpec, gate: &Gate) -> Result<Value, StartError> {
        let of = self.clone().by_compose();
        let engine = of.inner.settings.engine;
        if engine != Engine::Docker {
            return Err(refused(
                "podman has to be told more than a compose file can say (`--systemd=false`, `--no-hosts`, `--http-proxy=false`)",
                "use `--show-command`, or docker",
            ));
        }
        let daemon = Daemon::of(engine)?;
        let laid = of.lay(spec)?;
        let wanted = of.wanted(spec, &laid);
        let api = of.inner.api();
        provide(engine, api.as_ref(), &laid.image)?;
        let links = gate::links()?;
        let image = Root::Host(RootImage::new(&links)?);
        provide(engine, api.as_ref(), &image)?;
        let agent = agent(&wanted, &daemon)?;
        let mut gate = gate::service(&wanted, gate, &links)?;
        gate.insert("image".into(), image.name().into());
        let folder = of.take()?;
        of.inner.write(&folder, &laid, &wanted)?;
        let mut file = json!({ "services": { "gate": gate, "agent": agent } });
        let volumes = volumes(&wanted);
        if !volumes.is_empty() {
            file["volumes"] = Value::Object(volumes);
        }
        Ok(file)
    }
}

/// What is to be known of the engine's daemon.
struct Daemon {
    /// An older compose knows no word for the namespace of control groups, and most daemons need none.
    private_groups: bool,
}

impl Daemon {
    fn of(engine: Engine) -> Result<Self, StartError> {
        let info = ["info", "--format", "{{json .SecurityOptions}}"];
        let options = engine.ask("ask the engine for its settings", &info)?;
        if ["name=rootless", "name=userns"]
            .iter()
            .any(|option| options.contains(option))
        {
            return Err(refused(
                "the daemon maps users, so the gate's container could not see this machine as you do",
                "use `--show-command`",
            ));
        }
        Ok(Self {
            private_groups: options.contains("name=cgroupns"),
        })
    }
}

/// The agent's container, as the engine's options have it.
fn agent(wanted: &Wanted, daemon: &Daemon) -> Result<Map<String, Value>, StartError> {
    let limits = &wanted.spec.limits;
    let profile = format!("seccomp={}", text(&wanted.profile_file)?);
    let mut all = object(json!({
        "container_name": name(&wanted.session),
        "image": wanted.image,
        "depends_on": { "gate": { "condition": "service_healthy" } },
        "pull_policy": "never",
        "stdin_open": true,
        "tty": wanted.terminal,
        "init": false,
        "healthcheck": { "disable": true },
        "logging": { "driver": "none" },
        "network_mode": "none",
        "ipc": "private",
        "read_only": true,
        "cap_drop": ["ALL"],
        "cap_add": capabilities(wanted).collect::<Vec<_>>(),
        "security_opt": ["no-new-privileges", profile],
        "user": "0:0",
        "ulimits": { "core": 0 },
        "restart": "no",
        "working_dir": "/",
        "stop_signal": "KILL",
        "entrypoint": [format!("{GUEST_FOLDER}/guest")],
        "labels": { LABEL_SESSION: wanted.session, LABEL_BASE: text(&wanted.base)? },
        "hostname": wanted.spec.hostname,
        "pids_limit": processes(limits),
        "tmpfs": memories(wanted)?,
        "volumes": mounts(wanted)?,
    }));
    let mut add = |key: &str, value: Value| drop(all.insert(key.into(), value));
    if let Some(bytes) = limits.memory {
        add("mem_limit", format!("{bytes}b").into());
        add("memswap_limit", format!("{bytes}b").into());
    }
    if let Some(cpus) = limits.cpus {
        add("cpus", format!("{cpus:.3}").into());
    }
    if let Some(runtime) = &wanted.runtime {
        add("runtime", runtime.as_str().into());
    }
    if wanted.ipv6 {
        add("sysctls", json!({ IPV6: "0" }));
    }
    if !daemon.private_groups {
        add("cgroup", "private".into());
    }
    Ok(all)
}

fn mounts(wanted: &Wanted) -> Result<Vec<Value>, StartError> {
    let own = own_mounts(wanted);
    let mut all = Vec::new();
    let mut overlays = 0..;
    for mount in wanted.mounts.iter().chain(&own) {
        match mount {
            HostMount::Bind {
                source,
                target,
                read_only,
                ..
            } => all.push(bind(source, target, *read_only, "rprivate")?),
            HostMount::Overlay { target, .. } => all.push(json!({
                "type": "volume",
                "source": volume_key(overlays.next().unwrap_or_default()),
                "target": text(target)?,
                "volume": { "nocopy": true },
            })),
            HostMount::Memory { .. } => {}
        }
    }
    Ok(all)
}

/// What overlays are made of.
fn volumes(wanted: &Wanted) -> Map<String, Value> {
    let overlays = wanted.overlays().enumerate();
    let volume = |(number, (_, options)): (usize, (&Path, String))| {
        let volume = json!({
            "name": volume_name(&wanted.session, number),
            "driver": "local",
            "driver_opts": { "type": "overlay", "device": "overlay", "o": options },
        });
        (volume_key(number), volume)
    };
    overlays.map(volume).collect()
}

fn volume_key(number: usize) -> String {
    format!("changes-{number}")
}

fn memories(wanted: &Wanted) -> Result<Vec<String>, StartError> {
    let (place, options) = hidden_mount(wanted.engine);
    let mut all = vec![format!("{place}:{options}")];
    for mount in &wanted.mounts {
        if let HostMount::Memory { target, options } = mount {
            all.push(format!("{}:{options}", text(target)?));
        }
    }
    Ok(all)
}

fn bind(
    source: &Path,
    target: &Path,
    read_only: bool,
    propagation: &str,
) -> Result<Value, StartError> {
    Ok(json!({
        "type": "bind",
        "source": text(source)?,
        "target": text(target)?,
        "read_only": read_only,
        "bind": { "propagation": propagation },
    }))
}

fn text(path: &Path) -> Result<String, StartError> {
    let refused = || refused(&format!("{} is not UTF-8", path.display()), "rename it");
    path.to_str().map(str::to_owned).ok_or_else(refused)
}

fn refused(cause: &str, fix: &str) -> StartError {
    StartError {
        what: "write a compose file".to_owned(),
        cause: cause.to_owned(),
        fix: Some(fix.to_owned()),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
