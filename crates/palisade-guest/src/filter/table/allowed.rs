//! Calls that pass whatever their arguments. The kernel remembers them by number, so they cost nothing while running.

use super::{ALLOW, Group, Switch, calls};

pub(super) static GROUPS: &[Group] = &[
    Group {
        title: "reading and writing",
        rule: &ALLOW,
        reason: "the work of any program",
        switch: None,
        calls: calls! {
            read 0 63, write 1 64, readv 19 65, writev 20 66, pread64 17 67, pwrite64 18 68,
            preadv 295 69, pwritev 296 70, preadv2 327 286, pwritev2 328 287, lseek 8 62,
            close 3 57, close_range 436 436, dup 32 23, dup2 33 -, dup3 292 24, fcntl 72 25,
            flock 73 32, pipe 22 -, pipe2 293 59, sendfile 40 71, copy_file_range 326 285,
            splice 275 76, tee 276 77, vmsplice 278 75, fsync 74 82, fdatasync 75 83, sync 162 81,
            syncfs 306 267, sync_file_range 277 84, fallocate 285 47, truncate 76 45,
            ftruncate 77 46, readahead 187 213, fadvise64 221 223, io_setup 206 0, io_destroy 207 1,
            io_getevents 208 4, io_submit 209 2, io_cancel 210 3, io_pgetevents 333 292
        },
    },
    Group {
        title: "files and directories",
        rule: &ALLOW,
        reason: "what may be reached is decided by the tree and Landlock, not here",
        switch: None,
        calls: calls! {
            stat 4 -, fstat 5 80, lstat 6 -, newfstatat 262 79, statx 332 291, access 21 -,
            faccessat 269 48, faccessat2 439 439, statfs 137 43, fstatfs 138 44, getdents 78 -,
            getdents64 217 61, getcwd 79 17, chdir 80 49, fchdir 81 50, rename 82 -,
            renameat 264 38, renameat2 316 276, mkdir 83 -, mkdirat 258 34, rmdir 84 -, link 86 -,
            linkat 265 37, unlink 87 -, unlinkat 263 35, symlink 88 -, symlinkat 266 36,
            readlink 89 -, readlinkat 267 78, chown 92 -, fchown 93 55, lchown 94 -,
            fchownat 260 54, umask 95 166, utime 132 -, utimes 235 -, futimesat 261 -,
            utimensat 280 88, cachestat 451 451, name_to_handle_at 303 264, setxattr 188 5,
            lsetxattr 189 6, fsetxattr 190 7, setxattrat 463 463, getxattr 191 8, lgetxattr 192 9,
            fgetxattr 193 10, getxattrat 464 464, listxattr 194 11, llistxattr 195 12,
            flistxattr 196 13, listxattrat 465 465, removexattr 197 14, lremovexattr 198 15,
            fremovexattr 199 16, removexattrat 466 466, inotify_init 253 -, inotify_init1 294 26,
            inotify_add_watch 254 27, inotify_rm_watch 255 28
        },
    },
    Group {
        title: "waiting",
        rule: &ALLOW,
        reason: "event loops",
        switch: None,
        calls: calls! {
            poll 7 -, ppoll 271 73, select 23 -, pselect6 270 72, epoll_create 213 -,
            epoll_create1 291 20, epoll_ctl 233 21, epoll_wait 232 -, epoll_pwait 281 22,
            epoll_pwait2 441 441, eventfd 284 -, eventfd2 290 19, signalfd 282 -, signalfd4 289 74,
            timerfd_create 283 85, timerfd_settime 286 86, timerfd_gettime 287 87
        },
    },
    Group {
        title: "memory",
        rule: &ALLOW,
        reason: "the process's own memory; the amount is held by the limits",
        switch: None,
        calls: calls! {
            mmap 9 222, mprotect 10 226, munmap 11 215, brk 12 214, mremap 25 216, msync 26 227,
            mincore 27 232, madvise 28 233, mlock 149 228, mlock2 325 284, munlock 150 229,
            mlockall 151 230, munlockall 152 231, remap_file_pages 216 234, memfd_create 319 279,
            memfd_secret 447 447, membarrier 324 283, mseal 462 462, pkey_mprotect 329 288,
            pkey_alloc 330 289, pkey_free 331 290, map_shadow_stack 453 453
        },
    },
    Group {
        title: "processes and threads",
        rule: &ALLOW,
        reason: "their number is held by the limits; new namespaces are refused in clone and \
                 unshare",
        switch: None,
        calls: calls! {
            fork 57 -, vfork 58 -, execve 59 221, execveat 322 281, exit 60 93, exit_group 231 94,
            wait4 61 260, waitid 247 95, getpid 39 172, getppid 110 173, gettid 186 178,
            getpgid 121 155, setpgid 109 154, getpgrp 111 -, getsid 124 156, setsid 112 157,
            set_tid_address 218 96, set_robust_list 273 99, get_robust_list 274 100, futex 202 98,
            futex_waitv 449 449, futex_wake 454 454, futex_wait 455 455, futex_requeue 456 456,
            rseq 334 293, restart_syscall 219 128, arch_prctl 158 -, prctl 157 167,
            getpriority 140 141, setpriority 141 140, sched_yield 24 124, sched_setparam 142 118,
            sched_getparam 143 121, sched_setscheduler 144 119, sched_getscheduler 145 120,
            sched_get_priority_max 146 125, sched_get_priority_min 147 126,
            sched_rr_get_interval 148 127, sched_getaffinity 204 123, sched_setattr 314 274,
            sched_getattr 315 275, ioprio_set 251 30, ioprio_get 252 31, getcpu 309 168,
            getrlimit 97 163, setrlimit 160 164, prlimit64 302 261, getrusage 98 165, times 100 153,
            process_mrelease 448 448, pidfd_open 434 434, pidfd_send_signal 424 424,
            seccomp 317 277, landlock_create_ruleset 444 444, landlock_add_rule 445 445,
            landlock_restrict_self 446 446
        },
    },
    Group {
        title: "probe return",
        rule: &ALLOW,
        reason: "put into a program's path by a probe the host's root has set; refusing it \
                 would crash the program",
        switch: None,
        calls: calls! {
            uretprobe 335 -, uprobe 336 -
        },
    },
    Group {
        title: "signals",
        rule: &ALLOW,
        reason: "reach only processes of the inside's own process namespace",
        switch: None,
        calls: calls! {
            rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, rt_sigpending 127 136,
            rt_sigtimedwait 128 137, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240,
            rt_sigsuspend 130 133, sigaltstack 131 132, kill 62 129, tkill 200 130, tgkill 234 131,
            pause 34 -
        },
    },
    Group {
        title: "identity",
        rule: &ALLOW,
        reason: "no capability is held and no-new-privileges is set, so the kernel refuses \
                 what would gain rights",
        switch: None,
        calls: calls! {
            getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177, getgroups 115 158,
            getresuid 118 148, getresgid 120 150, setuid 105 146, setgid 106 144, setreuid 113 145,
            setregid 114 143, setresuid 117 147, setresgid 119 149, setfsuid 122 151,
            setfsgid 123 152, setgroups 116 159, capget 125 90, capset 126 91
        },
    },
    Group {
        title: "time",
        rule: &ALLOW,
        reason: "reading clocks and sleeping",
        switch: None,
        calls: calls! {
            time 201 -, gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114,
            clock_nanosleep 230 115, nanosleep 35 101, getitimer 36 102, setitimer 38 103,
            alarm 37 -, timer_create 222 107, timer_settime 223 110, timer_gettime 224 108,
            timer_getoverrun 225 109, timer_delete 226 111
        },
    },
    Group {
        title: "sockets",
        rule: &ALLOW,
        reason: "on sockets that socket and socketpair let through",
        switch: None,
        calls: calls! {
            connect 42 203, accept 43 202, accept4 288 242, bind 49 200, listen 50 201,
            getsockname 51 204, getpeername 52 205, setsockopt 54 208, getsockopt 55 209,
            shutdown 48 210, sendto 44 206, recvfrom 45 207, sendmsg 46 211, recvmsg 47 212,
            sendmmsg 307 269, recvmmsg 299 243
        },
    },
    Group {
        title: "System V and POSIX queues",
        rule: &ALLOW,
        reason: "the inside has its own ipc namespace",
        switch: None,
        calls: calls! {
            shmget 29 194, shmat 30 196, shmctl 31 195, shmdt 67 197, semget 64 190, semop 65 193,
            semctl 66 191, semtimedop 220 192, msgget 68 186, msgsnd 69 189, msgrcv 70 188,
            msgctl 71 187, mq_open 240 180, mq_unlink 241 181, mq_timedsend 242 182,
            mq_timedreceive 243 183, mq_notify 244 184, mq_getsetattr 245 185
        },
    },
    Group {
        title: "the machine's own account",
        rule: &ALLOW,
        reason: "names no host path; the host name is the inside's own",
        switch: None,
        calls: calls! {
            uname 63 160, sysinfo 99 179, getrandom 318 278
        },
    },
    Group {
        title: "debuggers",
        rule: &ALLOW,
        reason: "reaches only the agent's own processes; debuggers, strace and some test \
                 runners need it",
        switch: Some(Switch::Ptrace),
        calls: calls! {
            ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271
        },
    },
    Group {
        title: "choice of processors",
        rule: &ALLOW,
        reason: "refused where binding the session to processors is what limits it",
        switch: Some(Switch::Affinity),
        calls: calls! {
            sched_setaffinity 203 122
        },
    },
];
