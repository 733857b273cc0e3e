//! Sources that are servers: Vault, and a token by OAuth2.

use std::collections::BTreeMap;

use palisade_credential::{OAuth2Source, Part, VaultLogin, VaultSource};

use super::{Reader, Shape, field, server};
use crate::error::PolicyError;
use crate::format;
use crate::spanned::Spanned;

impl Reader<'_> {
    pub(super) fn vault(
        &self,
        vault: &format::Vault,
        shape: Shape,
    ) -> Result<VaultSource, PolicyError> {
        let address = server::endpoint(
            self.text,
            &vault.address,
            vault.dangerous_plaintext.as_ref(),
        )?;
        let fields = match (&vault.field, &vault.fields, shape) {
            (Some(_), Some(fields), _) => {
                return Err(self
                    .text
                    .wrong(fields, "give `field` or `fields`, not both"));
            }
            (field, None, Shape::One) => {
                let name = field
                    .as_ref()
                    .map(|field| self.filled(field, "field"))
                    .transpose()?;
                BTreeMap::from([(Part::Value, name.unwrap_or_else(|| "value".to_owned()))])
            }
            (None, Some(fields), Shape::Aws) => self.aws_parts(fields, fields.get_ref())?,
            (None, Some(fields), Shape::One) => return Err(self.one_value(fields)),
            (_, None, Shape::Aws) => {
                return Err(self
                    .text
                    .wrong(
                        &vault.path,
                        "`aws-sigv4` needs an access key and a secret key",
                    )
                    .hint(
                        "name their fields: `fields = { access_key = \"…\", secret_key = \"…\" }`",
                    ));
            }
        };
        let namespace = vault
            .namespace
            .as_ref()
            .map(|namespace| {
                field::element(self.text, namespace).map(|()| namespace.get_ref().clone())
            })
            .transpose()?;
        Ok(VaultSource {
            address,
            mount: self.below(vault.mount.as_ref(), "secret")?,
            path: self.below(Some(&vault.path), "")?,
            fields,
            namespace,
            login: self.login(vault)?,
        })
    }

    fn login(&self, vault: &format::Vault) -> Result<VaultLogin, PolicyError> {
        let hint = "say how the gate logs in: `token = { env = \"VAULT_TOKEN\" }`, or `approle = { role_id = …, secret_id = … }`";
        match (&vault.token, &vault.approle) {
            (Some(token), None) => self.inner(token).map(VaultLogin::Token),
            (None, Some(approle)) => {
                let approle = approle.get_ref();
                Ok(VaultLogin::AppRole {
                    mount: self.below(approle.mount.as_ref(), "approle")?,
                    role_id: self.inner(&approle.role_id)?,
                    secret_id: self.inner(&approle.secret_id)?,
                })
            }
            (Some(_), Some(both)) => {
                Err(self.text.wrong(both, "give `token` or `approle`, not both"))
            }
            (None, None) => Err(self
                .text
                .wrong(&vault.address, "there is no login for this server")
                .hint(hint)),
        }
    }

    /// A path of Vault's, without slashes at its ends.
    fn below(
        &self,
        written: Option<&Spanned<String>>,
        default: &str,
    ) -> Result<String, PolicyError> {
        let Some(written) = written else {
            return Ok(default.to_owned());
        };
        let path = written.get_ref().trim_matches('/');
        let fine = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~@:+".contains(&b))
        };
        if path.split('/').all(fine) {
            return Ok(path.to_owned());
        }
        Err(self.text.wrong(
            written,
            "a path here is made of letters, digits, `-._~@:+` and `/`",
        ))
    }

    pub(super) fn oauth2(&self, oauth2: &format::OAuth2) -> Result<OAuth2Source, PolicyError> {
        let scope = |scope: &Spanned<String>| {
            field::scope(self.text, scope).map(|()| scope.get_ref().clone())
        };
        let audience = oauth2
            .audience
            .as_ref()
            .map(|audience| self.filled(audience, "audience"))
            .transpose()?;
        Ok(OAuth2Source {
            token_url: server::endpoint(
                self.text,
                &oauth2.token_url,
                oauth2.dangerous_plaintext.as_ref(),
            )?,
            client_id: self.inner(&oauth2.client_id)?,
            client_secret: self.inner(&oauth2.client_secret)?,
            scopes: oauth2.scopes.iter().map(scope).collect::<Result<_, _>>()?,
            audience,
            authentication: field::authentication(self.text, oauth2.authentication.as_ref())?,
        })
    }
}
