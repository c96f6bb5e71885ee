//! One line in, its answer out.
//!
//! Promises: any bytes get a valid JSON-RPC 2.0 answer, or none where the protocol says none; nothing panics; an
//! answer's size is bounded by that of the largest table and [`MAX_ANSWER_BYTES`].
//! Does not know: who asks, or over what.

use std::rc::Rc;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Mutex;
use weir_config::ipvs::{Edit, EditError};

use crate::daemon::{Candidate, Daemon, Refusal};
use crate::method::{
    ConfigParams, ConnectionParams, DestinationAddressParams, DestinationParams, EditParams,
    Method, ServiceParams, WeightParams,
};
use crate::protocol::{self, ErrorObject, Line, NoParams, Request};
use crate::rows::{ConnectionPage, ConnectionRow};

/// When the answers to an array have grown to this many bytes, what is left of the array is refused.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Asks the daemon what lines ask for.
pub struct Dispatcher<D> {
    daemon: Rc<D>,
    /// Held while a configuration is looked at or applied, so that each sees the one before it.
    configuring: Mutex<()>,
}

/// What a line comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// One line without its end; `None`: there is nothing to say.
    pub text: Option<String>,
    /// Whether the daemon is to end once this has been sent.
    pub is_stop: bool,
}

impl<D: Daemon> Dispatcher<D> {
    /// Asks `daemon`.
    pub fn new(daemon: Rc<D>) -> Self {
        Self {
            daemon,
            configuring: Mutex::new(()),
        }
    }

    /// Does what `line` asks for; with or without its end, and whatever it holds.
    pub async fn answer(&self, line: &[u8]) -> Answer {
        match Line::parse(line) {
            Ok(Line::Blank) => Answer::default(),
            Ok(Line::One(value)) => self.answer_one(value).await,
            Ok(Line::Array(values)) => self.answer_array(&values).await,
            Err(error) => refuse(error),
        }
    }

    async fn answer_array(&self, values: &[&RawValue]) -> Answer {
        let mut texts: Vec<String> = Vec::new();
        let mut n_bytes = 0;
        let mut is_stop = false;
        for value in values {
            let answer = match n_bytes < MAX_ANSWER_BYTES {
                true => self.answer_one(value).await,
                false => refuse_unheard(value),
            };
            is_stop |= answer.is_stop;
            n_bytes += answer.text.as_ref().map_or(0, String::len);
            texts.extend(answer.text);
        }
        Answer {
            text: (!texts.is_empty()).then(|| format!("[{}]", texts.join(","))),
            is_stop,
        }
    }

    async fn answer_one(&self, value: &RawValue) -> Answer {
        let request = match Request::parse(value) {
            Ok(request) => request,
            Err(error) => return refuse(error),
        };
        let Some(method) = Method::find(&request.method) else {
            let known: Vec<&str> = Method::ALL.iter().map(|method| method.name()).collect();
            let sentence = format!("there is no such method; there are {}", known.join(", "));
            return reply(
                &request,
                &Err(ErrorObject::new(protocol::METHOD_NOT_FOUND, sentence)),
            );
        };
        let outcome = self.call(method, &request).await;
        let is_stop = outcome.is_ok() && method == Method::DaemonStop;
        Answer {
            is_stop,
            ..reply(&request, &outcome)
        }
    }

    async fn call(
        &self,
        method: Method,
        request: &Request<'_>,
    ) -> Result<Box<RawValue>, ErrorObject> {
        let daemon = &*self.daemon;
        if !takes_params(method) {
            let NoParams {} = request.params()?;
        }
        match method {
            Method::StatusShow => result(daemon.status().await.map(|row| [row])),
            Method::PortList => result(daemon.ports().await),
            Method::ServiceList => result(daemon.services().await),
            Method::ConnectionList => written(&self.connections(request.params()?).await?),
            Method::NeighbourList => result(daemon.neighbours().await),
            Method::RouteList => result(daemon.routes().await),
            Method::DropList => result(daemon.drops().await),
            Method::WorkerList => result(daemon.workers().await),
            Method::ConfigShow => result(daemon.config().await),
            Method::ConfigDiff => {
                let candidate = candidate(request.params()?)?;
                let _alone = self.configuring.lock().await;
                result(daemon.config_diff(candidate).await)
            }
            Method::ConfigApply => {
                let candidate = candidate(request.params()?)?;
                let _alone = self.configuring.lock().await;
                result(daemon.config_apply(candidate).await)
            }
            Method::DaemonStop => written(&true),
            Method::IpvsList => result(daemon.ipvs().await),
            Method::TimeoutList => result(daemon.timeouts().await),
            Method::IpvsEdit => {
                let EditParams { edits } = request.needed_params()?;
                let outcomes: Vec<_> = self
                    .edit(edits)
                    .await?
                    .into_iter()
                    .map(Result::err)
                    .collect();
                written(&outcomes)
            }
            Method::ServiceAdd => {
                self.edit_one(Edit::AddService(request.needed_params()?))
                    .await
            }
            Method::ServiceEdit => {
                self.edit_one(Edit::EditService(request.needed_params()?))
                    .await
            }
            Method::ServiceDelete => {
                let ServiceParams { service } = request.needed_params()?;
                self.edit_one(Edit::DeleteService(service.name())).await
            }
            Method::DestinationAdd => {
                let params: DestinationParams = request.needed_params()?;
                let (service, server) = (params.service.name(), params.destination);
                self.edit_one(Edit::AddServer { service, server }).await
            }
            Method::DestinationEdit => {
                let params: DestinationParams = request.needed_params()?;
                let (service, server) = (params.service.name(), params.destination);
                self.edit_one(Edit::EditServer { service, server }).await
            }
            Method::DestinationDelete => {
                let DestinationAddressParams { service, address } = request.needed_params()?;
                let service = service.name();
                self.edit_one(Edit::DeleteServer { service, address }).await
            }
            Method::DestinationSetWeight => {
                let WeightParams {
                    service,
                    address,
                    weight,
                } = request.needed_params()?;
                let edit = Edit::SetWeight {
                    service: service.name(),
                    address,
                    weight,
                };
                self.edit_one(edit).await
            }
            Method::TimeoutSet => {
                self.edit_one(Edit::SetTimeouts(request.needed_params()?))
                    .await
            }
        }
    }

