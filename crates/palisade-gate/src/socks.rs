//! SOCKS 4, 4a and 5: CONNECT without authentication. The session is known by its listener, so a name and password
//! would say nothing.

use std::sync::Arc;
use std::time::Instant;

use palisade_audit::Entry;
use palisade_policy::DenialReason;

use crate::conn::{Conn, Stream};
use crate::http::serve::linger;
use crate::record::Ticket;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::tunnel::{self, NotOpened};
use crate::watch::Watch;

pub(crate) mod message;

use message::{Asked, Parsed, SocksError};

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V5,
}

/// A reply, by what it says.
#[derive(Clone, Copy)]
enum Reply {
    Granted,
    Denied,
    Unreachable,
    BadCommand,
    BadAddress,
}

impl Version {
    fn entry(self) -> Entry {
        match self {
            Self::V4 => Entry::Socks4,
            Self::V5 => Entry::Socks5,
        }
    }

    /// RFC 1928 section 6; for version 4 there is but one way to say no.
    fn reply(self, reply: Reply) -> Vec<u8> {
        match self {
            Self::V5 => {
                let code = match reply {
                    Reply::Granted => 0,
                    Reply::Denied => Refusal::SOCKS5,
                    Reply::Unreachable => 4,
                    Reply::BadCommand => 7,
                    Reply::BadAddress => 8,
                };
                vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
            }
            Self::V4 => {
                let code = match reply {
                    Reply::Granted => 0x5a,
                    _ => Refusal::SOCKS4,
                };
                vec![0, code, 0, 0, 0, 0, 0, 0]
            }
        }
    }
}

/// Serves a connection whose first byte named the version.
pub(crate) async fn serve<S: Stream>(
    shared: &Arc<Shared>,
    mut conn: Conn<S>,
    version: Version,
    started: Instant,
) {
    let mut watch = Watch::default();
    let mut ticket = Ticket::new(shared, version.entry(), started);
    let asked = watch
        .within(shared.limits.head_time, ask(&mut conn, version))
        .await;
    let asked = match asked {
        Ok(Ok(Some(asked))) => asked,
        Ok(Ok(None)) => {
            let detail = "the connection ended within a SOCKS request";
            ticket.refused(&Refusal::malformed(b"", DenialReason::BadRequest, detail));
            return ticket.end();
        }
        Ok(Err(error)) => return malformed(conn, watch, version, ticket, error).await,
        Err(_) => {
            let detail = "the SOCKS request did not come in time";
            ticket.refused(&Refusal::malformed(b"", DenialReason::Limit, detail));
            return ticket.end();
        }
    };
    let opened = match tunnel::open(shared, asked.authority, &mut ticket).await {
        Ok(opened) => opened,
        Err(NotOpened::Refused(refusal)) => {
            ticket.refused(&refusal);
            return answer(conn, watch, version, Reply::Denied, ticket).await;
        }
        Err(NotOpened::Failed(_)) => {
            return answer(conn, watch, version, Reply::Unreachable, ticket).await;
        }
    };
    if conn.send(&version.reply(Reply::Granted)).await.is_err() {
        ticket.failed("downstream: ended before the tunnel stood");
        return ticket.end();
    }
    tunnel::run(shared, conn, opened, version.entry(), ticket).await;
}

/// Reads the request; none if the agent went away.
async fn ask<S: Stream>(conn: &mut Conn<S>, version: Version) -> Result<Option<Asked>, SocksError> {
    if version == Version::V4 {
        return read(conn, message::request4).await;
    }
    let Some(no_authentication) = read(conn, message::greeting5).await? else {
        return Ok(None);
    };
    if !no_authentication {
        return Err(SocksError::Authentication);
    }
    if conn.send(&[5, 0]).await.is_err() {
        return Ok(None);
    }
    read(conn, message::request5).await
}

async fn read<S: Stream, T>(
    conn: &mut Conn<S>,
    parse: fn(&[u8]) -> Parsed<T>,
) -> Result<Option<T>, SocksError> {
    loop {
        if let Some((value, used)) = parse(conn.input.bytes())? {
            conn.consume(used);
            return Ok(Some(value));
        }
        if !matches!(conn.fill().await, Ok(1..)) {
            return Ok(None);
        }
    }
}

async fn malformed<S: Stream>(
    mut conn: Conn<S>,
    mut watch: Watch,
    version: Version,
    mut ticket: Ticket,
    error: SocksError,
) {
    let reason = match error {
        SocksError::Host(_) | SocksError::Port => DenialReason::BadHost,
        SocksError::Authentication | SocksError::Command => DenialReason::Protocol,
        SocksError::Malformed | SocksError::AddressType => DenialReason::BadRequest,
    };
    // The name is still in the input, since no request was taken out of it.
    ticket.bad_destination(message::named(conn.input.bytes()));
    ticket.refused(&Refusal::malformed(b"", reason, error.to_string()));
    let reply = match error {
        SocksError::Authentication => vec![5, 0xff],
        SocksError::Command => version.reply(Reply::BadCommand),
        SocksError::AddressType => version.reply(Reply::BadAddress),
        _ => version.reply(Reply::Denied),
    };
    finish(&mut conn, &mut watch, &reply, ticket).await;
}

async fn answer<S: Stream>(
    mut conn: Conn<S>,
    mut watch: Watch,
    version: Version,
    reply: Reply,
    ticket: Ticket,
) {
    finish(&mut conn, &mut watch, &version.reply(reply), ticket).await;
}

async fn finish<S: Stream>(
    conn: &mut Conn<S>,
    watch: &mut Watch,
    reply: &[u8],
    mut ticket: Ticket,
) {
    let sent = conn.send(reply).await;
    ticket.tally = conn.tally();
    ticket.end();
    if sent.is_ok() {
        linger(conn, watch).await;
    }
}
