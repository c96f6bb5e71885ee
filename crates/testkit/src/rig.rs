//! Directors on a bench: one a worker, with their verdicts carried out in process.
//!
//! Promises: a packet that is handed off is seen by the worker it was handed to, once, a fragment twice at most; a packet
//! whose verdict is neither `Transmit` nor `Fragment` must be what it was, or the rig panics; what is held stays where it is until it is
//! settled; time passes only when told to.
//! Does not know: rings, threads, NICs.

use std::collections::HashMap;
use std::time::Duration;

use weir_director::{
    Arrival, BURST, ConnectionView, DestinationId, DestinationTotals, Director, DropReason,
    HoldPlace, PortId, PuntReason, Settled, Sizes, Tick, Verdict, WorkerId,
};
use weir_memory::Pages;
use weir_wire::{Headers, Packet, ParseError};

use crate::buffer::TestBuffer;
use crate::decode::{Decoded, decode};
use crate::frame::FrameBuilder;
use crate::site::{LAN, LAN_MAC, Site, WAN, WAN_MAC};

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The last verdict, never `HandOff`.
    pub verdict: Verdict,
    /// The worker that gave it.
    pub worker: WorkerId,
    /// Whether it was handed off before.
    pub was_handed_off: bool,
    /// The frame as it is now.
    pub frame: Vec<u8>,
}

/// Directors, the site they serve, and the time.
pub struct Rig {
    /// By worker.
    pub directors: Vec<Director>,
    /// What the present snapshot was made of; see [`Rig::publish`].
    pub site: Site,
    /// The time.
    pub now: Tick,
    headroom: u16,
    /// What is held, by worker and place.
    held: HashMap<(u8, u16), Vec<u8>>,
    /// What became of frames that were held, and not in vain.
    released: Vec<Outcome>,
    /// Why others ended.
    ended: Vec<DropReason>,
}

impl Rig {
    /// Directors for every worker of the site, with room for 1,024 connections each.
    pub fn new(site: Site) -> Self {
        Self::with_connections(site, 1024)
    }

    /// Likewise, with room for `connections` each.
    pub fn with_connections(mut site: Site, connections: u32) -> Self {
        let now = Tick(1_000_000);
        let sizes = Sizes {
            connections,
            ipv6_connections: 0,
            pages: Pages::Anonymous,
        };
        let snapshot = site.snapshot();
        let directors = (0..site.n_workers())
            .map(|worker| {
                let snapshot = std::sync::Arc::clone(&snapshot);
                Director::new(WorkerId(worker), sizes, Site::SEED, snapshot, now)
                    .expect("a small table fits into memory")
            })
            .collect();
        Self {
            directors,
            site,
            now,
            headroom: TestBuffer::HEADROOM,
            held: HashMap::new(),
            released: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Buffers get `headroom` free bytes before the frame from now on.
    pub fn headroom(mut self, headroom: u16) -> Self {
        self.headroom = headroom;
        self
    }

    /// Publishes a new snapshot: of the site as `change` makes it.
    pub fn publish(&mut self, change: impl FnOnce(Site) -> Site) {
        self.site = change(self.site.clone());
        let snapshot = self.site.snapshot();
        for director in &mut self.directors {
            director.adopt(std::sync::Arc::clone(&snapshot));
        }
    }

    /// Lets time pass, and what is due expire.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(Tick::span(time));
        for director in &mut self.directors {
            while director.expire(self.now, 64) != 0 {}
        }
        self.carry_notes();
        self.settle();
    }

    /// What became, since the last time, of frames that had been held and were let go: in the order in which they left.
    pub fn take_released(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.released)
    }

    /// Why frames that had been held ended, since the last time.
    pub fn take_ended(&mut self) -> Vec<DropReason> {
        std::mem::take(&mut self.ended)
    }

    /// How many frames are held.
    pub fn n_held(&self) -> usize {
        self.held.len()
    }

