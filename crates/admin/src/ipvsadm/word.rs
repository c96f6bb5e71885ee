//! The words of ipvsadm's command line: commands and options, short and long.
//!
//! Promises: those of ipvsadm 1.31, and where they do not collide those that LVS's FULLNAT family adds.
//! Does not know: which of them may stand together (`rules`), or how arguments are read (`arguments`).

use super::rules::Verb;

/// A word that may stand on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// A command.
    Do(Verb),
    Help,
    Version,
    /// An option.
    Say(Saying),
}

/// An option as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Saying {
    TcpService,
    UdpService,
    SctpService,
    FwmarkService,
    Scheduler,
    Persistent,
    Netmask,
    RealServer,
    Masquerading,
    Ipip,
    Gatewaying,
    FullNat,
    Weight,
    UpperThreshold,
    LowerThreshold,
    Numeric,
    Connection,
    McastInterface,
    SyncId,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConnections,
    NoSort,
    Sort,
    Exact,
    Ipv6,
    OnePacket,
    PersistenceModule,
    SchedulerFlags,
    McastGroup,
    McastPort,
    McastTtl,
    SyncMaxlen,
    TunInfo,
    TunType,
    TunPort,
    TunNocsum,
    TunCsum,
    TunRemcsum,
    LocalAddress,
    LocalInterface,
}

/// What follows a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Nothing,
    Argument,
    /// An argument, unless what follows begins with a dash or nothing follows.
    Perhaps,
}

/// How a word is written.
pub(super) struct Spelling {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
    pub(super) word: Word,
}

/// Which words there are: that depends on the command, which stands first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vocabulary {
    /// Those of ipvsadm, and the commands that FULLNAT adds.
    Common,
    /// With `-a` and `-e`, `-b` is a forwarding method.
    RealServer,
    /// With `-P`, `-Q` and `-G` there are local addresses.
    LocalAddress,
}

impl Vocabulary {
    /// What `-c` or `--name` means.
    pub(super) fn find(self, is_it: impl Fn(&Spelling) -> bool) -> Option<&'static Spelling> {
        let added = match self {
            Self::Common => &[],
            Self::RealServer => REAL_SERVER,
            Self::LocalAddress => LOCAL_ADDRESS,
        };
        added.iter().chain(COMMON).find(|spelling| is_it(spelling))
    }
}

const fn plain(long: &'static str, short: Option<char>, word: Word) -> Spelling {
    Spelling {
        long,
        short,
        takes: Takes::Nothing,
        word,
    }
}

const fn with(long: &'static str, short: Option<char>, word: Word) -> Spelling {
    Spelling {
        long,
        short,
        takes: Takes::Argument,
        word,
    }
}

const REAL_SERVER: &[Spelling] = &[plain("fullnat", Some('b'), Word::Say(Saying::FullNat))];

const LOCAL_ADDRESS: &[Spelling] = &[
    with("local-address", Some('z'), Word::Say(Saying::LocalAddress)),
    with("ifname", Some('F'), Word::Say(Saying::LocalInterface)),
];

