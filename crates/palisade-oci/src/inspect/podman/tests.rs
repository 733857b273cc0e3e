use serde_json::Value;

use super::super::tests::wanted as by_docker;
use super::*;

fn wanted() -> Wanted {
    let mut wanted = by_docker();
    wanted.engine = Engine::Podman;
    wanted.profile = PROFILE.to_owned();
    wanted
}

const PROFILE: &str = r#"{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{ "names": ["socket"], "action": "SCMP_ACT_ALLOW",
        "args": [{ "index": 0, "value": 255, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] }] }"#;

/// As podman 4.3 tells the runtime, as far as it is looked at.
const TOLD: &str = r#"{
    "process": {
        "user": { "uid": 0, "gid": 0 }, "args": ["/run/palisade/guest"], "noNewPrivileges": true,
        "capabilities": {
            "bounding": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"],
            "effective": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"],
            "permitted": ["CAP_CHOWN", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"]
        },
        "rlimits": [{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }, { "type": "RLIMIT_NPROC", "hard": 11, "soft": 11 }]
    },
    "root": { "readonly": true },
    "mounts": [
        { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid"] },
        { "destination": "/etc/hostname", "type": "bind", "source": "/run/podman/hostname", "options": ["bind", "ro"] },
        { "destination": "/ws", "type": "bind", "source": "/ws", "options": ["rprivate", "bind", "ro"] },
        { "destination": "/run/palisade", "type": "bind", "source": "/inside", "options": ["rprivate", "bind", "ro"] },
        { "destination": "/run/palisade/guest", "type": "bind", "source": "/guest", "options": ["rprivate", "bind", "ro"] },
        { "destination": "/sys", "type": "bind", "source": "/system", "options": ["rprivate", "bind", "ro"] },
        { "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["rprivate", "rw"] },
        { "destination": "/sys/fs/cgroup", "type": "tmpfs", "source": "tmpfs",
          "options": ["ro", "nosuid", "nodev", "noexec", "size=4k", "mode=0", "rprivate"] },
        { "destination": "/over", "type": "bind", "source": "CHANGES", "options": ["bind", "rw"] }
    ],
    "linux": {
        "sysctl": { "net.ipv6.conf.all.disable_ipv6": "0" },
        "namespaces": [{ "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            { "type": "cgroup" }, { "type": "user" }],
        "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
        "resources": {
            "devices": [{ "allow": false, "access": "rwm" }], "pids": { "limit": 11 },
            "memory": { "limit": 1073741824, "swap": 1073741824 }, "cpu": { "quota": 150000, "period": 100000 }
        },
        "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": ["socket"], "action": "SCMP_ACT_ALLOW",
                "args": [{ "index": 0, "value": 255, "op": "SCMP_CMP_MASKED_EQ" }] }] }
    }
}"#;

/// Its own account.
const ACCOUNT: &str = r#"{ "OCIRuntime": "runc", "HostConfig": { "AutoRemove": true, "LogConfig": { "Type": "none" } } }"#;

/// Where changes are kept apart depends on who runs this.
fn told() -> Value {
    let changes = if Engine::Podman.is_rootless() {
        "/graph/overlay-containers/1/userdata/overlay/2/merge"
    } else {
        "/graph/volumes/palisade-s-0/_data"
    };
    serde_json::from_str(&TOLD.replace("CHANGES", changes)).expect("JSON")
}

fn account() -> Value {
    serde_json::from_str(ACCOUNT).expect("JSON")
}

#[test]
fn what_was_asked_for_passes() {
    assert_eq!(differs(&account(), &told(), &wanted()), None);
}

#[test]
fn each_control_that_was_dropped_is_named() {
    let cases = [
        (
            "/linux/namespaces/1",
            json!({ "type": "network", "path": "/proc/1/ns/net" }),
            "the network",
        ),
        ("/linux/namespaces/0", json!({}), "the process namespace"),
        ("/linux/namespaces/4", json!({}), "the process namespace"),
        ("/linux/namespaces/2", json!({}), "the IPC namespace"),
        (
            "/linux/namespaces/3",
            json!({}),
            "the host name's namespace",
        ),
        (
            "/linux/namespaces/5",
            json!({}),
            "the control group's namespace",
        ),
        (
            "/linux/sysctl",
            json!({ "kernel.core_pattern": "x" }),
            "kernel settings",
        ),
        (
            "/process/capabilities/bounding",
            json!(["CAP_SYS_ADMIN"]),
            "the guest's capabilities",
        ),
        (
            "/process/noNewPrivileges",
            json!(false),
            "no-new-privileges",
        ),
        ("/linux/seccomp", json!(null), "the system-call filter"),
        (
            "/linux/seccomp/defaultAction",
            json!("SCMP_ACT_ALLOW"),
            "the system-call filter",
        ),
        (
            "/linux/seccomp/syscalls/0/args",
            json!([]),
            "the system-call filter",
        ),
        ("/process/user/uid", json!(1000), "the user"),
        ("/process/args", json!(["/bin/sh"]), "the first process"),
        (
            "/linux/resources/devices/0/allow",
            json!(true),
            "device rules",
        ),
        ("/root/readonly", json!(false), "the root"),
        ("/linux/maskedPaths", json!([]), "the masked paths"),
        ("/mounts/2/options", json!(["bind", "rw"]), "mounts"),
        ("/mounts/2/options", json!(["rbind", "ro"]), "mounts"),
        ("/mounts/2/source", json!("/"), "mounts"),
        ("/mounts/6/options", json!(["rw", "exec"]), "mounts"),
        (
            "/mounts/1/options",
            json!(["bind", "rw"]),
            "what is mounted",
        ),
        (
            "/mounts/1/destination",
            json!("/run/secrets"),
            "what is mounted",
        ),
        ("/mounts/8/source", json!("/a"), "what is mounted"),
        ("/mounts/8", json!({}), "what is mounted"),
        ("/process/rlimits/0/hard", json!(1), "core files"),
    ];
    for (place, value, control) in cases {
        let mut changed = told();
        *changed.pointer_mut(place).expect(place) = value;
        let found = differs(&account(), &changed, &wanted());
        assert_eq!(found, Some(control), "{place}");
    }
    for (place, value, control) in [
        ("/HostConfig/AutoRemove", json!(false), "the removal"),
        ("/HostConfig/LogConfig/Type", json!("journald"), "the log"),
        ("/OCIRuntime", json!("crun"), "the runtime"),
    ] {
        let mut changed = account();
        *changed.pointer_mut(place).expect(place) = value;
        let found = differs(&changed, &told(), &wanted());
        assert_eq!(found, Some(control), "{place}");
    }
}

#[test]
fn devices_and_hooks_are_none() {
    let mut changed = told();
    changed["hooks"] = json!({ "prestart": [{ "path": "/x" }] });
    assert_eq!(differs(&account(), &changed, &wanted()), Some("hooks"));
    let mut changed = told();
    changed["linux"]["devices"] = json!([{ "path": "/dev/kvm" }]);
    assert_eq!(differs(&account(), &changed, &wanted()), Some("devices"));
}

/// What it is held by differs with who runs podman.
#[test]
fn limits_are_looked_at_where_there_are_control_groups() {
    if Engine::Podman.is_rootless() {
        let mut changed = told();
        changed["process"]["rlimits"][1]["hard"] = json!(12);
        assert_eq!(
            differs(&account(), &changed, &wanted()),
            Some("limits.processes")
        );
        return;
    }
    for (place, value, control) in [
        ("/linux/resources/pids/limit", json!(0), "limits.processes"),
        ("/linux/resources/memory/swap", json!(-1), "limits.memory"),
        ("/linux/resources/cpu/quota", json!(300_000), "limits.cpus"),
    ] {
        let mut changed = told();
        *changed.pointer_mut(place).expect(place) = value;
        assert_eq!(
            differs(&account(), &changed, &wanted()),
            Some(control),
            "{place}"
        );
    }
}
