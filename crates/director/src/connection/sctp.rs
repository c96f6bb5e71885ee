//! The states of an SCTP connection: those of Linux IPVS, with its transitions.
//!
//! Promises: the same next state as `sctp_states` of `net/netfilter/ipvs/ip_vs_proto_sctp.c` (Linux 6.1) for every state,
//! chunk and direction.
//! Does not know: timeouts (`Timeouts`), other protocols' states.
//!
//! How it works: the states are the real server's. A client's association goes INIT1 (the client's INIT), C-SENT (INIT
//! ACK), C-REPLIED (COOKIE ECHO), ESTABLISHED (COOKIE ACK); one that the real server asks for C-WAIT, COOKIE, C-ECHOED.

use weir_wire::sctp::Chunk;

use super::state::{Sight, State};

use State::{
    SctpClosed as CL, SctpCookie as CO, SctpCookieEchoed as CE, SctpCookieReplied as CR,
    SctpCookieSent as CS, SctpCookieWait as CW, SctpEstablished as ES, SctpInit as IN,
    SctpInit1 as I1, SctpNone as NO, SctpRejected as RJ, SctpShutdownAckSent as SA,
    SctpShutdownReceived as SR, SctpShutdownSent as SS,
};

/// Next states by chunk and by present state, from `SctpNone` to `SctpClosed`.
type Transitions = [[State; 14]; Chunk::ALL.len()];

