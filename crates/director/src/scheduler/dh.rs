//! Destination hashing: the VIP decides. One service has one VIP, so all its clients get one destination; what spreads
//! are services.
//!
//! Promises: the choice of `ip_vs_dh.c`, one look-up. Does not know: loads, and weights but that 0 drains.

use weir_wire::Endpoint;

use super::buckets::{Buckets, bucket, fold};
use super::list::{List, Row};

/// The destinations in turn, whatever their weights.
pub(super) fn buckets(rows: &[Row]) -> Buckets {
    Buckets::going_round(rows.len(), |_| 1)
}

pub(super) fn pick(list: List<'_>, buckets: &Buckets, virtual_endpoint: Endpoint) -> Option<usize> {
    list.open(buckets.place(bucket(fold(virtual_endpoint.ip()))))
}

#[cfg(test)]
mod tests {
    //! The sequences were computed by a program of its own, written in another language from the rule alone.

    use super::*;
    use crate::scheduler::Scheduler;
    use crate::scheduler::fixture::{Bench, clients_v6, observed_clients, over_ipv6};

    /// The digit of the destination for each VIP.
    fn for_vips(bench: &mut Bench, vips: impl Iterator<Item = Endpoint>) -> String {
        vips.map(|vip| {
            bench.service.key.virtual_endpoint = vip;
            bench.for_clients(observed_clients().take(1))
        })
        .collect()
    }

    #[test]
    fn the_vip_decides_and_weights_do_not() {
        let vips = || (1..=36).map(|host| Endpoint::new([192, 0, 2, host].into(), 80));
        let due = "123213121323132323312121313232321212";
        for weights in [[1, 2, 3], [9, 9, 1]] {
            let mut bench = Bench::new(Scheduler::Dh, &weights);
            assert_eq!(for_vips(&mut bench, vips()), due);
        }
        let mut bench = Bench::new(Scheduler::Dh, &[1, 0, 1]);
        assert_eq!(for_vips(&mut bench, vips()), due.replace('2', "-"));
        let mut bench = Bench::of(Scheduler::Dh, over_ipv6());
        let due = "323312131223221232332232123333321213";
        assert_eq!(for_vips(&mut bench, clients_v6()), due);
    }

    #[test]
    fn clients_do_not_count() {
        let mut bench = Bench::new(Scheduler::Dh, &[1, 1, 1]);
        let picked = bench.for_clients(observed_clients());
        assert_eq!(picked, picked[..1].repeat(36));
    }
}
