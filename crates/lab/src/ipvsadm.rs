//! The director's services as an operator of LVS makes them: lines of ipvsadm.
//!
//! Promises: the lines say what the configuration of the same services says, and only in ipvsadm's own words.
//! Does not know: weir's ipvsadm; the lines are what a person would type.

use crate::config::{Protocol, Service};
use crate::method::{Encapsulation, GUE, Method};

/// The command lines, without the word `ipvsadm`, that make `services`.
pub fn lines(services: &[Service]) -> Vec<String> {
    services.iter().flat_map(lines_of).collect()
}

fn lines_of(service: &Service) -> Vec<String> {
    let protocol = match service.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
    };
    let vip = service.vip;
    let scheduler = service.scheduler.to_lowercase();
    let mut lines = vec![format!("-A {protocol} {vip} -s {scheduler}")];
    lines.extend(service.destinations.iter().map(|(address, weight)| {
        let method = options(service.method);
        format!("-a {protocol} {vip} -r {address} {method} -w {weight}")
    }));
    lines
}

fn options(method: Method) -> String {
    match method {
        Method::Nat => "-m".into(),
        Method::Dr => "-g".into(),
        Method::Tun(Encapsulation::Ipip) => "-i".into(),
        Method::Tun(Encapsulation::Gre) => "-i --tun-type gre --tun-nocsum".into(),
        Method::Tun(Encapsulation::Gue) => {
            format!("-i --tun-type gue --tun-port {GUE} --tun-nocsum")
        }
        Method::FullNat => "-b".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_one_line_and_each_destination_another() {
        let service = Service {
            vip: "8.8.8.8:80".parse().unwrap(),
            protocol: Protocol::Tcp,
            scheduler: "Wrr",
            method: Method::Nat,
            client_address: None,
            destinations: vec![
                ("192.168.10.2:80".parse().unwrap(), 2),
                ("192.168.10.3:80".parse().unwrap(), 1),
            ],
        };
        assert_eq!(
            lines(&[service]),
            [
                "-A -t 8.8.8.8:80 -s wrr",
                "-a -t 8.8.8.8:80 -r 192.168.10.2:80 -m -w 2",
                "-a -t 8.8.8.8:80 -r 192.168.10.3:80 -m -w 1",
            ]
        );
    }
}
