//! `[credentials.NAME]`, checked, into a definition.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use palisade_credential::{Definition, HeaderFormat, Injection, Part, Source};
use palisade_policy::CredentialName;

use super::rule::BAD_NAME;
use crate::error::PolicyError;
use crate::format::{self, Inject};
use crate::parse::listed;
use crate::spanned::Spanned;
use crate::text::Text;

mod field;
mod server;
mod source;
mod vault;

/// The variables the AWS tools read.
const AWS_VARIABLES: [(Part, &str); 3] = [
    (Part::AccessKey, "AWS_ACCESS_KEY_ID"),
    (Part::SecretKey, "AWS_SECRET_ACCESS_KEY"),
    (Part::SessionToken, "AWS_SESSION_TOKEN"),
];

/// Where relative paths start and what `~` is.
#[derive(Clone, Copy)]
pub(crate) struct Folders<'a> {
    pub base: &'a Path,
    pub home: &'a Path,
}

/// One credential. `name` is its key.
pub(crate) fn definition(
    text: &Text,
    name: &Spanned<String>,
    written: &format::Credential,
    folders: Folders<'_>,
) -> Result<Definition, PolicyError> {
    let checked = CredentialName::new(name.get_ref()).ok_or_else(|| text.wrong(name, BAD_NAME))?;
    let reader = Reader { text, folders };
    let (injection, source, ttl) = match written.inject.get_ref() {
        Inject::Name(inject) if inject == "aws-sigv4" => {
            let (source, ttl) = reader.source(name, written, Shape::Aws)?;
            (Injection::AwsSigV4, source, ttl)
        }
        Inject::Name(inject) => {
            let message = format!("`{inject}` is not known here");
            return Err(text
                .wrong(&written.inject, message)
                .hint("write `\"aws-sigv4\"`, or a table such as `{ header = \"authorization\", format = \"Bearer {secret}\" }`"));
        }
        Inject::Table(table) => reader.table(name, written, table)?,
    };
    let placeholders = reader.placeholders(written, &injection)?;
    Ok(Definition {
        name: checked,
        source,
        injection,
        ttl,
        placeholders,
        quotable: quotable(written),
    })
}

fn quotable(written: &format::Credential) -> bool {
    let table = written.placeholder.as_ref().map(Spanned::get_ref);
    let said = table.and_then(|table| table.quotable.as_ref());
    said.is_some_and(|quotable| *quotable.get_ref())
}

/// How many values a credential consists of.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    One,
    Aws,
}

struct Reader<'a> {
    text: &'a Text,
    folders: Folders<'a>,
}

