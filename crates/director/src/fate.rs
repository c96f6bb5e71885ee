//! Whether a packet goes on with the connection that has its key: what IPVS asks before it forwards.
//!
//! Promises: the answers of `ip_vs_in_hook` (`ip_vs_core.c`): first whether a SYN or an INIT begins anew, then whether the
//! destination is still there. A packet from the real server, or an ICMP error, always goes on.
//! Does not know: how a connection is opened.

use weir_wire::sctp::{self, Chunk};
use weir_wire::{Content, Headers};

use crate::connection::{Connection, Flags, Found};
use crate::ledger::Ledger;
use crate::service::ServiceKey;
use crate::snapshot::{RemovedDestination, Reuse};
use crate::{DestinationId, Direction, Snapshot, State};

/// What becomes of a packet's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    GoesOn,
    /// The packet begins a new one in its place.
    BeginsAnew,
    /// Its destination was removed and it ends, the packet being of no connection.
    Ends,
    /// Its destination was removed, and while that is so its packets are dropped.
    Waits,
}

/// Whether [`of`] may say anything but [`Fate::GoesOn`].
#[inline]
pub(crate) fn is_in_doubt(
    headers: &Headers,
    found: Found,
    ledger: &Ledger,
    snapshot: &Snapshot,
) -> bool {
    let is_removal_of_concern = match snapshot.settings.removed_destination {
        RemovedDestination::Finish => false,
        RemovedDestination::Ipvs => true,
    };
    headers.tcp_flags.is_opening()
        || headers.content == Content::Sctp
        || is_removal_of_concern && is_removed(ledger.table.get(found.id), snapshot)
}

/// What becomes of the connection that a packet was found to have.
#[cold]
pub(crate) fn of(
    frame: &[u8],
    headers: &Headers,
    found: Found,
    ledger: &Ledger,
    snapshot: &Snapshot,
) -> Fate {
    if found.direction == Direction::Outbound || headers.content == Content::IcmpError {
        return Fate::GoesOn;
    }
    let connection = ledger.table.get(found.id);
    if begins_anew(frame, headers, connection, snapshot) {
        return Fate::BeginsAnew;
    }
    match snapshot.settings.removed_destination {
        RemovedDestination::Ipvs if is_removed(connection, snapshot) => {
            if snapshot.settings.ipvs.ends_with_destination {
                Fate::Ends
            } else {
                Fate::Waits
            }
        }
        RemovedDestination::Ipvs | RemovedDestination::Finish => Fate::GoesOn,
    }
}

fn is_removed(connection: &Connection, snapshot: &Snapshot) -> bool {
    let id = DestinationId(connection.destination);
    !snapshot.services.has_destination(id)
}

fn begins_anew(
    frame: &[u8],
    headers: &Headers,
    connection: &Connection,
    snapshot: &Snapshot,
) -> bool {
    let settings = &snapshot.settings.ipvs;
    // A template's connections go on with their own real server, whatever state they are in (`is_new_conn_expected`).
    let is_sponsored = connection.flags.has(Flags::SPONSORED);
    let may_be_followed = || {
        let takes_fin_wait = match settings.reuse {
            Reuse::Never => return false,
            Reuse::Over => false,
            Reuse::OverOrFinWait => connection.flags.has(Flags::ONE_WAY),
        };
        connection
            .state()
            .is_some_and(|state| state.is_over() || takes_fin_wait && state == State::FinWait)
    };
    let drains = || {
        let key = ServiceKey {
            protocol: headers.key.protocol(),
            virtual_endpoint: headers.key.destination(),
        };
        let id = DestinationId(connection.destination);
        settings.ends_with_destination && snapshot.services.drains(&key, id)
    };
    let is_opening = match headers.content {
        Content::Sctp => sctp::chunk(frame, headers) == Chunk::Init,
        Content::Tcp | Content::Udp | Content::IcmpError | Content::Icmp | Content::Arp => {
            headers.tcp_flags.is_opening()
        }
    };
    is_opening && (!is_sponsored && may_be_followed() || drains())
}
