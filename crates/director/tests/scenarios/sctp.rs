//! SCTP as IPVS does it: associations under every method, and packets of none.

use std::time::Duration;

use weir_director::{
    DropReason, Encapsulation, IpvsSettings, PuntReason, Reuse, Scheduler, State, Verdict,
};
use weir_testkit::chunk::{
    ABORT, COOKIE_ACK, COOKIE_ECHO, DATA, ERROR, HEARTBEAT, INIT, INIT_ACK, SACK, SHUTDOWN,
    SHUTDOWN_ACK, SHUTDOWN_COMPLETE,
};
use weir_testkit::{
    By, Family, FrameBuilder, IPV4, IPV6, IntoEndpoint, LAN, LAN_MAC, Random, Rig, Site, WAN,
    decode, icmp, real_server_mac, sctp, tcp, try_decode,
};
use weir_wire::{Endpoint, Protocol};

use crate::conversation::client;

const FAMILIES: [Family; 2] = [IPV4, IPV6];
const WAYS: [By; 4] = [By::FullNat, By::Nat, By::Dr, By::Tun(Encapsulation::Ipip)];

fn rig(by: By) -> Rig {
    Rig::new(Site::with_two_servers(by, &[Protocol::Sctp]))
}

fn sloppy(by: By) -> Rig {
    let site = Site::with_two_servers(by, &[Protocol::Sctp]);
    Rig::new(site.ipvs(IpvsSettings {
        sloppy_sctp: true,
        ..IpvsSettings::default()
    }))
}

/// State and seconds to live of the only connection.
fn state(rig: &Rig) -> (State, u32) {
    let view = rig.connection();
    (view.state, view.expires_ticks / 1000)
}

/// (active, inactive) of the real server that rr picks first.
fn load(rig: &Rig, by: By, family: Family) -> (u32, u32) {
    let real = by.endpoint(family.other_real, family.vip);
    let id = rig.site.destination(Protocol::Sctp, family.vip, &real);
    let load = rig.totals(id).load;
    (load.active, load.inactive)
}

/// Who sends a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}
use Sender::{Client, Server};

/// One association: the ends as the real server sees them are known once the client has sent.
struct Association {
    rig: Rig,
    by: By,
    family: Family,
    local: Option<(Endpoint, Endpoint)>,
}

impl Association {
    fn new(rig: Rig, by: By, family: Family) -> Self {
        Self {
            rig,
            by,
            family,
            local: None,
        }
    }

    /// A packet that must go through, with its ends rewritten, its chunks as they were and its checksum right.
    #[track_caller]
    fn pass(&mut self, from: Sender, kind: u8) {
        self.pass_frame(from, |frame| frame.data(b"odd"), kind);
    }

    #[track_caller]
    fn pass_frame(&mut self, from: Sender, edit: fn(FrameBuilder) -> FrameBuilder, kind: u8) {
        let (client, vip) = (self.family.client, self.family.vip);
        let frame = match from {
            Client => edit(sctp(client, vip, kind)),
            Server => {
                let (local, real) = self.local.expect("the client sends first");
                edit(sctp(real, local, kind)).macs(real_server_mac(real.ip()), LAN_MAC)
            }
        };
        let outcome = self.rig.send(&frame);
        let port = if from == Client { LAN } else { WAN };
        assert_eq!(outcome.verdict, Verdict::Transmit(port));
        if let By::Tun(_) = self.by {
            let l4 = frame
                .bytes()
                .split_off(14 + usize::from(self.family.ip_header_bytes));
            assert!(outcome.frame.ends_with(&l4));
            return;
        }
        let sent = decode(&outcome.frame);
        let before = decode(&frame.bytes());
        assert_eq!((sent.payload.clone(), sent.ttl), {
            let mut payload = before.payload.clone();
            if let (weir_testkit::Payload::Sctp(packet), weir_testkit::Payload::Sctp(sent)) =
                (&mut payload, &sent.payload)
            {
                packet.l4_ports = sent.l4_ports;
            }
            (payload, before.ttl - 1)
        });
        match (from, self.by) {
            (Server, _) => {
                assert_eq!(sent.source, vip.into_endpoint());
                assert_eq!(sent.destination, client.into_endpoint());
            }
            (Client, By::Nat | By::FullNat) => {
                assert_eq!(sent.destination, self.family.other_real.into_endpoint());
                let local = if self.by == By::Nat {
                    client
                } else {
                    self.family.local
                };
                assert_eq!(sent.source, local.into_endpoint());
                self.local = Some((sent.source, sent.destination));
            }
            (Client, By::Dr | By::Tun(_)) => {
                assert_eq!(
                    (sent.source, sent.destination),
                    (before.source, before.destination)
                );
            }
        }
    }

