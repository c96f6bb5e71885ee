//! Doubly linked rings threaded through one array: every line of the slab is in exactly one of them, either free or
//! waiting for its timer.
//!
//! Promises: no allocation; taking a node out needs no search.
//! Does not know: what a ring stands for.

use bytemuck::{Pod, Zeroable};
use weir_memory::{MapError, MappedSlice, Pages};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Link {
    previous: u32,
    next: u32,
}

/// A ring by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring(pub(crate) u32);

/// All rings over `n_nodes` nodes.
pub(crate) struct Links {
    // Invariant: nodes 0..n_nodes, then one head a ring. Every node in a ring, and every head, is linked both ways.
    links: MappedSlice<Link>,
    n_nodes: u32,
}

/// Bytes that a node takes.
pub(crate) const BYTES_PER_NODE: usize = size_of::<Link>();

impl Links {
    /// `n_rings` empty rings; no node is in any.
    pub(crate) fn new(n_nodes: u32, n_rings: u32, pages: Pages) -> Result<Self, MapError> {
        let mut links = MappedSlice::<Link>::new((n_nodes + n_rings) as usize, pages)?;
        for head in n_nodes..n_nodes + n_rings {
            links[head as usize] = Link {
                previous: head,
                next: head,
            };
        }
        Ok(Self { links, n_nodes })
    }

    fn head(&self, ring: Ring) -> u32 {
        self.n_nodes + ring.0
    }

    /// The oldest node of a ring.
    #[inline]
    pub(crate) fn first(&self, ring: Ring) -> Option<u32> {
        let head = self.head(ring);
        let first = self.links[head as usize].next;
        (first != head).then_some(first)
    }

    /// Puts a node that is in no ring at the end of one.
    #[inline]
    pub(crate) fn push(&mut self, ring: Ring, node: u32) {
        let head = self.head(ring);
        let last = self.links[head as usize].previous;
        self.links[node as usize] = Link {
            previous: last,
            next: head,
        };
        self.links[last as usize].next = node;
        self.links[head as usize].previous = node;
    }

    /// Takes a node out of the ring it is in.
    #[inline]
    pub(crate) fn unlink(&mut self, node: u32) {
        let Link { previous, next } = self.links[node as usize];
        self.links[previous as usize].next = next;
        self.links[next as usize].previous = previous;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_leave_in_the_order_they_came_and_from_the_middle() {
        let mut links = Links::new(4, 2, Pages::Anonymous).unwrap();
        let (ring, other) = (Ring(0), Ring(1));
        for node in 0..4 {
            links.push(ring, node);
        }
        links.unlink(1);
        links.push(other, 1);
        let mut order = Vec::new();
        while let Some(node) = links.first(ring) {
            links.unlink(node);
            order.push(node);
        }
        assert_eq!(order, [0, 2, 3]);
        assert_eq!(links.first(other), Some(1));
    }
}
