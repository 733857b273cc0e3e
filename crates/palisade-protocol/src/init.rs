//! Frames between the supervisor and the init process inside, over one `SOCK_SEQPACKET` pair.
//!
//! Init is trusted code, but it shares a boundary with code that is not, so the host reads its frames as strictly
//! as any other input: fixed length, known tags, known steps.

use std::fmt;

/// Length of every frame, in bytes.
pub const FRAME_LEN: usize = 16;

/// What init tells the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitEvent {
    /// The boundary stands. On a backend with descriptor hand-over the sockets come with this frame.
    Ready,
    /// Building the boundary failed; init has exited.
    Failed {
        /// Which step.
        step: SetupStep,
        /// Index of the tree entry or item of that step.
        index: u32,
        /// The kernel's error number.
        errno: i32,
    },
    /// The agent's program could not be started; `errno` says why. Init has exited.
    ExecFailed {
        /// The kernel's error number, `ENOENT` and `EACCES` being the usual ones.
        errno: i32,
    },
    /// The agent's program runs.
    Started,
    /// The agent was stopped by this signal (Ctrl-Z).
    Stopped {
        /// Signal number.
        signal: i32,
    },
    /// The agent ended with this status; everything else inside is gone too.
    Exited {
        /// Its exit status.
        code: i32,
    },
    /// The agent was ended by this signal.
    Killed {
        /// Signal number.
        signal: i32,
    },
}

/// What the supervisor asks of init.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitRequest {
    /// The identity maps are written (a session run by root), go on with the set-up.
    Proceed,
    /// All that the session rests on is known to be right: start the agent.
    Begin,
    /// Send this signal to the agent.
    Signal {
        /// Signal number.
        signal: i32,
    },
    /// Continue the agent after a stop, and make it the terminal's foreground group first if asked.
    Resume {
        /// Whether it gets the terminal.
        foreground: bool,
    },
    /// The window of the person's terminal has this size now. For an init that has a terminal of its own.
    Window {
        /// Lines.
        rows: u16,
        /// Characters in each.
        columns: u16,
    },
}

/// The steps of building a native boundary, for error messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SetupStep {
    /// Wait for the supervisor.
    Sync = 1,
    /// Write the user and group maps, become the inner identity.
    Identity,
    /// Loopback, routes.
    Network,
    /// Capture rules (nftables).
    Capture,
    /// Listening sockets.
    Listen,
    /// Host name.
    Hostname,
    /// The root file system.
    Root,
    /// One entry of the tree; `index` says which.
    Tree,
    /// Switching to the new root.
    Pivot,
    /// Resource limits.
    Limits,
    /// Capabilities, no-new-privileges.
    Privileges,
    /// Landlock rules.
    Landlock,
    /// The system-call filter.
    Seccomp,
    /// Starting the agent's process.
    Spawn,
    /// The working directory.
    Directory,
    /// Handing the sockets out.
    HandOver,
}

impl SetupStep {
    const ALL: [Self; 16] = [
        Self::Sync,
        Self::Identity,
        Self::Network,
        Self::Capture,
        Self::Listen,
        Self::Hostname,
        Self::Root,
        Self::Tree,
        Self::Pivot,
        Self::Limits,
        Self::Privileges,
        Self::Landlock,
        Self::Seccomp,
        Self::Spawn,
        Self::Directory,
        Self::HandOver,
    ];
}

impl fmt::Display for SetupStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sync => "wait for the supervisor",
            Self::Identity => "take on the inner identity",
            Self::Network => "set up the loopback network",
            Self::Capture => "load the capture rules",
            Self::Listen => "open the gate's listening sockets",
            Self::Hostname => "set the host name",
            Self::Root => "make the root file system",
            Self::Tree => "show a path inside",
            Self::Pivot => "switch to the new root",
            Self::Limits => "set the resource limits",
            Self::Privileges => "give up privileges",
            Self::Landlock => "apply the Landlock rules",
            Self::Seccomp => "apply the system-call filter",
            Self::Spawn => "start the agent's process",
            Self::Directory => "enter the working directory",
            Self::HandOver => "hand the sockets to the gate",
        })
    }
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameError;

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frame from the other side is malformed")
    }
}

impl std::error::Error for FrameError {}

