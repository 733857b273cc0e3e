use std::path::PathBuf;

use palisade_boundary::{BoundarySpec, Command, Identity, Limits};
use palisade_protocol::EgressWanted;
use serde_json::json;

use super::*;

pub(crate) fn wanted() -> Wanted {
    let bind = HostMount::Bind {
        source: "/ws".into(),
        target: "/ws".into(),
        read_only: true,
        recursive: false,
    };
    let overlay = HostMount::Overlay {
        target: "/over".into(),
        layers: crate::flags::Layers {
            lower: "/a".into(),
            upper: "/b".into(),
            work: "/c".into(),
        },
    };
    let memory = HostMount::Memory {
        target: "/tmp".into(),
        options: "rw".into(),
    };
    let of = |path: &str| PathBuf::from(path);
    Wanted {
        engine: Engine::Docker,
        runtime: Some("runc".into()),
        sandboxed: false,
        spec: BoundarySpec {
            command: Command {
                argv: vec!["true".into()],
                environment: Vec::new(),
                directory: "/".into(),
            },
            identity: Identity {
                uid: 1000,
                gid: 1000,
                host_uid: 1000,
                host_gid: 1000,
            },
            hostname: "palisade".into(),
            tree: Vec::new(),
            late_masks: false,
            limits: Limits {
                memory: Some(1 << 30),
                cpus: Some(1.5),
                processes: Some(10),
            },
            accepted: Vec::new(),
            egress: EgressWanted {
                proxy_port: 3128,
                fallback_ports: Vec::new(),
            },
            foreground: false,
        },
        session: "s".into(),
        base: of("/base"),
        image: "palisade-root:x".into(),
        profile_file: of("/base/s/profile.json"),
        profile: "{}".into(),
        guest: of("/guest"),
        inside: of("/inside"),
        system: of("/system"),
        mounts: vec![bind, overlay, memory],
        ipv6: true,
        terminal: false,
        by: crate::flags::StartedBy::Palisade,
    }
}

/// As docker 20.10 writes it, as far as it is looked at.
const ACCOUNT: &str = r#"{
    "Config": { "User": "0:0", "Entrypoint": ["/run/palisade/guest"], "Cmd": null, "Volumes": null },
    "Mounts": [{}, {}, {}, {}, {}],
    "HostConfig": {
        "NetworkMode": "none", "PortBindings": {}, "PidMode": "", "IpcMode": "private", "UTSMode": "",
        "UsernsMode": "", "CgroupnsMode": "private", "Sysctls": { "net.ipv6.conf.all.disable_ipv6": "0" },
        "CapDrop": ["ALL"], "CapAdd": ["CAP_CHOWN", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID"],
        "Privileged": false, "SecurityOpt": ["no-new-privileges", "seccomp={}"], "GroupAdd": null,
        "Devices": [], "DeviceRequests": null, "DeviceCgroupRules": null, "Init": false, "Runtime": "runc",
        "ReadonlyRootfs": true, "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"],
        "Binds": null, "VolumesFrom": null, "AutoRemove": true, "LogConfig": { "Type": "none" },
        "Mounts": [
            { "Type": "bind", "Source": "/ws", "Target": "/ws", "ReadOnly": true,
              "BindOptions": { "Propagation": "rprivate", "NonRecursive": true } },
            { "Type": "bind", "Source": "/inside", "Target": "/run/palisade", "ReadOnly": true,
              "BindOptions": { "Propagation": "rprivate", "NonRecursive": true } },
            { "Type": "bind", "Source": "/guest", "Target": "/run/palisade/guest", "ReadOnly": true,
              "BindOptions": { "Propagation": "rprivate", "NonRecursive": true } },
            { "Type": "bind", "Source": "/system", "Target": "/sys", "ReadOnly": true,
              "BindOptions": { "Propagation": "rprivate", "NonRecursive": true } },
            { "Type": "volume", "Target": "/over", "VolumeOptions": { "NoCopy": true, "DriverConfig": {
              "Name": "local", "Options": { "type": "overlay", "device": "overlay",
              "o": "lowerdir=/a,upperdir=/b,workdir=/c,userxattr" } } } }
        ],
        "Tmpfs": { "/tmp": "rw", "/sys/fs/cgroup": "ro,nosuid,nodev,noexec,size=4k,mode=0" },
        "PidsLimit": 11, "Memory": 1073741824, "MemorySwap": 1073741824, "NanoCpus": 1500000000,
        "Ulimits": [{ "Name": "core", "Hard": 0, "Soft": 0 }]
    }
}"#;

