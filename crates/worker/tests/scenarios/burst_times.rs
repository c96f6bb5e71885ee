//! How long bursts take, as a worker tells the control thread.

use std::time::Duration;

use weir_testkit::{LAN, WAN};
use weir_worker::BurstSummary;

use crate::team::{Team, answer, datagram, team_of};

/// A turn with one packet, of which each look at the clock takes that many cycles.
fn burst(team: &mut Team, cycles: u64) {
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.cycles_a_look = cycles;
    team.turn(0);
    team.frames(0, LAN);
}

/// The turn in which the worker sums up; what it then tells.
fn after_a_second(team: &mut Team) -> BurstSummary {
    team.pass(Duration::from_secs(1));
    team.turn(0);
    team.counters(0).bursts
}

#[test]
fn percentiles_are_told_every_second_and_are_those_of_that_second() {
    let mut team = team_of(1);
    (0..1_990).for_each(|_| burst(&mut team, 200));
    (0..10).for_each(|_| burst(&mut team, 100_000));
    assert_eq!(team.counters(0).bursts, BurstSummary::NONE, "too early");
    let told = after_a_second(&mut team);
    assert!(told.p50.abs_diff(200) <= 2, "{told:?}");
    assert!(told.p999.abs_diff(100_000) <= 1_000, "{told:?}");
    assert!(told.longest.abs_diff(100_000) <= 1_000, "{told:?}");
    burst(&mut team, 500);
    let told = after_a_second(&mut team);
    assert!(told.longest.abs_diff(500) <= 5, "{told:?}");
    assert_eq!(
        after_a_second(&mut team),
        BurstSummary::NONE,
        "nothing came"
    );
}

/// The clock is looked at twice in a turn that receives something, from however many ports, and never in another.
#[test]
fn an_idle_turn_does_not_look_at_the_clock() {
    let mut team = team_of(1);
    team.turn(0);
    assert_eq!(team.n_looks.get(), 0);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    assert_eq!(team.n_looks.get(), 2);
    let sent = team.sent(0, LAN);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.arrive(0, LAN, &answer(&sent[0]));
    team.turn(0);
    assert_eq!(team.n_looks.get(), 4);
}
