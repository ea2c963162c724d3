//! Asking the user before a job is made to fail: by an elicitation in the client's own era.
//!
//! Revision 2026-07-28 has no requests from server to client: the call is answered with what is
//! asked and a sealed state, and made again with the answer (SEP-2322). Older clients are asked
//! while the call waits. Who can't be asked is refused: nothing is stopped without a yes.

use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    BooleanSchema, CallToolRequestParams, ElicitRequest, ElicitRequestParams, ElicitResult,
    ElicitationAction, ElicitationSchema, InputRequest, InputRequests, InputRequiredResult,
    ProtocolVersion, RequestStateCodec, SealOptions,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

use super::McpServer;
use crate::error::{Code, Error, Result};
use crate::operations::{Answer, Arguments, Call, Entry};

/// How long a user may think about it.
const PATIENCE: Duration = Duration::from_secs(300);
/// The question's name, and that of its one answer.
const QUESTION: &str = "confirm_stop";
const FIELD: &str = "stop";
/// The argument that confirms by itself.
const FORCE: &str = "force";

/// What a call says of a confirmation.
pub(super) enum Confirmation {
    /// Nothing: it is the first of its kind.
    None,
    /// The user agreed to what was asked about the thing with this id.
    Given(String),
    /// The user did not agree.
    Denied,
}

/// What came of asking.
pub(super) enum Asked {
    /// The user agreed, about the thing with this id.
    Agreed(String),
    /// The user did not agree.
    Refused,
    /// The client asks and calls again.
    Later(InputRequiredResult),
}

/// Seals what a client keeps for us between two calls, so that nobody can make an agreement up.
pub(super) struct Seal(Option<RequestStateCodec>);

impl Default for Seal {
    /// A key of this process: who was asked before a restart is asked again.
    fn default() -> Self {
        let mut key = [0u8; 32];
        let random = getrandom::fill(&mut key).is_ok();
        Self(RequestStateCodec::try_new(key).ok().filter(|_| random))
    }
}

impl Seal {
    fn close(&self, subject: &str, bound: &str) -> Option<String> {
        let options = SealOptions::new().associated_data(bound.as_bytes()).ttl(PATIENCE);
        Some(self.0.as_ref()?.seal_with(subject.as_bytes(), &options))
    }

    fn open(&self, sealed: &str, bound: &str) -> Option<String> {
        let opened = self.0.as_ref()?.open_with(sealed, bound.as_bytes()).ok()?;
        String::from_utf8(opened).ok()
    }
}

/// What an agreement is bound to: this tool with these arguments.
fn bound(entry: &Entry, arguments: &Arguments) -> String {
    format!("{} {}", entry.tool, Value::Object(arguments.clone()))
}

impl Confirmation {
    /// What `request` says of a confirmation; a state that is not ours is refused.
    pub(super) fn of(
        entry: &Entry,
        request: &CallToolRequestParams,
        seal: &Seal,
    ) -> Result<Self, ErrorData> {
        let Some(state) = &request.request_state else { return Ok(Self::None) };
        let arguments = request.arguments.clone().unwrap_or_default();
        let subject = seal.open(state, &bound(entry, &arguments)).ok_or_else(|| {
            let text = "The request state is not valid, or no longer. Call without it to be asked.";
            ErrorData::invalid_params(text, None)
        })?;
        let answer = request.input_responses.as_ref().and_then(|answers| answers.get(QUESTION));
        let answer =
            answer.and_then(|answer| serde_json::from_value::<ElicitResult>(answer.clone()).ok());
        Ok(if answer.is_some_and(|answer| agrees(&answer)) {
            Self::Given(subject)
        } else {
            Self::Denied
        })
    }
}

/// Only a plain yes is one.
fn agrees(answer: &ElicitResult) -> bool {
    let field = answer.content.as_ref().and_then(|content| content.get(FIELD));
    answer.action == ElicitationAction::Accept && field == Some(&Value::Bool(true))
}

