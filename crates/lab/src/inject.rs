//! Frames of any content onto a wire, as no kernel would send them: for rubbish, truncated and forged packets.
//!
//! Promises: each frame is sent once, byte for byte, in order; a frame the kernel refuses is reported.
//! Does not know: what the frames mean.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use pnet_datalink::{Channel, Config};

use crate::namespace::Namespace;

/// Frames between two pauses, and how long these are: about 100,000 frames a second, so that the ring of a receiver that
/// shares its CPU with others does not overflow.
const BURST: usize = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// Sends `frames`, each from its Ethernet header on, out of `interface` of `namespace`. Returns how many were sent and
/// how many the kernel refused: a packet socket takes nothing shorter than an Ethernet header or longer than the MTU.
pub fn inject(namespace: &Namespace, interface: &str, frames: &[Vec<u8>]) -> Result<Injected> {
    namespace.enter(|| {
        let interface = pnet_datalink::interfaces()
            .into_iter()
            .find(|candidate| candidate.name == interface)
            .ok_or_else(|| anyhow!("there is no interface {interface} in {}", namespace.name()))?;
        let config = Config {
            write_buffer_size: 65536,
            ..Config::default()
        };
        let channel = pnet_datalink::channel(&interface, config)
            .context("a packet socket cannot be opened")?;
        let Channel::Ethernet(mut sender, _receiver) = channel else {
            return Err(anyhow!("{} is no Ethernet interface", interface.name));
        };
        let mut injected = Injected::default();
        for (number, frame) in (1..).zip(frames) {
            if number % BURST == 0 {
                std::thread::sleep(PAUSE);
            }
            match sender.send_to(frame, None) {
                Some(Ok(())) => injected.sent += 1,
                Some(Err(_)) | None => injected.refused += 1,
            }
        }
        Ok(injected)
    })?
}

/// What became of injected frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    /// Frames that went out.
    pub sent: usize,
    /// Frames that the kernel did not take.
    pub refused: usize,
}
