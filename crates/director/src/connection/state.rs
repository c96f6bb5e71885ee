//! The states of a connection: those of Linux IPVS, with its transitions.
//!
//! Promises: the same next state as `tcp_states` of `net/netfilter/ipvs/ip_vs_proto_tcp.c` (Linux 6.1) for every
//! state, flag and direction.
//! Does not know: timeouts (`Timeouts`), sequence numbers, SCTP's transitions (`sctp`).

use std::fmt;

use weir_wire::tcp;

/// The state of a connection. 0 is kept free: an entry of the table in state 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum State {
    /// Both SYNs were answered.
    Established = 1,
    /// The real server asked first (not seen with the methods there are).
    SynSent,
    /// The client's SYN was passed on.
    SynRecv,
    /// The real server sent FIN.
    FinWait,
    /// Both sent FIN.
    TimeWait,
    /// Reset.
    Close,
    /// The client sent FIN.
    CloseWait,
    /// The last FIN waits for its acknowledgement.
    LastAck,
    /// Not used by any method there is.
    Listen,
    /// SYN proxy.
    SynAck,
    /// Datagrams have no states.
    Udp,
    /// SCTP: opened, and the packet that opened it has not been looked at.
    SctpNone,
    /// SCTP: the client's first INIT was passed on.
    SctpInit1,
    /// SCTP: the client's next INIT was.
    SctpInit,
    /// SCTP: the real server answered with INIT ACK.
    SctpCookieSent,
    /// SCTP: the client returned the cookie.
    SctpCookieReplied,
    /// SCTP: the real server sent INIT.
    SctpCookieWait,
    /// SCTP: the client answered with INIT ACK.
    SctpCookie,
    /// SCTP: the real server returned the cookie.
    SctpCookieEchoed,
    /// SCTP: the association stands.
    SctpEstablished,
    /// SCTP: the real server sent SHUTDOWN.
    SctpShutdownSent,
    /// SCTP: the client did.
    SctpShutdownReceived,
    /// SCTP: the real server sent SHUTDOWN ACK.
    SctpShutdownAckSent,
    /// SCTP: an INIT was answered with ABORT.
    SctpRejected,
    /// SCTP: the association is over.
    SctpClosed,
    /// No connection: a client's template (persistence).
    Template,
    /// A template one of whose connections was established.
    AssuredTemplate,
}

use State::{
    AssuredTemplate, Close, CloseWait, Established, FinWait, LastAck, Listen, SctpClosed,
    SctpCookie, SctpCookieEchoed, SctpCookieReplied, SctpCookieSent, SctpCookieWait,
    SctpEstablished, SctpInit, SctpInit1, SctpNone, SctpRejected, SctpShutdownAckSent,
    SctpShutdownReceived, SctpShutdownSent, SynAck, SynRecv, SynSent, Template, TimeWait, Udp,
};

/// What a TCP segment means for the state, by its flags, in IPVS's order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpEvent {
    Syn,
    Fin,
    Ack,
    Rst,
}

impl TcpEvent {
    #[inline]
    pub(crate) fn of(flags: tcp::Flags) -> Option<Self> {
        if flags.has(tcp::Flags::RST) {
            Some(Self::Rst)
        } else if flags.has(tcp::Flags::SYN) {
            Some(Self::Syn)
        } else if flags.has(tcp::Flags::FIN) {
            Some(Self::Fin)
        } else if flags.has(tcp::Flags::ACK) {
            Some(Self::Ack)
        } else {
            None
        }
    }
}

/// Whose segment it is, and what of the connection is seen at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// The client's; the real server's are seen too.
    Client,
    /// The real server's.
    RealServer,
    /// The client's; the real server's go another way (DR, TUN).
    ClientAlone,
}

/// Next states by event and by present state from `Established` to `SynAck`.
type Transitions = [[State; 10]; 4];

