//! Netlink messages, put together before `clone` and sent after it.
//!
//! A batch goes out in one call. The kernel works through it before the call returns and queues an answer only for what
//! failed (no acknowledgement is asked for), so one look at the queue tells the outcome.

pub mod address;
pub mod nftables;
pub mod route;

use std::io;

use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

const HEADER: usize = 16;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NESTED: u16 = 0x8000;

/// Messages for one netlink family.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

/// What the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which message, counted from 1.
    pub message: u32,
    /// Why.
    pub errno: i32,
}

impl Batch {
    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        family_header: &[u8],
        fill: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.count += 1;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend(family_header);
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |batch| batch.bytes.extend(value));
    }

    fn string(&mut self, kind: u16, value: &str) {
        self.nest(kind, |batch| {
            batch.bytes.extend(value.as_bytes());
            batch.bytes.push(0);
        });
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.nest(kind | NESTED, fill);
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    /// Sends the batch and tells of each message that the kernel refused. For use after `clone`.
    ///
    /// # Errors
    /// The socket could not be made or used at all; `EPROTONOSUPPORT` for a family the kernel lacks.
    fn exchange(
        &self,
        family: Option<Protocol>,
        mut refused: impl FnMut(Refusal),
    ) -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, family)?;
        send(&socket, &self.bytes, SendFlags::empty())?;
        // An answer holds the refused message's header, and with an extended acknowledgement never more than this.
        let mut answer = [0u8; 1024];
        loop {
            match recv(&socket, &mut answer, RecvFlags::DONTWAIT) {
                Ok((_, length)) => {
                    each_refusal(answer.get(..length).unwrap_or(&answer), &mut refused)
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn each_refusal(mut rest: &[u8], refused: &mut impl FnMut(Refusal)) {
    while let Some(length) = word(rest, 0).and_then(|l| usize::try_from(l).ok())
        && (HEADER..=rest.len()).contains(&length)
    {
        let kind = word(rest, 4).map(|w| w.to_ne_bytes());
        let is_error = kind.is_some_and(|[a, b, ..]| u16::from_ne_bytes([a, b]) == NLMSG_ERROR);
        if let (true, Some(message), Some(code)) = (is_error, word(rest, 8), word(rest, HEADER))
            && code != 0
        {
            let errno = code.cast_signed().wrapping_neg();
            refused(Refusal { message, errno });
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_attributes_are_aligned_and_say_their_length() {
        let mut batch = Batch::default();
        batch.message(20, 0x400, &[7; 4], |m| {
            m.string(1, "abc");
            m.nested(2, |n| n.attribute(3, &[9]));
        });
        let expected: Vec<u8> = [
            &40u32.to_ne_bytes()[..],
            &20u16.to_ne_bytes(),
            &0x401u16.to_ne_bytes(),
            &1u32.to_ne_bytes(),
            &[0; 4],
            &[7; 4],
            &8u16.to_ne_bytes(),
            &1u16.to_ne_bytes(),
            b"abc\0",
            &12u16.to_ne_bytes(),
            &(2u16 | NESTED).to_ne_bytes(),
            &5u16.to_ne_bytes(),
            &3u16.to_ne_bytes(),
            &[9, 0, 0, 0],
        ]
        .concat();
        assert_eq!(batch.bytes, expected);
    }

    #[test]
    fn only_errors_are_told_and_a_broken_answer_ends_the_reading() {
        let one = |kind: u16, code: i32, seq: u32| {
            [
                &20u32.to_ne_bytes()[..],
                &kind.to_ne_bytes(),
                &[0; 2],
                &seq.to_ne_bytes(),
                &[0; 4],
                &code.to_ne_bytes(),
            ]
            .concat()
        };
        let answer = [one(2, 0, 1), one(2, -13, 2), one(3, -1, 3), vec![255; 20]].concat();
        let mut seen = Vec::new();
        each_refusal(&answer, &mut |r| seen.push(r));
        assert_eq!(
            seen,
            [Refusal {
                message: 2,
                errno: 13
            }]
        );
    }
}