    #[track_caller]
    fn walk(&mut self, steps: &[(Sender, u8, State, u32)]) {
        for (n, (from, kind, expected, seconds)) in steps.iter().enumerate() {
            self.pass(*from, *kind);
            assert_eq!(state(&self.rig), (*expected, *seconds), "step {n}");
            let is_active = *expected == State::SctpEstablished;
            let expected = if is_active { (1, 0) } else { (0, 1) };
            assert_eq!(load(&self.rig, self.by, self.family), expected, "step {n}");
        }
    }
}

const OPENING: [(Sender, u8, State, u32); 4] = [
    (Client, INIT, State::SctpInit1, 4),
    (Server, INIT_ACK, State::SctpCookieSent, 61),
    (Client, COOKIE_ECHO, State::SctpCookieReplied, 61),
    (Server, COOKIE_ACK, State::SctpEstablished, 900),
];

/// An association that stands, both of whose ends pass the director.
fn established(by: By, family: Family) -> Association {
    let mut association = Association::new(rig(by), by, family);
    association.walk(&OPENING);
    association
}

const BOTH_ENDS: [By; 2] = [By::Nat, By::FullNat];

#[test]
fn an_association_opens_carries_data_and_is_shut_down_from_either_side() {
    let data = [
        (Client, DATA, State::SctpEstablished, 900),
        (Server, SACK, State::SctpEstablished, 900),
        (Server, DATA, State::SctpEstablished, 900),
        (Server, HEARTBEAT, State::SctpEstablished, 900),
        (Client, ERROR, State::SctpEstablished, 900),
    ];
    let ends = [
        [
            (Client, SHUTDOWN, State::SctpShutdownReceived, 61),
            (Server, SHUTDOWN_ACK, State::SctpShutdownAckSent, 61),
            (Client, SHUTDOWN_COMPLETE, State::SctpClosed, 61),
        ],
        [
            (Server, SHUTDOWN, State::SctpShutdownSent, 61),
            (Client, SHUTDOWN_ACK, State::SctpClosed, 61),
            (Server, SHUTDOWN_COMPLETE, State::SctpClosed, 61),
        ],
    ];
    for by in BOTH_ENDS {
        for family in FAMILIES {
            for end in &ends {
                let mut association = established(by, family);
                association.walk(&data);
                association.walk(end);
                let Association { mut rig, .. } = association;
                rig.pass(Duration::from_secs(60));
                assert_eq!(rig.connections().len(), 1);
                rig.pass(Duration::from_secs(2));
                assert!(rig.connections().is_empty());
                assert_eq!(load(&rig, by, family), (0, 0));
            }
        }
    }
}

