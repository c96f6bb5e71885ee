//! Connections are listed in pages while packets flow.

use std::collections::HashMap;
use std::time::Duration;

use weir_director::{ConnectionView, Endpoint, Protocol, Scheduler, State, Timeouts};
use weir_testkit::{FAMILIES, IPV4, IntoEndpoint, LAN, Site, WAN, tcp};
use weir_worker::ConnectionPage;

use crate::team::{Plan, Team, datagram, team_of};

/// Places that a worker looks at in a turn, which is also the smallest page.
const PLACES_A_TURN: usize = 64;

/// A page, once the worker has filled it; between its turns happens what `meanwhile` says.
fn page(
    team: &mut Team,
    from: u32,
    n_rows: usize,
    mut meanwhile: impl FnMut(&mut Team),
) -> ConnectionPage {
    assert!(team.listings[0].ask(from, n_rows));
    for _ in 0..1000 {
        if let Some(page) = team.listings[0].take() {
            assert!(page.rows.len() <= n_rows.max(PLACES_A_TURN));
            let n_asked_for = n_rows.max(PLACES_A_TURN);
            assert_eq!(
                page.rows.capacity(),
                n_asked_for,
                "a worker allocates no room"
            );
            return page;
        }
        team.turn(0);
        meanwhile(team);
    }
    panic!("the page is never filled");
}

fn all(
    team: &mut Team,
    n_rows: usize,
    mut meanwhile: impl FnMut(&mut Team),
) -> Vec<ConnectionView> {
    let mut rows = Vec::new();
    let mut from = 0;
    for _ in 0..1000 {
        let page = page(team, from, n_rows, &mut meanwhile);
        rows.extend(page.rows);
        match page.next {
            Some(next) => from = next,
            None => return rows,
        }
    }
    panic!("the listing finds no end");
}

fn count_clients(rows: &[ConnectionView]) -> HashMap<Endpoint, usize> {
    let mut n_times = HashMap::new();
    for row in rows {
        *n_times.entry(row.client).or_default() += 1;
    }
    n_times
}

/// Nothing to list is a page with no rows and no next one.
#[test]
fn an_empty_table_is_listed_to_its_end() {
    let mut team = team_of(1);
    assert!(all(&mut team, 100, |_| ()).is_empty());
}

/// There is no page before the worker has filled it.
#[test]
fn a_page_is_there_when_it_is_filled() {
    let mut team = team_of(1);
    assert!(team.listings[0].ask(0, 2 * PLACES_A_TURN));
    assert!(team.listings[0].take().is_none());
    team.turn(0);
    assert!(
        team.listings[0].take().is_none(),
        "the table is not at its end"
    );
    for _ in 0..1024 / PLACES_A_TURN {
        team.turn(0);
    }
    assert!(team.listings[0].take().is_some());
}

/// A row is the connection as it stands, of either family, and between the two.
#[test]
fn a_row_is_the_connection() {
    let mut team = Team::new(Plan::new(Site::with_one_server(Protocol::Tcp)));
    for family in FAMILIES {
        team.arrive(0, WAN, &tcp(family.client, family.vip).syn());
    }
    team.turn(0);
    let sent = team.sent(0, LAN);
    let rows = all(&mut team, PLACES_A_TURN, |_| ());
    assert_eq!(rows.len(), FAMILIES.len());
    for family in FAMILIES {
        let vip = family.vip.into_endpoint();
        let row = rows.iter().find(|row| row.virtual_endpoint == vip).unwrap();
        assert_eq!(row.client, family.client.into_endpoint());
        assert_eq!(row.real, family.real.into_endpoint());
        assert!(sent.iter().any(|sent| sent.source == row.local));
        assert_eq!((row.protocol, row.state), (Protocol::Tcp, State::SynRecv));
        assert_eq!(row.expires_ticks, 60_000);
    }
}

/// Pages of any size: every connection that lives throughout is listed once, while others come and go.
#[test]
fn what_lives_throughout_is_listed_exactly_once() {
    const STAYING: usize = 300;
    let short = Timeouts::default().with(State::Udp, Duration::from_millis(500));
    let site = Site::with_one_server(Protocol::Tcp)
        .service(Protocol::Udp, IPV4.vip, Scheduler::Rr, &[(IPV4.real, 1)])
        .timeouts(short);
    for n_rows in [1, 64, 65, 100, 1000] {
        let mut team = Team::new(Plan::new(site.clone()));
        let mut passing = team.clients(0, Protocol::Udp).skip(STAYING);
        let mut come_and_go = move |team: &mut Team| {
            for client in passing.by_ref().take(20) {
                team.arrive(0, WAN, &datagram(client));
            }
            team.turn(0);
            assert_eq!(team.sent(0, LAN).len(), 20, "no packet waits for a listing");
            team.pass(Duration::from_millis(100));
        };
        let staying: Vec<_> = team.clients(0, Protocol::Tcp).take(STAYING).collect();
        for (n, client) in staying.iter().enumerate() {
            team.arrive(0, WAN, &tcp(*client, IPV4.vip).syn());
            team.turn(0);
            team.sent(0, LAN);
            if n % 8 == 0 {
                come_and_go(&mut team);
            }
        }
        let rows = all(&mut team, n_rows, &mut come_and_go);
        let n_times = count_clients(&rows);
        for client in &staying {
            assert_eq!(n_times.get(client), Some(&1), "{client}, pages of {n_rows}");
        }
        assert!(n_times.len() > STAYING, "some of the passing are there too");
    }
}

/// Who asks anew before the page is filled gets the page asked for last.
#[test]
fn asking_anew_begins_anew() {
    let mut team = team_of(1);
    team.arrive(0, WAN, &datagram(team.client(0)));
    team.turn(0);
    assert!(team.listings[0].ask(0, 1000));
    team.turn(0);
    assert_eq!(all(&mut team, 100, |_| ()).len(), 1);
}
