//! A worker as it runs in the appliance, with the network around it and connections opened through it.
//!
//! Promises: connections are opened by packets through the worker's own turn; a phase of opening in which a single
//! frame was not forwarded is an error that names the reason.
//! Does not know: how long anything takes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use weir_director::{
    Direction, Director, DropReason, Encapsulation, L4Port, PortId, Protocol, PuntReason,
    Scheduler, Sizes, Snapshot, Tick, WorkerId,
};
use weir_memory::Pages;
use weir_testkit::{By, LAN, LAN_MAC, Site, WAN, WAN_MAC};
use weir_wire::FlowKey;
use weir_worker::{
    BurstTimes, HandOffs, Links, Listing, Mailbox, PortPlan, Published, Worker, frame_ring,
    hand_off_rings,
};

use crate::frames::{self, Family, Segment, Tape};
use crate::source::{Feed, Source, Stock};

/// By this much time goes on from one turn to the next. The appliance asks a clock; that is not the worker's cost.
const TURN_NS: u64 = 1_000;
/// After this much a worker publishes its counters for certain.
const PUBLISHED_AFTER_NS: u64 = 10_000_000;
/// The time at which everything begins.
const BEGIN_NS: u64 = 1_000_000_000;
/// LIPs of every service.
const N_LIPS: usize = 64;

/// How packets are forwarded. A method that is added here is measured in every case of established connections, and
/// counted in instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    FullNat,
    Nat,
    Dr,
    /// IP in IP.
    Tun,
}

impl Method {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [Self::FullNat, Self::Nat, Self::Dr, Self::Tun];

    /// As cases and rows call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullNat => "fullnat",
            Self::Nat => "nat",
            Self::Dr => "dr",
            Self::Tun => "tun",
        }
    }

    /// The network in which it is measured: one service for each protocol and family.
    pub(crate) fn site(self, n_workers: u8, scheduler: Scheduler, n_destinations: usize) -> Site {
        let (by, rport) = match self {
            Self::FullNat => (By::FullNat, 8080),
            Self::Nat => (By::Nat, 8080),
            // Packets arrive as clients sent them.
            Self::Dr => (By::Dr, 80),
            Self::Tun => (By::Tun(Encapsulation::Ipip), 80),
        };
        let site = local_pool().by(by).workers(n_workers);
        with_services(site, rport, scheduler, n_destinations)
    }

    /// Whether the director sees what the real servers answer.
    pub(crate) fn has_replies(self) -> bool {
        match self {
            Self::FullNat | Self::Nat => true,
            Self::Dr | Self::Tun => false,
        }
    }
}

/// 64 LIPs for all services.
fn local_pool() -> Site {
    let lips: Vec<String> = (0..N_LIPS)
        .flat_map(|n| [format!("10.0.0.{}", 150 + n), format!("fd00::1:{n:x}")])
        .collect();
    let lips: Vec<&str> = lips.iter().map(String::as_str).collect();
    Site::new().local(&lips, 1_024, 65_535)
}

/// A service for each protocol and family.
fn with_services(
    mut site: Site,
    rport: L4Port,
    scheduler: Scheduler,
    n_destinations: usize,
) -> Site {
    for family in [Family::V4, Family::V6] {
        let reals: Vec<String> = (0..n_destinations)
            .map(|n| match family {
                Family::V4 => format!("10.0.0.{}:{rport}", 11 + n),
                Family::V6 => format!("[fd00::{:x}]:{rport}", 0x11 + n),
            })
            .collect();
        let destinations: Vec<(&str, u32)> = reals.iter().map(|real| (real.as_str(), 1)).collect();
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            site = site.service(protocol, family.vip(), scheduler, &destinations);
        }
    }
    site
}

/// What all workers of a run share.
pub(crate) struct Shared<B> {
    /// What they decide by at first.
    pub(crate) snapshot: Arc<Snapshot>,
    /// By `WorkerId`, until the worker takes its own.
    hand_offs: Mutex<Vec<Option<HandOffs<B>>>>,
    published: Arc<[Published]>,
}

impl<B> Shared<B> {
    /// For `n_workers` workers.
    pub(crate) fn new(snapshot: Arc<Snapshot>, n_workers: u8) -> Self {
        Self {
            snapshot,
            hand_offs: Mutex::new(
                hand_off_rings(n_workers, 64)
                    .into_iter()
                    .map(Some)
                    .collect(),
            ),
            published: (0..n_workers).map(|_| Published::default()).collect(),
        }
    }
}

/// A worker and what it is fed.
pub(crate) struct Stage<S: Stock> {
    pub(crate) stock: S,
    /// Where snapshots arrive.
    pub(crate) mailbox: Arc<Mailbox>,
    me: WorkerId,
    worker: Worker<Source<S>>,
    feed: Rc<RefCell<Feed>>,
    published: Arc<[Published]>,
    now_ns: u64,
}

/// The keys of open connections, in an order apart from that in which they were opened.
pub(crate) struct Flows {
    clients: Vec<FlowKey>,
    replies: Vec<FlowKey>,
}

impl Flows {
    /// A frame for each connection, going that way.
    pub(crate) fn tape(&self, segment: Segment, direction: Direction) -> Result<Arc<Tape>> {
        Tape::new(segment, direction, self.going(direction))
    }

    fn going(&self, direction: Direction) -> &[FlowKey] {
        match direction {
            Direction::Inbound => &self.clients,
            Direction::Outbound => &self.replies,
        }
    }
}

impl<S: Stock> Stage<S> {
    /// The only worker of a site, with room for `connections`.
    pub(crate) fn alone(stock: S, mut site: Site, connections: u32) -> Result<Self> {
        let shared = Shared::new(site.snapshot(), 1);
        Self::new(stock, &shared, WorkerId(0), connections)
    }

