//! The parts of `/proc` and `/dev` that are the same in every boundary.

/// Files of `/proc` that tell of the host or let secrets of its kernel be guessed: the OCI runtimes' masked paths
/// (runc and containerd defaults; `interrupts` since GHSA-6fw5-f8r9-fgfm), relative to `/proc`.
pub(super) const HIDDEN_PROC_FILES: [&str; 7] = [
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "timer_list",
    "timer_stats",
];

/// Directories of `/proc` of the same kind.
pub(super) const HIDDEN_PROC_DIRECTORIES: [&str; 3] = ["acpi", "asound", "scsi"];

/// Parts of `/proc` that change the host when written to: the OCI runtimes' read-only paths.
pub(super) const READ_ONLY_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// The device files that programs expect everywhere (OCI runtime specification, "Default Devices").
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// The links in `/dev` that programs expect everywhere (OCI runtime specification, "Dev symbolic links"), without `core`.
pub(super) const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
