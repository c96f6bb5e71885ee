//! The numbers of tunnels.
//!
//! Promises: a number means the same tunnel for as long as weir runs, for living connections go by it.
//! Does not know: how a packet is put into a tunnel (`weir_wire::tunnel`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use weir_director::{Encapsulation, Tunnel, TunnelId};

use crate::compile::TooMuch;

/// The tunnels that have a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tunnels {
    by_ends: HashMap<(IpAddr, IpAddr, Encapsulation), TunnelId>,
    rows: Arc<[Tunnel]>,
}

impl Tunnels {
    /// The number of the tunnel from `local` to `remote`, of one family, given out if it has none.
    pub(crate) fn number(
        &mut self,
        local: IpAddr,
        remote: IpAddr,
        encapsulation: Encapsulation,
    ) -> Result<TunnelId, TooMuch> {
        if let Some(id) = self.by_ends.get(&(local, remote, encapsulation)) {
            return Ok(*id);
        }
        let id = u16::try_from(self.rows.len()).map_err(|_| TooMuch::Tunnels)?;
        let tunnel = Tunnel::new(local, remote, encapsulation).ok_or(TooMuch::Tunnels)?;
        self.rows = self.rows.iter().copied().chain([tunnel]).collect();
        self.by_ends
            .insert((local, remote, encapsulation), TunnelId(id));
        Ok(TunnelId(id))
    }

    /// All of them, by number.
    pub(crate) fn rows(&self) -> Arc<[Tunnel]> {
        Arc::clone(&self.rows)
    }
}