/// Where the real server answers by itself, the client's COOKIE ECHO is what says that it got a cookie.
#[test]
fn of_a_client_alone_the_cookie_opens_and_the_shutdown_closes() {
    for by in [By::Dr, By::Tun(Encapsulation::Ipip)] {
        for family in FAMILIES {
            let mut association = Association::new(rig(by), by, family);
            association.walk(&[
                (Client, INIT, State::SctpInit1, 4),
                (Client, COOKIE_ECHO, State::SctpEstablished, 900),
                (Client, DATA, State::SctpEstablished, 900),
                (Client, SHUTDOWN, State::SctpShutdownReceived, 61),
                (Client, SHUTDOWN_COMPLETE, State::SctpClosed, 61),
            ]);
            let mut association = Association::new(rig(by), by, family);
            association.walk(&[
                (Client, INIT, State::SctpInit1, 4),
                (Client, COOKIE_ECHO, State::SctpEstablished, 900),
                (Client, SHUTDOWN_ACK, State::SctpClosed, 61),
            ]);
        }
    }
}

#[test]
fn an_abort_closes_and_a_rejected_init_is_forgotten_soon() {
    for by in BOTH_ENDS {
        for family in FAMILIES {
            for from in [Client, Server] {
                established(by, family).walk(&[(from, ABORT, State::SctpClosed, 61)]);
            }
            let mut association = Association::new(rig(by), by, family);
            association.walk(&[
                (Client, INIT, State::SctpInit1, 4),
                (Server, ABORT, State::SctpRejected, 4),
                (Client, INIT, State::SctpInit, 61),
            ]);
            let mut association = Association::new(rig(by), by, family);
            association.walk(&OPENING[..3]);
            // The cookie's answer is an ABORT behind it.
            association.pass_frame(Server, |frame| frame.data(b"odd").chunk(ABORT), COOKIE_ACK);
            assert_eq!(state(&association.rig), (State::SctpClosed, 61));
        }
    }
}

#[test]
fn what_is_sent_again_changes_nothing_but_the_first_init() {
    for by in BOTH_ENDS {
        let mut association = Association::new(rig(by), by, IPV4);
        association.walk(&[
            (Client, INIT, State::SctpInit1, 4),
            (Client, INIT, State::SctpInit, 61),
            (Client, INIT, State::SctpInit, 61),
            (Server, INIT_ACK, State::SctpCookieSent, 61),
            (Client, INIT, State::SctpCookieSent, 61),
            (Server, INIT_ACK, State::SctpCookieSent, 61),
            (Client, COOKIE_ECHO, State::SctpCookieReplied, 61),
            (Client, COOKIE_ECHO, State::SctpCookieReplied, 61),
            (Server, COOKIE_ACK, State::SctpEstablished, 900),
            (Client, COOKIE_ECHO, State::SctpEstablished, 900),
            (Server, COOKIE_ACK, State::SctpEstablished, 900),
            (Client, SHUTDOWN, State::SctpShutdownReceived, 61),
            (Client, SHUTDOWN, State::SctpShutdownReceived, 61),
            (Server, SHUTDOWN_ACK, State::SctpShutdownAckSent, 61),
            (Server, SHUTDOWN_ACK, State::SctpShutdownAckSent, 61),
        ]);
    }
}

/// A client that restarts sends INIT on the association it forgot: its real server must answer (RFC 9260 §5.2.2).
#[test]
fn a_restart_reaches_the_server_that_has_the_association() {
    for by in BOTH_ENDS {
        established(by, IPV4).walk(&[
            (Client, INIT, State::SctpEstablished, 900),
            (Server, INIT_ACK, State::SctpEstablished, 900),
            (Client, COOKIE_ECHO, State::SctpEstablished, 900),
            (Server, COOKIE_ACK, State::SctpEstablished, 900),
        ]);
    }
}

