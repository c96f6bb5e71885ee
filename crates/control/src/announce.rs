//! Telling the link of our addresses: duplicate address detection, multicast groups, unsolicited announcements.
//!
//! Promises: an IPv6 address is answered for only after a second in which no other node was found to have it
//! (RFC 4862 §5.4), and one that another has is asked for anew every few minutes; an IPv4 address is answered for at
//! once. Each new address is announced twice, a second apart, and so is its solicited-node group (RFC 3810). Many new
//! addresses are spread over time. Of an address that was ours nothing is told; when it is ours again it is new.
//! Does not know: MAC addresses, frames.
//!
//! ```text
//! IPv6:  New --report, NS--> Tentative --1 s: report, NA--> Announced --1 s: NA--> Settled
//!                                   \--another has it--> Duplicate --5 min: as New--> Tentative
//! IPv4:  New --gratuitous ARP--> Announced --1 s: gratuitous ARP--> Settled
//! any   --no longer ours, but connections through it live--> Former
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use weir_director::PortId;
use weir_wire::icmpv6;

/// Time between two steps of an address (RFC 4861 §10, `RETRANS_TIMER`).
const STEP: Duration = Duration::from_secs(1);
/// Time between the first steps of two addresses: ten thousand of them take a second and no switch by surprise.
const PACE: Duration = Duration::from_micros(100);
/// Time after which it is asked anew whether another node has an address: its owner may have given it up.
const ASK_ANEW: Duration = Duration::from_secs(300);

/// How far an address has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Tentative,
    Announced,
    Settled,
    Duplicate,
    Former,
}

/// What the configuration makes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It is ours.
    Ours,
    /// It was, and connections through it live.
    Former,
}

/// What it means that another node has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contest {
    /// Nothing: it was not to become ours now.
    None,
    /// It will not become ours now.
    Lost,
    /// Nor will it this time.
    LostAgain,
}

/// Something to be told to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// We listen to this address's solicited-node group.
    Join(PortId, Ipv6Addr),
    /// Does anyone have this address?
    IsTaken(PortId, Ipv6Addr),
    /// We have this address.
    Have(PortId, IpAddr),
}

/// What may be done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is answered for.
    Ours,
    /// It may become ours.
    Tentative,
    /// Another node has it.
    Duplicate,
    /// It was ours: who knows that may make sure of it, nobody is to learn it anew.
    Former,
    /// It is not one of ours on this port.
    Foreign,
}

/// The addresses of ours, by port.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    stages: BTreeMap<(PortId, IpAddr), (Stage, Option<Instant>)>,
    /// Invariant: the same moments as in `stages`.
    due: BTreeSet<(Instant, PortId, IpAddr)>,
    /// Addresses that another node was found to have, until it is found to have them no longer.
    /// Invariant: all of them are in `stages`, and none is answered for.
    duplicates: BTreeSet<(PortId, Ipv6Addr)>,
}

impl Announcer {
    /// From now on these are the addresses, in the order in which new ones are announced; of two claims to one
    /// address the first holds. What is not among them is answered for no longer.
    pub(crate) fn set(&mut self, claims: &[(PortId, IpAddr, Claim)], now: Instant) {
        let mut claimed = BTreeSet::new();
        let mut moment = now;
        for (port, address, claim) in claims {
            if !claimed.insert((*port, *address)) {
                continue;
            }
            match (claim, self.stages.get(&(*port, *address))) {
                (Claim::Former, _) => self.enter(*port, *address, Stage::Former, None),
                (Claim::Ours, None | Some((Stage::Former, _))) => {
                    self.enter(*port, *address, Stage::New, Some(moment));
                    moment += PACE;
                }
                (Claim::Ours, Some(_)) => {}
            }
        }
        self.stages.retain(|key, _| claimed.contains(key));
        self.due
            .retain(|(_, port, address)| claimed.contains(&(*port, *address)));
        let stages = &self.stages;
        self.duplicates.retain(|(port, address)| {
            let stage = stages.get(&(*port, IpAddr::V6(*address)));
            stage.is_some_and(|(stage, _)| *stage != Stage::Former)
        });
    }

