//! What the slow path wants done: frames to be sent, packets to be processed again, things worth telling.
//!
//! Promises: a packet that waited for a neighbour comes out only after the next hops that it waited for were taken
//! to be published. Events are bounded: what nobody takes does not grow.
//! Does not know: rings, workers, logs.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use weir_director::PortId;
use weir_wire::ethernet::Mac;

/// Events kept for whoever takes them.
const MAX_EVENTS: usize = 1024;

/// Something to be done with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It leaves by the port, as it is.
    Transmit {
        /// The port.
        port: PortId,
        /// The whole frame, from its Ethernet header.
        frame: Vec<u8>,
    },
    /// A worker gets it as if it had just arrived: the neighbour that it waited for has been found.
    Process {
        /// The port it came in by.
        port: PortId,
        /// The whole frame, unchanged.
        frame: Vec<u8>,
    },
}

/// Something an operator wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another node has an address that was to become ours: it is neither announced nor answered on this port, until
    /// the other is found to have it no longer.
    DuplicateAddress {
        /// The port.
        port: PortId,
        /// The address.
        address: Ipv6Addr,
        /// MAC address of the other node.
        mac: Mac,
    },
    /// A real server or gateway does not answer ARP or neighbour discovery.
    NeighbourLost {
        /// The port.
        port: PortId,
        /// Its address.
        address: IpAddr,
    },
    /// A real server or gateway that did not answer does so now.
    NeighbourFound {
        /// The port.
        port: PortId,
        /// Its address.
        address: IpAddr,
        /// Its MAC address.
        mac: Mac,
    },
}

impl fmt::Display for Event {
    /// One sentence; the port by its number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuplicateAddress { port, address, mac } => write!(
                f,
                "{address} is in use by {mac} on port {}; it is not answered there: remove it from one of the two; \
                 weir looks again every 5 minutes",
                port.0
            ),
            Self::NeighbourLost { port, address } => {
                let protocol = match address {
                    IpAddr::V4(_) => "ARP",
                    IpAddr::V6(_) => "neighbour discovery",
                };
                write!(
                    f,
                    "{address} does not answer {protocol} on port {}; weir keeps asking",
                    port.0
                )
            }
            Self::NeighbourFound { port, address, mac } => {
                write!(f, "{address} answers on port {} from {mac}", port.0)
            }
        }
    }
}

/// What waits to be taken.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    transmits: VecDeque<Action>,
    ready: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// Whether the next hops have changed since they were last taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextHopsAre {
    Changed,
    Published,
}

impl Outbox {
    pub(crate) fn transmit(&mut self, port: PortId, frame: Vec<u8>) {
        self.transmits.push_back(Action::Transmit { port, frame });
    }

    pub(crate) fn process(&mut self, port: PortId, frame: Vec<u8>) {
        self.ready.push_back(Action::Process { port, frame });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        if self.events.len() < MAX_EVENTS {
            self.events.push_back(event);
        }
    }

    /// The next thing to do. A packet that waited would be punted again by a worker that still has the old next
    /// hops, so those come only once these are published.
    pub(crate) fn take(&mut self, next_hops: NextHopsAre) -> Option<Action> {
        self.transmits.pop_front().or_else(|| match next_hops {
            NextHopsAre::Changed => None,
            NextHopsAre::Published => self.ready.pop_front(),
        })
    }

    pub(crate) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
}