/// Where the association is over an INIT is scheduled anew, unless `conn_reuse_mode` is 0; any other packet goes on.
#[test]
fn an_init_takes_the_place_of_a_closed_association() {
    for by in WAYS {
        for (reuse, is_moved) in [
            (Reuse::Over, true),
            (Reuse::OverOrFinWait, true),
            (Reuse::Never, false),
        ] {
            let site = Site::with_two_servers(by, &[Protocol::Sctp]);
            let mut rig = Rig::new(site.ipvs(IpvsSettings {
                reuse,
                ..IpvsSettings::default()
            }));
            let packet = |kind| sctp(IPV4.client, IPV4.vip, kind);
            let mac = |rig: &mut Rig, kind| {
                let outcome = rig.send(&packet(kind));
                assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
                outcome.frame[..6].to_vec()
            };
            let first = mac(&mut rig, INIT);
            assert_eq!(mac(&mut rig, ABORT), first);
            assert_eq!(rig.connection().state, State::SctpClosed);
            assert_eq!(mac(&mut rig, DATA), first);
            let next = mac(&mut rig, INIT);
            assert_eq!(next != first, is_moved, "{by:?} {reuse:?}");
            let expected = if is_moved {
                State::SctpInit1
            } else {
                State::SctpInit
            };
            assert_eq!(rig.connection().state, expected);
        }
    }
}

/// IPVS answers to none of them (`sctp_conn_schedule`), whatever they are addressed to.
#[test]
fn packets_of_no_association_are_dropped_without_a_word() {
    for by in WAYS {
        for family in FAMILIES {
            let mut rig = rig(by);
            let other = Endpoint::new(family.vip.into_endpoint().ip(), 81);
            for to in [family.vip.into_endpoint(), other] {
                for kind in [
                    DATA,
                    INIT_ACK,
                    SACK,
                    ABORT,
                    SHUTDOWN,
                    COOKIE_ECHO,
                    COOKIE_ACK,
                    200,
                ] {
                    rig.send(&sctp(family.client, to, kind))
                        .is_dropped(DropReason::NoConnection);
                }
            }
            rig.send(&sctp(family.client, other, INIT))
                .is_punted(PuntReason::NoService);
            // Behind the chunk of a cookie, an INIT is none.
            rig.send(&sctp(family.client, family.vip, COOKIE_ECHO).chunk(INIT))
                .is_dropped(DropReason::NoConnection);
            assert!(rig.connections().is_empty());
        }
    }
}

/// The real server's, that is: under FULLNAT to a local address, under NAT to the client itself, where weir routes it.
#[test]
fn a_reply_of_no_association_is_dropped_or_routed() {
    for family in FAMILIES {
        let real = family.other_real.into_endpoint();
        let from_server =
            |to: &str, kind| sctp(real, to, kind).macs(real_server_mac(real.ip()), LAN_MAC);
        let mut fullnat = rig(By::FullNat);
        fullnat
            .send(&from_server(family.local, DATA))
            .is_dropped(DropReason::NoConnection);
        fullnat
            .send(&from_server(family.local, INIT))
            .is_punted(PuntReason::NoService);
        let sent = rig(By::Nat).forward(&from_server(family.client, DATA));
        assert_eq!(
            sent.to_string(),
            format!("sctp 0 {real}>{} ttl63", family.client)
        );
    }
}

#[test]
fn a_service_of_another_protocol_is_another() {
    let site = Site::with_two_servers(By::Nat, &[Protocol::Tcp, Protocol::Udp]);
    Rig::new(site)
        .send(&sctp(IPV4.client, IPV4.vip, INIT))
        .is_punted(PuntReason::NoService);
    let site = Site::new().service(Protocol::Sctp, IPV4.vip, Scheduler::Rr, &[(IPV4.real, 0)]);
    Rig::new(site)
        .send(&sctp(IPV4.client, IPV4.vip, INIT))
        .is_punted(PuntReason::NoDestination);
}

