//! HTTP/2 on both sides.

use std::sync::Arc;

use palisade_audit::Entry;
use palisade_policy::Authority;
use palisade_tls::ServerStream;

use crate::conn::Stream;
use crate::dial::Upstream;
use crate::shared::Shared;

/// Serves the requests of one connection.
pub(crate) async fn serve<S: Stream>(
    _shared: &Arc<Shared>,
    _stream: ServerStream<S>,
    _authority: Authority,
    _entry: Entry,
) {
}

/// Keeps a connection for requests to come.
pub(crate) fn keep(_shared: &Arc<Shared>, _authority: &Authority, _upstream: Upstream) {}

/// Whether a connection is kept.
pub(crate) fn has(_shared: &Shared, _authority: &Authority) -> bool {
    false
}
