//! What the guest of a container is told before it starts: one file, in a folder that only its session can write.
//!
//! It holds nothing that the agent does not see anyway. Still it is read as strictly as a frame: any length that does not
//! fit, any rest, any other version is refused.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::{EgressWanted, FrameError};

/// Where the session's folder is shown inside.
pub const GUEST_FOLDER: &str = "/run/palisade";
/// The plan's name in it.
pub const GUEST_PLAN: &str = "plan";
/// The name of the socket in it that the supervisor listens at.
pub const GUEST_SOCKET: &str = "control";

/// The name of the socket in it that relayed connections go to.
pub const GUEST_GATE: &str = "gate";
/// The whole plan of a guest that is no agent's: a hand that lays masks in another container.
pub const HAND_PLAN: &[u8] = b"palisade-hand 1\n";
/// The same for one that keeps changes apart, too.
pub const HAND_APART_PLAN: &[u8] = b"palisade-hand-apart 1\n";
/// The plan of a guest that removes what an overlay of the engine's left in a folder of this name, and nothing else.
pub const SWEEP_PLAN: &[u8] = b"palisade-sweep 1\n";
/// See [`SWEEP_PLAN`].
pub const SWEEP_FOLDER: &str = "work";

/// First bytes of the file: its name and version.
const MAGIC: &[u8] = b"palisade-guest 2\n";

/// Everything the guest needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestPlan {
    /// Whom to become before the agent starts, where the guest starts as another.
    pub identity: Option<(u32, u32)>,
    /// Whether the agent gets the terminal at once, where there is one.
    pub foreground: bool,
    /// Rows and columns of the terminal, where there is one.
    pub window: Option<(u16, u16)>,
    /// Whether connections are relayed, because no descriptor can be passed out.
    pub relayed: bool,
    /// The way to the gate.
    pub egress: EgressWanted,
    /// Folders that the engine made on the way to others, to be given to the agent.
    pub owned: Vec<PathBuf>,
    /// Where the agent may write, and whether each is a folder.
    pub writable: Vec<(PathBuf, bool)>,
    /// Where the agent starts.
    pub directory: PathBuf,
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl GuestPlan {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let (uid, gid) = self.identity.unwrap_or_default();
        let (rows, columns) = self.window.unwrap_or_default();
        for number in [
            u32::from(self.identity.is_some()),
            uid,
            gid,
            u32::from(self.foreground),
            u32::from(self.window.is_some()),
            rows.into(),
            columns.into(),
            u32::from(self.relayed),
            self.egress.proxy_port.into(),
        ] {
            put(&mut bytes, number);
        }
        put_each(&mut bytes, &self.egress.fallback_ports, |bytes, port| {
            put(bytes, u32::from(*port));
        });
        put_each(&mut bytes, &self.owned, |bytes, path| {
            put_text(bytes, path.as_os_str());
        });
        put_each(&mut bytes, &self.writable, |bytes, (path, directory)| {
            put_text(bytes, path.as_os_str());
            put(bytes, u32::from(*directory));
        });
        put_text(&mut bytes, self.directory.as_os_str());
        put_each(&mut bytes, &self.argv, |bytes, argument| {
            put_text(bytes, argument);
        });
        put_each(&mut bytes, &self.environment, |bytes, (name, value)| {
            put_text(bytes, name);
            put_text(bytes, value);
        });
        bytes
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Whatever [`GuestPlan::encode`] would not have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Rest(bytes.strip_prefix(MAGIC).ok_or(FrameError)?);
        let (other, uid, gid) = (rest.flag()?, rest.number()?, rest.number()?);
        let foreground = rest.flag()?;
        let (sized, rows, columns) = (rest.flag()?, rest.short()?, rest.short()?);
        let plan = Self {
            identity: other.then_some((uid, gid)),
            foreground,
            window: sized.then_some((rows, columns)),
            relayed: rest.flag()?,
            egress: EgressWanted {
                proxy_port: rest.short()?,
                fallback_ports: rest.each(Rest::short)?,
            },
            owned: rest.each(Rest::path)?,
            writable: rest.each(|rest| Ok((rest.path()?, rest.flag()?)))?,
            directory: rest.path()?,
            argv: rest.each(Rest::text)?,
            environment: rest.each(|rest| Ok((rest.text()?, rest.text()?)))?,
        };
        if rest.0.is_empty() {
            Ok(plan)
        } else {
            Err(FrameError)
        }
    }
}