    /// What may be done with an address on a port.
    pub(crate) fn standing(&self, port: PortId, address: IpAddr) -> Standing {
        match (self.stages.get(&(port, address)), address) {
            (None, _) => Standing::Foreign,
            (Some((Stage::Duplicate, _)), _) => Standing::Duplicate,
            (Some((Stage::Former, _)), _) => Standing::Former,
            (Some((Stage::New | Stage::Tentative, _)), IpAddr::V6(_)) => Standing::Tentative,
            (Some((Stage::New | Stage::Tentative, _)), IpAddr::V4(_))
            | (Some((Stage::Announced | Stage::Settled, _)), _) => Standing::Ours,
        }
    }

    /// Another node has this address: what that means if it was to become ours, which it will not now.
    pub(crate) fn contest(&mut self, port: PortId, address: Ipv6Addr, now: Instant) -> Contest {
        let key = IpAddr::V6(address);
        if self.standing(port, key) != Standing::Tentative {
            return Contest::None;
        }
        self.enter(port, key, Stage::Duplicate, Some(now + ASK_ANEW));
        if self.duplicates.insert((port, address)) {
            Contest::Lost
        } else {
            Contest::LostAgain
        }
    }

    /// The addresses that another node was found to have, by port.
    pub(crate) fn duplicates(&self) -> impl Iterator<Item = (PortId, Ipv6Addr)> {
        self.duplicates.iter().copied()
    }

    /// The IPv6 addresses of a port whose groups we listen to.
    pub(crate) fn groups(&self, port: PortId) -> BTreeSet<Ipv6Addr> {
        let first = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        self.stages
            .range((port, first)..)
            .take_while(|((of, _), _)| *of == port)
            .filter(|(_, (stage, _))| !matches!(stage, Stage::Duplicate | Stage::Former))
            .filter_map(|((_, address), _)| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(icmpv6::solicited_node(*address)),
            })
            .collect()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Announcement> {
        let mut announcements = Vec::new();
        while let Some((moment, port, address)) = self.due.first().copied()
            && moment <= now
        {
            self.due.pop_first();
            let Some((stage, _)) = self.stages.get(&(port, address)).copied() else {
                continue;
            };
            let next = match (stage, address) {
                (Stage::New | Stage::Duplicate, IpAddr::V6(address)) => {
                    announcements.push(Announcement::Join(port, address));
                    announcements.push(Announcement::IsTaken(port, address));
                    Stage::Tentative
                }
                (Stage::Tentative, IpAddr::V6(v6)) => {
                    announcements.push(Announcement::Join(port, v6));
                    announcements.push(Announcement::Have(port, address));
                    self.duplicates.remove(&(port, v6));
                    Stage::Announced
                }
                (Stage::New | Stage::Tentative, IpAddr::V4(_)) => {
                    announcements.push(Announcement::Have(port, address));
                    Stage::Announced
                }
                (Stage::Announced, _) => {
                    announcements.push(Announcement::Have(port, address));
                    Stage::Settled
                }
                (Stage::Settled, _) => Stage::Settled,
                (Stage::Duplicate, IpAddr::V4(_)) => Stage::Duplicate,
                (Stage::Former, _) => Stage::Former,
            };
            let due = match next {
                Stage::Tentative | Stage::Announced => Some(now + STEP),
                Stage::New | Stage::Settled | Stage::Duplicate | Stage::Former => None,
            };
            self.enter(port, address, next, due);
        }
        announcements
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.due.first().map(|(moment, ..)| *moment)
    }

    fn enter(&mut self, port: PortId, address: IpAddr, stage: Stage, due: Option<Instant>) {
        let before = self.stages.insert((port, address), (stage, due));
        if let Some((_, Some(moment))) = before {
            self.due.remove(&(moment, port, address));
        }
        self.due.extend(due.map(|moment| (moment, port, address)));
    }
}
