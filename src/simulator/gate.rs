//! What every request passes on its way in and out: the journal, the faults, and for the REST API
//! the credential, the rate limits and the conditional requests.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::stream;
use http::{
    HeaderName, HeaderValue, Method, StatusCode,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG, IF_NONE_MATCH,
        USER_AGENT, VARY,
    },
};

use super::{
    apps, faults::Fault, journal, limits::Standing, problem::Problem, server::Shared, wire::Wire,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-github-request-id");

/// What an Enterprise Server's answers have (docs.github.com, "Endpoints for GitHub Enterprise
/// administration"): its secondary limit is off unless somebody switches it on.
const ENTERPRISE: HeaderName = HeaderName::from_static("x-github-enterprise-version");

/// docs.github.com: asking for the rate limits costs nothing of the primary one.
const RATE_LIMIT_PATH: &str = "/rate_limit";

/// Whose token a request carried: a login, or how [`apps`] calls an app or an installation.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) String);

/// Marks an answer that cost something of the primary limit.
#[derive(Debug, Clone, Copy)]
struct Charged;

/// Marks an answer that never reaches the client.
#[derive(Debug, Clone, Copy)]
struct Lost;

/// Writes every request down, answered or not, and gives it an identifier.
pub(super) async fn record(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let number = shared.change(|world, at| {
        world.journal.arrived(journal::Request {
            number: 0,
            at,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            login: None,
            conditional: request.headers().contains_key(IF_NONE_MATCH),
            status: None,
            charged: false,
        })
    });
    let _under_way = UnderWay(Arc::clone(&shared));
    let mut response = next.run(request).await;
    let id = format!("{:04X}:{number:08X}:51A0", shared.options.seed & 0xFFFF);
    // GitHub's clock, which need not be the host's.
    let date = shared.lock().clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (name, value) in [(REQUEST_ID, id), (DATE, date)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    let login = response.extensions().get::<Caller>().cloned();
    let charged = response.extensions().get::<Charged>().is_some();
    let lost = response.extensions().get::<Lost>().is_some();
    shared.change(|world, _| {
        let status = (!lost).then(|| response.status().as_u16());
        world.journal.answered(number, login.map(|Caller(login)| login), status, charged);
    });
    response
}

/// Counts a request as under way until it is answered or its client has gone.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.change(|world, _| world.journal.left());
    }
}

/// Lets requests go wrong as a test wants them to.
pub(super) async fn go_wrong(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
    next: Next,
) -> Response {
    // The runners' side is known by its full path, the API's by the path below its base.
    let path = match request.extensions().get::<Prefix>() {
        Some(Prefix(prefix)) => format!("{prefix}{}", request.uri().path()),
        None => request.uri().path().to_owned(),
    };
    let method = request.method().as_str().to_owned();
    let fault = {
        let mut world = shared.lock();
        let world = &mut *world;
        world.faults.strike(&method, &path, &mut world.random)
    };
    let Some(fault) = fault else { return next.run(request).await };
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            Problem::Broken(status).into_response()
        }
        Fault::SecondaryLimit { retry_after } => {
            Problem::SecondaryLimit { status: StatusCode::FORBIDDEN, retry_after }.into_response()
        }
        Fault::TooManyRequests { retry_after } => {
            Problem::SecondaryLimit { status: StatusCode::TOO_MANY_REQUESTS, retry_after }
                .into_response()
        }
        Fault::Hang => {
            shared.ending.cancelled().await;
            cut(&wire)
        }
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        Fault::Reset => cut(&wire),
        Fault::LostAfterEffect => {
            next.run(request).await;
            cut(&wire)
        }
        Fault::Truncated => truncate(next.run(request).await).await,
        Fault::Malformed => spoil(next.run(request).await).await,
    }
}

/// The path that requests of a side are known by, where that is not below the API's base.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix(pub(super) &'static str);

fn cut(wire: &Wire) -> Response {
    wire.cut();
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(Lost);
    response
}

