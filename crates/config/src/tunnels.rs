//! The numbers of tunnels.
//!
//! Promises: a number means the same tunnel for as long as weir runs, for living connections go by it.
//! Does not know: how a packet is put into a tunnel (`weir_wire::tunnel`).

use std::collections::HashMap;
use std::sync::Arc;

use weir_director::{Tunnel, TunnelId};

use crate::compile::TooMuch;

/// The tunnels that have a number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tunnels {
    numbers: HashMap<Tunnel, TunnelId>,
    all: Arc<weir_director::Tunnels>,
}

impl Tunnels {
    /// The number of a tunnel, given out if it has none.
    pub(crate) fn number(&mut self, tunnel: Tunnel) -> Result<TunnelId, TooMuch> {
        if let Some(id) = self.numbers.get(&tunnel) {
            return Ok(*id);
        }
        let id = Arc::make_mut(&mut self.all).add(tunnel);
        let id = id.ok_or(TooMuch::Tunnels)?;
        self.numbers.insert(tunnel, id);
        Ok(id)
    }

    /// All of them, by number.
    pub(crate) fn all(&self) -> Arc<weir_director::Tunnels> {
        Arc::clone(&self.all)
    }
}
