//! The section `firewall_marks`.
//!
//! Promises: each is named by a mark, no two alike, and is what IPVS would accept.
//! Does not know: packets; none has a mark here.

use crate::error::Report;
use crate::ipvs::{Edit, EditError, MarkedService, ServiceName, Table, Timeouts};
use crate::locate::Place;

pub(super) fn resolve(
    report: &mut Report,
    written: Option<&[MarkedService]>,
    place: Place<'_>,
) -> Vec<MarkedService> {
    let timeouts = Timeouts {
        tcp_s: 1,
        tcp_fin_s: 1,
        udp_s: 1,
    };
    let mut table = Table::new(Vec::new(), timeouts);
    let written = written.unwrap_or_default();
    for (index, marked) in written.iter().enumerate() {
        let result = require_mark(marked)
            .and_then(|()| add(marked, &mut table).map_err(|error| error.to_string()));
        report.keep(place.item(index).at(), result);
    }
    written.to_vec()
}

fn require_mark(marked: &MarkedService) -> Result<(), String> {
    match marked.service.name {
        ServiceName::Mark { mark: 1.., .. } => Ok(()),
        ServiceName::Mark { mark: 0, .. } => {
            Err("a firewall mark is more than zero; write another".to_owned())
        }
        ServiceName::Virtual { .. } => Err(
            "a virtual address stands among firewall marks; write it under `services`".to_owned(),
        ),
    }
}

fn add(marked: &MarkedService, table: &mut Table) -> Result<(), EditError> {
    let service = marked.service.name;
    table.apply(&Edit::AddService(marked.service.clone()))?;
    for server in &marked.servers {
        table.apply(&Edit::AddServer {
            service,
            server: *server,
        })?;
    }
    for address in &marked.locals {
        table.apply(&Edit::AddLocal {
            service,
            address: *address,
        })?;
    }
    Ok(())
}
