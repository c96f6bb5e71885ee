//! The labs of courses on Linux Virtual Server: one for each forwarding method, made ready for it and for no other.
//!
//! ```text
//! NAT        client ── wan director lan ── switch ── rs1, rs2        their default route is the director
//! DR, TUN    client, director, rs1, rs2 ── switch                    they have the VIP too, and keep it to themselves
//! FULLNAT    client ── wan director lan ── router ── switch ── rs1, rs2
//! ```
//!
//! What it is: addresses as such courses have them, whoever may own them in the world outside: a lab has no way out.
//!
//! Promises: the real servers are set up as the method needs and as an operator would do it; under FULLNAT, which needs
//! nothing, nothing is.
//! Does not know: how a real server under TUN gets at the packet inside (`peer`), or anything about the director.

use anyhow::Result;

use crate::address::{BACK, COURSE_LAN, COURSE_ONE, COURSE_WAN, LAN, WAN};
use crate::lab::Lab;
use crate::method::Method;
use crate::real_server;
use crate::topology::{
    CLIENT, CLIENT_MAC, DIRECTOR, LAN_MAC, LIPS, ROUTER, Route, Router, Topology, VIP, WAN_MAC,
};
use crate::wiring::{
    default_route, director_end, director_namespace, forward, kernel_end, plug, real_servers,
    switch, wire,
};

/// Numbers of the machines where the courses number them so.
const COURSE_DIRECTOR: u8 = 1;
const COURSE_FIRST_REAL_SERVER: u8 = 2;
const COURSE_CLIENT: u8 = 4;
const NAT_VIP: u8 = 8;
const ONE_ARM_VIP: u8 = 10;

const ROUTER_FRONT_MAC: &str = "02:00:00:00:00:a3";
const ROUTER_BACK_MAC: &str = "02:00:00:00:00:a4";

impl Topology {
    /// Builds the lab that courses show `method` in.
    pub fn course(lab: Lab, method: Method) -> Result<Self> {
        match method {
            Method::Nat => nat(lab),
            Method::Dr | Method::Tun(_) => direct(lab, method),
            Method::FullNat => full_nat(lab),
        }
    }
}

fn nat(lab: Lab) -> Result<Topology> {
    let director = director_namespace(&lab)?;
    let switch = switch(&lab)?;
    let client = lab.namespace("client")?;
    wire(&client, "eth0", &director, "wan")?;
    plug(&switch, &director, "lan", "director")?;
    let client = kernel_end(
        client,
        "eth0",
        COURSE_WAN.machine(COURSE_CLIENT),
        CLIENT_MAC,
    )?;
    let gateway = COURSE_LAN.machine(COURSE_DIRECTOR);
    let real_servers = real_servers(&lab, &switch, COURSE_LAN, COURSE_FIRST_REAL_SERVER)?;
    for host in &real_servers {
        default_route(&host.namespace, gateway)?;
    }
    let outside = COURSE_WAN.machine(COURSE_DIRECTOR);
    let ports = vec![
        director_end(&director, "wan", outside, WAN_MAC)?,
        director_end(&director, "lan", gateway, LAN_MAC)?,
    ];
    Ok(Topology {
        client,
        router: None,
        director,
        ports,
        real_servers,
        vip: COURSE_WAN.machine(NAT_VIP),
        lips: Vec::new(),
        inner_router: None,
        routes: Vec::new(),
        method: Method::Nat,
        client_segment: COURSE_WAN,
        lab,
    })
}

/// DR and TUN: everybody on one switch, so that a picture shows at once who answers whom.
fn direct(lab: Lab, method: Method) -> Result<Topology> {
    let director = director_namespace(&lab)?;
    let switch = switch(&lab)?;
    let client = lab.namespace("client")?;
    plug(&switch, &client, "eth0", "client")?;
    plug(&switch, &director, "lan", "director")?;
    let client = kernel_end(
        client,
        "eth0",
        COURSE_ONE.machine(COURSE_CLIENT),
        CLIENT_MAC,
    )?;
    let real_servers = real_servers(&lab, &switch, COURSE_ONE, COURSE_FIRST_REAL_SERVER)?;
    let vip = COURSE_ONE.machine(ONE_ARM_VIP);
    for host in &real_servers {
        real_server::take_vip(&host.namespace, vip)?;
    }
    let own = COURSE_ONE.machine(COURSE_DIRECTOR);
    let ports = vec![director_end(&director, "lan", own, LAN_MAC)?];
    Ok(Topology {
        client,
        router: None,
        director,
        ports,
        real_servers,
        vip,
        lips: Vec::new(),
        inner_router: None,
        routes: Vec::new(),
        method,
        client_segment: COURSE_ONE,
        lab,
    })
}

fn full_nat(lab: Lab) -> Result<Topology> {
    let director = director_namespace(&lab)?;
    let switch = switch(&lab)?;
    let client = lab.namespace("client")?;
    let router = lab.namespace("router")?;
    wire(&client, "eth0", &director, "wan")?;
    wire(&router, "front", &director, "lan")?;
    plug(&switch, &router, "back", "router")?;
    let client = kernel_end(client, "eth0", WAN.machine(CLIENT), CLIENT_MAC)?;
    let front = kernel_end(
        router.clone(),
        "front",
        LAN.machine(ROUTER),
        ROUTER_FRONT_MAC,
    )?;
    let back = kernel_end(router, "back", BACK.machine(ROUTER), ROUTER_BACK_MAC)?;
    forward(&front.namespace)?;
    let real_servers = real_servers(&lab, &switch, BACK, COURSE_FIRST_REAL_SERVER)?;
    for host in &real_servers {
        default_route(&host.namespace, back.addresses)?;
    }
    let ports = vec![
        director_end(&director, "wan", WAN.machine(DIRECTOR), WAN_MAC)?,
        director_end(&director, "lan", LAN.machine(DIRECTOR), LAN_MAC)?,
    ];
    let to_real_servers = Route {
        to: Some(BACK),
        via: front.addresses,
    };
    Ok(Topology {
        client,
        router: None,
        director,
        ports,
        real_servers,
        vip: WAN.machine(VIP),
        lips: LIPS.map(|number| LAN.machine(number)).collect(),
        inner_router: Some(Router { front, back }),
        routes: vec![to_real_servers],
        method: Method::FullNat,
        client_segment: WAN,
        lab,
    })
}