/// A packet from the client.
#[rustfmt::skip]
const INBOUND: Transitions = [
    // NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL
    [  ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // DATA
    [  I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN], // INIT
    [  CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL], // INIT ACK
    [  CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // COOKIE ECHO
    [  ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL], // COOKIE ACK
    [  SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL], // SHUTDOWN
    [  CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL], // SHUTDOWN ACK
    [  CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL], // SHUTDOWN COMPLETE
    [  CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL], // ERROR
    [  CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL], // ABORT
];

/// A packet from the real server.
#[rustfmt::skip]
const OUTBOUND: Transitions = [
    // NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL
    [  ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // DATA
    [  CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW], // INIT
    [  CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // INIT ACK
    [  CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL], // COOKIE ECHO
    [  ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL], // COOKIE ACK
    [  SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL], // SHUTDOWN
    [  SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL], // SHUTDOWN ACK
    [  CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // SHUTDOWN COMPLETE
    [  CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // ERROR
    [  CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL], // ABORT
];

/// A packet from the client, where nothing else is seen.
#[rustfmt::skip]
const INBOUND_ALONE: Transitions = [
    // NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL
    [  ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL], // DATA
    [  I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN], // INIT
    [  CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL], // INIT ACK
    [  ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL], // COOKIE ECHO
    [  ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL], // COOKIE ACK
    [  SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL], // SHUTDOWN
    [  CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL], // SHUTDOWN ACK
    [  CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL], // SHUTDOWN COMPLETE
    [  CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL], // ERROR
    [  CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL], // ABORT
];

impl State {
    /// The state after an SCTP packet. Other protocols' states stay what they are.
    pub(crate) fn after_chunk(self, chunk: Chunk, sight: Sight) -> Self {
        let transitions = match sight {
            Sight::Client => &INBOUND,
            Sight::RealServer => &OUTBOUND,
            Sight::ClientAlone => &INBOUND_ALONE,
        };
        transitions[chunk as usize]
            .get(self.index().wrapping_sub(NO.index()))
            .copied()
            .unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [(&str, State); 14] = [
        ("NO", NO),
        ("I1", I1),
        ("IN", IN),
        ("CS", CS),
        ("CR", CR),
        ("CW", CW),
        ("CO", CO),
        ("CE", CE),
        ("ES", ES),
        ("SS", SS),
        ("SR", SR),
        ("SA", SA),
        ("RJ", RJ),
        ("CL", CL),
    ];

    /// What IPVS's tables say, read from them once more: for each kind of chunk which states become which other. All
    /// that are not named stay.
    const CHANGES: [(Sight, [&str; 10]); 3] = [
        (
            Sight::Client,
            [
                "NO>ES",
                "NO>I1 I1,RJ,CL>IN",
                "NO,I1,IN>CW CW>CO",
                "NO,CS>CR I1>IN",
                "NO,CE>ES",
                "NO,ES>SR",
                "NO,SS,SA>CL I1>IN",
                "NO,I1,IN,SA>CL",
                "NO,CE>CL",
                "NO,I1,IN,CS,CR,CO,CE,ES,SS,SR,SA,RJ>CL CW>RJ",
            ],
        ),
        (
            Sight::RealServer,
            [
                "NO>ES",
                "NO,I1,IN,CS,CR,CO,CE,SS,SR,SA,RJ,CL>CW",
                "NO,I1,IN>CS",
                "NO,I1,IN,CS,CR,CW,CO>CE",
                "NO,I1,IN,CS,CR,CW,CO,CE>ES",
                "NO,I1,IN,CS,CR,CW,CO,CE,ES>SS",
                "NO,I1,IN,CS,CR,SS,SR>SA",
                "NO>CL",
                "NO,I1,IN,CS,CR>CL",
                "NO,IN,CS,CR,CW,CO,CE,ES,SS,SR,SA,RJ>CL I1>RJ",
            ],
        ),
        (
            Sight::ClientAlone,
            [
                "NO,CW>ES",
                "NO>I1 I1,CS,CR,CW,RJ,CL>IN",
                "NO,I1,IN,CS,CR,CW>CE",
                "NO,I1,IN,CS,CR,CW>ES",
                "NO,CS,CR,CO,CE>ES",
                "NO,ES>SR",
                "NO,ES,SS,SA>CL I1>IN",
                "NO,I1,IN,CS,CR,SR,SA>CL",
                "NO>CL",
                "NO,I1,IN,CS,CR,CO,CE,ES,SS,SR,SA,RJ>CL CW>RJ",
            ],
        ),
    ];

    #[test]
    fn every_transition_is_that_of_ipvs() {
        let named = |name: &str| STATES.iter().find(|(known, _)| *known == name).unwrap().1;
        for (sight, rows) in CHANGES {
            for (chunk, changes) in std::iter::zip(Chunk::ALL, rows) {
                let mut expected = STATES.map(|(_, state)| (state, state));
                for change in changes.split(' ') {
                    let (from, to) = change.split_once('>').unwrap();
                    for from in from.split(',').map(named) {
                        let row = expected.iter_mut().find(|(state, _)| *state == from);
                        row.unwrap().1 = named(to);
                    }
                }
                for (state, after) in expected {
                    assert_eq!(
                        state.after_chunk(chunk, sight),
                        after,
                        "{state:?} {chunk:?} {sight:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn other_protocols_states_stay() {
        let of_sctp = STATES.map(|(_, state)| state);
        for state in State::ALL.into_iter().filter(|it| !of_sctp.contains(it)) {
            for chunk in Chunk::ALL {
                assert_eq!(state.after_chunk(chunk, Sight::RealServer), state);
            }
        }
    }

    /// By `ipvsadm -lc`, and which of them schedulers count as active, and which may be followed.
    #[test]
    fn names_and_kinds_are_those_of_ipvs() {
        let names = STATES.map(|(_, state)| state.name());
        assert_eq!(
            names.join(" "),
            "NONE INIT1 INIT C-SENT C-REPLIED C-WAIT COOKIE C-ECHOED ESTABLISHED S-SENT S-RECEIVED S-ACK-SENT REJECTED \
             CLOSED"
        );
        for (_, state) in STATES {
            assert_eq!(state.is_active(), state == ES, "{state}");
            assert_eq!(state.is_over(), state == CL, "{state}");
        }
    }
}
