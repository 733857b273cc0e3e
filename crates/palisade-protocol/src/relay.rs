//! One connection of the inside, carried over a stream of its own where no descriptor can be passed: a Unix socket, vsock.
//!
//! ```text
//!   opening, 24 bytes      │ version 1 │ kind │ family │ 0 │ port (network order) │ 0 0 │ address, 16 │
//!   then frames, both ways │ tag │ length, 3 (network order) │ that many bytes │
//! ```
//!
//! The end of a direction is a frame, since not every carrier can end one direction alone; a carrier that ends without one was cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::FrameError;

/// Bytes of an opening.
pub const OPENING_LEN: usize = 24;
/// Bytes before each frame's own.
pub const RELAY_HEAD_LEN: usize = 4;
/// Most bytes of one frame.
pub const RELAY_FRAME_MAX: usize = 64 << 10;

const VERSION: u8 = 1;
const DATA: u8 = 1;
const END: u8 = 2;

/// What a relayed stream is. The first thing on it, from the inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayOpening {
    /// A client that knows the proxy.
    Proxy,
    /// A connection caught on its way to this destination.
    Transparent(SocketAddr),
    /// DNS: each frame is a query, and each answer a frame.
    Dns,
}

/// What follows the opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayFrame {
    /// So many bytes. Never 0, never more than [`RELAY_FRAME_MAX`].
    Data(usize),
    /// No more in this direction.
    End,
}

impl RelayOpening {
    /// Its bytes.
    pub fn encode(self) -> [u8; OPENING_LEN] {
        let mut bytes = [0; OPENING_LEN];
        bytes[0] = VERSION;
        bytes[1] = match self {
            Self::Proxy => 1,
            Self::Transparent(_) => 2,
            Self::Dns => 3,
        };
        if let Self::Transparent(to) = self {
            bytes[4..6].copy_from_slice(&to.port().to_be_bytes());
            match to.ip() {
                IpAddr::V4(ip) => {
                    bytes[2] = 4;
                    bytes[8..12].copy_from_slice(&ip.octets());
                }
                IpAddr::V6(ip) => {
                    bytes[2] = 6;
                    bytes[8..24].copy_from_slice(&ip.octets());
                }
            }
        }
        bytes
    }

    /// Reads an opening. There is one way to write each.
    ///
    /// # Errors
    /// Another version, kind or family, and anything in places that have to be empty.
    pub fn decode(bytes: &[u8; OPENING_LEN]) -> Result<Self, FrameError> {
        let [version, kind, family, _, p0, p1, ..] = *bytes;
        let port = u16::from_be_bytes([p0, p1]);
        let mut address = [0; 16];
        address.copy_from_slice(&bytes[8..]);
        let [a, b, c, d, ..] = address;
        let opening = match (kind, family) {
            (1, 0) => Self::Proxy,
            (3, 0) => Self::Dns,
            (2, 4) => Self::Transparent((Ipv4Addr::new(a, b, c, d), port).into()),
            (2, 6) => Self::Transparent((Ipv6Addr::from(address), port).into()),
            _ => return Err(FrameError),
        };
        if version != VERSION || opening.encode() != *bytes {
            return Err(FrameError);
        }
        Ok(opening)
    }
}

impl RelayFrame {
    /// What stands before the frame's bytes.
    pub fn head(self) -> [u8; RELAY_HEAD_LEN] {
        let (tag, length) = match self {
            Self::Data(length) => (DATA, length),
            Self::End => (END, 0),
        };
        // Lengths are bounded far below three bytes.
        let [_, high, middle, low] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        [tag, high, middle, low]
    }

    /// Reads what stands before a frame's bytes.
    ///
    /// # Errors
    /// Another tag, no bytes, more than [`RELAY_FRAME_MAX`], or an end that has any.
    pub fn of_head(head: [u8; RELAY_HEAD_LEN]) -> Result<Self, FrameError> {
        let [tag, high, middle, low] = head;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        match (tag, length) {
            (DATA, 1..=RELAY_FRAME_MAX) => Ok(Self::Data(length)),
            (END, 0) => Ok(Self::End),
            _ => Err(FrameError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_survive_the_way_and_are_written_in_one_way() {
        for opening in [
            RelayOpening::Proxy,
            RelayOpening::Dns,
            RelayOpening::Transparent("192.0.2.7:443".parse().unwrap()),
            RelayOpening::Transparent("[2001:db8::7]:22".parse().unwrap()),
            RelayOpening::Transparent("0.0.0.0:0".parse().unwrap()),
        ] {
            let bytes = opening.encode();
            assert_eq!(RelayOpening::decode(&bytes), Ok(opening));
            // Whatever is changed in one byte is refused or is another destination.
            for at in 0..OPENING_LEN {
                for wrong in [0, 1, 2, 3, 4, 6, 9, 0xff] {
                    let mut bytes = bytes;
                    bytes[at] = wrong;
                    if let Ok(other) = RelayOpening::decode(&bytes) {
                        assert_eq!(other.encode(), bytes);
                    }
                }
            }
        }
    }

    #[test]
    fn heads_of_frames_are_bounded() {
        for frame in [
            RelayFrame::End,
            RelayFrame::Data(1),
            RelayFrame::Data(RELAY_FRAME_MAX),
        ] {
            assert_eq!(RelayFrame::of_head(frame.head()), Ok(frame));
        }
        let refused = [
            RelayFrame::Data(0).head(),
            RelayFrame::Data(RELAY_FRAME_MAX + 1).head(),
            RelayFrame::Data(usize::MAX).head(),
            [END, 0, 0, 1],
            [0, 0, 0, 1],
            [3, 0, 0, 1],
        ];
        for head in refused {
            assert_eq!(RelayFrame::of_head(head), Err(FrameError), "{head:?}");
        }
    }
}
