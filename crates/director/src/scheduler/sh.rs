//! Source hashing: the client's address decides.
//!
//! Promises: the choice of `ip_vs_sh.c`; one look-up, with `fallback` up to 257. A draining destination keeps one bucket a round,
//! whose clients are refused, or passed on with `fallback`.
//! Does not know: loads.

use weir_wire::Endpoint;

use super::HashOptions;
use super::buckets::{Buckets, N_BUCKETS, bucket, fold};
use super::list::{List, Row};

/// Each destination takes as many buckets as its weight, but one at least.
pub(super) fn buckets(rows: &[Row]) -> Buckets {
    Buckets::going_round(rows.len(), |place| rows[place].weight.max(1) as usize)
}

pub(super) fn pick(
    list: List<'_>,
    buckets: &Buckets,
    options: HashOptions,
    client: Endpoint,
) -> Option<usize> {
    let cport = if options.port { client.port() } else { 0 };
    let bucket = bucket(fold(client.ip()).wrapping_add(u32::from(cport)));
    let picked = list.open(buckets.place(bucket));
    if picked.is_some() || !options.fallback {
        return picked;
    }
    // IPVS begins as far behind the bucket as the bucket is behind the first.
    (2 * bucket..2 * bucket + N_BUCKETS).find_map(|other| list.open(buckets.place(other)))
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
        let mut bench = Bench::new(Scheduler::Sh(WAYS[0]), &[1, 2, 3]);
        let picked = bench.for_clients(observed_clients());
        assert_eq!(picked, "133223133223131233231233231332231332");
    }

    #[test]
    fn the_cport_counts_when_told() {
        for (options, due) in WAYS.into_iter().zip([
            "133223133223131233231233231332231332",
            "133223133223131233231233231332231332",
            "323133123231331232312312323123133232",
            "323133123231331232312312323123133232",
        ]) {
            let mut bench = Bench::new(Scheduler::Sh(options), &[1, 2, 3]);
            assert_eq!(bench.for_clients(clients_v4()), due, "{options:?}");
        }
    }

    #[test]
    fn clients_of_draining_ones_are_refused_or_passed_on() {
        for (options, due) in WAYS.into_iter().zip([
            "-1--1-3113-1--1--1-3113-13-1--1-3113",
            "113111311311311311131131131131113113",
            "-31131-3113-13113-1-113-1--13113-1--",
            "131131131131131131111133111131131111",
        ]) {
            let mut bench = Bench::of(Scheduler::Sh(options), some_drain());
            assert_eq!(bench.for_clients(clients_v4()), due, "{options:?}");
        }
    }

    #[test]
    fn ipv6_is_folded() {
        for (options, due) in WAYS.into_iter().zip([
            "111211132111111111132121111112121221",
            "111211132111111111132121111112121221",
            "111313111111111111111311132131132111",
            "111313111111111111111311132131132111",
        ]) {
            let mut bench = Bench::of(Scheduler::Sh(options), over_ipv6());
            assert_eq!(bench.for_clients(clients_v6()), due, "{options:?}");
        }
    }

    /// 256 buckets are 42 rounds of six and four more.
    #[test]
    fn the_buckets_are_shared_by_weight() {
        let rows: Vec<Row> = destinations(&[(real(0), 1, 1), (real(1), 2, 2), (real(2), 3, 3)])
            .iter()
            .rev()
            .map(Row::of)
            .collect();
        let buckets = buckets(&rows);
        let n_buckets = [0, 1, 2].map(|place| {
            let all = 0..N_BUCKETS;
            all.filter(|bucket| buckets.place(*bucket) == place).count()
        });
        assert_eq!(n_buckets, [3 * 42 + 3, 2 * 42 + 1, 42]);
    }

    #[test]
    fn whole_tables_are_those_of_the_rule() {
        let table = |weights: &[u32]| {
            let all: Vec<_> = (0..).zip(weights).map(|(n, w)| (real(n), *w, *w)).collect();
            let rows: Vec<Row> = destinations(&all).iter().rev().map(Row::of).collect();
            let buckets = buckets(&rows);
            digest((0..N_BUCKETS).map(|bucket| buckets.place(bucket)))
        };
        assert_eq!(table(&[1, 2, 3]), 0xb8ab_54c9_025f_87ba);
        assert_eq!(table(&[100, 7, 3, 640]), 0xd80a_c658_736b_b725);
        assert_eq!(table(&[1; 300]), 0x4242_dc52_49c3_3625);
        let forty: Vec<u32> = (0..40).map(|n| n * 37 % 101 + 1).collect();
        assert_eq!(table(&forty), 0x5388_2015_3ae7_90e1);
    }
}