const COMMON: &[Spelling] = &[
    plain("add-service", Some('A'), Word::Do(Verb::AddService)),
    plain("edit-service", Some('E'), Word::Do(Verb::EditService)),
    plain("delete-service", Some('D'), Word::Do(Verb::DeleteService)),
    plain("clear", Some('C'), Word::Do(Verb::Flush)),
    plain("list", Some('L'), Word::Do(Verb::List)),
    plain("list", Some('l'), Word::Do(Verb::List)),
    plain("zero", Some('Z'), Word::Do(Verb::Zero)),
    plain("add-server", Some('a'), Word::Do(Verb::AddServer)),
    plain("edit-server", Some('e'), Word::Do(Verb::EditServer)),
    plain("delete-server", Some('d'), Word::Do(Verb::DeleteServer)),
    plain("set", None, Word::Do(Verb::Set)),
    plain("help", Some('h'), Word::Help),
    plain("version", Some('v'), Word::Version),
    plain("restore", Some('R'), Word::Do(Verb::Restore)),
    plain("save", Some('S'), Word::Do(Verb::Save)),
    with("start-daemon", None, Word::Do(Verb::StartDaemon)),
    with("stop-daemon", None, Word::Do(Verb::StopDaemon)),
    plain("add-laddr", Some('P'), Word::Do(Verb::AddLocal)),
    plain("del-laddr", Some('Q'), Word::Do(Verb::DeleteLocal)),
    plain("get-laddr", Some('G'), Word::Do(Verb::GetLocals)),
    with("tcp-service", Some('t'), Word::Say(Saying::TcpService)),
    with("udp-service", Some('u'), Word::Say(Saying::UdpService)),
    with("sctp-service", None, Word::Say(Saying::SctpService)),
    with(
        "fwmark-service",
        Some('f'),
        Word::Say(Saying::FwmarkService),
    ),
    with("scheduler", Some('s'), Word::Say(Saying::Scheduler)),
    Spelling {
        long: "persistent",
        short: Some('p'),
        takes: Takes::Perhaps,
        word: Word::Say(Saying::Persistent),
    },
    with("netmask", Some('M'), Word::Say(Saying::Netmask)),
    with("real-server", Some('r'), Word::Say(Saying::RealServer)),
    plain("masquerading", Some('m'), Word::Say(Saying::Masquerading)),
    plain("ipip", Some('i'), Word::Say(Saying::Ipip)),
    plain("gatewaying", Some('g'), Word::Say(Saying::Gatewaying)),
    with("weight", Some('w'), Word::Say(Saying::Weight)),
    with("u-threshold", Some('x'), Word::Say(Saying::UpperThreshold)),
    with("l-threshold", Some('y'), Word::Say(Saying::LowerThreshold)),
    plain("numeric", Some('n'), Word::Say(Saying::Numeric)),
    plain("connection", Some('c'), Word::Say(Saying::Connection)),
    with("mcast-interface", None, Word::Say(Saying::McastInterface)),
    with("syncid", None, Word::Say(Saying::SyncId)),
    plain("timeout", None, Word::Say(Saying::Timeout)),
    plain("daemon", None, Word::Say(Saying::Daemon)),
    plain("stats", None, Word::Say(Saying::Stats)),
    plain("rate", None, Word::Say(Saying::Rate)),
    plain("thresholds", None, Word::Say(Saying::Thresholds)),
    plain(
        "persistent-conn",
        None,
        Word::Say(Saying::PersistentConnections),
    ),
    plain("nosort", None, Word::Say(Saying::NoSort)),
    plain("sort", None, Word::Say(Saying::Sort)),
    plain("exact", Some('X'), Word::Say(Saying::Exact)),
    plain("ipv6", Some('6'), Word::Say(Saying::Ipv6)),
    plain("ops", Some('o'), Word::Say(Saying::OnePacket)),
    with("pe", None, Word::Say(Saying::PersistenceModule)),
    with("sched-flags", Some('b'), Word::Say(Saying::SchedulerFlags)),
    with("mcast-group", None, Word::Say(Saying::McastGroup)),
    with("mcast-port", None, Word::Say(Saying::McastPort)),
    with("mcast-ttl", None, Word::Say(Saying::McastTtl)),
    with("sync-maxlen", None, Word::Say(Saying::SyncMaxlen)),
    plain("tun-info", None, Word::Say(Saying::TunInfo)),
    with("tun-type", None, Word::Say(Saying::TunType)),
    with("tun-port", None, Word::Say(Saying::TunPort)),
    plain("tun-nocsum", None, Word::Say(Saying::TunNocsum)),
    plain("tun-csum", None, Word::Say(Saying::TunCsum)),
    plain("tun-remcsum", None, Word::Say(Saying::TunRemcsum)),
];
