//! Machines that send what a test says and nothing else: they answer ARP, and beyond that they only listen.
//!
//! Promises: every IPv4 packet that the director sent to them is kept, with the wire it came by, in the order of each
//! wire; no kernel has a word in it.
//! Does not know: what the packets mean.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use etherparse::{
    ArpOperation, ArpPacket, EtherType, Ethernet2Header, NetSlice, PacketBuilder, SlicedPacket,
};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender};
use weir_lab::inject::inject;
use weir_lab::{Lab, Namespace};

const INTERFACE: &str = "eth0";
/// How often a listener looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);
/// How long a frame may take: long beside what ARP and a busy machine need.
const LIMIT: Duration = Duration::from_secs(3);
/// How long nothing more may come before a wire counts as quiet.
const QUIET: Duration = Duration::from_millis(150);

/// One of the director's ports and the machines on its wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    /// The name of the port and of its interface.
    pub(crate) port: &'static str,
    /// The port's MAC address.
    pub(crate) port_mac: [u8; 6],
    /// The last byte but one of the machines' MAC addresses.
    pub(crate) mark: u8,
    /// The machines: the last byte of the MAC address, and the address.
    pub(crate) machines: &'static [(u8, Ipv4Addr)],
}

impl Side {
    fn mac_of(&self, address: Ipv4Addr) -> Option<[u8; 6]> {
        let is_it = |machine: &&(u8, Ipv4Addr)| machine.1 == address;
        let (last, _) = self.machines.iter().find(is_it)?;
        Some([2, 0, 0, 0, self.mark, *last])
    }
}

/// The machines on all wires.
#[derive(Debug)]
pub(crate) struct StandIns {
    wires: Vec<Wire>,
    heard: Receiver<(&'static str, Vec<u8>)>,
}

#[derive(Debug)]
struct Wire {
    side: Side,
    namespace: Namespace,
    is_wanted: Arc<AtomicBool>,
    listener: Option<JoinHandle<Result<()>>>,
}

impl StandIns {
    /// Wires to `director`, whose ends get the names and MAC addresses of `sides`.
    pub(crate) fn on(lab: &Lab, director: &Namespace, sides: &[Side]) -> Result<Self> {
        let (tell, heard) = channel();
        let wires = sides.iter().map(|&side| wire(lab, director, side, &tell));
        Ok(Self {
            wires: wires.collect::<Result<_>>()?,
            heard,
        })
    }

    /// Has the machine with the address `sender` send `packet` to the director.
    pub(crate) fn send(&self, sender: Ipv4Addr, packet: &[u8]) -> Result<()> {
        let found = self.wires.iter().find_map(|wire| {
            let mac = wire.side.mac_of(sender)?;
            Some((wire, mac))
        });
        let (wire, mac) = found.with_context(|| format!("no machine has {sender}"))?;
        let header = Ethernet2Header {
            source: mac,
            destination: wire.side.port_mac,
            ether_type: EtherType::IPV4,
        };
        let frame = [&header.to_bytes()[..], packet].concat();
        let injected = inject(&wire.namespace, INTERFACE, &[frame])?;
        ensure!(injected.sent == 1, "the kernel refused a frame of {sender}");
        Ok(())
    }

    /// The frames that came until there was quiet, `n_expected` of them having been waited for, each with the port
    /// that it left the director by: what is IPv4, ARP not being that.
    pub(crate) fn heard(&self, n_expected: usize) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut frames = Vec::new();
        loop {
            let patience = if frames.len() < n_expected {
                LIMIT
            } else {
                QUIET
            };
            match self.heard.recv_timeout(patience) {
                Ok(frame) => frames.push(frame),
                Err(RecvTimeoutError::Timeout) => return Ok(frames),
                Err(RecvTimeoutError::Disconnected) => bail!("nobody listens to the wires"),
            }
        }
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        for wire in &mut self.wires {
            wire.is_wanted.store(false, Ordering::Relaxed);
            if let Some(Err(panic)) = wire.listener.take().map(JoinHandle::join) {
                eprintln!("the listener at {} ended badly: {panic:?}", wire.side.port);
            }
        }
    }
}

