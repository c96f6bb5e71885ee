//! Persistence: a client keeps its destination for a while. Its *template* says which.
//!
//! Promises: one client gets one destination from every worker, as long as its template lives and the destination may be
//! used: it is in the service still, whatever its weight (0 too, unless `expire_quiescent_template`).
//! Does not know: how a template is kept (`connection/templates.rs`), how packets get to other workers.
//!
//! How it works: a template belongs to the worker that a hash of its key names. That worker looks it up, or picks a
//! destination and makes it. To any other worker the packet that opens a connection goes out (`Verdict::Consult`) and
//! comes back with the [`Choice`]; the connection stays with its ordinary owner. A template sponsors the connection from
//! the moment of the choice: a choice that comes to nothing is given back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use weir_wire::{Endpoint, FlowKey, Headers};

use crate::connection::{Keys, NewTemplate, Sponsor};
use crate::ledger::Ledger;
use crate::scheduler::Applicant;
use crate::service::{Destination, Service, ServiceKey};
use crate::{DestinationId, DropReason, PuntReason, Snapshot, Tick, Verdict, WorkerId};

/// How long a client keeps its destination, and who is one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Ticks that a template lives after its last new connection.
    pub timeout_ticks: u32,
    /// The bits of a client's address that count; of the service's family.
    pub mask: IpAddr,
}

impl Persistence {
    /// The part of a client's address that counts.
    fn prefix(&self, client: IpAddr) -> IpAddr {
        match (client, self.mask) {
            (IpAddr::V4(client), IpAddr::V4(mask)) => {
                Ipv4Addr::from_bits(client.to_bits() & mask.to_bits()).into()
            }
            (IpAddr::V6(client), IpAddr::V6(mask)) => {
                Ipv6Addr::from_bits(client.to_bits() & mask.to_bits()).into()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => client,
        }
    }

    /// The key of a client's template; `None` when client and VIP are not of one family.
    fn key(&self, service: &ServiceKey, client: IpAddr) -> Option<FlowKey> {
        let prefix = Endpoint::new(self.prefix(client), 0);
        FlowKey::new(service.protocol, prefix, service.virtual_endpoint)
    }
}

/// A destination for a client, chosen by its template, which sponsors a connection more from that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    destination: DestinationId,
    sponsor: Sponsor,
}

impl Choice {
    /// The template that chose.
    pub fn sponsor(self) -> Sponsor {
        self.sponsor
    }
}

/// The destination of a client's new connection, and the template that sponsors it: by the choice that came back, or of
/// this worker's own, or else another worker is to be asked.
#[cold]
pub(crate) fn choice<'a>(
    service: &'a Service,
    persistence: &Persistence,
    applicant: &Applicant,
    me: WorkerId,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) -> Result<(&'a Destination, Sponsor), Verdict> {
    let choice = match ledger.choice.take() {
        Some(choice) => choice,
        None => {
            let client = applicant.client.ip();
            let key = persistence
                .key(&service.key, client)
                .ok_or(Verdict::Drop(DropReason::SourceInvalid))?;
            let owner = snapshot.steering.owner_of_template(&key);
            if owner != me {
                return Err(match ledger.table.has_room_for_notes() {
                    true => Verdict::Consult(owner),
                    false => Verdict::Drop(DropReason::TableFull),
                });
            }
            choose(service, persistence, &key, applicant, ledger, snapshot)?
        }
    };
    let mut destinations = service.destinations.iter();
    match destinations.find(|destination| destination.id == choice.destination) {
        Some(destination) => Ok((destination, choice.sponsor)),
        None => {
            ledger.table.release(choice.sponsor);
            Err(Verdict::Drop(DropReason::ChoiceOutdated))
        }
    }
}

/// Chooses for another worker, whose client's packet this is.
pub(crate) fn choose_for_other(
    headers: &Headers,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
    now: Tick,
) -> Result<Choice, Verdict> {
    let client = headers.key;
    let key = ServiceKey {
        protocol: client.protocol(),
        virtual_endpoint: client.destination(),
    };
    let outdated = Verdict::Drop(DropReason::ChoiceOutdated);
    let service = snapshot.services.serving(&key).ok_or(outdated)?;
    let persistence = service.persistence.as_ref().ok_or(outdated)?;
    let applicant = Applicant {
        client: client.source(),
        virtual_endpoint: client.destination(),
        now,
    };
    let key = persistence
        .key(&service.key, applicant.client.ip())
        .ok_or(Verdict::Drop(DropReason::SourceInvalid))?;
    choose(service, persistence, &key, &applicant, ledger, snapshot)
}

/// By the client's template, which is this worker's, or by the scheduler, and then there is a template.
fn choose(
    service: &Service,
    persistence: &Persistence,
    key: &FlowKey,
    applicant: &Applicant,
    ledger: &mut Ledger,
    snapshot: &Snapshot,
) -> Result<Choice, Verdict> {
    let now = applicant.now;
    let template = ledger.table.find_template(key);
    let kept = template.and_then(|id| {
        let entry = ledger.table.get(id);
        let is_it = |destination: &&Destination| destination.id.0 == entry.destination;
        let destination = service.destinations.iter().find(is_it)?;
        let is_expired =
            snapshot.settings.ipvs.expire_quiescent_template && destination.is_draining();
        (!is_expired).then_some((id, destination.id))
    });
    let (template, destination) = match kept {
        Some(kept) => kept,
        None => {
            let picked = service
                .pick(
                    applicant,
                    &mut ledger.scheduler_records,
                    &ledger.loads,
                    ledger.overloads.view(snapshot.services.thresholds()),
                )
                .ok_or(Verdict::Punt(PuntReason::NoDestination))?;
            let to_client = FlowKey::new(key.protocol(), picked.real, key.source());
            let new = NewTemplate {
                // A tunnel may lead to the other family.
                keys: Keys([*key, to_client.unwrap_or(key.turned())]),
                destination: picked.id,
                timeout_ticks: persistence.timeout_ticks,
            };
            let id = match template {
                Some(id) => {
                    ledger.turn_template(id, &new, now);
                    id
                }
                None => ledger
                    .open_template(&new, now, snapshot)
                    .map_err(|_| Verdict::Drop(DropReason::TableFull))?,
            };
            (id, picked.id)
        }
    };
    Ok(Choice {
        destination,
        sponsor: ledger.table.hold(template, now),
    })
}
