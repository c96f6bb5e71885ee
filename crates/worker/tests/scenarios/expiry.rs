//! Connections end by time, a few a turn.

use std::time::Duration;

use weir_director::Protocol;
use weir_testkit::{LAN, WAN};

use crate::team::{datagram, team_of};

/// What a turn may end: 64, looked at 16 at a time.
const BUDGET: u64 = 64;

/// Connections that are over all at once end over many turns, while packets flow; a turn that ends some is busy.
#[test]
fn many_connections_end_over_many_turns() {
    const ENDING: u64 = 500;
    let mut team = team_of(1);
    let mut clients = team.clients(0, Protocol::Udp);
    let ending: Vec<_> = clients.by_ref().take(ENDING as usize).collect();
    for client in ending {
        team.arrive(0, WAN, &datagram(client));
    }
    while team.turn(0) {}
    team.sent(0, LAN);
    assert_eq!(team.counters(0).connections, ENDING);
    team.pass(Duration::from_secs(301));
    let mut n_turns = 0;
    let mut left = ENDING;
    while left != 0 {
        team.arrive(0, WAN, &datagram(clients.next().unwrap()));
        team.turn(0);
        n_turns += 1;
        assert_eq!(team.sent(0, LAN).len(), 1, "packets flow meanwhile");
        let connections = team.counters(0).connections - n_turns;
        assert!((1..=BUDGET).contains(&(left - connections)));
        left = connections;
    }
    assert_eq!(n_turns, ENDING.div_ceil(BUDGET));
    assert!(!team.turn(0), "the new ones have time");
}

/// Ending connections is work: the worker does not idle over it.
#[test]
fn ending_connections_is_work() {
    let mut team = team_of(1);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    team.pass(Duration::from_secs(299));
    team.turn(0);
    assert_eq!(team.counters(0).connections, 1);
    team.pass(Duration::from_secs(2));
    assert!(team.turn(0));
    assert_eq!(team.counters(0).connections, 0);
}
