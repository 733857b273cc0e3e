//! Sources on this machine: the environment answers at once, the others in one blocking step.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::context::Context;
use super::error::{Failure, SourceError};
use super::fetch::{Answer, Reading, Step, out_of_turn};
use super::text::without_line_end;
use super::{command, file, keyring, process_json};
use crate::definition::{Part, Source};
use crate::material::Material;

/// The conversation with a local source.
pub(super) struct Local {
    source: Source,
    reading: Reading,
    asked: bool,
}

impl Local {
    pub(super) fn new(source: &Source, reading: Reading) -> Self {
        Self {
            source: source.clone(),
            reading,
            asked: false,
        }
    }

    pub(super) fn next(
        &mut self,
        context: &Context,
        answer: Option<Answer>,
    ) -> Result<Step, SourceError> {
        let name = describe(&self.source);
        match answer {
            None if !self.asked => {
                self.asked = true;
                if let Source::Environment(variables) = &self.source {
                    return from_environment(context, variables).map(Step::Done);
                }
                let (context, source, reading) =
                    (context.clone(), self.source.clone(), self.reading);
                Ok(Step::Blocking(Box::new(move || {
                    Answer::Local(fetch(&context, &source, reading))
                })))
            }
            Some(Answer::Local(result)) => result.map(Step::Done),
            Some(Answer::Failed(what)) => Err(context.error(
                name,
                Failure::Unavailable,
                format!("could not be asked: {what}"),
            )),
            None | Some(Answer::Http { .. }) => Err(out_of_turn(context, name)),
        }
    }
}

/// The source as the subject of a sentence.
pub(super) fn describe(source: &Source) -> String {
    match source {
        Source::Environment(variables) => match variables.values().next() {
            Some(variable) if variables.len() == 1 => format!("environment variable {variable}"),
            _ => "its environment variables".to_owned(),
        },
        Source::File(path) => format!("file {}", path.display()),
        Source::Command(line) => {
            format!("program {}", line.first().map_or("", String::as_str))
        }
        Source::Keyring { service, account } => {
            format!("keyring entry of service {service:?}, account {account:?},")
        }
        Source::Vault(vault) => format!("vault {}", vault.address),
        Source::OAuth2(oauth2) => format!("token endpoint {}", oauth2.token_url),
    }
}

/// The error that asking this source would end in, as far as that is known beforehand.
pub(super) fn missing(context: &Context, source: &Source) -> Option<SourceError> {
    match source {
        Source::Environment(variables) => from_environment(context, variables).err(),
        Source::Command(line) => program(context, line).err(),
        Source::File(path) => file::open(context, &describe(source), path).err(),
        Source::Keyring { .. } | Source::Vault(_) | Source::OAuth2(_) => None,
    }
}

fn fetch(context: &Context, source: &Source, reading: Reading) -> Result<Material, SourceError> {
    let name = describe(source);
    let bytes = match source {
        Source::File(path) => file::read(context, &name, path),
        Source::Command(line) => {
            let program = program(context, line)?;
            command::run(context, &name, &program, &line[1..])
        }
        Source::Keyring { service, account } => keyring::look_up(context, &name, service, account),
        Source::Environment(_) | Source::Vault(_) | Source::OAuth2(_) => {
            Err(out_of_turn(context, &*name))
        }
    }?;
    match reading {
        Reading::Plain => {
            let secret = context.secret(&name, without_line_end(bytes))?;
            Ok(Material::new([(Part::Value, secret)].into(), None))
        }
        Reading::AwsProcess => process_json::parse(context, &name, &bytes),
    }
}

fn program(context: &Context, line: &[String]) -> Result<PathBuf, SourceError> {
    let name = line.first().map_or("", String::as_str);
    context.surroundings.program(name).cloned().ok_or_else(|| {
        let what = if name.starts_with('/') {
            "is not there or cannot be run"
        } else {
            "was in none of the absolute folders of PATH when the session started"
        };
        context.error(format!("program {name}"), Failure::Missing, what)
    })
}

fn from_environment(
    context: &Context,
    variables: &BTreeMap<Part, String>,
) -> Result<Material, SourceError> {
    let mut parts = BTreeMap::new();
    for (part, variable) in variables {
        match context.surroundings.variable(variable) {
            Some(secret) => {
                parts.insert(*part, secret.duplicate());
            }
            None if part.optional() => {}
            None => {
                return Err(context.error(
                    format!("environment variable {variable}"),
                    Failure::Missing,
                    "is not set; set it where palisade is started",
                ));
            }
        }
    }
    Ok(Material::new(parts, None))
}
