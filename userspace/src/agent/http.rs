//! HTTP/1.1 for whoever asks the agent, over any kind of stream.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long somebody may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest body of a question, in bytes.
const BODY_MAX: usize = 1 << 20;

/// What somebody asks.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: Method,
    /// The path without the leading slash.
    pub(super) path: String,
    /// What is behind the path's question mark.
    pub(super) query: String,
    pub(super) body: Bytes,
}

/// What is answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

/// Answers the questions that come over a stream until its other end is closed, or stays silent in the
/// middle of a question.
pub(super) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl AsyncFn(Question) -> Reply,
) {
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let reply = match Limited::new(body, BODY_MAX).collect().await {
            Ok(body) => {
                let question = Question {
                    method: head.method,
                    path: head.uri.path().trim_start_matches('/').to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    body: body.to_bytes(),
                };
                answer(question).await
            }
            Err(_) => Reply {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                content_type: "text/plain; charset=utf-8",
                body: "the question is too long\n".to_owned(),
            },
        };
        let mut response = Response::new(Full::new(Bytes::from(reply.body)));
        *response.status_mut() = reply.status;
        let content_type = hyper::header::HeaderValue::from_static(reply.content_type);
        response
            .headers_mut()
            .insert(hyper::header::CONTENT_TYPE, content_type);
        Ok::<_, Infallible>(response)
    });
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE);
    // Who hangs up has only itself to blame.
    let _gone = server.serve_connection(TokioIo::new(stream), service).await;
}