impl InitEvent {
    /// The frame's bytes.
    pub fn encode(self) -> [u8; FRAME_LEN] {
        match self {
            Self::Ready => frame(1, 0, 0, 0),
            Self::Failed { step, index, errno } => frame(2, step as u8, index, errno),
            Self::ExecFailed { errno } => frame(3, 0, 0, errno),
            Self::Started => frame(4, 0, 0, 0),
            Self::Stopped { signal } => frame(5, 0, 0, signal),
            Self::Exited { code } => frame(6, 0, 0, code),
            Self::Killed { signal } => frame(7, 0, 0, signal),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// Any other length, tag or step.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (tag, detail, index, value) = unframe(bytes)?;
        Ok(match tag {
            1 => Self::Ready,
            2 => {
                let step = SetupStep::ALL
                    .into_iter()
                    .find(|s| *s as u8 == detail)
                    .ok_or(FrameError)?;
                Self::Failed {
                    step,
                    index,
                    errno: value,
                }
            }
            3 => Self::ExecFailed { errno: value },
            4 => Self::Started,
            5 => Self::Stopped { signal: value },
            6 => Self::Exited { code: value },
            7 => Self::Killed { signal: value },
            _ => return Err(FrameError),
        })
    }
}

impl InitRequest {
    /// The frame's bytes.
    pub fn encode(self) -> [u8; FRAME_LEN] {
        match self {
            Self::Proceed => frame(1, 0, 0, 0),
            Self::Begin => frame(4, 0, 0, 0),
            Self::Signal { signal } => frame(2, 0, 0, signal),
            Self::Resume { foreground } => frame(3, 0, u32::from(foreground), 0),
            Self::Window { rows, columns } => {
                frame(5, 0, u32::from(rows) << 16 | u32::from(columns), 0)
            }
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// Any other length or tag.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (tag, _, index, value) = unframe(bytes)?;
        match tag {
            1 => Ok(Self::Proceed),
            4 => Ok(Self::Begin),
            2 => Ok(Self::Signal { signal: value }),
            3 => Ok(Self::Resume {
                foreground: index == 1,
            }),
            5 => Ok(Self::Window {
                rows: (index >> 16) as u16,
                columns: (index & 0xffff) as u16,
            }),
            _ => Err(FrameError),
        }
    }
}

fn frame(tag: u8, detail: u8, index: u32, value: i32) -> [u8; FRAME_LEN] {
    let mut bytes = [0; FRAME_LEN];
    bytes[0] = tag;
    bytes[1] = detail;
    bytes[4..8].copy_from_slice(&index.to_le_bytes());
    bytes[8..12].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn unframe(bytes: &[u8]) -> Result<(u8, u8, u32, i32), FrameError> {
    let bytes: &[u8; FRAME_LEN] = bytes.try_into().map_err(|_| FrameError)?;
    let [tag, detail, _, _, i0, i1, i2, i3, v0, v1, v2, v3, ..] = *bytes;
    Ok((
        tag,
        detail,
        u32::from_le_bytes([i0, i1, i2, i3]),
        i32::from_le_bytes([v0, v1, v2, v3]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_way() {
        let events = [
            InitEvent::Ready,
            InitEvent::Failed {
                step: SetupStep::HandOver,
                index: 7,
                errno: 13,
            },
            InitEvent::ExecFailed { errno: 2 },
            InitEvent::Started,
            InitEvent::Stopped { signal: 20 },
            InitEvent::Exited { code: 255 },
            InitEvent::Killed { signal: 9 },
        ];
        for event in events {
            assert_eq!(InitEvent::decode(&event.encode()), Ok(event));
        }
        for request in [
            InitRequest::Proceed,
            InitRequest::Begin,
            InitRequest::Signal { signal: 2 },
            InitRequest::Resume { foreground: true },
            InitRequest::Window {
                rows: 24,
                columns: 300,
            },
        ] {
            assert_eq!(InitRequest::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn malformed_frames_are_refused() {
        assert_eq!(InitEvent::decode(&[0; FRAME_LEN]), Err(FrameError));
        assert_eq!(InitEvent::decode(&[1; 3]), Err(FrameError));
        assert_eq!(
            InitEvent::decode(&[2, 99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(FrameError)
        );
    }
}
