//! `[network.limits]`: the bounds of the gate. One table gives the keys, their types, their ranges and the defaults that the
//! reference states; the gate has the defaults that count, and a test of the session holds both together.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::effective::Sourced;
use crate::error::PolicyError;
use crate::format::Size;
use crate::spanned::Spanned;
use crate::text::Text;
use crate::value;

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

/// One of the kinds of settings: how it is written, and what comes of it.
pub(crate) trait Setting {
    type Value: PartialOrd + Copy;

    fn read(&self) -> Option<Self::Value>;
    fn show(value: Self::Value) -> String;
    const EXAMPLE: &'static str;
}

/// A time as written, such as `"10s"`.
#[derive(Debug)]
pub(crate) struct Time(String);

impl Setting for Time {
    type Value = Duration;
    const EXAMPLE: &'static str =
        "a time is written with its unit: `\"500ms\"`, `\"10s\"`, `\"5m\"`, `\"1h\"`";

    fn read(&self) -> Option<Duration> {
        value::parse_duration(&self.0)
    }

    fn show(value: Duration) -> String {
        value::show_duration(value)
    }
}

impl Setting for Size {
    type Value = usize;
    const EXAMPLE: &'static str = "a size is written with its unit: `\"64KiB\"`, `\"1MiB\"`";

    fn read(&self) -> Option<usize> {
        usize::try_from(value::size(self)?).ok()
    }

    fn show(value: usize) -> String {
        value::show_size(value as u64)
    }
}

/// A number as written.
#[derive(Debug)]
pub(crate) struct Count(i64);

impl Setting for Count {
    type Value = usize;
    const EXAMPLE: &'static str = "write a whole number";

