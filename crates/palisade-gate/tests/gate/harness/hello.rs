//! ClientHellos by hand: a real library would refuse to send most of those that matter.

fn u16(value: usize) -> [u8; 2] {
    u16::try_from(value).unwrap().to_be_bytes()
}

/// The extension with this list of names.
pub(crate) fn server_name(entries: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, name) in entries {
        list.push(*kind);
        list.extend(u16(name.len()));
        list.extend(*name);
    }
    extension(0, &[&u16(list.len())[..], &list].concat())
}

pub(crate) fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &u16(data.len()), data].concat()
}

/// A handshake message with these extensions.
pub(crate) fn hello_with(extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, 2, 0x13, 1, 1, 0]);
    body.extend(u16(extensions.len()));
    body.extend(extensions);
    [&[1, 0][..], &u16(body.len()), &body].concat()
}

/// A message cut into records of this size.
pub(crate) fn in_records(message: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in message.chunks(size) {
        out.extend([22, 3, 1]);
        out.extend(u16(part.len()));
        out.extend(part);
    }
    out
}

/// One record with a hello for this name.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    in_records(&hello_with(&server_name(&[(0, name.as_bytes())])), 16384)
}
