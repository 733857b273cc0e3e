//! Building the tree and moving into it.

mod overlay;

pub(crate) use overlay::{compose, keeps_attributes};

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use palisade_protocol::SetupStep;
use palisade_sys::mount::{Attributes, set_attributes};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, chmodat, mkdirat, mknodat, openat, openat2,
    symlinkat, unlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree, unmount,
};
use rustix::process::{chdir, fchdir, pivot_root};

use crate::tree::{
    Action, Empties, HIDDEN, Memory, Source, Step, Target, TreePlan, open_host_tree,
};
use palisade_guest::{At, Fault};

/// Files and directories the memory file system may hold: systemd's number for `/tmp` (tmp.mount), so that names alone
/// cannot fill the kernel's memory.
const MOST_INODES: &CStr = c"1m";

const EMPTY: &CStr = c"";

/// Builds the tree, makes it the root and lets go of the old one.
pub(super) fn build(plan: &TreePlan) -> Result<(), Fault> {
    let root = new_root(plan).at(SetupStep::Root, 0)?;
    // What takes a path and no descriptor (umount(2), an overlay's layers) takes it from here.
    fchdir(&root).at(SetupStep::Root, 6)?;
    for Step { entry, action } in &plan.steps {
        take(root.as_fd(), plan, action).at(SetupStep::Tree, *entry)?;
    }
    tidy(root.as_fd(), plan).at(SetupStep::Root, 1)?;
    let read_only = Attributes {
        read_only: true,
        ..Attributes::default()
    };
    set_attributes(root.as_fd(), read_only, false).at(SetupStep::Root, 2)?;
    // Of what is mounted on the host from now on nothing shows up inside.
    let private = Attributes {
        private: true,
        ..Attributes::default()
    };
    set_attributes(root.as_fd(), private, true).at(SetupStep::Root, 5)?;
    enter(root.as_fd()).at(SetupStep::Pivot, 0)
}

/// A memory file system, laid over the old root: the next path lookup from `/` does not see it yet, only its descriptor
/// leads there.
fn new_root(plan: &TreePlan) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"size", &*plan.memory)?;
    fsconfig_set_string(context.as_fd(), c"nr_inodes", MOST_INODES)?;
    fsconfig_set_string(context.as_fd(), c"mode", c"755")?;
    let root = mount(
        &context,
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
    )?;
    move_mount(
        root.as_fd(),
        EMPTY,
        CWD,
        c"/",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(root)
}

fn mount(context: &OwnedFd, attributes: MountAttrFlags) -> rustix::io::Result<OwnedFd> {
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn take(root: BorrowedFd<'_>, plan: &TreePlan, action: &Action) -> rustix::io::Result<()> {
    match action {
        Action::Directory { path, mode } => directory(root, path, *mode),
        Action::Placeholder { path } => mknodat(
            root,
            &**path,
            FileType::RegularFile,
            Mode::from_raw_mode(0o444),
            0,
        ),
        Action::Write { path, content } => write(root, path, content),
        Action::Link { path, target } => symlinkat(&**target, root, &**path),
        Action::Attach { source, target } => attach(root, source, target),
        Action::Mask { path, directory } => mask(root, plan, path, *directory),
        Action::Empties => empties(root, plan),
        Action::Memory { memory, target } => put(&in_memory(memory)?, root, target),
        Action::Overlay(parts) => overlay::mount(root, parts),
        Action::Protect { path } => if_there(protect(root, path)),
        Action::Proc { target } => {
            let context = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
            let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
                | MountAttrFlags::MOUNT_ATTR_NODEV
                | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            place(&mount(&context, flags)?, root, target)
        }
        Action::Terminals { target } => {
            let context = fsopen(c"devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(context.as_fd(), c"ptmxmode", c"666")?;
            fsconfig_set_string(context.as_fd(), c"mode", c"620")?;
            let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            place(&mount(&context, flags)?, root, target)
        }
    }
}

fn directory(root: BorrowedFd<'_>, path: &CStr, mode: u32) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match mkdirat(root, path, mode) {
        Err(Errno::EXIST) => chmodat(root, path, mode, AtFlags::empty()),
        other => other,
    }
}

fn write(root: BorrowedFd<'_>, path: &CStr, content: &[u8]) -> rustix::io::Result<()> {
    let flags =
        OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(root, path, flags, Mode::from_raw_mode(0o444))?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

fn attach(root: BorrowedFd<'_>, source: &Source, target: &Target) -> rustix::io::Result<()> {
    match source {
        Source::Tree(tree) => put(tree, root, target),
        Source::Host { path, read_only } => {
            let tree = open_host_tree(&**path)?;
            shut(&tree, *read_only, true)?;
            put(&tree, root, target)
        }
        Source::Device { path } => put(&copy(CWD, path)?, root, target),
        Source::Inside { path, read_only } => {
            let tree = copy(root, path)?;
            if *read_only {
                shut(&tree, true, false)?;
            }
            put(&tree, root, target)
        }
    }
}

fn put(tree: &OwnedFd, root: BorrowedFd<'_>, target: &Target) -> rustix::io::Result<()> {
    match target {
        Target::Own(path) => place(tree, root, path),
        Target::Shown(path) => move_to(tree, &shown_place(root, path)?),
    }
}

/// A file system in memory, not attached yet.
fn in_memory(Memory { size, exec }: &Memory) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"size", &**size)?;
    fsconfig_set_string(context.as_fd(), c"nr_inodes", MOST_INODES)?;
    fsconfig_set_string(context.as_fd(), c"mode", c"700")?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, !exec);
    mount(&context, attributes)
}