fn put(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend(number.to_le_bytes());
}

/// Nothing here comes near 4 GiB: the kernel takes at most 128 KiB for an argument or a variable.
fn put_length(bytes: &mut Vec<u8>, length: usize) {
    put(bytes, u32::try_from(length).unwrap_or(u32::MAX));
}

fn put_text(bytes: &mut Vec<u8>, text: &OsStr) {
    put_length(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn put_each<T>(bytes: &mut Vec<u8>, items: &[T], each: impl Fn(&mut Vec<u8>, &T)) {
    put_length(bytes, items.len());
    for item in items {
        each(bytes, item);
    }
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, length: u32) -> Result<&[u8], FrameError> {
        let length = usize::try_from(length).map_err(|_| FrameError)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(FrameError)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, FrameError> {
        let four = self.take(4)?.try_into().map_err(|_| FrameError)?;
        Ok(u32::from_le_bytes(four))
    }

    fn flag(&mut self) -> Result<bool, FrameError> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError),
        }
    }

    fn short(&mut self) -> Result<u16, FrameError> {
        self.number()?.try_into().map_err(|_| FrameError)
    }

    fn text(&mut self) -> Result<OsString, FrameError> {
        let length = self.number()?;
        Ok(OsString::from_vec(self.take(length)?.to_vec()))
    }

    fn path(&mut self) -> Result<PathBuf, FrameError> {
        self.text().map(PathBuf::from)
    }

    fn each<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Vec<T>, FrameError> {
        let count = self.number()?;
        // No room is reserved for what is only said to come.
        (0..count).map(|_| one(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> GuestPlan {
        GuestPlan {
            identity: Some((1000, 1001)),
            foreground: true,
            window: Some((24, 80)),
            relayed: true,
            egress: EgressWanted {
                proxy_port: 3128,
                fallback_ports: vec![80, 443],
            },
            owned: vec!["/home/a/.config".into()],
            writable: vec![("/tmp".into(), true), ("/a\nb".into(), false)],
            directory: "/work".into(),
            argv: vec!["sh".into(), OsString::from_vec(vec![0xff, b'x']), "".into()],
            environment: vec![("A".into(), "b=c".into())],
        }
    }

    #[test]
    fn a_plan_survives_the_way() {
        let plan = plan();
        assert_eq!(GuestPlan::decode(&plan.encode()), Ok(plan.clone()));
        let own = GuestPlan {
            identity: None,
            window: None,
            ..plan
        };
        assert_eq!(GuestPlan::decode(&own.encode()), Ok(own));
    }

    #[test]
    fn what_is_cut_off_or_goes_on_is_refused() {
        let bytes = plan().encode();
        for length in 0..bytes.len() {
            assert_eq!(GuestPlan::decode(&bytes[..length]), Err(FrameError));
        }
        let longer = [&bytes[..], b"x"].concat();
        assert_eq!(GuestPlan::decode(&longer), Err(FrameError));
    }

    #[test]
    fn lengths_and_ports_that_do_not_fit_are_refused() {
        let bytes = plan().encode();
        let numbers = MAGIC.len();
        // The flags, the window, the port, and how many ports there are.
        for at in [0, 12, 16, 20, 24, 28, 32, 36] {
            let mut wrong = bytes.clone();
            wrong[numbers + at..numbers + at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(GuestPlan::decode(&wrong), Err(FrameError), "{at}");
        }
    }
}