/// The state is the one into which IPVS's tables lead from NONE, an ABORT's too.
#[test]
fn with_sloppy_sctp_any_packet_opens() {
    use State::{
        SctpClosed, SctpCookieEchoed, SctpCookieReplied, SctpCookieWait, SctpEstablished,
        SctpInit1, SctpShutdownReceived,
    };
    for (kind, seen, alone) in [
        (DATA, SctpEstablished, SctpEstablished),
        (INIT, SctpInit1, SctpInit1),
        (INIT_ACK, SctpCookieWait, SctpCookieEchoed),
        (COOKIE_ECHO, SctpCookieReplied, SctpEstablished),
        (COOKIE_ACK, SctpEstablished, SctpEstablished),
        (SHUTDOWN, SctpShutdownReceived, SctpShutdownReceived),
        (SHUTDOWN_ACK, SctpClosed, SctpClosed),
        (SHUTDOWN_COMPLETE, SctpClosed, SctpClosed),
        (ERROR, SctpClosed, SctpClosed),
        (ABORT, SctpClosed, SctpClosed),
    ] {
        for by in WAYS {
            let mut rig = sloppy(by);
            let outcome = rig.send(&sctp(IPV4.client, IPV4.vip, kind));
            assert_eq!(outcome.verdict, Verdict::Transmit(LAN));
            let expected = match by {
                By::FullNat | By::Nat => seen,
                By::Dr | By::Tun(_) => alone,
            };
            assert_eq!(rig.connection().state, expected, "{kind} {by:?}");
        }
    }
    sloppy(By::Nat)
        .send(&sctp(IPV4.client, "192.0.2.100:81", DATA))
        .is_punted(PuntReason::NoService);
}

/// A packet that is refused leaves the state as it was.
#[test]
fn a_packet_that_cannot_go_on_changes_no_state() {
    for by in BOTH_ENDS {
        let mut association = established(by, IPV4);
        let abort = sctp(IPV4.client, IPV4.vip, ABORT);
        let rig = &mut association.rig;
        rig.send(&abort.clone().ttl(1))
            .is_punted(PuntReason::TtlExceeded);
        rig.send(&abort.ip_bytes(1504))
            .is_punted(PuntReason::TooBig { mtu: 1500 });
        assert_eq!(state(rig), (State::SctpEstablished, 900));
    }
}

/// Of any length: what leaves has a right checksum if and only if what came in had one.
#[test]
fn checksums_stay_what_they_were_right_or_wrong() {
    let mut random = Random(5);
    for by in WAYS {
        for family in FAMILIES {
            let mut association = established_or_alone(by, family);
            for n in 0..200 {
                let data: Vec<u8> = (0..random.below(1400))
                    .map(|_| random.below(256) as u8)
                    .collect();
                let is_reply = n % 2 == 1 && association.local.is_some();
                let frame = match association.local.filter(|_| is_reply) {
                    Some((local, real)) => {
                        sctp(real, local, DATA).macs(real_server_mac(real.ip()), LAN_MAC)
                    }
                    None => sctp(family.client, family.vip, DATA),
                };
                let mut bytes = frame.data(&data).bytes();
                let is_right = n % 4 < 2;
                if !is_right {
                    // In the checksum, the tag, the chunk or its value.
                    let l4 = 14 + usize::from(family.ip_header_bytes);
                    let at = l4 + 4 + random.below(bytes.len() - l4 - 4);
                    bytes[at] ^= 1 << random.below(8);
                }
                let outcome = association.rig.receive(weir_director::WorkerId(0), &bytes);
                let port = if is_reply { WAN } else { LAN };
                assert_eq!(outcome.verdict, Verdict::Transmit(port));
                let mut sent = outcome.frame;
                if let By::Tun(_) = by {
                    sent.drain(14..14 + usize::from(family.ip_header_bytes));
                }
                let read = try_decode(&sent);
                assert_eq!(read.is_ok(), is_right, "{by:?} {read:?}");
            }
        }
    }
}

fn established_or_alone(by: By, family: Family) -> Association {
    match by {
        By::Nat | By::FullNat => established(by, family),
        By::Dr | By::Tun(_) => {
            let mut association = Association::new(rig(by), by, family);
            association.pass(Client, INIT);
            association.pass(Client, COOKIE_ECHO);
            association
        }
    }
}