impl McpServer {
    /// Has the user asked whether `error` is to be overcome; the error itself where that can't be.
    pub(super) async fn ask(
        &self,
        entry: &Entry,
        arguments: &Arguments,
        error: Error,
        context: &RequestContext<RoleServer>,
    ) -> Result<Asked> {
        let can_be_asked = context
            .client_capabilities()
            .and_then(|capabilities| capabilities.elicitation)
            // Without a word on forms and addresses, forms are meant.
            .is_some_and(|can| can.form.is_some() || can.url.is_none());
        let (Some(subject), true) = (error.subject.clone(), can_be_asked) else {
            return Err(error);
        };
        let question = question(&error)?;
        let modern = context
            .protocol_version()
            .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        if modern {
            let Some(state) = self.seal.close(&subject, &bound(entry, arguments)) else {
                return Err(error);
            };
            let request = InputRequest::Elicitation(ElicitRequest::new(question));
            let requests = InputRequests::from([(QUESTION.to_owned(), request)]);
            return Ok(Asked::Later(InputRequiredResult::new(Some(requests), Some(state))));
        }
        let answer = tokio::select! {
            answer = context.peer.create_elicitation_with_timeout(question, Some(PATIENCE)) => answer,
            () = context.ct.cancelled() => return Err(error),
        };
        match answer {
            Ok(answer) if agrees(&answer) => Ok(Asked::Agreed(subject)),
            Ok(_) => Ok(Asked::Refused),
            Err(failure) => {
                tracing::warn!(%failure, "the user could not be asked");
                Err(error)
            }
        }
    }

    /// Does what the user agreed to, if it still is what it was: the thing with the id `subject`.
    pub(super) async fn confirmed(
        &self,
        entry: &'static Entry,
        mut arguments: Arguments,
        subject: String,
        call: &Call,
    ) -> Result<Answer<Value>> {
        // Time has passed: what was asked for may mean another one by now, the id does not. Without
        // force this ends what has become idle.
        arguments.insert("container".into(), subject.clone().into());
        match self.run(entry, arguments.clone(), call).await {
            Err(error)
                if error.code == Code::ConfirmationRequired
                    && error.subject.as_ref() == Some(&subject) => {}
            otherwise => return otherwise,
        }
        arguments.insert(FORCE.into(), true.into());
        self.run(entry, arguments, call).await
    }

    /// The error after a no.
    pub(super) fn denied(&self, entry: &Entry, arguments: Arguments, call: &Call) -> Error {
        let error = Error::new(
            Code::ConfirmationRequired,
            "The user did not agree, so nothing was stopped.",
            "Leave it, unless the user asks for it again.",
        );
        self.host.record(entry, arguments, call, Err(&error));
        error
    }
}

fn question(error: &Error) -> Result<ElicitRequestParams> {
    let agree = |field: BooleanSchema| {
        field.title("Stop it").description("Yes ends the runner at once, and its job fails.")
    };
    let schema = ElicitationSchema::builder().required_bool_property(FIELD, agree).build();
    let requested_schema = schema.map_err(|error| {
        Error::internal(format!("The question is broken: {error}."), "Please report it.")
    })?;
    let message = format!("{} Stop it all the same?", error.message);
    Ok(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operations::OPERATIONS;

    fn arguments(container: &str) -> Arguments {
        json!({ "container": container }).as_object().unwrap().clone()
    }

    #[test]
    fn an_agreement_holds_for_the_very_call_that_was_asked_about_and_no_other() {
        let (seal, entry) = (Seal::default(), &OPERATIONS[6]);
        let sealed = seal.close("c0ffee", &bound(entry, &arguments("c0"))).unwrap();
        assert_eq!(seal.open(&sealed, &bound(entry, &arguments("c0"))).unwrap(), "c0ffee");
        assert_eq!(seal.open(&sealed, &bound(entry, &arguments("d0"))), None);
        assert_eq!(seal.open(&sealed, &bound(&OPERATIONS[1], &arguments("c0"))), None);
        assert_eq!(Seal::default().open(&sealed, &bound(entry, &arguments("c0"))), None);
        let mut forged = sealed.clone();
        forged.pop();
        assert_eq!(seal.open(&forged, &bound(entry, &arguments("c0"))), None);
    }

    #[test]
    fn only_a_plain_yes_is_an_agreement() {
        let answer = |value: Value| agrees(&serde_json::from_value(value).unwrap());
        assert!(answer(json!({ "action": "accept", "content": { "stop": true } })));
        for other in [
            json!({ "action": "accept", "content": { "stop": false } }),
            json!({ "action": "accept", "content": { "stop": "true" } }),
            json!({ "action": "accept", "content": {} }),
            json!({ "action": "accept" }),
            json!({ "action": "decline", "content": { "stop": true } }),
            json!({ "action": "cancel" }),
        ] {
            assert!(!answer(other.clone()), "{other}");
        }
    }
}
