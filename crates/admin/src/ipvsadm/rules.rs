//! Which options a command needs, may have, and may not have.
//!
//! Promises: the combinations that ipvsadm 1.31 accepts, and its sentences for the others, in its order: options are
//! looked at in the order of [`Opt::ALL`], and the first that is wrong is named.
//! Does not know: the values of options.

/// What ipvsadm counts as one option; several words may be the same one (`-t`, `-u`, `-f`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opt {
    Numeric,
    Connection,
    Service,
    Scheduler,
    Persistent,
    Netmask,
    Server,
    Forward,
    Weight,
    UpperThreshold,
    LowerThreshold,
    Mcast,
    Timeout,
    Daemon,
    Stats,
    Rate,
    Thresholds,
    PersistentConnections,
    NoSort,
    SyncId,
    Exact,
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

impl Opt {
    /// In the order in which they are looked at.
    const ALL: [(Self, &'static str); 36] = [
        (Self::Numeric, "numeric"),
        (Self::Connection, "connection"),
        (Self::Service, "service-address"),
        (Self::Scheduler, "scheduler"),
        (Self::Persistent, "persistent"),
        (Self::Netmask, "netmask"),
        (Self::Server, "real-server"),
        (Self::Forward, "forwarding-method"),
        (Self::Weight, "weight"),
        (Self::UpperThreshold, "u-threshold"),
        (Self::LowerThreshold, "l-threshold"),
        (Self::Mcast, "mcast-interface"),
        (Self::Timeout, "timeout"),
        (Self::Daemon, "daemon"),
        (Self::Stats, "stats"),
        (Self::Rate, "rate"),
        (Self::Thresholds, "thresholds"),
        (Self::PersistentConnections, "persistent-conn"),
        (Self::NoSort, "nosort"),
        (Self::SyncId, "syncid"),
        (Self::Exact, "exact"),
        (Self::OnePacket, "ops"),
        (Self::PersistenceModule, "pe"),
        (Self::SchedulerFlags, "sched-flags"),
        (Self::McastGroup, "mcast-group"),
        (Self::McastPort, "mcast-port"),
        (Self::McastTtl, "mcast-ttl"),
        (Self::SyncMaxlen, "sync-maxlen"),
        (Self::TunInfo, "tun-info"),
        (Self::TunType, "tun-type"),
        (Self::TunPort, "tun-port"),
        (Self::TunNocsum, "tun-nocsum"),
        (Self::TunCsum, "tun-csum"),
        (Self::TunRemcsum, "tun-remcsum"),
        (Self::LocalAddress, "local-address"),
        (Self::LocalInterface, "ifname"),
    ];

    /// As sentences call it.
    pub(super) fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    AddService,
    EditService,
    DeleteService,
    Flush,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    StartDaemon,
    StopDaemon,
    Restore,
    Save,
    Zero,
    AddLocal,
    DeleteLocal,
    GetLocals,
}

/// How an option stands to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Needed,
    Allowed,
    /// Allowed, but only one of those that are exclusive.
    Exclusive,
    Illegal,
}

const ABOUT_SERVICE: &[Opt] = &[
    Opt::Scheduler,
    Opt::Persistent,
    Opt::Netmask,
    Opt::OnePacket,
    Opt::PersistenceModule,
    Opt::SchedulerFlags,
];
const ABOUT_LIST: &[Opt] = &[
    Opt::Numeric,
    Opt::Stats,
    Opt::Rate,
    Opt::Thresholds,
    Opt::PersistentConnections,
    Opt::NoSort,
    Opt::SyncId,
    Opt::Exact,
    Opt::TunInfo,
];
const ABOUT_SERVER: &[Opt] = &[
    Opt::Forward,
    Opt::Weight,
    Opt::UpperThreshold,
    Opt::LowerThreshold,
    Opt::TunType,
    Opt::TunPort,
    Opt::TunNocsum,
    Opt::TunCsum,
    Opt::TunRemcsum,
];
const ABOUT_DAEMON: &[Opt] = &[
    Opt::Mcast,
    Opt::SyncId,
    Opt::McastGroup,
    Opt::McastPort,
    Opt::McastTtl,
    Opt::SyncMaxlen,
];

/// What a verb needs, what it allows, and of what it allows one.
struct Rule {
    name: &'static str,
    needed: &'static [Opt],
    allowed: &'static [Opt],
    exclusive: &'static [Opt],
}

impl Rule {
    fn place(&self, opt: Opt) -> Place {
        if self.needed.contains(&opt) {
            Place::Needed
        } else if self.allowed.contains(&opt) {
            Place::Allowed
        } else if self.exclusive.contains(&opt) {
            Place::Exclusive
        } else {
            Place::Illegal
        }
    }
}

