//! JSON-RPC 2.0 as it is written on one line.
//!
//! Promises: any bytes become requests or an error object; memory taken does not exceed the line's own size by more
//! than a few hundred bytes per request, of which an array holds [`MAX_REQUESTS`] at most; an answer is one line.
//! Does not know: which methods there are.
//!
//! # How it works
//!
//! Values are checked for syntax where they lie and are kept as text (`RawValue`) until a method asks for its params.
//! So a line of ten million zeros costs ten megabytes, not three hundred.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use serde_json::value::RawValue;

/// How many requests one array may hold.
pub(crate) const MAX_REQUESTS: usize = 64;

const VERSION: &str = "2.0";

/// The line is no JSON.
pub(crate) const PARSE_ERROR: i32 = -32700;
/// The JSON is no request.
pub(crate) const INVALID_REQUEST: i32 = -32600;
/// There is no such method.
pub(crate) const METHOD_NOT_FOUND: i32 = -32601;
/// The method does not take these params.
pub(crate) const INVALID_PARAMS: i32 = -32602;
/// The method failed for a reason of its own making.
pub(crate) const INTERNAL_ERROR: i32 = -32603;
/// The daemon does not do what was asked for.
pub(crate) const REFUSED: i32 = -32000;

/// Whoever connected may not speak here, or not now.
pub(crate) const TURNED_AWAY: i32 = -32001;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorObject {
    pub(crate) code: i32,
    /// What is wrong and what to do; for a configuration one line per error.
    pub(crate) message: String,
}

impl ErrorObject {
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// What one line holds.
pub(crate) enum Line<'a> {
    /// White space.
    Blank,
    /// A request, or what stands in the place of one.
    One(&'a RawValue),
    /// Some of them; not empty.
    Array(Vec<&'a RawValue>),
}

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a [u8]) -> Result<Self, ErrorObject> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(Self::Blank);
        }
        let value: &RawValue = serde_json::from_slice(line).map_err(|error| {
            let sentence =
                format!("this line is no JSON ({error}); send one JSON-RPC 2.0 object per line");
            ErrorObject::new(PARSE_ERROR, sentence)
        })?;
        if !value.get().starts_with('[') {
            return Ok(Self::One(value));
        }
        let Requests(requests) = serde_json::from_str(value.get())
            .map_err(|error| ErrorObject::new(INVALID_REQUEST, error.to_string()))?;
        match requests.is_empty() {
            true => Err(ErrorObject::new(
                INVALID_REQUEST,
                "this array holds no request; put at least one into it",
            )),
            false => Ok(Self::Array(requests)),
        }
    }
}

/// An array that is refused as soon as it proves too long.
struct Requests<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Requests<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;

        impl<'de> Visitor<'de> for Bounded {
            type Value = Requests<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of requests")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut requests = Vec::new();
                while let Some(request) = array.next_element()? {
                    if requests.len() == MAX_REQUESTS {
                        return Err(de::Error::custom(format_args!(
                            "this array holds more than {MAX_REQUESTS} requests; send them in several lines"
                        )));
                    }
                    requests.push(request);
                }
                Ok(Requests(requests))
            }
        }

        deserializer.deserialize_seq(Bounded)
    }
}

/// A request that has the form of one.
pub(crate) struct Request<'a> {
    pub(crate) method: String,
    pub(crate) params: Option<&'a RawValue>,
    /// A string, a number or null; `None`: a notification, which nobody answers.
    pub(crate) id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RequestObject<'a> {
    jsonrpc: String,
    method: String,
    /// Null is taken for none.
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// A value that is there, be it null; serde's own `Option` takes null for nothing, and `"id": null` is no notification.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// All that an id may be. Read only to be checked: the answer repeats the id as it was written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Null(()),
    Number(#[expect(dead_code, reason = "checked, not used")] Number),
    Text(#[expect(dead_code, reason = "checked, not used")] String),
}

impl<'a> Request<'a> {
    pub(crate) fn parse(value: &'a RawValue) -> Result<Self, ErrorObject> {
        let refuse = |sentence: String| ErrorObject::new(INVALID_REQUEST, sentence);
        // The derived reader would take an array for a struct in the order of its fields.
        if !value.get().starts_with('{') {
            return Err(refuse("a request is a JSON object; send {\"jsonrpc\":\"2.0\",\"method\":\"status.show\",\"id\":1}".into()));
        }
        let request: RequestObject<'a> = serde_json::from_str(value.get())
            .map_err(|error| refuse(format!("this is no JSON-RPC request: {error}")))?;
        if request.jsonrpc != VERSION {
            return Err(refuse(
                "this is not JSON-RPC 2.0; `jsonrpc` must be \"2.0\"".into(),
            ));
        }
        if let Some(id) = request.id
            && serde_json::from_str::<Id>(id.get()).is_err()
        {
            return Err(refuse(
                "the id of a request must be a string, a number or null".into(),
            ));
        }
        Ok(Self {
            method: request.method,
            params: request.params,
            id: request.id,
        })
    }

    /// The params as a `T`; without any, its default.
    pub(crate) fn params<T: Default + Deserialize<'a>>(&self) -> Result<T, ErrorObject> {
        match self.params {
            None => Ok(T::default()),
            Some(_) => self.needed_params(),
        }
    }

    /// The params as a `T`, which has no default.
    pub(crate) fn needed_params<T: Deserialize<'a>>(&self) -> Result<T, ErrorObject> {
        let Some(params) = self.params else {
            let sentence = format!("{} needs params; give an object", self.method);
            return Err(ErrorObject::new(INVALID_PARAMS, sentence));
        };
        serde_json::from_str(params.get()).map_err(|error| {
            let sentence = format!("{} does not take these params: {error}", self.method);
            ErrorObject::new(INVALID_PARAMS, sentence)
        })
    }
}

/// The params of a method that takes none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParams {}

/// The answer to a request with `id`, on one line without its end.
pub(crate) fn answer(
    id: Option<&RawValue>,
    outcome: &Result<Box<RawValue>, ErrorObject>,
) -> String {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a ErrorObject>,
        id: Option<&'a RawValue>,
    }

    let answer = Answer {
        jsonrpc: VERSION,
        result: outcome.as_deref().ok(),
        error: outcome.as_ref().err(),
        id,
    };
    // Strings and numbers as they stand in memory always have a JSON form.
    serde_json::to_string(&answer).unwrap_or_else(|_| {
        format!("{{\"jsonrpc\":\"2.0\",\"error\":{{\"code\":{INTERNAL_ERROR},\"message\":\"the answer has no JSON form; please report this\"}},\"id\":null}}")
    })
}

/// A call as the client writes it, on one line with its end.
pub(crate) fn call(method: &str, params: &impl Serialize, id: u64) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Call<'a, P> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a P,
        id: u64,
    }

    let call = Call {
        jsonrpc: VERSION,
        method,
        params,
        id,
    };
    serde_json::to_string(&call).map(|line| line + "\n")
}

/// An answer as the client reads it.
#[derive(Deserialize)]
pub(crate) struct Reply {
    pub(crate) result: Option<Box<RawValue>>,
    pub(crate) error: Option<ErrorObject>,
    /// `None` where the server could not make out which request it answers.
    pub(crate) id: Option<u64>,
}
