//! Calls that fail whatever their arguments. A call in no list fails with `ENOSYS` too; these are listed for their
//! reasons.

use super::{Group, NOT_FOR_YOU, NOT_THERE, calls};

pub(super) static GROUPS: &[Group] = &[
    Group {
        title: "hidden arguments",
        rule: &NOT_THERE,
        reason: "their arguments lie behind a pointer, where a filter cannot look; the C \
                 library and Go fall back to clone and openat",
        switch: None,
        calls: calls! {
            clone3 435 435, openat2 437 437
        },
    },
    Group {
        title: "io_uring",
        rule: &NOT_THERE,
        reason: "carries out other calls without passing the filter, and has been a steady \
                 source of kernel holes; libuv and Tokio fall back",
        switch: None,
        calls: calls! {
            io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427
        },
    },
    Group {
        title: "mounts",
        rule: &NOT_FOR_YOU,
        reason: "the tree is made once, from outside",
        switch: None,
        calls: calls! {
            mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, move_mount 429 429,
            open_tree 428 428, open_tree_attr 467 467, fsopen 430 430, fsconfig 431 431,
            fsmount 432 432, fspick 433 433, mount_setattr 442 442
        },
    },
    Group {
        title: "mount listings",
        rule: &NOT_THERE,
        reason: "newer forms of what /proc/self/mountinfo says; no program needs them yet",
        switch: None,
        calls: calls! {
            statmount 457 457, listmount 458 458
        },
    },
    Group {
        title: "joining namespaces",
        rule: &NOT_FOR_YOU,
        reason: "nothing inside has another namespace to join",
        switch: None,
        calls: calls! {
            setns 308 268
        },
    },
    Group {
        title: "kernel keyrings",
        rule: &NOT_FOR_YOU,
        reason: "hold the host's credentials, and are not separate for each namespace in all \
                 kernels",
        switch: None,
        calls: calls! {
            add_key 248 217, request_key 249 218, keyctl 250 219
        },
    },
    Group {
        title: "kernel programs and probes",
        rule: &NOT_FOR_YOU,
        reason: "a large surface with a history of holes, and a look at the whole machine",
        switch: None,
        calls: calls! {
            bpf 321 280, perf_event_open 298 241
        },
    },
    Group {
        title: "page faults handled in user space",
        rule: &NOT_FOR_YOU,
        reason: "lets an exploit halt the kernel at a chosen point",
        switch: None,
        calls: calls! {
            userfaultfd 323 282
        },
    },
    Group {
        title: "files by handle",
        rule: &NOT_FOR_YOU,
        reason: "passes by every directory's permissions (CVE-2014-3519 in containers)",
        switch: None,
        calls: calls! {
            open_by_handle_at 304 265
        },
    },
    Group {
        title: "file system events",
        rule: &NOT_FOR_YOU,
        reason: "fanotify watches whole mounts; inotify stays",
        switch: None,
        calls: calls! {
            fanotify_init 300 262, fanotify_mark 301 263
        },
    },
    Group {
        title: "quotas, swap, accounting",
        rule: &NOT_FOR_YOU,
        reason: "the host's own matters",
        switch: None,
        calls: calls! {
            quotactl 179 60, quotactl_fd 443 443, swapon 167 224, swapoff 168 225, acct 163 89
        },
    },
    Group {
        title: "kernel images and modules",
        rule: &NOT_FOR_YOU,
        reason: "the host's own matters",
        switch: None,
        calls: calls! {
            kexec_load 246 104, kexec_file_load 320 294, init_module 175 105, finit_module 313 273,
            delete_module 176 106, reboot 169 142
        },
    },
    Group {
        title: "setting clocks and names",
        rule: &NOT_FOR_YOU,
        reason: "the clock is the host's; the name was given from outside",
        switch: None,
        calls: calls! {
            settimeofday 164 170, clock_settime 227 112, clock_adjtime 305 266, adjtimex 159 171,
            sethostname 170 161, setdomainname 171 162
        },
    },
    Group {
        title: "raw hardware",
        rule: &NOT_FOR_YOU,
        reason: "input and output ports",
        switch: None,
        calls: calls! {
            iopl 172 -, ioperm 173 -
        },
    },
    Group {
        title: "the kernel log and terminals",
        rule: &NOT_FOR_YOU,
        reason: "tells of the host, or hangs up its terminals",
        switch: None,
        calls: calls! {
            syslog 103 116, vhangup 153 58
        },
    },
    Group {
        title: "looking into other processes",
        rule: &NOT_FOR_YOU,
        reason: "kcmp reveals the layout of kernel memory; a descriptor is passed by sockets \
                 where both sides agree",
        switch: None,
        calls: calls! {
            kcmp 312 272, pidfd_getfd 438 438
        },
    },
    Group {
        title: "memory advice to another process",
        rule: &NOT_THERE,
        reason: "allocators fall back to madvise",
        switch: None,
        calls: calls! {
            process_madvise 440 440
        },
    },
    Group {
        title: "memory on chosen nodes",
        rule: &NOT_FOR_YOU,
        reason: "moves pages about the machine; only tuned servers ask for it",
        switch: None,
        calls: calls! {
            move_pages 279 239, migrate_pages 256 238, mbind 237 235, get_mempolicy 239 236,
            set_mempolicy 238 237, set_mempolicy_home_node 450 450
        },
    },
    Group {
        title: "security modules by call",
        rule: &NOT_THERE,
        reason: "young calls; no program needs them yet",
        switch: None,
        calls: calls! {
            lsm_get_self_attr 459 459, lsm_set_self_attr 460 460, lsm_list_modules 461 461
        },
    },
    Group {
        title: "file attributes by call",
        rule: &NOT_THERE,
        reason: "young calls; chattr falls back to ioctl",
        switch: None,
        calls: calls! {
            file_getattr 468 468, file_setattr 469 469
        },
    },
    Group {
        title: "16-bit segments",
        rule: &NOT_THERE,
        reason: "for DOS programs; a source of kernel holes (CVE-2015-5157)",
        switch: None,
        calls: calls! {
            modify_ldt 154 -
        },
    },
    Group {
        title: "leftovers",
        rule: &NOT_THERE,
        reason: "gone from the kernel, or never there",
        switch: None,
        calls: calls! {
            lookup_dcookie 212 18, nfsservctl 180 42, uselib 134 -, ustat 136 -, sysfs 139 -,
            _sysctl 156 -, create_module 174 -, get_kernel_syms 177 -, query_module 178 -,
            getpmsg 181 -, putpmsg 182 -, afs_syscall 183 -, tuxcall 184 -, security 185 -,
            vserver 236 -, epoll_ctl_old 214 -, epoll_wait_old 215 -, set_thread_area 205 -,
            get_thread_area 211 -
        },
    },
];
