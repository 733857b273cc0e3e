//! What podman made: its own account, and beside it what it tells the runtime, which is the whole container (`config.json` of the
//! OCI runtime specification).

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use palisade_boundary::StartError;
use serde_json::{Value, json};

use super::{Check, core_files, guests, is_empty, set, texts};
use crate::engine::{Engine, cannot};
use crate::flags::{HostMount, IPV6, Wanted, hidden_mount, own_mounts, processes};
use crate::podman::{Groups, volume_name};

/// What podman adds to every container: file systems of the kernel's, and files of its own that are shown read-only.
pub(crate) const ADDED: [&str; 11] = [
    "/dev",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc/group",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/passwd",
    "/etc/resolv.conf",
    "/proc",
    "/run/.containerenv",
];

/// Reads it. The runtime has been started when this is called.
pub(super) fn told_to_the_runtime(one: &Value, engine: Engine) -> Result<Value, StartError> {
    let folder = one["StaticDir"].as_str().unwrap_or_default();
    let file = Path::new(folder).join("config.json");
    let what = || format!("read {}", file.display());
    let text = match std::fs::read_to_string(&file) {
        // It belongs to root of the container then, who is a subordinate id of the caller's.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && engine.is_rootless() => {
            let file = file.display().to_string();
            engine.ask(&what(), &["unshare", "cat", &file])?
        }
        other => other.map_err(|e| cannot(what(), e.to_string()))?,
    };
    serde_json::from_str(&text).map_err(|e| cannot(what(), e.to_string()))
}

/// The first control that is another one. `told` is what the runtime was told.
pub(super) fn differs(one: &Value, told: &Value, wanted: &Wanted) -> Option<&'static str> {
    let all = namespaces(told, wanted)
        .into_iter()
        .chain(rights(told, wanted))
        .chain(files(told, wanted))
        .chain(bounds(told, wanted))
        .chain(life(one, wanted));
    all.filter(|(_, holds)| !holds)
        .map(|(control, _)| control)
        .next()
}

fn namespaces(told: &Value, wanted: &Wanted) -> [Check; 6] {
    let own = |kind: &str| {
        let mut all = told["linux"]["namespaces"].as_array().into_iter().flatten();
        all.any(|one| one["type"] == kind && is_empty(&one["path"]))
    };
    let user = !wanted.engine.is_rootless() || own("user");
    [
        ("the network", own("network")),
        ("the process namespace", own("pid") && own("mount")),
        ("the IPC namespace", own("ipc")),
        ("the host name's namespace", own("uts")),
        ("the user namespace", user),
        ("the control group's namespace", own("cgroup")),
    ]
}

fn rights(told: &Value, wanted: &Wanted) -> [Check; 8] {
    let (process, linux) = (&told["process"], &told["linux"]);
    let user = process["user"]["uid"] == 0 && process["user"]["gid"] == 0;
    [
        (
            "the guest's capabilities",
            capabilities(&process["capabilities"], wanted),
        ),
        ("no-new-privileges", process["noNewPrivileges"] == true),
        (
            "the system-call filter",
            has_profile(&linux["seccomp"], &wanted.profile),
        ),
        ("the user", user),
        (
            "the first process",
            process["args"] == json!(["/run/palisade/guest"]),
        ),
        ("devices", is_empty(&linux["devices"])),
        (
            "device rules",
            no_device_rules(&linux["resources"]["devices"]),
        ),
        ("hooks", is_empty(&told["hooks"])),
    ]
}

fn files(told: &Value, wanted: &Wanted) -> [Check; 4] {
    let masked =
        !is_empty(&told["linux"]["maskedPaths"]) && !is_empty(&told["linux"]["readonlyPaths"]);
    let mut missing = wanted_mounts(wanted);
    let mut strange = false;
    for mount in told["mounts"].as_array().into_iter().flatten() {
        if !missing.remove(&shown(mount)) {
            strange |= !is_added(mount) && !is_changes(mount, wanted);
        }
    }
    [
        ("the root", told["root"]["readonly"] == true),
        ("the masked paths", masked),
        ("mounts", missing.is_empty()),
        ("what is mounted", !strange && has_changes(told, wanted)),
    ]
}

fn bounds(told: &Value, wanted: &Wanted) -> [Check; 5] {
    let (limits, groups) = (&wanted.spec.limits, Groups::of(wanted.engine));
    let resources = &told["linux"]["resources"];
    let (memory, cpu) = (&resources["memory"], &resources["cpu"]);
    let bytes = limits.memory.filter(|_| groups.memory);
    let memory = bytes.is_none_or(|bytes| memory["limit"] == bytes && memory["swap"] == bytes);
    let cpus = limits.cpus.filter(|_| groups.cpu);
    let cpus = cpus.is_none_or(|cpus| {
        let (quota, period) = (cpu["quota"].as_f64(), cpu["period"].as_f64());
        // The quota is told in whole microseconds.
        let found = quota.zip(period).map(|(quota, period)| quota / period);
        found.is_some_and(|found| (found - cpus).abs() < 0.001)
    });
    let most = processes(limits);
    let counted = |one: &Value| one["hard"].as_u64().is_some_and(|hard| hard <= most);
    let mut rlimits = told["process"]["rlimits"].as_array().into_iter().flatten();
    let by_rlimit = rlimits.any(|one| one["type"] == "RLIMIT_NPROC" && counted(one));
    let by_group = resources["pids"]["limit"] == most;
    let processes = if wanted.engine.is_rootless() {
        by_rlimit
    } else {
        by_group
    };
    [
        ("limits.processes", processes),
        ("limits.memory", memory),
        ("limits.cpus", cpus),
        ("core files", no_core_files(told)),
        ("kernel settings", settings(told, wanted)),
    ]
}

