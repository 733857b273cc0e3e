//! Whether the engine made what it was told: an engine of another version, a wrapper or a setting of the daemon may have
//! dropped a flag, and none of them says so.

mod compose;
pub(crate) mod podman;

use std::collections::BTreeSet;
use std::path::Path;

use palisade_boundary::StartError;
use serde_json::Value;

use crate::engine::{Engine, cannot};
use crate::flags::{
    self, HostMount, IPV6, StartedBy, Wanted, hidden_mount, most_processes, own_mounts,
};

/// Compares the engine's own account of the container (`inspect`) with what was wanted.
///
/// # Errors
/// The first control that is not there.
pub(crate) fn check(account: &[u8], wanted: &Wanted) -> Result<(), StartError> {
    let parsed: Result<Value, _> = serde_json::from_slice(account);
    let what = || "check what the engine made".to_owned();
    let parsed = parsed.map_err(|e| cannot(what(), format!("its account is not JSON: {e}")))?;
    // The command line puts it into a list.
    let one = parsed.get(0).unwrap_or(&parsed);
    let (control, fix) = match wanted.engine {
        Engine::Docker => (
            differs(one, wanted),
            "look whether `docker` is a wrapper (of podman: say `engine = \"podman\"`), and which defaults its daemon is given; docker \
             20.10 or newer is needed",
        ),
        Engine::Podman => (
            podman::differs(
                one,
                &podman::told_to_the_runtime(one, wanted.engine)?,
                wanted,
            ),
            "look whether `podman` is a wrapper, and what containers.conf and mounts.conf add; podman 4.3 or newer is needed",
        ),
    };
    match control {
        None => Ok(()),
        Some(control) => {
            let cause =
                format!("{control} is not as it was asked for, so the agent was not started");
            let mut error = cannot(what(), cause);
            error.fix = Some(fix.into());
            Err(error)
        }
    }
}

/// The host's number of the container's first process.
pub(crate) fn first_process_of(account: &[u8]) -> Option<u32> {
    let pid = u32::try_from(state(account)["Pid"].as_u64()?).ok()?;
    (pid > 0).then_some(pid)
}

/// Whether a container that somebody else started is the one whose guest called.
///
/// # Errors
/// It is another one.
pub(crate) fn is_process(account: &[u8], caller: u32) -> Result<(), StartError> {
    if state(account)["Pid"].as_u64() == Some(u64::from(caller)) {
        return Ok(());
    }
    let mut error = cannot(
        "check who called".into(),
        "it is not the first process of the container of that name".into(),
    );
    error.fix = Some("start the container by the line as it was printed, once".into());
    Err(error)
}

/// Whether it has not ended yet.
pub(crate) fn runs(account: &[u8]) -> bool {
    state(account)["Running"] != false
}

fn state(account: &[u8]) -> Value {
    let parsed: Value = serde_json::from_slice(account).unwrap_or_default();
    parsed.get(0).unwrap_or(&parsed)["State"].clone()
}

/// A control by its name, and whether it is as it was asked for.
type Check = (&'static str, bool);

/// The first control that is another one.
fn differs(one: &Value, wanted: &Wanted) -> Option<&'static str> {
    let host = &one["HostConfig"];
    let all = namespaces(host, wanted)
        .into_iter()
        .chain(rights(one, host, wanted))
        .chain(files(one, host, wanted))
        .chain(shown(one, host, wanted))
        .chain(bounds(host, wanted));
    all.filter(|(_, holds)| !holds)
        .map(|(control, _)| control)
        .next()
}

fn namespaces(host: &Value, wanted: &Wanted) -> [Check; 7] {
    let network = host["NetworkMode"] == "none" && is_empty(&host["PortBindings"]);
    [
        ("the network", network),
        ("the process namespace", is_empty(&host["PidMode"])),
        ("the IPC namespace", host["IpcMode"] == "private"),
        ("the host name's namespace", is_empty(&host["UTSMode"])),
        ("the user namespace", host["UsernsMode"] != "host"),
        (
            "the control group's namespace",
            host["CgroupnsMode"] == "private",
        ),
        ("kernel settings", settings(host, wanted)),
    ]
}

