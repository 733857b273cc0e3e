//! A secret in the desktop's keyring (Secret Service: GNOME Keyring, KWallet, KeePassXC).

use std::sync::mpsc;
use std::time::Duration;

use keyring::{Entry, Error};
use zeroize::Zeroizing;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::text::first_line;

/// How long to wait: unlocking a keyring asks the person in a window of the desktop.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Looks an entry up. The library talks to the session bus of this process's environment.
pub(super) fn look_up(
    context: &Context,
    name: &str,
    service: &str,
    account: &str,
) -> Result<Zeroizing<Vec<u8>>, SourceError> {
    // In a thread of its own: a prompt that nobody answers has no end, and the call cannot be cancelled.
    let (answer, answered) = mpsc::sync_channel(1);
    let (service, account) = (service.to_owned(), account.to_owned());
    let asking = std::thread::Builder::new()
        .name("keyring".to_owned())
        .spawn(move || {
            let _ = answer.send(ask(&service, &account));
        });
    if let Err(error) = asking {
        let what = format!("could not be asked: no thread: {error}");
        return Err(context.error(name, Failure::Unavailable, what));
    }
    match answered.recv_timeout(TIME_LIMIT) {
        Ok(Ok(secret)) => Ok(secret),
        Ok(Err((failure, what))) => Err(context.error(name, failure, what)),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(context.error(
            name,
            Failure::TimedOut,
            format!(
                "was not unlocked within {} seconds; unlock the keyring",
                TIME_LIMIT.as_secs()
            ),
        )),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(context.error(
            name,
            Failure::Unavailable,
            "could not be asked: the keyring library failed",
        )),
    }
}

fn ask(service: &str, account: &str) -> Result<Zeroizing<Vec<u8>>, (Failure, String)> {
    if let Err(error) = Entry::store_status() {
        return Err(no_keyring(error));
    }
    let entry = Entry::new(service, account).map_err(|error| explain(&error))?;
    entry
        .get_secret()
        .map(Zeroizing::new)
        .map_err(|error| explain(&error))
}

fn no_keyring(error: &Error) -> (Failure, String) {
    let (_, why) = explain(error);
    let text = format!(
        "could not be asked: no Secret Service on this machine's session bus ({why}); start one \
         (gnome-keyring-daemon, KWallet, KeePassXC) or use another source"
    );
    (Failure::Unavailable, text)
}

/// What an error means. Only texts of the platform are quoted: some variants hold the secret itself.
fn explain(error: &Error) -> (Failure, String) {
    match error {
        Error::NoEntry => (Failure::Missing, "is not in the keyring".to_owned()),
        Error::NoStorageAccess(cause) => (
            Failure::Refused,
            format!("is locked or access was refused: {}", line(cause)),
        ),
        Error::PlatformFailure(cause) => (
            Failure::Unavailable,
            format!("could not be asked: {}", line(cause)),
        ),
        Error::Ambiguous(entries) => (
            Failure::Malformed,
            format!(
                "stands {} times in the keyring; remove all but one",
                entries.len()
            ),
        ),
        Error::BadEncoding(_) | Error::BadDataFormat(..) => (
            Failure::Malformed,
            "holds something that is no secret of this kind".to_owned(),
        ),
        _ => (
            Failure::Unavailable,
            "could not be asked: the keyring library refused the request".to_owned(),
        ),
    }
}

fn line(cause: &impl std::fmt::Display) -> String {
    first_line(cause.to_string().as_bytes())
}

#[cfg(test)]
mod tests;
