//! DNS, answered here and never passed on: each name gets a synthetic address, and the name is remembered.
//!
//! So rules can be by name for clients that know no proxy, a query carries nothing out of the machine (D35), and the
//! real look-up is made only for permitted connections.

pub(crate) mod answer;
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod tcp;
pub(crate) mod udp;
