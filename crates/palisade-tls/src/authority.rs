//! The session's certificate authority.

use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, SanType, SerialNumber,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use time::{Duration, OffsetDateTime};

/// How long the authority is good for. It ends with its session; a session that is left open over a holiday goes on.
const AUTHORITY_LIFE: Duration = Duration::days(30);
/// How long a leaf is good for. It is minted anew long before (see [`crate::Interceptor`]).
const LEAF_LIFE: Duration = Duration::days(3);
/// Clocks inside a virtual machine may be a little behind.
const BACKDATED: Duration = Duration::hours(1);

/// What the authority may sign for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstrainedName {
    /// This name and every name below it.
    Name(String),
    /// This address.
    Address(IpAddr),
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
#[error("make a certificate: {0}")]
pub struct AuthorityError(#[from] rcgen::Error);

/// A certificate authority whose key exists in this process alone, for one session.
pub struct SessionAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    leaf_key: KeyPair,
    leaf_signer: Arc<dyn SigningKey>,
}

impl std::fmt::Debug for SessionAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionAuthority").finish_non_exhaustive()
    }
}

impl SessionAuthority {
    /// An authority for these hosts. `session` tells it apart from those of other sessions.
    ///
    /// # Errors
    /// A name is no DNS name, or the system has no randomness.
    pub fn new(session: &str, hosts: &[ConstrainedName]) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("Palisade session {session}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(constraints(hosts));
        live(&mut params, AUTHORITY_LIFE);
        let certificate = params.self_signed(&key)?;
        let leaf_key = KeyPair::generate()?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let leaf_signer =
            any_ecdsa_type(&secret).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            leaf_key,
            leaf_signer,
        })
    }

    /// The certificate, for the inside's trust stores.
    pub fn certificate_pem(&self) -> &str {
        &self.pem
    }

    /// The same in DER.
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate for one host. All leaves share one key: a key of their own would protect nothing, since all of them
    /// live in this process.
    pub(crate) fn mint(&self, host: &str) -> Result<CertifiedKey, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![match host.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into()?),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial()?);
        live(&mut params, LEAF_LIFE);
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let chain = vec![leaf.der().clone()];
        Ok(CertifiedKey::new(chain, Arc::clone(&self.leaf_signer)))
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn live(params: &mut CertificateParams, life: Duration) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
}

/// Two leaves of one host must differ in their number: NSS refuses a second one with the number of the first.
fn serial() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive, and without leading zeros to argue about (RFC 5280 section 4.1.2.2).
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A kind of name that no subtree speaks of is not constrained at all (RFC 5280 section 4.2.1.10), so both kinds are
/// always spoken of.
fn constraints(hosts: &[ConstrainedName]) -> NameConstraints {
    let mut permitted = Vec::new();
    let (mut names, mut addresses) = (false, false);
    for host in hosts {
        permitted.push(match host {
            ConstrainedName::Name(name) => {
                names = true;
                GeneralSubtree::DnsName(name.clone())
            }
            ConstrainedName::Address(address) => {
                addresses = true;
                let whole = if address.is_ipv4() { 32 } else { 128 };
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, whole))
            }
        });
    }
    if !names {
        // RFC 6761 section 6.4: a name nobody has.
        permitted.push(GeneralSubtree::DnsName("invalid".into()));
    }
    let mut excluded = Vec::new();
    if !addresses {
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])));
        excluded.push(GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])));
    }
    NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: excluded,
    }
}