fn life(one: &Value, wanted: &Wanted) -> [Check; 3] {
    let host = &one["HostConfig"];
    let named = wanted.runtime.as_deref();
    let runtime = one["OCIRuntime"].as_str().unwrap_or_default();
    [
        ("the removal", host["AutoRemove"] == true),
        ("the log", host["LogConfig"]["Type"] == "none"),
        ("the runtime", named.is_none_or(|named| named == runtime)),
    ]
}

fn capabilities(all: &Value, wanted: &Wanted) -> bool {
    let names = |kind: &str| super::capabilities(&all[kind]);
    let ours = guests(wanted);
    let held = ["bounding", "effective", "permitted"];
    held.into_iter().all(|kind| names(kind) == ours)
        && names("ambient").is_subset(&ours)
        && names("inheritable").is_subset(&ours)
}

fn has_profile(found: &Value, profile: &str) -> bool {
    let Ok(wanted) = serde_json::from_str::<Value>(profile) else {
        return false;
    };
    let same = |part: &str| found[part] == wanted[part];
    let calls = with_zeros(&found["syscalls"]);
    ["defaultAction", "defaultErrnoRet", "architectures"]
        .into_iter()
        .all(same)
        && !is_empty(&calls)
        && calls == wanted["syscalls"]
}

/// A second value of 0 is left out where podman writes it.
fn with_zeros(calls: &Value) -> Value {
    let mut calls = calls.clone();
    for call in calls.as_array_mut().into_iter().flatten() {
        let conditions = call.get_mut("args").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            if condition["valueTwo"].is_null() {
                condition["valueTwo"] = 0.into();
            }
        }
    }
    calls
}

/// All devices are refused; those that a container needs the runtime allows by itself.
fn no_device_rules(rules: &Value) -> bool {
    let rules = rules.as_array().into_iter().flatten();
    rules.into_iter().all(|rule| rule["allow"] == false)
}

fn no_core_files(told: &Value) -> bool {
    let list = told["process"]["rlimits"].as_array().into_iter().flatten();
    let renamed = list.map(|one| {
        let core = one["type"] == "RLIMIT_CORE";
        json!({ "Name": if core { "core" } else { "" }, "Hard": one["hard"], "Soft": one["soft"] })
    });
    core_files(&renamed.collect())
}

fn settings(told: &Value, wanted: &Wanted) -> bool {
    let found = &told["linux"]["sysctl"];
    if wanted.ipv6 {
        *found == json!({ IPV6: "0" })
    } else {
        is_empty(found)
    }
}

/// Place, type, source, options.
type Shown = (String, String, String, BTreeSet<String>);

fn shown(mount: &Value) -> Shown {
    let text = |key: &str| mount[key].as_str().unwrap_or("?").to_owned();
    let mut options = texts(&mount["options"]);
    options.remove("rprivate");
    (text("destination"), text("type"), text("source"), options)
}

fn wanted_mounts(wanted: &Wanted) -> BTreeSet<Shown> {
    let own = own_mounts(wanted);
    let of = |target: &Path, kind: &str, source: &str, options: BTreeSet<String>| {
        let target = target.display().to_string();
        Some((target, kind.to_owned(), source.to_owned(), options))
    };
    let (place, options) = hidden_mount(wanted.engine);
    let hidden = HostMount::Memory {
        target: place.into(),
        options,
    };
    let all = wanted.mounts.iter().chain(&own).chain([&hidden]);
    all.filter_map(|mount| match mount {
        HostMount::Bind {
            source,
            target,
            read_only,
            recursive,
        } => {
            let kind = if *recursive { "rbind" } else { "bind" };
            let access = if *read_only { "ro" } else { "rw" };
            of(
                target,
                "bind",
                &source.display().to_string(),
                set([kind, access]),
            )
        }
        HostMount::Memory { target, options } => {
            let words = options.split(',').filter(|word| *word != "notmpcopyup");
            of(target, "tmpfs", "tmpfs", words.map(str::to_owned).collect())
        }
        HostMount::Overlay { .. } => None,
    })
    .collect()
}

/// What podman adds by itself. Its files are read-only.
fn is_added(mount: &Value) -> bool {
    let place = mount["destination"].as_str().unwrap_or_default();
    let file = place.starts_with("/etc/") || place.starts_with("/run/");
    ADDED.contains(&place) && (!file || texts(&mount["options"]).contains("ro"))
}

/// Whether it is what keeps changes apart: with root a volume that was looked at when it was made, else a mount of podman's own
/// below its state, which is never the folder itself.
fn is_changes(mount: &Value, wanted: &Wanted) -> bool {
    let text = |key: &str| Path::new(mount[key].as_str().unwrap_or_default());
    let Some(number) = overlays(wanted).position(|target| target == text("destination")) else {
        return false;
    };
    let source = text("source");
    if wanted.engine.is_rootless() {
        return source.ends_with("merge")
            && source
                .components()
                .any(|part| part.as_os_str() == "overlay-containers");
    }
    let volume = volume_name(&wanted.session, number);
    source
        .parent()
        .is_some_and(|folder| folder.ends_with(volume))
        && source.ends_with("_data")
}

/// Whether all changes are kept apart.
fn has_changes(told: &Value, wanted: &Wanted) -> bool {
    let mounts = told["mounts"].as_array().into_iter().flatten();
    let found = mounts.filter(|mount| is_changes(mount, wanted)).count();
    found == overlays(wanted).count()
}

fn overlays(wanted: &Wanted) -> impl Iterator<Item = &Path> {
    wanted.mounts.iter().filter_map(|mount| match mount {
        HostMount::Overlay { target, .. } => Some(target.as_path()),
        HostMount::Bind { .. } | HostMount::Memory { .. } => None,
    })
}

#[cfg(test)]
mod tests;