    /// Takes up what need not be held any longer.
    fn settle(&mut self) {
        for worker in (0..self.site.n_workers()).map(WorkerId) {
            while let Some((HoldPlace(place), settled)) =
                self.directors[usize::from(worker.0)].settle(self.now)
            {
                let frame = self.held.remove(&(worker.0, place));
                let frame = frame.expect("what is settled was held");
                match settled {
                    Settled::Released => {
                        let outcomes = self.process(worker, &[&frame], Arrival::HandedOver);
                        let outcome = self.follow(outcomes, &[&frame]).remove(0);
                        self.released.push(outcome);
                    }
                    Settled::Dropped(reason) => self.ended.push(reason),
                }
            }
        }
    }

    /// Gives worker 0 a frame.
    #[track_caller]
    pub fn send(&mut self, frame: &FrameBuilder) -> Outcome {
        self.receive(WorkerId(0), &frame.bytes())
    }

    /// Gives worker 0 a frame that it must transmit; returns the frame as it leaves, its checksums verified.
    #[track_caller]
    pub fn forward(&mut self, frame: &FrameBuilder) -> Decoded {
        self.send(frame).sent()
    }

    /// Gives a worker a frame from a port: the one whose MAC address it bears, else the first.
    #[track_caller]
    pub fn receive(&mut self, worker: WorkerId, frame: &[u8]) -> Outcome {
        let [outcome] = &self.receive_burst(worker, &[frame])[..] else {
            panic!("one outcome for each frame");
        };
        outcome.clone()
    }

    /// Gives a worker a burst of frames from the port that the first of them names.
    #[track_caller]
    pub fn receive_burst(&mut self, worker: WorkerId, frames: &[&[u8]]) -> Vec<Outcome> {
        let is_for_lan = frames
            .first()
            .is_some_and(|frame| frame.starts_with(&LAN_MAC.0));
        let (port, mac) = if is_for_lan {
            (LAN, LAN_MAC)
        } else {
            (WAN, WAN_MAC)
        };
        let outcomes = self.process(worker, frames, Arrival::Wire { port, mac });
        let outcomes = self.follow(outcomes, frames);
        self.settle();
        outcomes
    }

    /// Carries out what is not the end of a frame's way: gives it to the worker that it is handed off to, keeps it while
    /// it is held.
    #[track_caller]
    fn follow(&mut self, mut outcomes: Vec<Outcome>, frames: &[&[u8]]) -> Vec<Outcome> {
        for (outcome, frame) in outcomes.iter_mut().zip(frames) {
            let mut n_times = 0;
            while let Verdict::HandOff(owner) = outcome.verdict {
                n_times += 1;
                assert_ne!(owner, outcome.worker, "handed off to itself");
                let is_fragment = Headers::parse(frame).err() == Some(ParseError::Fragment);
                let most = if is_fragment { 2 } else { 1 };
                assert!(n_times <= most, "handed off {n_times} times");
                *outcome = self.process(owner, &[frame], Arrival::HandedOver).remove(0);
                outcome.was_handed_off = true;
            }
            if let Verdict::Hold(HoldPlace(place)) = outcome.verdict {
                let place = (outcome.worker.0, place);
                if self.held.insert(place, frame.to_vec()).is_some() {
                    self.ended.push(DropReason::FragmentStoreFull);
                }
            }
            if let Verdict::Consult(other) = outcome.verdict {
                let was_handed_off = outcome.was_handed_off;
                *outcome = self.consult(other, outcome.worker, frame);
                outcome.was_handed_off = was_handed_off;
            }
        }
        outcomes
    }