fn wire(
    lab: &Lab,
    director: &Namespace,
    side: Side,
    tell: &Sender<(&'static str, Vec<u8>)>,
) -> Result<Wire> {
    let namespace = lab.namespace(&format!("beside-{}", side.port))?;
    namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
    let (port, name) = (side.port, namespace.name());
    let mac = side.port_mac.map(|byte| format!("{byte:02x}")).join(":");
    director.ip(&format!(
        "link add {port} address {mac} type veth peer name {INTERFACE} netns {name}"
    ))?;
    namespace.ip(&format!("link set {INTERFACE} up"))?;
    director.ip(&format!("link set {port} up"))?;

    let (sender, receiver) = socket(&namespace)?;
    let is_wanted = Arc::new(AtomicBool::new(true));
    let (flag, tell) = (is_wanted.clone(), tell.clone());
    let listener = std::thread::spawn(move || listen(side, sender, receiver, &flag, &tell));
    Ok(Wire {
        side,
        namespace,
        is_wanted,
        listener: Some(listener),
    })
}

type Socket = (Box<dyn DataLinkSender>, Box<dyn DataLinkReceiver>);

fn socket(namespace: &Namespace) -> Result<Socket> {
    namespace.enter(|| {
        let interface = pnet_datalink::interfaces()
            .into_iter()
            .find(|candidate| candidate.name == INTERFACE)
            .context("a wire has no end")?;
        let config = Config {
            read_timeout: Some(LOOK),
            ..Config::default()
        };
        match pnet_datalink::channel(&interface, config).context("no packet socket")? {
            Channel::Ethernet(sender, receiver) => Ok((sender, receiver)),
            _ => bail!("{INTERFACE} is no Ethernet interface"),
        }
    })?
}

fn listen(
    side: Side,
    mut sender: Box<dyn DataLinkSender>,
    mut receiver: Box<dyn DataLinkReceiver>,
    is_wanted: &AtomicBool,
    tell: &Sender<(&'static str, Vec<u8>)>,
) -> Result<()> {
    while is_wanted.load(Ordering::Relaxed) {
        let frame = match receiver.next() {
            Ok(frame) => frame,
            Err(error) if error.kind() == ErrorKind::TimedOut => continue,
            Err(error) => return Err(error).context("a wire cannot be read"),
        };
        // What our own machines send passes here too.
        if frame.get(6..12) != Some(&side.port_mac[..]) {
            continue;
        }
        match frame.get(12..14) {
            Some([0x08, 0x06]) => {
                if let Some(answer) = arp_answer(&side, frame)
                    && let Some(Err(error)) = sender.send_to(&answer, None)
                {
                    return Err(error).context("an ARP answer cannot be sent");
                }
            }
            // Nobody is left to be told once the test is over.
            Some([0x08, 0x00]) => drop(tell.send((side.port, frame.to_vec()))),
            // Neighbour discovery of IPv6: nobody here speaks that.
            _ => {}
        }
    }
    Ok(())
}

/// What a machine that is asked for answers.
fn arp_answer(side: &Side, frame: &[u8]) -> Option<Vec<u8>> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(NetSlice::Arp(question)) = &packet.net else {
        return None;
    };
    if question.operation() != ArpOperation::REQUEST {
        return None;
    }
    let question = question.to_packet().try_eth_ipv4().ok()?;
    let mac = side.mac_of(question.target_ipv4.into())?;
    let answer = ArpPacket::new(
        etherparse::ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REPLY,
        &mac,
        &question.target_ipv4,
        &question.sender_mac,
        &question.sender_ipv4,
    )
    .ok()?;
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(mac, question.sender_mac).arp(answer);
    builder.write(&mut frame).ok()?;
    Some(frame)
}
