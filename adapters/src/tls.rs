//! TLS towards others: one implementation, one set of authorities, for every client here.
//!
//! ring does the cryptography, and this machine says whom to trust: its own certificates of
//! authorities, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// For clients that take rustls as it is. Reads the machine's certificates.
///
/// # Errors
/// When ring and rustls have no version of TLS in common: never, as they are built here.
pub(crate) fn config() -> Result<rustls::ClientConfig, rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (_, unread) = roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        tracing::warn!(
            unread,
            "this machine has no certificates of authorities: nobody can be reached over TLS"
        );
    }
    Ok(rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The same for `ureq`, whose agents would panic at the first `https` address (or at a
/// redirect to one) without it. Reads the machine's certificates.
pub(crate) fn of_ureq() -> TlsConfig {
    let native = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> = (native.certs.iter())
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::new_with_certs(&roots))
        .build()
}