    /// Asks a worker for a choice, and gives it back with the frame to the one that asked.
    #[track_caller]
    fn consult(&mut self, other: WorkerId, worker: WorkerId, frame: &[u8]) -> Outcome {
        assert_ne!(other, worker, "asks itself");
        let mut buffer = TestBuffer::with_headroom(frame, self.headroom);
        let chosen = self.directors[usize::from(other.0)].choose(&buffer.packet(), self.now);
        assert_eq!(buffer.frame(), frame, "asking changed the frame");
        let verdict = match chosen {
            Ok(choice) => self.directors[usize::from(worker.0)].process_chosen(
                &mut buffer.packet(),
                choice,
                self.now,
            ),
            Err(verdict) => verdict,
        };
        assert!(!matches!(verdict, Verdict::Consult(_)), "asked twice");
        Outcome {
            verdict,
            worker,
            was_handed_off: false,
            frame: buffer.frame().to_vec(),
        }
    }

    /// Carries the workers' notes to each other.
    pub fn carry_notes(&mut self) {
        for worker in 0..self.directors.len() {
            while let Some(note) = self.directors[worker].next_note() {
                self.directors[worker].note_is_sent();
                self.directors[usize::from(note.owner().0)].take_note(note);
            }
        }
    }

    #[track_caller]
    fn process(&mut self, worker: WorkerId, frames: &[&[u8]], arrival: Arrival) -> Vec<Outcome> {
        let mut buffers: Vec<TestBuffer> = frames
            .iter()
            .map(|frame| TestBuffer::with_headroom(frame, self.headroom))
            .collect();
        let mut verdicts = [Verdict::Transmit(PortId(u8::MAX)); BURST];
        let mut packets: Vec<Packet<'_>> = buffers.iter_mut().map(TestBuffer::packet).collect();
        let director = &mut self.directors[usize::from(worker.0)];
        director.process(&mut packets, arrival, self.now, &mut verdicts);
        drop(packets);
        let outcomes = buffers.iter().zip(verdicts).zip(frames);
        outcomes
            .map(|((buffer, verdict), frame)| {
                match verdict {
                    Verdict::Transmit(port) | Verdict::Fragment { port, .. } => {
                        assert_ne!(port, PortId(u8::MAX), "no verdict");
                    }
                    Verdict::HandOff(_)
                    | Verdict::Hold(_)
                    | Verdict::Consult(_)
                    | Verdict::Punt(_)
                    | Verdict::Drop(_) => {
                        assert_eq!(buffer.frame(), *frame, "{verdict:?} changed the frame");
                    }
                }
                Outcome {
                    verdict,
                    worker,
                    was_handed_off: false,
                    frame: buffer.frame().to_vec(),
                }
            })
            .collect()
    }

    /// All connections of all workers.
    pub fn connections(&self) -> Vec<ConnectionView> {
        let mut all = Vec::new();
        for director in &self.directors {
            let mut from = Some(0);
            while let Some(place) = from {
                from = director.list_connections(place, 7, self.now, |view| all.push(view));
            }
        }
        all
    }

    /// The only connection there is.
    #[track_caller]
    pub fn connection(&self) -> ConnectionView {
        let [connection] = self.connections()[..] else {
            panic!("not one connection: {:?}", self.connections());
        };
        connection
    }

    /// What worker 0 counted for a destination.
    pub fn totals(&self, id: DestinationId) -> DestinationTotals {
        *self.directors[0].destination_totals(id)
    }
}

impl Outcome {
    /// The frame that was transmitted, read; panics with the verdict when it was not.
    #[track_caller]
    pub fn sent(&self) -> Decoded {
        match self.verdict {
            Verdict::Transmit(_) => decode(&self.frame),
            Verdict::Fragment { .. }
            | Verdict::HandOff(_)
            | Verdict::Hold(_)
            | Verdict::Consult(_)
            | Verdict::Punt(_)
            | Verdict::Drop(_) => {
                panic!("not transmitted: {:?}", self.verdict)
            }
        }
    }

    /// Panics unless the packet was dropped for this reason.
    #[track_caller]
    pub fn is_dropped(&self, reason: DropReason) {
        assert_eq!(self.verdict, Verdict::Drop(reason));
    }

    /// Panics unless the packet was punted for this reason.
    #[track_caller]
    pub fn is_punted(&self, reason: PuntReason) {
        assert_eq!(self.verdict, Verdict::Punt(reason));
    }
}
