//! Maglev hashing: the client's address decides, and few clients change when destinations do.
//!
//! Promises: the choice of `ip_vs_mh.c` with its usual table (`IP_VS_MH_TAB_INDEX` 12); one look-up. A draining
//! destination keeps its part of the table, whose clients are refused, or passed on with `fallback`.
//! Does not know: loads.
//!
//! How it works: (Eisenbud et al., "Maglev", NSDI 2016, section 3.4) every destination has an order of its own in which
//! it would like the table's slots: an offset and a skip, both from a hash of RIP and rport. The destinations take turns;
//! each takes the first slot it likes that is free, as many a turn as it has weight.

use weir_wire::Endpoint;

use super::HashOptions;
use super::buckets::fold;
use super::list::List;
use super::siphash;
use super::wrr::gcd;
use crate::service::Destination;

/// How many slots; a prime, so that every skip comes by all of them.
const N_SLOTS: usize = 4093;
/// Bits of the largest number of slots a turn (`IP_VS_MH_TAB_BITS`).
const TURN_BITS: u32 = 6;
/// Says where a destination begins, and where a client looks.
const OFFSET_KEY: u64 = 2_654_435_761;
/// Says how far a destination skips.
const SKIP_KEY: u64 = 2_654_446_892;
/// No destination: of a table without any.
const NOBODY: u16 = u16::MAX;

/// A place for each slot.
#[derive(Clone, Debug)]
pub(super) struct Lookup(Box<[u16; N_SLOTS]>);

/// A destination while the table is filled.
struct Claimant {
    next_slot: usize,
    skip: usize,
    slots_a_turn: u32,
}

impl Lookup {
    /// For destinations in the order in which they are written or were added.
    pub(super) fn new(destinations: &[Destination]) -> Self {
        let mut slots = Box::new([NOBODY; N_SLOTS]);
        let mut claimants = claimants(destinations);
        let mut n_free = N_SLOTS;
        if claimants.iter().all(|claimant| claimant.slots_a_turn == 0) {
            n_free = 0;
        }
        while n_free > 0 {
            for (place, claimant) in claimants.iter_mut().enumerate() {
                for _ in 0..claimant.slots_a_turn.min(n_free as u32) {
                    while slots[claimant.next_slot] != NOBODY {
                        claimant.next_slot = (claimant.next_slot + claimant.skip) % N_SLOTS;
                    }
                    slots[claimant.next_slot] = place as u16;
                    n_free -= 1;
                }
            }
        }
        Self(slots)
    }

    #[inline]
    fn place(&self, number: u32) -> usize {
        usize::from(self.0[slot(number)])
    }
}

/// Newest first.
fn claimants(destinations: &[Destination]) -> Vec<Claimant> {
    let weights = || {
        destinations
            .iter()
            .map(|destination| destination.last_weight)
    };
    let divisor = weights().fold(0, gcd).max(1);
    let largest = weights().max().unwrap_or(0) / divisor;
    // Bits that the largest number of slots a turn has too many.
    let shift = (u32::BITS - largest.leading_zeros()).saturating_sub(TURN_BITS);
    let claimant = |destination: &Destination| {
        let number = fold(destination.real.ip()).wrapping_add(u32::from(destination.real.port()));
        Claimant {
            next_slot: slot(number),
            skip: siphash::hash(number, SKIP_KEY) as usize % (N_SLOTS - 1) + 1,
            slots_a_turn: ((destination.last_weight / divisor) >> shift)
                .max(u32::from(destination.last_weight != 0)),
        }
    };
    destinations.iter().rev().map(claimant).collect()
}

#[inline]
fn slot(number: u32) -> usize {
    siphash::hash(number, OFFSET_KEY) as usize % N_SLOTS
}

pub(super) fn pick(
    list: List<'_>,
    lookup: &Lookup,
    options: HashOptions,
    client: Endpoint,
) -> Option<usize> {
    let cport = if options.port { client.port() } else { 0 };
    let number = fold(client.ip()).wrapping_add(u32::from(cport));
    let picked = list.open(lookup.place(number));
    if picked.is_some() || !options.fallback || !list.rows.iter().any(|row| list.is_open(row)) {
        return picked;
    }
    // IPVS's order of other slots: the hash again, of a number that grows from the slot on and goes round.
    let first = slot(number);
    (0..N_SLOTS)
        .map(|offset| ((first + offset) % N_SLOTS) as u32)
        .find_map(|offset| list.open(lookup.place(number.wrapping_add(offset))))
}

#[cfg(test)]
mod tests {
    //! What is not observed was computed by a program of its own, written in another language from the rule alone.

    use super::*;
    use crate::scheduler::Scheduler;
    use crate::scheduler::fixture::{
        Bench, WAYS, clients_v4, clients_v6, destinations, digest, observed_clients, over_ipv6,
        real, some_drain,
    };