    fn read(&self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    fn show(value: usize) -> String {
        value.to_string()
    }
}

fn checked<S: Setting>(
    text: &Text,
    written: &Spanned<S>,
    (least, most): (S::Value, S::Value),
) -> Result<Sourced<S::Value>, PolicyError> {
    let Some(value) = written.get_ref().read() else {
        return Err(text.wrong(written, "this cannot be read").hint(S::EXAMPLE));
    };
    if value < least || value > most {
        let (least, most) = (S::show(least), S::show(most));
        return Err(text.wrong(written, format!("the range is {least} to {most}")));
    }
    Ok(Sourced::new(value, text.source_of(written)))
}

macro_rules! value_of {
    (Time) => {
        Duration
    };
    (Size) => {
        usize
    };
    (Count) => {
        usize
    };
}

macro_rules! gate_limits {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ident as $schema:literal, $default:expr, $least:expr => $most:expr;)*) => {
        /// Bounds of the gate.
        #[derive(Debug, Default, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        pub(crate) struct WrittenGateLimits {
            $(
                $(#[doc = $doc])*
                #[cfg_attr(feature = "schema", schemars(with = $schema))]
                pub $name: Option<Spanned<$kind>>,
            )*
        }

        /// Bounds of the gate, as far as a policy sets them: `[network.limits]`. What is none is the gate's default.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct GateLimits {
            $($(#[doc = $doc])* pub $name: Option<Sourced<value_of!($kind)>>,)*
        }

        impl GateLimits {
            /// Takes over what a file sets. Later words override.
            pub(crate) fn set(&mut self, text: &Text, written: &WrittenGateLimits) -> Result<(), PolicyError> {
                $(
                    if let Some(value) = &written.$name {
                        self.$name = Some(checked(text, value, ($least, $most))?);
                    }
                )*
                Ok(())
            }

            /// The defaults as the reference states them, for a test that compares them with the gate's own.
            pub fn documented() -> Self {
                let source = || palisade_policy::Source::new("default");
                Self { $($name: Some(Sourced::new($default, source())),)* }
            }

            /// What is set: key, value in words, where it was written.
            pub fn entries(&self) -> Vec<(&'static str, String, &palisade_policy::Source)> {
                let mut entries = Vec::new();
                $(
                    if let Some(limit) = &self.$name {
                        entries.push((stringify!($name), <$kind as Setting>::show(limit.value), &limit.source));
                    }
                )*
                entries
            }

            /// What may be set: key, default, least and most, in words.
            pub fn reference() -> Vec<[String; 4]> {
                vec![$([
                    stringify!($name).to_owned(),
                    <$kind as Setting>::show($default),
                    <$kind as Setting>::show($least),
                    <$kind as Setting>::show($most),
                ],)*]
            }
        }
    };
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

const fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

const fn hours(number: u64) -> Duration {
    Duration::from_secs(number * 3600)
}

gate_limits! {
    /// Bytes of one message head.
    head_bytes: Size as "Option<Size>", 64 * KIB, 4 * KIB => MIB;
    /// Header fields of one head.
    head_fields: Count as "Option<Count>", 100, 16 => 1000;
    /// From the first byte of a head to its end.
    head_time: Time as "Option<Time>", secs(10), secs(1) => secs(600);
    /// How long a kept-alive connection may wait for its next request.
    keep_alive: Time as "Option<Time>", secs(300), secs(1) => hours(24);
    /// Bytes of a TLS `ClientHello`.
    hello_bytes: Size as "Option<Size>", 64 * KIB, 4 * KIB => MIB;
    /// From the start of a tunnel to its complete `ClientHello`.
    hello_time: Time as "Option<Time>", secs(5), secs(1) => secs(300);
    /// A TLS handshake, on either side.
    tls_time: Time as "Option<Time>", secs(15), secs(1) => secs(300);
    /// Certificates kept for hosts that are looked into; further ones are minted again.
    leaves: Count as "Option<Count>", 1024, 1 => 65_536;
    /// One attempt to connect to one address.
    connect_time: Time as "Option<Time>", secs(10), ms(100) => secs(300);
    /// All attempts of one request, look-up included.
    dial_time: Time as "Option<Time>", secs(30), ms(100) => secs(600);
    /// One look-up of a name.
    resolve_time: Time as "Option<Time>", secs(10), ms(100) => secs(300);
    /// Look-ups at a time.
    resolve_at_once: Count as "Option<Count>", 16, 1 => 256;
    /// Addresses tried for one name.
    addresses: Count as "Option<Count>", 8, 1 => 64;
    /// How long one side may move no byte while it owes one.
    stall: Time as "Option<Time>", secs(120), secs(1) => hours(24);
    /// Wait for a response, or for the next part of one.
    response_wait: Time as "Option<Time>", secs(900), secs(1) => hours(24);
    /// How long a tunnel may rest.
    tunnel_idle: Time as "Option<Time>", hours(1), secs(1) => hours(24 * 7);
    /// What is left of a connection after one side has ended it.
    half_closed: Time as "Option<Time>", secs(60), secs(1) => hours(24);
    /// Connections of the session at a time.
    connections: Count as "Option<Count>", 1024, 1 => 65_536;
    /// Interim (1xx) responses before the final one.
    interim_responses: Count as "Option<Count>", 16, 1 => 256;
    /// Idle upstream connections kept for one destination.
    pool_per_host: Count as "Option<Count>", 64, 0 => 1024;
    /// Idle upstream connections kept in all.
    pool_total: Count as "Option<Count>", 256, 0 => 4096;
    /// How long an idle upstream connection is kept.
    pool_idle: Time as "Option<Time>", secs(60), secs(1) => hours(1);
    /// Names that get a synthetic address.
    names: Count as "Option<Count>", 131_070, 1 => 131_070;
    /// Hosts listed in the summary; further ones are only counted.
    summary_hosts: Count as "Option<Count>", 256, 0 => 65_536;
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit such as \"10s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Time, E> {
                Ok(Time(text.to_owned()))
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A time with its unit such as \"10s\".",
            "type": "string",
            "pattern": "^[0-9]+ ?(ms|s|m|h|d)$"
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Count {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "A whole number.", "type": "integer", "minimum": 0 })
    }
}