    async fn edit(&self, edits: Vec<Edit>) -> Result<Vec<Result<(), EditError>>, ErrorObject> {
        let _alone = self.configuring.lock().await;
        self.daemon.edit(edits).await.map_err(refused)
    }

    async fn edit_one(&self, edit: Edit) -> Result<Box<RawValue>, ErrorObject> {
        for outcome in self.edit(vec![edit]).await? {
            outcome.map_err(|error| refused(Refusal::new(error.to_string())))?;
        }
        written(&true)
    }

    async fn connections(&self, params: ConnectionParams) -> Result<ConnectionPage, ErrorObject> {
        let limit = params.limit.unwrap_or(ConnectionParams::MAX_LIMIT);
        if !(1..=ConnectionParams::MAX_LIMIT).contains(&limit) {
            let sentence = format!(
                "a page cannot hold {limit} connections; `limit` must be 1 to {}",
                ConnectionParams::MAX_LIMIT
            );
            return Err(ErrorObject::new(protocol::INVALID_PARAMS, sentence));
        }
        let page = self.daemon.connections(params.cursor, limit).await;
        let mut page = page.map_err(refused)?;
        page.connections.retain(|row| is_wanted(row, &params));
        Ok(page)
    }
}

fn takes_params(method: Method) -> bool {
    match method {
        Method::ConnectionList
        | Method::ConfigDiff
        | Method::ConfigApply
        | Method::IpvsEdit
        | Method::ServiceAdd
        | Method::ServiceEdit
        | Method::ServiceDelete
        | Method::DestinationAdd
        | Method::DestinationEdit
        | Method::DestinationDelete
        | Method::DestinationSetWeight
        | Method::TimeoutSet => true,
        Method::StatusShow
        | Method::PortList
        | Method::ServiceList
        | Method::NeighbourList
        | Method::RouteList
        | Method::DropList
        | Method::WorkerList
        | Method::ConfigShow
        | Method::IpvsList
        | Method::TimeoutList
        | Method::DaemonStop => false,
    }
}

fn is_wanted(row: &ConnectionRow, params: &ConnectionParams) -> bool {
    let is_of_service = params.service.is_none_or(|service| {
        let (there, vip) = (row.virtual_endpoint, service.vip);
        let is_there = there == vip || vip.port() == 0 && there.ip() == vip.ip();
        is_there && row.protocol == service.protocol.to_string()
    });
    let is_of_client = params.client.is_none_or(|client| row.client.ip() == client);
    is_of_service && is_of_client
}

fn candidate(params: ConfigParams) -> Result<Candidate, ErrorObject> {
    match (params.text, params.file_name) {
        (None, None) => Ok(Candidate::OwnFile),
        (Some(text), Some(file_name)) => Ok(Candidate::Text { text, file_name }),
        (Some(_), None) | (None, Some(_)) => Err(ErrorObject::new(
            protocol::INVALID_PARAMS,
            "`text` and `file_name` belong together; give both, or neither for the daemon's own file",
        )),
    }
}

fn result<T: Serialize>(outcome: Result<T, Refusal>) -> Result<Box<RawValue>, ErrorObject> {
    written(&outcome.map_err(refused)?)
}

fn refused(refusal: Refusal) -> ErrorObject {
    ErrorObject::new(protocol::REFUSED, refusal.to_string())
}

fn written<T: Serialize>(value: &T) -> Result<Box<RawValue>, ErrorObject> {
    to_raw_value(value).map_err(|error| {
        let sentence = format!("the answer has no JSON form ({error}); please report this");
        ErrorObject::new(protocol::INTERNAL_ERROR, sentence)
    })
}

/// The answer to what cannot be told to be a notification.
fn refuse(error: ErrorObject) -> Answer {
    Answer {
        text: Some(protocol::answer(None, &Err(error))),
        is_stop: false,
    }
}

fn refuse_unheard(value: &RawValue) -> Answer {
    match Request::parse(value) {
        Err(error) => refuse(error),
        Ok(request) => {
            let sentence =
                "the answers to this array have grown too large; send the rest in lines of its own";
            reply(
                &request,
                &Err(ErrorObject::new(protocol::REFUSED, sentence)),
            )
        }
    }
}

/// The answer to `request`, or nothing for a notification.
fn reply(request: &Request<'_>, outcome: &Result<Box<RawValue>, ErrorObject>) -> Answer {
    let text = request.id.map(|id| protocol::answer(Some(id), outcome));
    Answer {
        text,
        is_stop: false,
    }
}
