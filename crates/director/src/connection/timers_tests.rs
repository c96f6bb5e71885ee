//! The timer wheel against a list of deadlines, the tick's wrap included.
//!
//! Promises: nobody is forgotten, nobody comes late. Does not know: connections.

use std::collections::HashMap;

use proptest::prelude::*;
use weir_memory::Pages;

use super::links::Links;
use super::slab;
use super::timers::{self, Timers};
use crate::Tick;

const N_NODES: u32 = 64;
const SLOT_TICKS: u32 = 256;
/// One turn of the wheel; what is due later may be looked at early, once a turn.
const TURN_TICKS: u32 = 4095 * SLOT_TICKS;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Arms a node that is not armed; takes it out if it is.
    Toggle { node: u32, ticks: u32 },
    /// Time passes, and all that came due is taken.
    Pass(u32),
    /// Time passes, and a few of those are taken.
    Dawdle { ticks: u32, n_taken: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let ticks = || prop_oneof![0..1_000u32, 0..1_000_000u32, 0..5_000_000u32];
    prop_oneof![
        6 => (0..N_NODES, ticks()).prop_map(|(node, ticks)| Step::Toggle { node, ticks }),
        1 => ticks().prop_map(Step::Pass),
        1 => (ticks(), 0..3usize).prop_map(|(ticks, n_taken)| Step::Dawdle { ticks, n_taken }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_wheel_does_what_a_list_of_deadlines_does(
        start in prop_oneof![Just(0u32), u32::MAX - 2_000_000..u32::MAX, any::<u32>()],
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut now = Tick(start);
        let mut links = Links::new(N_NODES, slab::N_RINGS + timers::N_RINGS, Pages::Sparse).unwrap();
        let mut timers = Timers::new(now);
        // Node to when it was armed and when it is due.
        let mut twin = HashMap::<u32, (Tick, Tick)>::new();
        for step in steps {
            let n_taken = match step {
                Step::Toggle { node, ticks } => {
                    if twin.remove(&node).is_some() {
                        links.unlink(node);
                    } else {
                        timers.arm(&mut links, node, now.after(ticks));
                        twin.insert(node, (now, now.after(ticks)));
                    }
                    0
                }
                Step::Pass(ticks) => {
                    now = now.after(ticks);
                    usize::MAX
                }
                Step::Dawdle { ticks, n_taken } => {
                    now = now.after(ticks);
                    n_taken
                }
            };
            for _ in 0..n_taken {
                let Some(node) = timers.next_due(&mut links, now) else {
                    break;
                };
                let (armed, due) = twin.remove(&node).expect("taken out twice, or never armed");
                if !due.is_due(now) {
                    // The wheel may lag behind the time at which the node was armed.
                    prop_assert!(due.since(armed) + 5_000_000 > TURN_TICKS, "looked at too early");
                    timers.arm(&mut links, node, due);
                    twin.insert(node, (now, due));
                }
            }
            if n_taken == usize::MAX {
                for (node, (_, due)) in &twin {
                    prop_assert!(now.since(*due) < SLOT_TICKS, "{node} is forgotten");
                }
            }
        }
    }

    /// Without lag nobody within a turn of the wheel comes early.
    #[test]
    fn nobody_comes_early(
        start in prop_oneof![u32::MAX - 2_000_000..u32::MAX, any::<u32>()],
        spans in prop::collection::vec(0..TURN_TICKS - SLOT_TICKS, 1..N_NODES as usize),
        pause in 0..3_000u32,
    ) {
        let mut links = Links::new(N_NODES, slab::N_RINGS + timers::N_RINGS, Pages::Sparse).unwrap();
        let mut timers = Timers::new(Tick(start));
        for (node, span) in spans.iter().enumerate() {
            timers.arm(&mut links, node as u32, Tick(start).after(*span));
        }
        let mut now = Tick(start);
        let mut n_taken = 0;
        while n_taken < spans.len() {
            now = now.after(pause + 1000);
            while let Some(node) = timers.next_due(&mut links, now) {
                let due = Tick(start).after(spans[node as usize]);
                prop_assert!(due.is_due(now), "too early");
                prop_assert!(now.since(due) < pause + 1000 + SLOT_TICKS, "too late");
                n_taken += 1;
            }
            prop_assert!(now.since(Tick(start)) < 2 * TURN_TICKS, "forgotten");
        }
    }
}
