//! Cursor, whose jobs have their token from a socket.

use super::*;

#[tokio::test]
async fn a_socket_that_is_something_else_is_refused_and_not_waited_for() {
    let host = Host::new(Provider::Cursor).await;
    for path in ["run/api.sock", "/etc/hostname", "/run", "/../../run/api.sock2"] {
        let evidence = host.evidence_with(&[("CURSOR_AGENT_SOCKET", path.to_owned())], "", 0);
        let reason = host.reason(&evidence).await;
        let unfit =
            matches!(reason, NobodyReason::UnfitPlace | NobodyReason::NotIssued(IssuerFault::Unreachable));
        assert!(unfit, "{path}: {reason}");
    }
}