impl Verb {
    fn rule(self) -> Rule {
        let rule = |name, needed, allowed| Rule {
            name,
            needed,
            allowed,
            exclusive: &[],
        };
        match self {
            Self::AddService => rule("add-service", &[Opt::Service], ABOUT_SERVICE),
            Self::EditService => rule("edit-service", &[Opt::Service], ABOUT_SERVICE),
            Self::DeleteService => rule("delete-service", &[Opt::Service], &[]),
            Self::Flush => rule("flush", &[], &[]),
            Self::List => Rule {
                exclusive: &[Opt::Connection, Opt::Service, Opt::Timeout, Opt::Daemon],
                ..rule("list", &[], ABOUT_LIST)
            },
            Self::AddServer => rule("add-server", &[Opt::Service, Opt::Server], ABOUT_SERVER),
            Self::DeleteServer => rule("delete-server", &[Opt::Service, Opt::Server], &[]),
            Self::EditServer => rule("edit-server", &[Opt::Service, Opt::Server], ABOUT_SERVER),
            Self::Set => rule("set", &[], &[]),
            Self::StartDaemon => rule("start-daemon", &[], ABOUT_DAEMON),
            Self::StopDaemon => rule("stop-daemon", &[], &[Opt::SyncId]),
            Self::Restore => rule("restore", &[], &[]),
            Self::Save => rule("save", &[], &[Opt::Numeric]),
            Self::Zero => rule("zero", &[], &[Opt::Service]),
            Self::AddLocal => rule(
                "add-laddr",
                &[Opt::Service, Opt::LocalAddress],
                &[Opt::LocalInterface],
            ),
            Self::DeleteLocal => rule(
                "del-laddr",
                &[Opt::Service, Opt::LocalAddress],
                &[Opt::LocalInterface],
            ),
            Self::GetLocals => rule("get-laddr", &[Opt::Service], &[]),
        }
    }
}

/// The options given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Given(u64);

impl Given {
    /// Notes `opt`; refused: it was given before.
    pub(super) fn note(&mut self, opt: Opt) -> Result<(), String> {
        if self.has(opt) {
            return Err(format!("multiple '{}' options specified", opt.name()));
        }
        self.0 |= 1 << opt as u64;
        Ok(())
    }

    /// Whether `opt` was given.
    pub(super) fn has(self, opt: Opt) -> bool {
        self.0 & (1 << opt as u64) != 0
    }

    /// Whether any of `opts` was given.
    pub(super) fn has_any(self, opts: &[Opt]) -> bool {
        opts.iter().any(|opt| self.has(*opt))
    }

    /// Whether what `verb` needs was given.
    pub(super) fn suffices(self, verb: Verb) -> bool {
        verb.rule().needed.iter().all(|opt| self.has(*opt))
    }

    /// Refuses what does not belong to `verb`, or what it lacks.
    pub(super) fn check(self, verb: Verb) -> Result<(), String> {
        let rule = verb.rule();
        self.check_each(Opt::ALL.map(|(opt, _)| opt).into_iter(), "command", &rule)
    }

    /// Refuses what does not belong to a tunnel of that type, or what it lacks.
    pub(super) fn check_tunnel(self, tunnel: TunnelType) -> Result<(), String> {
        let of_tunnels = [Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];
        self.check_each(of_tunnels.into_iter(), "tunnel type", &tunnel.rule())
    }

    fn check_each(
        self,
        opts: impl Iterator<Item = Opt>,
        what: &str,
        rule: &Rule,
    ) -> Result<(), String> {
        let of = format!("the '{}' {what}", rule.name);
        let mut first_exclusive: Option<Opt> = None;
        for opt in opts {
            let name = opt.name();
            match (rule.place(opt), self.has(opt)) {
                (Place::Needed, false) => {
                    return Err(format!("You need to supply the '{name}' option for {of}"));
                }
                (Place::Illegal, true) => {
                    return Err(format!("Illegal '{name}' option with {of}"));
                }
                (Place::Exclusive, true) => match first_exclusive {
                    Some(first) => {
                        let first = first.name();
                        return Err(format!(
                            "The option '{name}' conflicts with the '{first}' option in {of}"
                        ));
                    }
                    None => first_exclusive = Some(opt),
                },
                (Place::Needed | Place::Allowed, true)
                | (Place::Allowed | Place::Exclusive | Place::Illegal, false) => {}
            }
        }
        Ok(())
    }
}

/// What `--tun-type` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TunnelType {
    Ipip,
    Gue,
    Gre,
}

impl TunnelType {
    /// By its name.
    pub(super) fn find(name: &str) -> Option<Self> {
        [Self::Ipip, Self::Gue, Self::Gre]
            .into_iter()
            .find(|tunnel| tunnel.rule().name == name)
    }

    fn rule(self) -> Rule {
        let rule = |name, needed, exclusive| Rule {
            name,
            needed,
            allowed: &[],
            exclusive,
        };
        match self {
            Self::Ipip => rule("ipip", &[], &[]),
            Self::Gue => rule(
                "gue",
                &[Opt::TunPort],
                &[Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum],
            ),
            Self::Gre => rule("gre", &[], &[Opt::TunNocsum, Opt::TunCsum]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stand_at_the_places_of_their_numbers() {
        for (place, (opt, _)) in Opt::ALL.iter().enumerate() {
            assert_eq!(*opt as usize, place);
        }
    }
}
