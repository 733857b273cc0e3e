//! `key=value` on the command line.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Result;

pub(crate) struct Words(HashMap<String, String>);

impl Words {
    pub(crate) fn new(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut words = HashMap::new();
        for argument in arguments {
            let (key, value) = argument.split_once('=').ok_or("an argument is KEY=VALUE")?;
            words.insert(key.to_owned(), value.to_owned());
        }
        Ok(Self(words))
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        let value = self
            .0
            .get(key)
            .ok_or_else(|| format!("{key}= is missing"))?;
        Ok(value)
    }

    pub(crate) fn get<T: FromStr>(&self, key: &str) -> Result<T> {
        let text = self.text(key)?;
        text.parse()
            .map_err(|_| format!("{key}={text} is malformed").into())
    }

    pub(crate) fn or<T: FromStr>(&self, key: &str, default: T) -> Result<T> {
        if self.0.contains_key(key) {
            self.get(key)
        } else {
            Ok(default)
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
}
