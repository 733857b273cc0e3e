//! Who the agent is outside.

use palisade_boundary::{Identity, StartError};
use palisade_sys::idmap::{IdPair, write_maps};
use rustix::process::{Pid, getegid, geteuid};

use crate::explain::{cannot, refused_maps};

/// Whether the agent is, outside, the very user who runs palisade.
///
/// # Errors
/// An identity that would be root inside or outside.
pub(crate) fn is_own(identity: &Identity) -> Result<bool, StartError> {
    let Identity {
        uid,
        gid,
        host_uid,
        host_gid,
    } = *identity;
    if [uid, gid, host_uid, host_gid].contains(&0) {
        return Err(cannot(
            "choose the agent's identity".into(),
            "the agent is never root, neither inside nor outside".into(),
        ));
    }
    Ok(geteuid().as_raw() == host_uid && getegid().as_raw() == host_gid)
}

/// Maps the agent's identity, and nothing else, into the child's user namespace.
pub(crate) fn map(pid: Pid, identity: &Identity, own: bool) -> Result<(), StartError> {
    let pair = |inside, outside| IdPair { inside, outside };
    let user = pair(identity.uid, identity.host_uid);
    let group = pair(identity.gid, identity.host_gid);
    write_maps(pid, user, group, own).map_err(|e| refused_maps(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_refused_on_either_side() {
        let me = Identity {
            uid: 1000,
            gid: 1000,
            host_uid: geteuid().as_raw().max(1),
            host_gid: getegid().as_raw().max(1),
        };
        for change in [
            |i: &mut Identity| i.uid = 0,
            |i: &mut Identity| i.gid = 0,
            |i: &mut Identity| i.host_uid = 0,
            |i: &mut Identity| i.host_gid = 0,
        ] {
            let mut identity = me.clone();
            change(&mut identity);
            let error = is_own(&identity).expect_err("root");
            assert!(error.cause.contains("never root"), "{error}");
        }
        assert_eq!(is_own(&me).expect("fine"), !geteuid().is_root());
    }
}