/// Promises the whole body and ends the connection in the middle of it.
async fn truncate(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = whole(body).await;
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    let half = bytes.slice(..bytes.len() / 2);
    let cut = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    Response::from_parts(parts, Body::from_stream(stream::iter([Ok(half), Err(cut)])))
}

/// Ends the body in the middle, and the response with it.
async fn spoil(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = whole(body).await;
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(bytes.slice(..bytes.len() / 2)))
}

/// Checks credential and limits, and answers `304 Not Modified` where that is all there is to say.
pub(super) async fn admit(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match caller(&shared, &request) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let Caller(login) = &caller;
    let free = request.uri().path() == RATE_LIMIT_PATH;
    let (resource, admitted) = shared.change(|world, now| {
        let method = request.method().as_str();
        let resource = world.limits.resource(method, request.uri().path());
        let admitted = world.limits.admit(login, method, resource, free, now);
        (resource, admitted.map_err(|exceeded| Problem::exceeded(exceeded, login)))
    });
    let conditional = request.headers().get(IF_NONE_MATCH).cloned();
    let is_get = request.method() == Method::GET;
    request.extensions_mut().insert(caller.clone());
    let mut charged = false;
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(()) => {
            let mut response = next.run(request).await;
            if is_get && !free && response.status() == StatusCode::OK {
                response = condition(response, conditional.as_ref()).await;
            }
            charged = !free && response.status() != StatusCode::NOT_MODIFIED;
            response
        }
    };
    let standing = shared.change(|world, now| {
        if charged {
            world.limits.charge(login, resource, now);
        }
        world.limits.standing(login, resource, now)
    });
    tell(standing, &mut response);
    if shared.options.secondary_limit.is_none() {
        response.headers_mut().insert(ENTERPRISE, HeaderValue::from_static("3.18.0"));
    }
    response.extensions_mut().insert(caller);
    if charged {
        response.extensions_mut().insert(Charged);
    }
    response
}

fn caller(shared: &Shared, request: &Request) -> Result<Caller, Problem> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    header(USER_AGENT).ok_or(Problem::NoUserAgent)?;
    let (scheme, token) = header(AUTHORIZATION)
        .and_then(|value| value.split_once(' '))
        .ok_or(Problem::NoCredential)?;
    let accepted = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
    let world = shared.lock();
    let now = world.clock.now();
    let app = || world.state.apps.identify(token, now);
    let identity = match world.state.login_of(token).filter(|_| accepted) {
        Some(login) => login,
        None => app().transpose()?.filter(|_| accepted).ok_or(Problem::BadCredential)?,
    };
    apps::may_ask(&identity, request.uri().path())?;
    Ok(Caller(identity))
}

/// Gives an answer its entity tag, and leaves out the body that the client already has.
async fn condition(response: Response, known: Option<&HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let bytes = whole(body).await;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    // The next page may have come or gone while this one stayed the same.
    parts.headers.get(http::header::LINK).map(HeaderValue::as_bytes).hash(&mut hasher);
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    let is_known = known
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        parts.headers.insert(ETAG, tag);
    }
    parts
        .headers
        .insert(CACHE_CONTROL, HeaderValue::from_static("private, max-age=60, s-maxage=60"));
    parts.headers.insert(VARY, HeaderValue::from_static("Accept, Authorization"));
    if is_known {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_TYPE);
        parts.headers.remove(CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

fn tell(standing: Standing, response: &mut Response) {
    let resets_at = u64::try_from(standing.resets_at.timestamp()).unwrap_or_default();
    for (name, value) in [
        ("x-ratelimit-limit", HeaderValue::from(standing.limit)),
        ("x-ratelimit-remaining", HeaderValue::from(standing.remaining())),
        ("x-ratelimit-used", HeaderValue::from(standing.used)),
        ("x-ratelimit-reset", HeaderValue::from(resets_at)),
        ("x-ratelimit-resource", HeaderValue::from_static(standing.resource.name())),
    ] {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

/// The simulator's own bodies are all in memory, so that reading one cannot fail.
async fn whole(body: Body) -> Bytes {
    to_bytes(body, usize::MAX).await.unwrap_or_default()
}
