//! The tunnels to real servers, and how large a packet gets through each.
//!
//! Promises: a number means the same tunnel for as long as weir runs, for living connections go by it.
//! Does not know: how a packet is put into a tunnel (`weir_wire::tunnel`), who learns how large it may be.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;
use weir_wire::tunnel::Tunnel;

use crate::TunnelId;

/// All tunnels.
#[derive(Clone, Debug, Default)]
pub struct Tunnels {
    /// By `TunnelId`.
    rows: Vec<Tunnel>,
    /// By real server.
    by_remote: HashMap<IpAddr, Vec<TunnelId>, RandomState>,
}

impl Tunnels {
    /// Adds one and gives it a number; `None`: there is none left.
    pub fn add(&mut self, tunnel: Tunnel) -> Option<TunnelId> {
        let id = TunnelId(u16::try_from(self.rows.len()).ok()?);
        self.rows.push(tunnel);
        self.by_remote.entry(tunnel.remote()).or_default().push(id);
        Some(id)
    }

    /// The tunnel of a number.
    #[inline]
    pub fn get(&self, id: TunnelId) -> Option<&Tunnel> {
        self.rows.get(usize::from(id.0))
    }

    /// Those to a real server.
    pub(crate) fn to(&self, remote: IpAddr) -> impl Iterator<Item = (TunnelId, &Tunnel)> {
        let ids = self.by_remote.get(&remote).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl FromIterator<Tunnel> for Tunnels {
    /// Numbered in this order; those beyond the last number are left out.
    fn from_iter<I: IntoIterator<Item = Tunnel>>(tunnels: I) -> Self {
        let mut all = Self::default();
        for tunnel in tunnels {
            all.add(tunnel);
        }
        all
    }
}

/// The largest outer packets, in bytes, that get through those tunnels whose way was found to be narrower than the next
/// hop to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathMtus {
    /// By `TunnelId`, as far as any is known.
    rows: Vec<u16>,
}

impl PathMtus {
    /// What is known of no tunnel.
    pub const UNKNOWN: u16 = u16::MAX;

    /// The largest outer packet of a tunnel, or [`Self::UNKNOWN`].
    #[inline]
    pub fn get(&self, id: TunnelId) -> u16 {
        match self.rows.get(usize::from(id.0)) {
            Some(mtu) => *mtu,
            None => Self::UNKNOWN,
        }
    }
}

impl FromIterator<(TunnelId, u16)> for PathMtus {
    fn from_iter<I: IntoIterator<Item = (TunnelId, u16)>>(mtus: I) -> Self {
        let mut all = Self::default();
        for (TunnelId(id), mtu) in mtus {
            let place = usize::from(id);
            if all.rows.len() <= place {
                all.rows.resize(place + 1, Self::UNKNOWN);
            }
            all.rows[place] = mtu;
        }
        all
    }
}