/// With the 8 bytes above IP that every router quotes: L4 ports and verification tag.
#[test]
fn errors_about_packets_are_translated_both_ways() {
    for by in BOTH_ENDS {
        for family in FAMILIES {
            let mut association = established(by, family);
            let (local, real) = association.local.unwrap();
            let (client, vip) = (family.client.into_endpoint(), family.vip.into_endpoint());
            let kind = if client.is_ipv4() { [3, 3] } else { [1, 4] };
            let quoting = |from: Endpoint, to: Endpoint| {
                let mut quoted = sctp(from, to, DATA).packet_bytes();
                quoted.truncate(usize::from(family.ip_header_bytes) + 8);
                quoted
            };
            let from_server = icmp(real, local, kind, [0; 4])
                .macs(real_server_mac(real.ip()), LAN_MAC)
                .data(&quoting(local, real));
            let sent = association.rig.forward(&from_server);
            let [number, code] = kind;
            let expected = |from: Endpoint, to: Endpoint| {
                let (sender, receiver) = (to.ip(), from.ip());
                format!("icmp {number}/{code} {sender}>{receiver} ttl63 {{sctp {from}>{to} ttl64}}")
            };
            assert_eq!(sent.to_string(), expected(client, vip));
            assert_eq!(
                sent.icmp().quoted.as_ref().unwrap().sequence,
                Some(7),
                "the tag"
            );
            let from_client = icmp(client, vip, kind, [0; 4]).data(&quoting(vip, client));
            let sent = association.rig.forward(&from_client);
            assert_eq!(sent.to_string(), expected(real, local));
            assert_eq!(state(&association.rig), (State::SctpEstablished, 900));
        }
    }
}

/// Associations that stand never go for new ones; those that are only asked for do.
#[test]
fn a_full_table_gives_up_what_is_half_open() {
    let site = Site::with_two_servers(By::Dr, &[Protocol::Sctp]);
    let mut rig = Rig::with_connections(site, 64);
    for cport in 1..=32 {
        for kind in [INIT, COOKIE_ECHO] {
            rig.send(&sctp(client(IPV4, cport), IPV4.vip, kind)).sent();
        }
    }
    for cport in 1000..1200 {
        rig.send(&sctp(client(IPV4, cport), IPV4.vip, INIT)).sent();
    }
    let is_established =
        |view: &weir_director::ConnectionView| view.state == State::SctpEstablished;
    let n_established = rig
        .connections()
        .iter()
        .filter(|view| is_established(view))
        .count();
    assert_eq!(n_established, 32);
    for cport in 2000..2064 {
        for kind in [INIT, COOKIE_ECHO] {
            rig.send(&sctp(client(IPV4, cport), IPV4.vip, kind));
        }
    }
    rig.send(&sctp(client(IPV4, 3000), IPV4.vip, INIT))
        .is_dropped(DropReason::TableFull);
}

/// Its checksum could not be mended.
#[test]
fn fragments_are_refused() {
    for by in WAYS {
        for family in FAMILIES {
            let mut association = established_or_alone(by, family);
            for (offset, more_follow) in [(0, true), (1480, true), (1480, false)] {
                let part = sctp(family.client, family.vip, DATA).data_bytes(80);
                association
                    .rig
                    .send(&part.fragment(offset, more_follow))
                    .is_dropped(DropReason::Fragment);
            }
        }
    }
}

/// The same local endpoint serves one flow of each protocol.
#[test]
fn local_ports_are_lent_by_protocol() {
    let site = Site::with_two_servers(By::FullNat, &[Protocol::Tcp, Protocol::Sctp]);
    let mut rig = Rig::new(site);
    let segment = rig.forward(&tcp(IPV4.client, IPV4.vip).syn());
    let packet = rig.forward(&sctp(IPV4.client, IPV4.vip, INIT));
    assert_eq!(segment.source, IPV4.local.into_endpoint());
    assert_eq!(packet.source, segment.source);
    assert_eq!(rig.connections().len(), 2);
}
