//! The tables: `weir status`, `ports`, `services`, `connections`, `neighbours`, `routes`, `drops`, `workers`.
//!
//! Promises: a program gets one array of flat objects, on one line, exactly as the daemon sent it, fields this client
//! does not know included; a person gets columns. However many connections there are, one page of them is in memory.
//! A reader that has gone (`| head`) ends it in order.
//! Does not know: arguments, standard output, how a process exits.

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::client::Client;
use crate::command::{Failure, forgive_broken_pipe};
use crate::label::ServiceLabel;
use crate::method::{ConnectionParams, Method};
use crate::people::{self, Tabular};
use crate::rows::{
    ConnectionPage, ConnectionRow, DropRow, NeighbourRow, PortRow, RouteRow, ServiceRow, StatusRow,
    WorkerRow,
};
use crate::table::Columns;

/// Moves to the upper left corner and clears what a terminal shows below.
const CLEAR_SCREEN: &str = "\x1b[H\x1b[J";

/// What there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// The daemon at a glance.
    Status,
    /// NIC ports.
    Ports,
    /// Services and their destinations.
    Services,
    /// Living connections: all, or those of one service, of one client.
    Connections {
        /// Only those of this service.
        service: Option<ServiceLabel>,
        /// Only those of this client, whatever its cport.
        client: Option<IpAddr>,
    },
    /// Neighbours.
    Neighbours,
    /// Routes.
    Routes,
    /// Packets dropped, by reason.
    Drops,
    /// Workers.
    Workers,
}

/// Who is to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns.
    People,
    /// One array on one line.
    Json,
}

/// How a table is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// What there is to see.
    pub table: Table,
    /// Who is to read it.
    pub format: Format,
    /// How often it is printed again, until the process is interrupted; `None`: once.
    pub every: Option<Duration>,
}

/// Prints a table of the daemon whose admin socket is `socket`.
pub fn show(socket: &Path, view: &View, out: &mut impl Write) -> Result<(), Failure> {
    forgive_broken_pipe(show_all(socket, view, out))
}

fn show_all(socket: &Path, view: &View, out: &mut impl Write) -> Result<(), Failure> {
    let mut client = Client::connect(socket)?;
    let Some(pause) = view.every else {
        return show_once(&mut client, view, out);
    };
    let is_repainted = view.format == Format::People && io::stdout().is_terminal();
    loop {
        if is_repainted {
            write!(out, "{CLEAR_SCREEN}")?;
        }
        show_once(&mut client, view, out)?;
        std::thread::sleep(pause);
    }
}

fn show_once(client: &mut Client, view: &View, out: &mut impl Write) -> Result<(), Failure> {
    match view.format {
        Format::Json => show_json(client, view.table, out)?,
        Format::People => show_people(client, view.table, out)?,
    }
    Ok(out.flush()?)
}

fn show_json(client: &mut Client, table: Table, out: &mut impl Write) -> Result<(), Failure> {
    let method = match table {
        Table::Status => Method::StatusShow,
        Table::Ports => Method::PortList,
        Table::Services => Method::ServiceList,
        Table::Connections {
            service,
            client: of,
        } => {
            let mut separator = "[";
            each_page(client, service, of, |rows: &[Box<RawValue>]| {
                for row in rows {
                    write!(out, "{separator}{row}")?;
                    separator = ",";
                }
                Ok(())
            })?;
            return Ok(writeln!(
                out,
                "{}]",
                if separator == "[" { "[" } else { "" }
            )?);
        }
        Table::Neighbours => Method::NeighbourList,
        Table::Routes => Method::RouteList,
        Table::Drops => Method::DropList,
        Table::Workers => Method::WorkerList,
    };
    let rows: Box<RawValue> = client.call(method, &())?;
    Ok(writeln!(out, "{rows}")?)
}

fn show_people(client: &mut Client, table: Table, out: &mut impl Write) -> Result<(), Failure> {
    match table {
        Table::Status => {
            let rows: Vec<StatusRow> = client.call(Method::StatusShow, &())?;
            for line in rows.iter().flat_map(people::status) {
                writeln!(out, "{line}")?;
            }
            Ok(())
        }
        Table::Ports => write_table::<PortRow>(client, Method::PortList, out),
        Table::Services => write_table::<ServiceRow>(client, Method::ServiceList, out),
        Table::Connections {
            service,
            client: of,
        } => {
            let mut columns = Columns::new(ConnectionRow::COLUMNS);
            each_page(client, service, of, |rows: &[ConnectionRow]| {
                write_rows(&mut columns, rows, out)
            })
        }
        Table::Neighbours => write_table::<NeighbourRow>(client, Method::NeighbourList, out),
        Table::Routes => write_table::<RouteRow>(client, Method::RouteList, out),
        Table::Drops => write_table::<DropRow>(client, Method::DropList, out),
        Table::Workers => write_table::<WorkerRow>(client, Method::WorkerList, out),
    }
}

fn write_table<Row: Tabular + DeserializeOwned>(
    client: &mut Client,
    method: Method,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let rows: Vec<Row> = client.call(method, &())?;
    write_rows(&mut Columns::new(Row::COLUMNS), &rows, out)?;
    let footnotes: Vec<String> = rows.iter().filter_map(Row::footnote).collect();
    if !footnotes.is_empty() {
        writeln!(out, "\n{}", footnotes.join("\n"))?;
    }
    Ok(())
}

fn write_rows<Row: Tabular>(
    columns: &mut Columns,
    rows: &[Row],
    out: &mut impl Write,
) -> io::Result<()> {
    let lines: Vec<Vec<String>> = rows.iter().flat_map(Row::lines).collect();
    columns.write(&lines, out)
}

/// Hands page after page of the connections to `take`, at least one.
pub(crate) fn each_page<Row: DeserializeOwned>(
    client: &mut Client,
    service: Option<ServiceLabel>,
    of: Option<IpAddr>,
    mut take: impl FnMut(&[Row]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut params = ConnectionParams {
        cursor: 0,
        limit: None,
        service,
        client: of,
    };
    loop {
        let page: ConnectionPage<Row> = client.call(Method::ConnectionList, &params)?;
        take(&page.connections)?;
        match page.next {
            Some(next) => params.cursor = next,
            None => return Ok(()),
        }
    }
}
