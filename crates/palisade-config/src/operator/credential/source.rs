//! `source = { … }`: where a secret is found.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use palisade_credential::{Part, Source};

use super::{Reader, Shape};
use crate::error::PolicyError;
use crate::format::{self, InnerSource, Keyring, Parts, SourceTable, TextOrParts};
use crate::secret_like::looks_like_secret;
use crate::spanned::Spanned;
use crate::value;

/// The shortest time after which a secret is fetched again. Below it a source would be asked at every request.
const LEAST_TTL: Duration = Duration::from_secs(1);

/// The longest: a week. A session that lasts longer can ask once a week.
const MOST_TTL: Duration = Duration::from_secs(7 * 24 * 3600);

impl Reader<'_> {
    /// `source` of a credential, and its `ttl`.
    pub(super) fn source(
        &self,
        name: &Spanned<String>,
        written: &format::Credential,
        shape: Shape,
    ) -> Result<(Source, Option<Duration>), PolicyError> {
        let Some(table) = &written.source else {
            let message = format!("the credential `{}` has no `source`", name.get_ref());
            return Err(self.text.wrong(name, message).hint(
                "say where its secret is found, as in `source = { env = \"GITHUB_TOKEN\" }`",
            ));
        };
        let source = self.one_of(table, shape)?;
        let Some(ttl) = &table.get_ref().ttl else {
            return Ok((source, None));
        };
        if matches!(source, Source::Environment(_)) {
            let message =
                "a variable of the environment never changes, so there is nothing to fetch again";
            return Err(self.text.wrong(ttl, message).hint("take `ttl` out"));
        }
        let time = value::parse_duration(ttl.get_ref())
            .filter(|time| (LEAST_TTL..=MOST_TTL).contains(time))
            .ok_or_else(|| {
                let (least, most) = (
                    value::show_duration(LEAST_TTL),
                    value::show_duration(MOST_TTL),
                );
                self.text
                    .wrong(ttl, format!("a `ttl` is a time from {least} to {most}"))
                    .hint("as in `\"1h\"` or `\"15m\"`")
            })?;
        Ok((source, Some(time)))
    }

    pub(super) fn one_of(
        &self,
        table: &Spanned<SourceTable>,
        shape: Shape,
    ) -> Result<Source, PolicyError> {
        let keys = table.get_ref();
        let forms = [
            ("env", keys.env.as_ref().map(Spanned::span)),
            ("file", keys.file.as_ref().map(Spanned::span)),
            ("command", keys.command.as_ref().map(Spanned::span)),
            ("keyring", keys.keyring.as_ref().map(Spanned::span)),
            ("vault", keys.vault.as_ref().map(Spanned::span)),
        ];
        self.exactly_one(table.span(), &forms, "a source")?;
        if let Some(env) = &keys.env {
            return self.variables(env, shape).map(Source::Environment);
        }
        if let Some(vault) = &keys.vault {
            return self.vault(vault.get_ref(), shape).map(Source::Vault);
        }
        // What one of these holds for AWS is what `credential_process` prints: all keys at once.
        self.simple(
            table.span(),
            keys.file.as_ref(),
            keys.keyring.as_ref(),
            keys.command.as_ref(),
        )
    }

    /// A source for one value that another source needs: a client's id, a token of Vault.
    pub(super) fn inner(&self, table: &Spanned<InnerSource>) -> Result<Box<Source>, PolicyError> {
        let keys = table.get_ref();
        let forms = [
            ("env", keys.env.as_ref().map(Spanned::span)),
            ("file", keys.file.as_ref().map(Spanned::span)),
            ("command", keys.command.as_ref().map(Spanned::span)),
            ("keyring", keys.keyring.as_ref().map(Spanned::span)),
        ];
        self.exactly_one(table.span(), &forms, "a source")?;
        if let Some(env) = &keys.env {
            let variables = self.variable(env, env.get_ref())?;
            return Ok(Box::new(Source::Environment(variables)));
        }
        let source = self.simple(
            table.span(),
            keys.file.as_ref(),
            keys.keyring.as_ref(),
            keys.command.as_ref(),
        );
        source.map(Box::new)
    }

    fn simple(
        &self,
        place: Range<usize>,
        file: Option<&Spanned<String>>,
        keyring: Option<&Spanned<Keyring>>,
        command: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Result<Source, PolicyError> {
        if let Some(file) = file {
            return self.path(file).map(Source::File);
        }
        if let Some(keyring) = keyring {
            let entry = keyring.get_ref();
            return Ok(Source::Keyring {
                service: self.filled(&entry.service, "service")?,
                account: self.filled(&entry.account, "account")?,
            });
        }
        self.command(place, command)
    }

    fn variable<T>(
        &self,
        place: &Spanned<T>,
        name: &str,
    ) -> Result<BTreeMap<Part, String>, PolicyError> {
        if looks_like_secret(name) {
            return Err(self.looks_like_secret(place));
        }
        match value::bad_name(name) {
            Some(bad) => Err(self.text.wrong(place, bad)),
            None => Ok(BTreeMap::from([(Part::Value, name.to_owned())])),
        }
    }

    pub(super) fn variables(
        &self,
        env: &Spanned<TextOrParts>,
        shape: Shape,
    ) -> Result<BTreeMap<Part, String>, PolicyError> {
        let variables = match (env.get_ref(), shape) {
            (TextOrParts::Text(name), Shape::One) => return self.variable(env, name),
            (TextOrParts::Parts(parts), Shape::Aws) => self.aws_parts(env, parts)?,
            (TextOrParts::Text(_), Shape::Aws) => {
                return Err(self
                    .text
                    .wrong(env, "`aws-sigv4` needs an access key and a secret key")
                    .hint("write `env = { access_key = \"AWS_ACCESS_KEY_ID\", secret_key = \"AWS_SECRET_ACCESS_KEY\" }`"));
            }
            (TextOrParts::Parts(_), Shape::One) => return Err(self.one_value(env)),
        };
        for name in variables.values() {
            if let Some(bad) = value::bad_name(name) {
                return Err(self.text.wrong(env, bad));
            }
        }
        Ok(variables)
    }

    fn looks_like_secret<T>(&self, place: &Spanned<T>) -> PolicyError {
        self.text
            .wrong(place, "this looks like a secret itself, and a policy file holds none")
            .hint("put it into a variable outside (then take it back and get a new one: it was in a file), and name the variable here")
    }

    pub(super) fn one_value<T>(&self, place: &Spanned<T>) -> PolicyError {
        self.text
            .wrong(
                place,
                "this way of injection takes one value, and here are several parts",
            )
            .hint("parts are for `inject = \"aws-sigv4\"`")
    }

    /// The parts of an AWS credential, of which the session token alone may be missing.
    pub(super) fn aws_parts<T>(
        &self,
        place: &Spanned<T>,
        parts: &Parts,
    ) -> Result<BTreeMap<Part, String>, PolicyError> {
        let mut named = BTreeMap::new();
        for (part, name) in [
            (Part::AccessKey, &parts.access_key),
            (Part::SecretKey, &parts.secret_key),
            (Part::SessionToken, &parts.session_token),
        ] {
            match name {
                Some(name) => {
                    named.insert(part, self.filled(name, part.as_str())?);
                }
                None if part.optional() => {}
                None => {
                    let message = format!("`{part}` is missing");
                    return Err(self.text.wrong(place, message));
                }
            }
        }
        Ok(named)
    }

    fn path(&self, file: &Spanned<String>) -> Result<PathBuf, PolicyError> {
        let written = self.filled(file, "file")?;
        palisade_workspace::expand(&written, self.folders.base, self.folders.home)
            .map_err(|error| self.text.wrong(file, format!("`{written}` {error}")))
    }

    fn command(
        &self,
        place: Range<usize>,
        command: Option<&Spanned<Vec<Spanned<String>>>>,
    ) -> Result<Source, PolicyError> {
        let words = command.map_or(&[][..], |command| command.get_ref());
        let Some((program, rest)) = words.split_first() else {
            return Err(self
                .text
                .error(place, "the command is empty")
                .hint("name a program and its arguments, as in `command = [\"pass\", \"show\", \"search\"]`"));
        };
        let mut argv = vec![self.filled(program, "program")?];
        if argv[0].contains(' ') && rest.is_empty() {
            return Err(self
                .text
                .wrong(
                    program,
                    "the whole command stands in one text, and there is no shell to take it apart",
                )
                .hint("write each word by itself: `command = [\"pass\", \"show\", \"search\"]`"));
        }
        if argv[0].contains('/') {
            let path = self.path(program)?;
            argv[0] = path.to_string_lossy().into_owned();
        }
        for word in rest {
            if word.get_ref().contains('\0') {
                return Err(self.text.wrong(word, "an argument holds no zero byte"));
            }
            argv.push(word.get_ref().clone());
        }
        Ok(Source::Command(argv))
    }
}
