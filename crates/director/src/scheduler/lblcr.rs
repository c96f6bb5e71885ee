//! Locality-based least connections with replication: a VIP has a set of destinations, which grows when the best of them
//! is overloaded, and shrinks when it has not changed for a day.
//!
//! Promises: the choice of `ip_vs_lblcr.c` for a VIP, kept by each worker for itself. Where a set would outgrow its room,
//! the member with the most load goes.
//! Does not know: clients.

use super::lblc::is_overloaded;
use super::list::List;
use super::records::Locality;
use super::wlc;
use crate::Tick;

pub(super) fn pick(list: List<'_>, locality: &mut Locality, now: Tick) -> Option<usize> {
    locality.use_at(now, list.rows);
    let best = list.least(locality.members(list), |row| list.overhead(row));
    if locality.n_members() > 1 && locality.has_settled(now) {
        remove_worst(list, locality, now);
    }
    if let Some(place) = best
        && !is_overloaded(list, place)
    {
        return Some(place);
    }
    let place = wlc::pick(list)?;
    if locality.n_members() == Locality::ROOM {
        remove_worst(list, locality, now);
    }
    locality.insert(list.rows[place].id, place, now);
    Some(place)
}

/// Takes out the member with the most load for its weight; of several the one added last. Draining ones stay.
fn remove_worst(list: List<'_>, locality: &mut Locality, now: Tick) {
    let load = |place: usize| {
        let row = &list.rows[place];
        (list.overhead(row), u64::from(row.weight))
    };
    let worst = locality
        .members(list)
        .filter(|(_, row)| row.weight != 0)
        .map(|(place, _)| place)
        .reduce(|worst, place| {
            let ((cost, weight), (worst_cost, worst_weight)) = (load(place), load(worst));
            if cost * worst_weight > worst_cost * weight {
                place
            } else {
                worst
            }
        });
    if let Some(place) = worst {
        locality.remove(place, now);
    }
}

#[cfg(test)]
mod tests {
    use crate::scheduler::Scheduler;
    use crate::scheduler::fixture::Bench;
    use crate::scheduler::list::{List, Row};
    use crate::scheduler::records::Locality;
    use crate::{ServiceId, Tick};

    const HOUR: u32 = 3600 * Tick::PER_SECOND;

    #[test]
    fn a_set_grows_when_its_best_is_overloaded() {
        let mut bench = Bench::new(Scheduler::Lblcr, &[2, 2, 2]);
        assert_eq!(bench.sequence(4), "3332");
        // Now 3 has three and 2 has one; the set is both, and the less loaded gets the next ones.
        assert_eq!(bench.sequence(2), "22");
        let members = |bench: &mut Bench| bench.records.locality(ServiceId(0)).n_members();
        assert_eq!(members(&mut bench), 2);
        assert_eq!(bench.sequence(1), "1");
        assert_eq!(members(&mut bench), 3);
    }

    #[test]
    fn a_set_unchanged_for_a_day_loses_its_most_loaded() {
        let mut bench = Bench::new(Scheduler::Lblcr, &[2, 2, 2]);
        assert_eq!(bench.sequence(4), "3332");
        for _ in 0..2 {
            bench.now = bench.now.after(13 * HOUR);
            bench.pick();
        }
        assert_eq!(bench.records.locality(ServiceId(0)).n_members(), 1);
        bench.loads[2].active = 0;
        assert_eq!(
            bench.pick(),
            Some(1),
            "3 is out of the set though it is idle"
        );
    }

    #[test]
    fn what_is_gone_leaves_the_set() {
        let mut bench = Bench::new(Scheduler::Lblcr, &[2, 2, 2]);
        assert_eq!(bench.sequence(4), "3332");
        bench.change(Scheduler::Lblcr, &[(2, 9), (0, 2)]);
        assert_eq!(bench.pick(), Some(2));
        assert_eq!(bench.records.locality(ServiceId(0)).n_members(), 1);
    }

    #[test]
    fn a_set_unused_for_a_day_is_forgotten() {
        let mut bench = Bench::new(Scheduler::Lblcr, &[9, 9]);
        assert_eq!(bench.sequence(2), "22");
        bench.now = bench.now.after(25 * HOUR);
        assert_eq!(bench.sequence(1), "1");
    }

    #[test]
    fn a_full_set_makes_room() {
        let n = 2 * Locality::ROOM;
        let mut bench = Bench::new(Scheduler::Lblcr, &vec![1; n]);
        for _ in 0..4 * n {
            let picked = bench.pick().unwrap();
            let list = List {
                rows: &bench.service.schedule.rows,
                loads: &bench.loads,
                overloads: bench.overloads.view(&[]),
            };
            let is_picked = |(_, row): (usize, &Row)| row.id.0 as usize == picked;
            let locality = bench.records.locality(ServiceId(0));
            assert!(locality.members(list).any(is_picked));
            bench.loads[picked].active += 1;
        }
        assert_eq!(
            bench.records.locality(ServiceId(0)).n_members(),
            Locality::ROOM
        );
        assert!(bench.loads.iter().all(|load| load.active != 0));
    }
}
