//! Locality-based least connections: a VIP stays with one destination as long as that is not overloaded.
//!
//! Promises: the choice of `ip_vs_lblc.c` for a VIP, kept by each worker for itself. As there, a cached destination
//! is not asked whether it is above its thresholds.
//! Does not know: clients.

use super::list::List;
use super::records::Locality;
use super::wlc;
use crate::Tick;

pub(super) fn pick(list: List<'_>, locality: &mut Locality, now: Tick) -> Option<usize> {
    locality.use_at(now, list.rows);
    let cached = locality.members(list).next();
    if let Some((place, row)) = cached
        && row.weight != 0
        && !is_overloaded(list, place)
    {
        return Some(place);
    }
    let place = wlc::pick(list)?;
    locality.set(list.rows[place].id, place);
    Some(place)
}

/// Whether a destination has more active connections than its weight while another has not half as many as its own.
pub(super) fn is_overloaded(list: List<'_>, place: usize) -> bool {
    let row = &list.rows[place];
    list.active(row) > u64::from(row.weight)
        && list
            .rows
            .iter()
            .any(|other| list.active(other) * 2 < u64::from(other.weight))
}

#[cfg(test)]
mod tests {
    use crate::Tick;
    use crate::scheduler::Scheduler;
    use crate::scheduler::fixture::Bench;

    #[test]
    fn a_vip_stays_until_its_destination_is_overloaded() {
        let mut bench = Bench::new(Scheduler::Lblc, &[2, 4]);
        // 5 active are too many for weight 4 while the other one has none. 3 are too many for weight 2, but then nobody has
        // less than half of its weight.
        assert_eq!(bench.sequence(9), "222221111");
    }

    #[test]
    fn a_vip_leaves_for_one_that_is_not_half_as_busy() {
        let mut bench = Bench::new(Scheduler::Lblc, &[6, 2]);
        bench.loads[0].active = 2;
        assert_eq!(bench.sequence(4), "2221");
    }

    #[test]
    fn a_vip_stays_where_all_are_overloaded() {
        let mut bench = Bench::new(Scheduler::Lblc, &[2, 2]);
        assert_eq!(bench.sequence(3), "222");
        bench.loads[0].active = 1;
        assert_eq!(bench.sequence(3), "222", "half of the weight is too much");
    }

    #[test]
    fn a_vip_leaves_what_drains_and_what_is_gone() {
        let mut bench = Bench::new(Scheduler::Lblc, &[9, 9, 9]);
        assert_eq!(bench.sequence(2), "33");
        bench.change(Scheduler::Lblc, &[(0, 9), (2, 9), (1, 9)]);
        assert_eq!(bench.sequence(2), "33", "it has moved in the list");
        bench.change(Scheduler::Lblc, &[(0, 9), (2, 0), (1, 9)]);
        assert_eq!(bench.sequence(2), "22", "it drains");
        bench.change(Scheduler::Lblc, &[(0, 9)]);
        assert_eq!(bench.sequence(2), "11", "it is gone");
    }

    #[test]
    fn a_vip_unused_for_a_day_is_forgotten() {
        let mut bench = Bench::new(Scheduler::Lblc, &[9, 9]);
        assert_eq!(bench.sequence(2), "22");
        let hour = 3600 * Tick::PER_SECOND;
        bench.now = bench.now.after(23 * hour);
        assert_eq!(bench.sequence(1), "2");
        bench.now = bench.now.after(25 * hour);
        assert_eq!(bench.sequence(1), "1", "the least loaded");
    }
}
