//! The table of a running daemon, over its admin socket.
//!
//! Promises: connects when something is first asked for, so that help and wrong usage need no daemon.
//! Does not know: what is asked for, or why.

use std::io;
use std::path::Path;

use weir_config::ipvs::{Edit, EditError, Timeouts};

use super::Ipvs;
use super::listed::ListedService;
use crate::client::Client;
use crate::command::Failure;
use crate::method::{EditParams, Method};
use crate::rows::ConnectionRow;
use crate::show;

/// The daemon whose admin socket is at a path.
#[derive(Debug)]
pub struct Remote<'a> {
    socket: &'a Path,
    client: Option<Client>,
}

impl<'a> Remote<'a> {
    /// The daemon at `socket`.
    pub fn new(socket: &'a Path) -> Self {
        Self {
            socket,
            client: None,
        }
    }

    fn client(&mut self) -> Result<&mut Client, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.socket)?,
        };
        Ok(self.client.insert(client))
    }
}

impl Ipvs for Remote<'_> {
    fn services(&mut self) -> Result<Vec<ListedService>, Failure> {
        Ok(self.client()?.call(Method::IpvsList, &())?)
    }

    fn timeouts(&mut self) -> Result<Timeouts, Failure> {
        Ok(self.client()?.call(Method::TimeoutList, &())?)
    }

    fn edit(&mut self, edits: Vec<Edit>) -> Result<Vec<Result<(), EditError>>, Failure> {
        let params = EditParams { edits };
        let outcomes: Vec<Option<EditError>> = self.client()?.call(Method::IpvsEdit, &params)?;
        Ok(outcomes
            .into_iter()
            .map(|error| error.map_or(Ok(()), Err))
            .collect())
    }

    fn connections(
        &mut self,
        take: impl FnMut(&[ConnectionRow]) -> io::Result<()>,
    ) -> Result<(), Failure> {
        show::each_page(self.client()?, None, None, take)
    }
}