    #[test]
    fn it_picks_as_linux_was_seen_to_pick() {
        let mut bench = Bench::new(Scheduler::Mh(WAYS[0]), &[1, 2, 3]);
        let picked = bench.for_clients(observed_clients());
        assert_eq!(picked, "321212333322133232323333333222331331");
    }

    #[test]
    fn the_cport_counts_when_told() {
        for (options, due) in WAYS.into_iter().zip([
            "144414444444144444444444444444444444",
            "144414444444144444444444444444444444",
            "144444144444414444414444444423444114",
            "144444144444414444414444444423444114",
        ]) {
            let mut bench = Bench::new(Scheduler::Mh(options), &[100, 7, 3, 640]);
            assert_eq!(bench.for_clients(clients_v4()), due, "{options:?}");
        }
    }

    #[test]
    fn clients_of_draining_ones_are_refused_or_passed_on() {
        for (options, due) in WAYS.into_iter().zip([
            "1-1-1----3--133--------1-1--1--31--1",
            "111111311313133333133311311311131111",
            "1-3--1-3---1-131-1-1-133131--3313-11",
            "133311131111113111311133131333313311",
        ]) {
            let mut bench = Bench::of(Scheduler::Mh(options), some_drain());
            assert_eq!(bench.for_clients(clients_v4()), due, "{options:?}");
        }
    }

    #[test]
    fn ipv6_is_folded() {
        for (options, due) in WAYS.into_iter().zip([
            "111111111111112311113211122111313311",
            "111111111111112311113211122111313311",
            "111112211122111111121121131113313111",
            "111112211122111111121121131113313111",
        ]) {
            let mut bench = Bench::of(Scheduler::Mh(options), over_ipv6());
            assert_eq!(bench.for_clients(clients_v6()), due, "{options:?}");
        }
    }

    fn lookup(weights: &[u32]) -> Lookup {
        let all: Vec<_> = (0..)
            .zip(weights)
            .map(|(n, weight)| (real(n), *weight, *weight))
            .collect();
        Lookup::new(&destinations(&all))
    }

    #[test]
    fn whole_tables_are_those_of_the_rule() {
        let table = |lookup: Lookup| digest(lookup.0.into_iter().map(usize::from));
        assert_eq!(table(lookup(&[1, 2, 3])), 0xecd7_5357_597a_b2df);
        assert_eq!(table(lookup(&[50, 100, 150])), 0xecd7_5357_597a_b2df);
        assert_eq!(table(lookup(&[100, 7, 3, 640])), 0x2002_d293_e721_e304);
        assert_eq!(table(lookup(&[1; 300])), 0xa530_374e_4d84_ef87);
        let forty: Vec<u32> = (0..40).map(|n| n * 37 % 101 + 1).collect();
        assert_eq!(table(lookup(&forty)), 0x816d_b207_a9af_8e8d);
        assert_eq!(table(Lookup::new(&over_ipv6())), 0x6c61_5b53_4bd4_86e6);
    }

    #[test]
    fn the_table_is_shared_by_weight() {
        for weights in [&[1, 2, 3][..], &[10, 20, 30, 40], &[1; 100], &[63, 1]] {
            let mut slots = vec![0_u32; weights.len()];
            for place in lookup(weights).0.iter() {
                slots[weights.len() - 1 - usize::from(*place)] += 1;
            }
            let sum: u32 = weights.iter().sum();
            for (slots, weight) in slots.iter().zip(weights) {
                let due = f64::from(N_SLOTS as u32) * f64::from(*weight) / f64::from(sum);
                // The last round is not a whole one.
                let off = (f64::from(*slots) - due).abs();
                assert!(
                    off <= f64::from(*weight).max(0.01 * due),
                    "{slots} for {due}"
                );
            }
        }
    }

    #[test]
    fn few_others_move_when_one_goes() {
        for n in [3, 10, 50] {
            let all: Vec<_> = (0..n).map(|n| (real(n), 1, 1)).collect();
            let mut destinations = destinations(&all);
            let before = Lookup::new(&destinations);
            let gone = destinations.remove(n / 2).id;
            let after = Lookup::new(&destinations);
            let id_before = |place: u16| (n - 1 - usize::from(place)) as u32;
            let id_after = |place: u16| destinations[n - 2 - usize::from(place)].id.0;
            let moved = before.0.iter().zip(after.0.iter());
            let n_moved = moved
                .filter(|(before, after)| {
                    id_before(**before) != gone.0 && id_before(**before) != id_after(**after)
                })
                .count();
            assert!(
                n_moved * 20 < N_SLOTS,
                "{n_moved} slots of {N_SLOTS}, {n} destinations"
            );
        }
    }

    #[test]
    fn nobody_moves_when_one_drains() {
        let all: Vec<_> = (0..5).map(|n| (real(n), 1, 1)).collect();
        let before = Lookup::new(&destinations(&all));
        let mut drained = destinations(&all);
        drained[2].weight = 0;
        assert_eq!(before.0, Lookup::new(&drained).0);
    }
}