/// A segment from the client.
#[rustfmt::skip]
const INBOUND: Transitions = [
    // Established, SynSent,     SynRecv,     FinWait,  TimeWait, Close,   CloseWait, LastAck, Listen,  SynAck
    [Established,   Established, SynRecv,     SynRecv,  SynRecv,  SynRecv, SynRecv,   SynRecv, SynRecv, SynRecv],     // SYN
    [CloseWait,     SynSent,     TimeWait,    TimeWait, TimeWait, Close,   CloseWait, LastAck, Listen,  TimeWait],    // FIN
    [Established,   SynSent,     Established, FinWait,  TimeWait, Close,   CloseWait, Close,   Listen,  Established], // ACK
    [Close,         Close,       SynRecv,     Close,    Close,    Close,   Close,     LastAck, Listen,  SynRecv],     // RST
];

/// A segment from the real server.
#[rustfmt::skip]
const OUTBOUND: Transitions = [
    // Established, SynSent,     SynRecv,     FinWait,  TimeWait, Close,   CloseWait, LastAck, Listen,      SynAck
    [Established,   SynSent,     SynRecv,     SynSent,  SynSent,  SynSent, SynSent,   SynSent, Listen,      SynRecv],     // SYN
    [FinWait,       SynSent,     TimeWait,    FinWait,  TimeWait, Close,   TimeWait,  LastAck, Listen,      TimeWait],    // FIN
    [Established,   SynSent,     Established, FinWait,  TimeWait, Close,   CloseWait, LastAck, Established, Established], // ACK
    [Close,         SynSent,     Close,       Close,    TimeWait, Close,   Close,     Close,   Close,       Close],       // RST
];

/// A segment from the client, where nothing else is seen.
#[rustfmt::skip]
const INBOUND_ALONE: Transitions = [
    // Established, SynSent,     SynRecv,     FinWait,  TimeWait, Close,   CloseWait, LastAck, Listen,  SynAck
    [Established,   Established, SynRecv,     SynRecv,  SynRecv,  SynRecv, SynRecv,   SynRecv, SynRecv, SynRecv],     // SYN
    [FinWait,       SynSent,     TimeWait,    FinWait,  TimeWait, Close,   CloseWait, LastAck, Listen,  TimeWait],    // FIN
    [Established,   Established, Established, FinWait,  TimeWait, Close,   CloseWait, Close,   Listen,  Established], // ACK
    [Close,         Close,       SynRecv,     Close,    Close,    Close,   Close,     LastAck, Listen,  Close],       // RST
];

impl State {
    /// How many numbers states take, 0 included.
    pub const COUNT: usize = 28;

    /// All states, in the order of their numbers.
    pub(super) const ALL: [Self; 27] = [
        Established,
        SynSent,
        SynRecv,
        FinWait,
        TimeWait,
        Close,
        CloseWait,
        LastAck,
        Listen,
        SynAck,
        Udp,
        SctpNone,
        SctpInit1,
        SctpInit,
        SctpCookieSent,
        SctpCookieReplied,
        SctpCookieWait,
        SctpCookie,
        SctpCookieEchoed,
        SctpEstablished,
        SctpShutdownSent,
        SctpShutdownReceived,
        SctpShutdownAckSent,
        SctpRejected,
        SctpClosed,
        Template,
        AssuredTemplate,
    ];