impl Reader<'_> {
    /// `inject = { … }`.
    fn table(
        &self,
        name: &Spanned<String>,
        written: &format::Credential,
        table: &format::InjectTable,
    ) -> Result<(Injection, Source, Option<Duration>), PolicyError> {
        let ways = [
            ("header", table.header.as_ref().map(Spanned::span)),
            ("basic", table.basic.as_ref().map(Spanned::span)),
            ("query", table.query.as_ref().map(Spanned::span)),
            ("oauth2", table.oauth2.as_ref().map(Spanned::span)),
        ];
        self.exactly_one(written.inject.span(), &ways, "a way to add the secret")?;
        if table.header.is_none() {
            self.only_with_header(table)?;
        }
        if let Some(oauth2) = &table.oauth2 {
            if let Some(source) = &written.source {
                let message =
                    "a token by `oauth2` is fetched from `token_url`, so there is no `source`";
                return Err(self.text.wrong(source, message));
            }
            let source = self.oauth2(oauth2.get_ref())?;
            let injection = Injection::Header {
                name: "authorization".to_owned(),
                format: HeaderFormat::parse("Bearer {secret}")
                    .unwrap_or_else(|_| HeaderFormat::bare()),
                remove: Vec::new(),
                append: BTreeMap::new(),
            };
            return Ok((injection, Source::OAuth2(source), None));
        }
        let injection = if let Some(basic) = &table.basic {
            let username = &basic.get_ref().username;
            field::user(self.text, username)?;
            Injection::Basic {
                username: username.get_ref().clone(),
            }
        } else if let Some(query) = &table.query {
            field::parameter(self.text, query)?;
            Injection::Query {
                name: query.get_ref().clone(),
            }
        } else {
            self.header(table)?
        };
        let (source, ttl) = self.source(name, written, Shape::One)?;
        Ok((injection, source, ttl))
    }

    fn header(&self, table: &format::InjectTable) -> Result<Injection, PolicyError> {
        let text = self.text;
        let Some(header) = &table.header else {
            return Err(text.error(0..0, "there is no header"));
        };
        let name = field::name(text, header)?;
        let format = match &table.format {
            None => HeaderFormat::bare(),
            Some(format) => HeaderFormat::parse(format.get_ref()).map_err(|error| {
                text.wrong(format, error.to_string())
                    .hint("as in `Bearer {secret}`")
            })?,
        };
        let mut remove = Vec::new();
        for other in &table.remove {
            let other = field::name(text, other)?;
            if other != name && !remove.contains(&other) {
                remove.push(other);
            }
        }
        let mut append = BTreeMap::new();
        for (key, element) in &table.append {
            let other = field::name(text, key)?;
            if other == name || remove.contains(&other) {
                let message = format!("`{other}` is written or removed by this credential already");
                return Err(text.wrong(key, message));
            }
            field::member(text, element)?;
            append.insert(other, element.get_ref().clone());
        }
        Ok(Injection::Header {
            name,
            format,
            remove,
            append,
        })
    }

    /// `format`, `remove` and `append` speak of a header.
    fn only_with_header(&self, table: &format::InjectTable) -> Result<(), PolicyError> {
        let first = None
            .or_else(|| Some(("format", table.format.as_ref()?.span())))
            .or_else(|| Some(("remove", table.remove.first()?.span())))
            .or_else(|| Some(("append", table.append.keys().next()?.span())));
        match first {
            None => Ok(()),
            Some((key, span)) => Err(self.text.error(
                span,
                format!("`{key}` goes with `header`, and there is none"),
            )),
        }
    }

    /// The variables inside that hold placeholders.
    fn placeholders(
        &self,
        written: &format::Credential,
        injection: &Injection,
    ) -> Result<BTreeMap<Part, String>, PolicyError> {
        let aws = matches!(injection, Injection::AwsSigV4);
        let Some(table) = &written.placeholder else {
            let variables = AWS_VARIABLES.iter().filter(|_| aws);
            return Ok(variables
                .map(|(part, name)| (*part, (*name).to_owned()))
                .collect());
        };
        let env = &table.get_ref().env;
        self.variables(env, if aws { Shape::Aws } else { Shape::One })
    }

    fn filled(&self, written: &Spanned<String>, what: &str) -> Result<String, PolicyError> {
        let value = written.get_ref();
        if value.is_empty() {
            return Err(self.text.wrong(written, format!("`{what}` is empty")));
        }
        if value.chars().any(char::is_control) {
            return Err(self
                .text
                .wrong(written, format!("`{what}` holds a control character")));
        }
        Ok(value.clone())
    }

    fn exactly_one(
        &self,
        place: std::ops::Range<usize>,
        given: &[(&str, Option<std::ops::Range<usize>>)],
        what: &str,
    ) -> Result<(), PolicyError> {
        let mut there = given
            .iter()
            .filter_map(|(key, span)| Some((*key, span.clone()?)));
        let names: Vec<&str> = given.iter().map(|(key, _)| *key).collect();
        let Some((first, _)) = there.next() else {
            return Err(self
                .text
                .error(place, format!("{what} is missing"))
                .hint(format!("give {}", listed(&names))));
        };
        match there.next() {
            None => Ok(()),
            Some((second, span)) => Err(self
                .text
                .error(span, format!("`{first}` and `{second}` are two; give one"))),
        }
    }
}