fn move_to(tree: &OwnedFd, place: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree.as_fd(), EMPTY, place.as_fd(), EMPTY, flags)
}

/// A path within something shown, seen as the agent will see it: a link in it leads to where it leads inside, never out.
fn shown_place(root: BorrowedFd<'_>, path: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)
}

fn if_there(outcome: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match outcome {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Makes what masks are copies of and shows it on itself, read-only.
fn empties(root: BorrowedFd<'_>, plan: &TreePlan) -> rustix::io::Result<()> {
    let Empties { file, directory } = plan.empties.as_ref().ok_or(Errno::INVAL)?;
    let mode = Mode::from_raw_mode(0o444);
    mknodat(root, &**file, FileType::RegularFile, mode, 0)?;
    mkdirat(root, &**directory, Mode::from_raw_mode(0o555))?;
    protect(root, file)?;
    protect(root, directory)
}

/// A link on the way, or in its place, turned up since the host was looked at: then nothing is known of what it hides.
fn mask(
    root: BorrowedFd<'_>,
    plan: &TreePlan,
    path: &CStr,
    directory: bool,
) -> rustix::io::Result<()> {
    let empties = plan.empties.as_ref().ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = match openat2(root, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other?,
    };
    let lay = |directory| {
        let empty = if directory {
            &empties.directory
        } else {
            &empties.file
        };
        move_to(&copy(root, empty)?, &place)
    };
    match lay(directory) {
        // A file where a directory was, or the other way round.
        Err(Errno::INVAL | Errno::NOTDIR) => lay(!directory),
        other => other,
    }
}

fn protect(root: BorrowedFd<'_>, path: &CStr) -> rustix::io::Result<()> {
    let tree = copy(root, path)?;
    shut(&tree, true, false)?;
    place(&tree, root, path)
}

fn copy(at: BorrowedFd<'_>, path: &CStr) -> rustix::io::Result<OwnedFd> {
    open_tree(
        at,
        path,
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
}

fn shut(tree: &OwnedFd, read_only: bool, recursive: bool) -> rustix::io::Result<()> {
    let attributes = Attributes {
        read_only,
        no_set_uid: true,
        no_devices: true,
        private: true,
        owners: None,
    };
    set_attributes(tree.as_fd(), attributes, recursive)
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

fn place(tree: &OwnedFd, root: BorrowedFd<'_>, path: &CStr) -> rustix::io::Result<()> {
    move_mount(
        tree.as_fd(),
        EMPTY,
        root,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Unmounts what is shown at a path below the working directory, the new root.
fn take_off(path: &CStr) -> rustix::io::Result<()> {
    unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// Takes away the names of what is shown elsewhere. A directory that still serves as somebody's scratch stays, unreadable.
fn tidy(root: BorrowedFd<'_>, plan: &TreePlan) -> rustix::io::Result<()> {
    let empties = plan.empties.iter().filter(|_| !plan.late_masks);
    let empties: Option<[&CString; 2]> = empties
        .map(|Empties { file, directory }| [file, directory])
        .next();
    for path in empties.iter().flatten() {
        take_off(path)?;
    }
    for path in plan.hidden.iter().chain(empties.into_iter().flatten()) {
        match unlinkat(root, &**path, AtFlags::empty()) {
            Err(Errno::ISDIR) => unlinkat(root, &**path, AtFlags::REMOVEDIR)?,
            other => other?,
        }
    }
    match unlinkat(root, HIDDEN, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        Err(Errno::NOTEMPTY) => chmodat(root, HIDDEN, Mode::empty(), AtFlags::empty()),
        other => other,
    }
}

/// pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one and is taken off.
fn enter(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fchdir(root)?;
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")
}