fn account() -> Value {
    serde_json::from_str(ACCOUNT).expect("JSON")
}

fn found(account: &Value) -> Option<&'static str> {
    differs(account, &wanted())
}

#[test]
fn what_was_asked_for_passes() {
    assert_eq!(found(&account()), None);
    let text = json!([account()]).to_string();
    assert!(check(text.as_bytes(), &wanted()).is_ok());
}

#[test]
fn each_control_that_was_dropped_is_named() {
    let cases = [
        ("/HostConfig/NetworkMode", json!("bridge"), "the network"),
        (
            "/HostConfig/PidMode",
            json!("host"),
            "the process namespace",
        ),
        (
            "/HostConfig/IpcMode",
            json!("shareable"),
            "the IPC namespace",
        ),
        (
            "/HostConfig/UTSMode",
            json!("host"),
            "the host name's namespace",
        ),
        (
            "/HostConfig/UsernsMode",
            json!("host"),
            "the user namespace",
        ),
        (
            "/HostConfig/CgroupnsMode",
            json!("host"),
            "the control group's namespace",
        ),
        (
            "/HostConfig/Sysctls",
            json!({ "net.ipv4.ip_forward": "1" }),
            "kernel settings",
        ),
        (
            "/HostConfig/CapDrop",
            json!(null),
            "the dropped capabilities",
        ),
        (
            "/HostConfig/CapAdd",
            json!(["SYS_ADMIN"]),
            "the guest's capabilities",
        ),
        ("/HostConfig/Privileged", json!(true), "privilege"),
        (
            "/HostConfig/SecurityOpt",
            json!(["seccomp={}"]),
            "no-new-privileges",
        ),
        (
            "/HostConfig/SecurityOpt",
            json!(["no-new-privileges", "seccomp=unconfined"]),
            "the system-call filter",
        ),
        ("/Config/User", json!(""), "the user"),
        (
            "/Config/Entrypoint",
            json!(["/bin/sh"]),
            "the first process",
        ),
        ("/HostConfig/Init", json!(true), "the first process"),
        ("/HostConfig/Runtime", json!("crun"), "the runtime"),
        ("/HostConfig/GroupAdd", json!(["docker"]), "added groups"),
        (
            "/HostConfig/Devices",
            json!([{ "PathOnHost": "/dev/kvm" }]),
            "devices",
        ),
        (
            "/HostConfig/DeviceCgroupRules",
            json!(["a *:* rwm"]),
            "device rules",
        ),
        ("/HostConfig/ReadonlyRootfs", json!(false), "the root"),
        ("/HostConfig/MaskedPaths", json!([]), "the masked paths"),
        ("/HostConfig/Binds", json!(["/:/host"]), "volumes"),
        (
            "/Config/Volumes",
            json!({ "/data": {} }),
            "the image's volumes",
        ),
        ("/HostConfig/Mounts/0/ReadOnly", json!(false), "mounts"),
        (
            "/HostConfig/Mounts/0/BindOptions/NonRecursive",
            json!(false),
            "mounts",
        ),
        (
            "/HostConfig/Mounts/4/VolumeOptions/DriverConfig/Options/o",
            json!("lowerdir=/"),
            "mounts",
        ),
        (
            "/Mounts",
            json!([{}, {}, {}, {}, {}, {}]),
            "what is mounted",
        ),
        ("/HostConfig/Tmpfs", json!({}), "file systems in memory"),
        ("/HostConfig/PidsLimit", json!(null), "limits.processes"),
        ("/HostConfig/Memory", json!(0), "limits.memory"),
        ("/HostConfig/MemorySwap", json!(-1), "limits.memory"),
        ("/HostConfig/NanoCpus", json!(0), "limits.cpus"),
        ("/HostConfig/AutoRemove", json!(false), "the removal"),
        ("/HostConfig/LogConfig/Type", json!("json-file"), "the log"),
        ("/HostConfig/Ulimits", json!(null), "core files"),
    ];
    for (place, value, control) in cases {
        let mut changed = account();
        *changed.pointer_mut(place).expect(place) = value;
        assert_eq!(found(&changed), Some(control), "{place}");
    }
}

#[test]
fn an_account_that_says_nothing_is_refused() {
    for account in ["", "[]", "[{}]", "{}"] {
        assert!(check(account.as_bytes(), &wanted()).is_err(), "{account}");
    }
}