    /// One of several workers.
    pub(crate) fn new(
        stock: S,
        shared: &Shared<S::Buffer>,
        me: WorkerId,
        connections: u32,
    ) -> Result<Self> {
        let sizes = Sizes {
            connections,
            ipv6_connections: 0,
            pages: Pages::Anonymous,
        };
        let now = Tick((BEGIN_NS / 1_000_000) as u32);
        let snapshot = Arc::clone(&shared.snapshot);
        let director = Director::new(me, sizes, Site::SEED, snapshot, now)?;
        let mailbox = Arc::new(Mailbox::default());
        let mut ends = shared
            .hand_offs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let hand_offs = ends
            .get_mut(usize::from(me.0))
            .and_then(Option::take)
            .context("a worker is made once")?;
        drop(ends);
        let links = Links {
            mailbox: Arc::clone(&mailbox),
            punts: frame_ring(64, 2_048, None).0,
            orders: frame_ring(1, 2_048, None).1,
            hand_offs,
            published: Arc::clone(&shared.published),
            listing: Arc::new(Listing::default()),
        };
        let ports = [(WAN, WAN_MAC), (LAN, LAN_MAC)].map(|(id, mac)| PortPlan {
            id,
            mac,
            receives: true,
            transmits_by: me,
        });
        let nothing = Tape::new(
            Segment::Syn,
            Direction::Inbound,
            &[Family::V4.flow(0, Protocol::Tcp)?],
        )?;
        let feed = Rc::new(RefCell::new(Feed::empty(nothing)));
        let source = Source::new(stock.clone(), Rc::clone(&feed));
        let began = Instant::now();
        Ok(Self {
            stock,
            mailbox,
            me,
            worker: Worker::new(me, source, director, links, ports.to_vec(), began),
            feed,
            published: Arc::clone(&shared.published),
            now_ns: BEGIN_NS,
        })
    }

    /// One turn of the worker's loop, hence one burst.
    #[inline]
    pub(crate) fn turn(&mut self) {
        self.turn_after(TURN_NS);
    }

    /// Likewise, a span of time after the turn before.
    #[inline]
    pub(crate) fn turn_after(&mut self, span_ns: u64) {
        self.now_ns += span_ns;
        self.worker.turn(self.now_ns, S::cycles);
    }

    /// How long the worker's bursts took.
    pub(crate) fn burst_times(&mut self) -> &mut BurstTimes {
        self.worker.burst_times()
    }

    /// Lets the worker have `n_frames` frames, all of which it must forward.
    pub(crate) fn play(
        &mut self,
        tape: &Arc<Tape>,
        direction: Direction,
        n_frames: usize,
    ) -> Result<()> {
        let port = arrives_by(direction);
        self.feed
            .borrow_mut()
            .play(Arc::clone(tape), port, n_frames);
        for _ in 0..n_frames.div_ceil(weir_director::BURST) {
            self.turn();
        }
        let n_transmitted = self.feed.borrow().n_transmitted;
        ensure!(
            n_transmitted == n_frames as u64,
            "{n_transmitted} of {n_frames} frames were forwarded; {}",
            self.refusals()
        );
        Ok(())
    }

    /// From now on there is a frame of the tape whenever the worker asks, beginning where [`Self::play`] has ended.
    pub(crate) fn play_on(&mut self) {
        self.feed.borrow_mut().play_on();
    }

    /// Frames forwarded since [`Self::play`] was called.
    pub(crate) fn n_transmitted(&self) -> u64 {
        self.feed.borrow().n_transmitted
    }

    /// Opens a connection for each flow: by a datagram, or by those segments of a handshake that the director sees.
    pub(crate) fn open(&mut self, method: Method, mut clients: Vec<FlowKey>) -> Result<Flows> {
        let n_flows = clients.len();
        self.feed.borrow_mut().replies = Some(Vec::with_capacity(n_flows));
        let opening = Tape::new(Segment::Syn, Direction::Inbound, &clients)?;
        self.play(&opening, Direction::Inbound, n_flows)
            .context("opening connections")?;
        drop(opening);
        let replies = self.feed.borrow_mut().replies.take();
        let mut replies = replies.context("the keys of replies were noted")?;
        if clients.iter().any(|flow| flow.protocol() == Protocol::Tcp) {
            if method.has_replies() {
                let answer = Tape::new(Segment::SynAck, Direction::Outbound, &replies)?;
                self.play(&answer, Direction::Outbound, n_flows)
                    .context("the real servers' answers")?;
            }
            let last = Tape::new(Segment::First, Direction::Inbound, &clients)?;
            self.play(&last, Direction::Inbound, n_flows)
                .context("the clients' acknowledgements")?;
        }
        frames::shuffle(&mut clients);
        frames::shuffle(&mut replies);
        Ok(Flows { clients, replies })
    }

    /// Why frames were not forwarded, in words.
    pub(crate) fn refusals(&mut self) -> String {
        self.turn_after(PUBLISHED_AFTER_NS);
        let counters = self.published[usize::from(self.me.0)].counters();
        let names = DropReason::ALL
            .iter()
            .map(|reason| reason.to_string())
            .chain(PuntReason::NAMES.map(str::to_owned));
        let counts = counters.dropped.iter().chain(&counters.punted);
        let refused: Vec<String> = names
            .zip(counts)
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| format!("{name}: {count}"))
            .collect();
        format!(
            "handed over: {}; {}",
            counters.handed_over,
            refused.join(", ")
        )
    }
}

/// The port by which packets going that way arrive.
pub(crate) fn arrives_by(direction: Direction) -> PortId {
    match direction {
        Direction::Inbound => WAN,
        Direction::Outbound => LAN,
    }
}