fn rights(one: &Value, host: &Value, wanted: &Wanted) -> [Check; 11] {
    [
        (
            "the dropped capabilities",
            texts(&host["CapDrop"]) == set(["ALL"]),
        ),
        (
            "the guest's capabilities",
            capabilities(&host["CapAdd"]) == guests(wanted),
        ),
        ("privilege", host["Privileged"] == false),
        ("no-new-privileges", no_new_privileges(host)),
        ("the system-call filter", has_profile(host, &wanted.profile)),
        ("the user", one["Config"]["User"] == "0:0"),
        ("the first process", first_process(one)),
        ("the runtime", has_runtime(&host["Runtime"], wanted)),
        ("added groups", is_empty(&host["GroupAdd"])),
        (
            "devices",
            is_empty(&host["Devices"]) && is_empty(&host["DeviceRequests"]),
        ),
        ("device rules", is_empty(&host["DeviceCgroupRules"])),
    ]
}

fn files(one: &Value, host: &Value, wanted: &Wanted) -> [Check; 5] {
    [
        ("the root", host["ReadonlyRootfs"] == true),
        (
            "the masked paths",
            !is_empty(&host["MaskedPaths"]) && !is_empty(&host["ReadonlyPaths"]),
        ),
        ("volumes", is_empty(&host["VolumesFrom"])),
        (
            "the image's volumes",
            covered(&one["Config"]["Volumes"], wanted),
        ),
        (
            "file systems in memory",
            memories(&host["Tmpfs"]) == wanted_memories(wanted),
        ),
    ]
}

fn shown(one: &Value, host: &Value, wanted: &Wanted) -> [Check; 3] {
    if wanted.by == StartedBy::Compose {
        return compose::shown(one, host, wanted);
    }
    let mounted = one["Mounts"].as_array().map(Vec::len);
    [
        ("volumes", is_empty(&host["Binds"])),
        ("mounts", mounts(&host["Mounts"]) == wanted_mounts(wanted)),
        (
            "what is mounted",
            mounted == Some(wanted_mounts(wanted).len()),
        ),
    ]
}

fn bounds(host: &Value, wanted: &Wanted) -> [Check; 6] {
    let limits = &wanted.spec.limits;
    let memory = limits.memory.unwrap_or(0);
    // Billionths, of what was said to three digits.
    let cpus = limits
        .cpus
        .map_or(0, |cpus| (cpus * 1000.0).round() as u64 * 1_000_000);
    [
        (
            "limits.processes",
            host["PidsLimit"] == most_processes(wanted),
        ),
        (
            "limits.memory",
            host["Memory"] == memory && host["MemorySwap"] == memory,
        ),
        ("limits.cpus", host["NanoCpus"] == cpus),
        (
            "the removal",
            host["AutoRemove"] == (wanted.by != StartedBy::Compose),
        ),
        ("the log", host["LogConfig"]["Type"] == "none"),
        ("core files", core_files(&host["Ulimits"])),
    ]
}

