//! Fragments: put in order, not together.
//!
//! Promises: all fragments of a datagram go the way of the first one, unchanged but for what its connection changes in the
//! IP header, and none before it. Memory and time are bounded (`store`).
//! Does not know: how a fragment is rewritten (`forward`), nor where it is kept while it waits.
//!
//! How it works: only the first fragment has L4 ports, and any of them may come by any queue. So (1) all of a datagram
//! *gather* at one worker, which their addresses and their identification name. It holds those that come before the first.
//! (2) The first one goes the ordinary way of a packet with its headers: of its connection, which it may open; or to the
//! worker that owns it, its *owner*. (3) The gathering worker remembers which, for the others.
//!
//! So a fragment may be handed over twice, to where it gathers and to its owner, and never more often: who receives it
//! from another worker and is not the one that gathers it, is its owner. The owner too holds what has come before the first
//! went its way, when that one waits for a neighbour at the control thread. (From there it comes back as from the wire, and
//! gathers again.)

mod store;

pub(crate) use store::Store;
use store::{DatagramId, Stage};
pub use store::{HELD, HoldPlace, Settled};

use weir_wire::{Fragment, Headers, Packet, ipv4};

use crate::director::way_of;
use crate::forward::Course;
use crate::ledger::Ledger;
use crate::open::Way;
use crate::{Arrival, DropReason, PuntReason, Snapshot, Tick, Verdict, WorkerId};

/// Decides on a fragment that was sent to us, and rewrites it if it is to be transmitted.
#[cold]
pub(crate) fn process(
    packet: &mut Packet<'_>,
    arrival: Arrival,
    me: WorkerId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Verdict {
    match try_process(packet, arrival, me, ledger, snapshot, now) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

fn try_process(
    packet: &mut Packet<'_>,
    arrival: Arrival,
    me: WorkerId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Verdict, Verdict> {
    let fragment = Fragment::parse(packet.frame()).map_err(|error| Verdict::Drop(error.into()))?;
    // Nobody else's fill the store.
    check_header(packet.frame(), &fragment.headers, snapshot)?;
    // (1)
    let gatherer = snapshot.steering.gatherer(&fragment.datagram);
    if matches!(arrival, Arrival::Wire { .. }) && gatherer != me {
        return Err(Verdict::HandOff(gatherer));
    }
    let hash = ledger.table.hash(&fragment.datagram);
    let known = ledger.fragments.find(&fragment.datagram, hash, now);
    let (id, stage) = known.unwrap_or_else(|| {
        let id = ledger.fragments.remember(fragment.datagram, hash, now);
        (id, Stage::Waits)
    });
    if fragment.is_first() {
        // (2)
        let (verdict, stage) = first(packet, &fragment, stage, me, ledger, snapshot, now);
        ledger.fragments.decide(id, stage);
        if stage.has_way() {
            ledger.fragments.count(id, &fragment);
        }
        return Ok(verdict);
    }
    // (3)
    match stage {
        Stage::Waits => Ok(ledger.fragments.hold(id, now)),
        Stage::Refused => Err(Verdict::Drop(DropReason::FragmentFirstRefused)),
        Stage::HandedOff(owner) => {
            ledger.fragments.count(id, &fragment);
            Ok(Verdict::HandOff(owner))
        }
        Stage::Goes(course) => later(packet, &fragment, id, &course, ledger, snapshot),
    }
}

/// What becomes of a datagram's first fragment, and of the others.
fn first(
    packet: &mut Packet<'_>,
    fragment: &Fragment,
    before: Stage,
    me: WorkerId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> (Verdict, Stage) {
    let headers = &fragment.headers;
    // Where it gathers it is as from the wire: its owner may be another.
    let is_at_owner = snapshot.steering.gatherer(&fragment.datagram) != me;
    let way = way_of(packet, headers, is_at_owner, me, ledger, snapshot, now);
    // One that comes again stays with the others.
    let before = match before {
        Stage::Goes(course) => Some(course),
        Stage::Waits | Stage::Refused | Stage::HandedOff(_) => None,
    };
    let outcome = way.and_then(|way| match way {
        Way::Connection(found) => {
            let course = Course::of(found, headers, before, ledger, snapshot);
            course.begin(packet, fragment, found, ledger, snapshot, now)
        }
        Way::OnePacket(found) => {
            let course = Course::of(found, headers, before, ledger, snapshot);
            let outcome = course.begin(packet, fragment, found, ledger, snapshot, now);
            ledger.close(found.id, snapshot);
            outcome
        }
        Way::Route(hop) => {
            let course = Course::routed(hop, headers);
            let verdict = course.carry(packet, fragment, ledger, snapshot)?;
            Ok((verdict, course))
        }
    });
    match outcome {
        Ok((verdict, course)) => (verdict, Stage::Goes(course)),
        Err(verdict) => (verdict, stage_without(verdict)),
    }
}

/// Where the others go when the first one was not sent.
fn stage_without(verdict: Verdict) -> Stage {
    match verdict {
        Verdict::HandOff(owner) => Stage::HandedOff(owner),
        // It comes again.
        Verdict::Consult(_)
        | Verdict::Punt(PuntReason::NeighbourUnresolved(_) | PuntReason::NeighbourUnknown) => {
            Stage::Waits
        }
        Verdict::Punt(_)
        | Verdict::Drop(_)
        | Verdict::Transmit(_)
        | Verdict::Fragment { .. }
        | Verdict::Hold(_) => Stage::Refused,
    }
}

/// A fragment goes the way of the first one.
fn later(
    packet: &mut Packet<'_>,
    fragment: &Fragment,
    id: DatagramId,
    course: &Course,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) -> Result<Verdict, Verdict> {
    if course.is_in_l4_header(fragment) {
        return Err(Verdict::Drop(DropReason::FragmentOverlaps));
    }
    let verdict = course.carry(packet, fragment, ledger, snapshot)?;
    course.count(fragment, ledger);
    ledger.fragments.count(id, fragment);
    Ok(verdict)
}

/// Whether anybody here may want it, and its IPv4 header came as it was sent: what is wrong there would bring together
/// what does not belong together.
fn check_header(frame: &[u8], headers: &Headers, snapshot: &Snapshot) -> Result<(), Verdict> {
    let l4 = usize::from(headers.l4);
    if !headers.is_ipv6() && !ipv4::checksum_is_right(frame, usize::from(headers.l3), l4) {
        return Err(Verdict::Drop(DropReason::Ipv4ChecksumWrong));
    }
    let [source, destination] =
        [headers.key.source(), headers.key.destination()].map(|end| end.ip());
    let is_wanted = snapshot.addresses.find(destination).is_some()
        || snapshot.services.may_reply_under_nat(source)
        || snapshot.services.is_nat_server(destination);
    if !is_wanted {
        return Err(Verdict::Drop(DropReason::AddressNotOurs));
    }
    Ok(())
}
