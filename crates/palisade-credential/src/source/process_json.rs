//! What an AWS `credential_process` prints: the keys as JSON, and when they end. `aws configure
//! export-credentials` prints it for any profile, single sign-on included.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::json::Text;
use crate::definition::Part;
use crate::material::Material;

/// How long before the end of temporary keys new ones are fetched.
const MARGIN: Duration = Duration::from_secs(60);

/// The names are AWS's ("Sourcing credentials with an external process", SDK reference).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: Text,
    secret_access_key: Text,
    session_token: Option<Text>,
    expiration: Option<String>,
}

/// Reads the keys out of it.
pub(super) fn parse(context: &Context, name: &str, bytes: &[u8]) -> Result<Material, SourceError> {
    let malformed = |what: &str| {
        let what = format!(
            "does not yield what an AWS credential_process prints ({what}); see `aws configure \
             export-credentials --format process`"
        );
        context.error(name, Failure::Malformed, what)
    };
    let printed: Printed =
        serde_json::from_slice(bytes).map_err(|_| malformed("JSON with the keys"))?;
    if printed.version != 1 {
        return Err(malformed("version 1"));
    }
    let mut parts = BTreeMap::new();
    let mut add = |part, text: Text| {
        let mut text = text.0.ok_or_else(|| malformed("keys as texts"))?;
        let secret = context.secret(name, std::mem::take(&mut *text))?;
        parts.insert(part, secret);
        Ok::<_, SourceError>(())
    };
    add(Part::AccessKey, printed.access_key_id)?;
    add(Part::SecretKey, printed.secret_access_key)?;
    if let Some(token) = printed.session_token {
        add(Part::SessionToken, token)?;
    }
    let Some(expiration) = printed.expiration else {
        return Ok(Material::new(parts, None));
    };
    let end = seconds_since_1970(&expiration).ok_or_else(|| malformed("a time in ISO 8601"))?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left = Duration::from_secs(end).saturating_sub(now);
    if left.is_zero() {
        let what = "yields keys that have expired; log in again";
        return Err(context.error(name, Failure::Refused, what));
    }
    let good_for = left.saturating_sub(MARGIN).max(left / 2);
    Ok(Material::new(parts, Some(good_for)))
}

/// A time such as `2026-05-06T07:08:09Z`, with a fraction or an offset too.
fn seconds_since_1970(text: &str) -> Option<u64> {
    let digits = |from: usize, to: usize| -> Option<i64> {
        let text = text.get(from..to)?;
        text.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        text.parse().ok()
    };
    let marks = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    for (at, mark) in marks {
        (text.as_bytes().get(at) == Some(&(mark as u8))).then_some(())?;
    }
    let (year, month, day) = (digits(0, 4)?, digits(5, 7)?, digits(8, 10)?);
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let fine = (1..=12).contains(&month) && (1..=31).contains(&day);
    (fine && hour < 24 && minute < 60 && second <= 60).then_some(())?;
    let rest = text.get(19..)?;
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match zone.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let digit = |b: &u8| b.is_ascii_digit().then(|| i64::from(b - b'0'));
            let hours = digit(h1)? * 10 + digit(h2)?;
            let minutes = hours * 60 + digit(m1)? * 10 + digit(m2)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::seconds_since_1970;

    #[test]
    fn times_are_read_as_the_calendar_says() {
        assert_eq!(seconds_since_1970("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(
            seconds_since_1970("2024-02-29T12:34:56Z"),
            Some(1_709_210_096)
        );
        assert_eq!(
            seconds_since_1970("2024-02-29T12:34:56.789Z"),
            Some(1_709_210_096)
        );
        assert_eq!(
            seconds_since_1970("2024-02-29T14:04:56+01:30"),
            Some(1_709_210_096)
        );
        assert_eq!(
            seconds_since_1970("2000-03-01T00:00:00Z"),
            Some(951_868_800)
        );
        for bad in [
            "",
            "2024-02-29",
            "2024-02-29T12:34:56",
            "2024-13-01T00:00:00Z",
            "2024-02-29 12:34:56Z",
            "+024-02-29T12:34:56Z",
        ] {
            assert_eq!(seconds_since_1970(bad), None, "{bad}");
        }
    }
}
