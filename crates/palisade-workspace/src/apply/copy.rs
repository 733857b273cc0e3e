//! The contents of a file into another: shared blocks where the file system has them, holes kept.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom as Position, Write as _};
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Up to here, reading and writing costs less than asking the file system for anything better.
const SMALL: u64 = 64 << 10;

/// Copies what `from` holds into the empty file `to`.
pub(super) fn contents(from: &mut File, to: &mut File) -> io::Result<()> {
    let meta = from.metadata()?;
    let size = meta.len();
    if size <= SMALL && meta.blocks() * 512 >= size {
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
        from.read_to_end(&mut bytes)?;
        return to.write_all(&bytes);
    }
    if rustix::fs::ioctl_ficlone(&*to, &*from).is_ok() {
        return Ok(());
    }
    to.set_len(size)?;
    let mut at = 0;
    while at < size {
        let Some((start, end)) = data(from, at, size)? else {
            break;
        };
        range(from, to, start, end)?;
        at = end;
    }
    Ok(())
}

/// The next range with data from a place on. One that all is, where the file system does not know of holes.
fn data(file: &File, from: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::NOTSUP) => return Ok(Some((from, size))),
        Err(error) => return Err(error.into()),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))?;
    Ok((start < size).then_some((start, end.min(size))))
}

/// Copies a range to the same place.
fn range(from: &mut File, to: &mut File, start: u64, end: u64) -> io::Result<()> {
    let (mut read_at, mut write_at) = (start, start);
    while read_at < end {
        let left = usize::try_from(end - read_at)
            .unwrap_or(1 << 30)
            .min(1 << 30);
        let copied = rustix::fs::copy_file_range(
            &*from,
            Some(&mut read_at),
            &*to,
            Some(&mut write_at),
            left,
        );
        match copied {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(Errno::INTR) => {}
            // Not between these file systems, or not in this kernel.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::IO) => {
                return by_hand(from, to, read_at, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn by_hand(from: &mut File, to: &mut File, start: u64, end: u64) -> io::Result<()> {
    from.seek(Position::Start(start))?;
    to.seek(Position::Start(start))?;
    let mut buffer = vec![0; 128 << 10];
    let mut left = end - start;
    while left > 0 {
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = from.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        to.write_all(&buffer[..count])?;
        left -= count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    fn copied(from: &mut File, by: impl Fn(&mut File, &mut File)) -> File {
        let mut to = tempfile::tempfile().unwrap();
        by(from, &mut to);
        to
    }

    #[test]
    fn contents_and_holes_are_kept() {
        let mut from = tempfile::tempfile().unwrap();
        let size = 64 << 20;
        from.write_all_at(b"begin", 0).unwrap();
        from.write_all_at(b"middle", 5 << 20).unwrap();
        from.set_len(size).unwrap();
        let to = copied(&mut from, |from, to| contents(from, to).unwrap());
        let mut text = [0; 6];
        to.read_exact_at(&mut text, 5 << 20).unwrap();
        assert_eq!(&text, b"middle");
        to.read_exact_at(&mut text[..5], 0).unwrap();
        assert_eq!(&text[..5], b"begin");
        let meta = to.metadata().unwrap();
        assert_eq!(meta.len(), size);
        assert!(meta.blocks() < 2048, "{} blocks", meta.blocks());
    }

    #[test]
    fn where_the_kernel_cannot_copy_we_do() {
        let mut from = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        from.write_all(&bytes).unwrap();
        let to = copied(&mut from, |from, to| {
            by_hand(from, to, 0, bytes.len() as u64).unwrap();
        });
        let mut found = vec![0; bytes.len()];
        to.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(found, bytes);
    }
}