fn settings(host: &Value, wanted: &Wanted) -> bool {
    let found = host["Sysctls"].as_object().into_iter().flatten();
    let found: Vec<_> = found.map(|(name, value)| (name.as_str(), value)).collect();
    match found.as_slice() {
        [] => !wanted.ipv6,
        [(IPV6, value)] => wanted.ipv6 && *value == "0",
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn set<const N: usize>(of: [&str; N]) -> BTreeSet<String> {
    of.map(str::to_owned).into()
}

fn texts(value: &Value) -> BTreeSet<String> {
    let list = value.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap_or("?").to_owned())
        .collect()
}

fn guests(wanted: &Wanted) -> BTreeSet<String> {
    flags::capabilities(wanted).map(str::to_owned).collect()
}

/// Newer engines put `CAP_` before.
fn capabilities(value: &Value) -> BTreeSet<String> {
    let names = texts(value).into_iter();
    names
        .map(|name| name.trim_start_matches("CAP_").to_owned())
        .collect()
}

fn no_new_privileges(host: &Value) -> bool {
    let options = texts(&host["SecurityOpt"]);
    options.contains("no-new-privileges") || options.contains("no-new-privileges:true")
}

/// Clients write the same profile in words of their own.
fn has_profile(host: &Value, profile: &str) -> bool {
    let options = texts(&host["SecurityOpt"]);
    let mut of_seccomp = options
        .iter()
        .filter(|option| option.starts_with("seccomp"));
    let (Some(only), None) = (of_seccomp.next(), of_seccomp.next()) else {
        return false;
    };
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    let found = only.strip_prefix("seccomp=").and_then(read);
    found.is_some() && found == read(profile)
}

fn first_process(one: &Value) -> bool {
    let entry = &one["Config"]["Entrypoint"];
    texts(entry) == set(["/run/palisade/guest"])
        && is_empty(&one["Config"]["Cmd"])
        && one["HostConfig"]["Init"] != true
}

fn has_runtime(value: &Value, wanted: &Wanted) -> bool {
    let named = wanted.runtime.as_deref();
    named.is_none_or(|named| *value == named)
}

fn core_files(value: &Value) -> bool {
    let mut list = value.as_array().into_iter().flatten();
    list.any(|one| one["Name"] == "core" && one["Hard"] == 0 && one["Soft"] == 0)
}

/// Type, source or options, target, read-only, recursive.
type Shown = (String, String, String, bool, bool);

fn mounts(value: &Value) -> BTreeSet<Shown> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let list = value.as_array().into_iter().flatten();
    list.map(|one| {
        let driver = &one["VolumeOptions"]["DriverConfig"];
        let is_overlay = one["Type"] == "volume"
            && driver["Name"] == "local"
            && driver["Options"]["type"] == "overlay"
            && driver["Options"]["device"] == "overlay";
        let source = if is_overlay {
            &driver["Options"]["o"]
        } else {
            &one["Source"]
        };
        (
            text(&one["Type"]),
            text(source),
            text(&one["Target"]),
            one["ReadOnly"] == true,
            !is_overlay && one["BindOptions"]["NonRecursive"] != true,
        )
    })
    .collect()
}

/// Whether each of an image's volumes lies under a mount of ours.
fn covered(volumes: &Value, wanted: &Wanted) -> bool {
    let places: BTreeSet<String> = wanted_mounts(wanted)
        .into_iter()
        .map(|(_, _, place, ..)| place)
        .collect();
    let mut volumes = volumes.as_object().into_iter().flatten();
    volumes.all(|(place, _)| places.contains(place))
}

fn wanted_mounts(wanted: &Wanted) -> BTreeSet<Shown> {
    let own = own_mounts(wanted);
    let all = wanted.mounts.iter().chain(&own);
    let shown = |kind: &str, source: String, target: &Path, read_only| {
        let target = target.display().to_string();
        Some((kind.to_owned(), source, target, read_only, false))
    };
    all.filter_map(|mount| match mount {
        HostMount::Bind {
            source,
            target,
            read_only,
            ..
        } => shown("bind", source.display().to_string(), target, *read_only),
        HostMount::Overlay { target, layers } => shown("volume", layers.options(), target, false),
        HostMount::Memory { .. } => None,
    })
    .collect()
}

fn memories(value: &Value) -> BTreeSet<(String, String)> {
    let map = value.as_object().into_iter().flatten();
    map.map(|(place, options)| (place.clone(), options.as_str().unwrap_or("?").to_owned()))
        .collect()
}

fn wanted_memories(wanted: &Wanted) -> BTreeSet<(String, String)> {
    let own = wanted.mounts.iter().filter_map(|mount| match mount {
        HostMount::Memory { target, options } => {
            Some((target.display().to_string(), options.clone()))
        }
        HostMount::Bind { .. } | HostMount::Overlay { .. } => None,
    });
    let (place, options) = hidden_mount(wanted.engine);
    own.chain([(place.to_owned(), options)]).collect()
}

#[cfg(test)]
pub(crate) mod tests;