    /// A dense number from 1, below [`Self::COUNT`].
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The state of a number; `None` for 0, which stands for no connection, and for numbers never used.
    #[inline]
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte).wrapping_sub(1)).copied()
    }

    /// The state after a TCP segment. Other protocols' states and templates' stay what they are.
    #[inline]
    pub(crate) fn after(self, event: TcpEvent, sight: Sight) -> Self {
        let transitions = match sight {
            Sight::Client => &INBOUND,
            Sight::RealServer => &OUTBOUND,
            Sight::ClientAlone => &INBOUND_ALONE,
        };
        transitions[event as usize]
            .get(self.index() - 1)
            .copied()
            .unwrap_or(self)
    }

    /// Whether schedulers count a connection in this state as active.
    #[inline]
    pub fn is_active(self) -> bool {
        matches!(
            self,
            Established | SynSent | SynRecv | SynAck | SctpEstablished
        )
    }

    /// The connection is over; a new SYN or INIT may take its place.
    #[inline]
    pub fn is_over(self) -> bool {
        matches!(self, TimeWait | Close | SctpClosed)
    }

    /// It is a template's, no connection's.
    #[inline]
    pub fn is_template(self) -> bool {
        matches!(self, Template | AssuredTemplate)
    }

    /// Its name in IPVS's listings.
    pub fn name(self) -> &'static str {
        match self {
            Established => "ESTABLISHED",
            SynSent => "SYN_SENT",
            SynRecv => "SYN_RECV",
            FinWait => "FIN_WAIT",
            TimeWait => "TIME_WAIT",
            Close => "CLOSE",
            CloseWait => "CLOSE_WAIT",
            LastAck => "LAST_ACK",
            Listen => "LISTEN",
            SynAck => "SYNACK",
            Udp => "UDP",
            SctpNone => "NONE",
            SctpInit1 => "INIT1",
            SctpInit => "INIT",
            SctpCookieSent => "C-SENT",
            SctpCookieReplied => "C-REPLIED",
            SctpCookieWait => "C-WAIT",
            SctpCookie => "COOKIE",
            SctpCookieEchoed => "C-ECHOED",
            SctpEstablished => "ESTABLISHED",
            SctpShutdownSent => "S-SENT",
            SctpShutdownReceived => "S-RECEIVED",
            SctpShutdownAckSent => "S-ACK-SENT",
            SctpRejected => "REJECTED",
            SctpClosed => "CLOSED",
            Template => "NONE",
            AssuredTemplate => "ASSURED",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life in flags and directions, and the state after each step.
    fn walk(steps: &[(u8, Sight, State)]) {
        let mut state = SynRecv;
        for (flags, sight, expected) in steps {
            state = state.after(TcpEvent::of(tcp::Flags(*flags)).unwrap(), *sight);
            assert_eq!(state, *expected, "after {flags:#x} {sight:?}");
        }
    }

    const SYN_ACK: u8 = 0x12;
    const ACK: u8 = 0x10;
    const FIN: u8 = 0x11;
    const RST: u8 = 0x04;

    #[test]
    fn the_server_closes_first() {
        use Sight::{Client, RealServer};
        walk(&[
            (ACK, Client, Established),
            (FIN, RealServer, FinWait),
            (FIN, Client, TimeWait),
            (ACK, RealServer, TimeWait),
        ]);
    }

    #[test]
    fn the_client_closes_first() {
        use Sight::{Client, RealServer};
        walk(&[
            (ACK, Client, Established),
            (FIN, Client, CloseWait),
            (FIN, RealServer, TimeWait),
        ]);
    }

    #[test]
    fn a_reset_by_the_client_in_syn_recv_changes_nothing_one_by_the_server_closes() {
        use Sight::{Client, RealServer};
        walk(&[
            (SYN_ACK, RealServer, SynRecv),
            (RST, Client, SynRecv),
            (RST, RealServer, Close),
        ]);
    }

    #[test]
    fn numbers_lead_back_to_their_states() {
        for state in State::ALL {
            assert_eq!(State::from_byte(state as u8), Some(state));
        }
        let beyond = State::COUNT as u8;
        assert_eq!(
            (State::from_byte(0), State::from_byte(beyond)),
            (None, None)
        );
    }

    #[test]
    fn of_a_client_alone_the_first_fin_is_a_wait() {
        use Sight::ClientAlone;
        walk(&[
            (ACK, ClientAlone, Established),
            (FIN, ClientAlone, FinWait),
            (ACK, ClientAlone, FinWait),
            (RST, ClientAlone, Close),
        ]);
    }

    #[test]
    fn other_protocols_do_not_follow_flags() {
        for state in [Udp, SctpNone, SctpEstablished, SctpClosed] {
            assert_eq!(state.after(TcpEvent::Fin, Sight::Client), state);
        }
    }
}
