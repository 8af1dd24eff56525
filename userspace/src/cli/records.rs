//! What the agent knows of Docker's side, asked by the protocol that Docker speaks with it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::agent::plugin::RECORDS;
use crate::agent::store::{LocalStore, Store};
use crate::driver::records::Records;
use crate::instance::Instance;

/// How long the agent may take for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is recorded of Docker's side: the agent says it, which has the record open; where none runs it
/// is read from the disk.
pub(super) fn records(instance: &Instance) -> Result<Records> {
    if let Some(records) = ask(instance, RECORDS, &())? {
        return Ok(records);
    }
    let path = instance.driver_store();
    if !path.exists() {
        return Ok(Records::default());
    }
    LocalStore::open(&path)?.read()
}

/// Asks the agent; nothing if none runs.
pub(super) fn ask<T: DeserializeOwned>(
    instance: &Instance,
    method: &str,
    question: &impl Serialize,
) -> Result<Option<T>> {
    let body = serde_json::to_string(question)?;
    let answer = converse(&instance.driver_socket(), method, &body)?;
    Ok(match answer {
        Some(body) => Some(serde_json::from_str(&body)?),
        None => None,
    })
}

/// Asks whoever listens at a socket by the protocol of Docker's plugins; nothing if nobody does.
pub(super) fn converse(socket: &Path, method: &str, body: &str) -> Result<Option<String>> {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return Ok(None);
    };
    let mut talk = || -> Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let length = body.len();
        let request = format!(
            "POST /{method} HTTP/1.0\r\nHost: bowline\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = talk().context("ask the agent")?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the agent hung up");
    };
    let status = head.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        // It has told its reason as it tells Docker.
        let value: Value = serde_json::from_str(body).unwrap_or_default();
        match value["Err"].as_str() {
            Some(reason) => bail!("{reason}"),
            None => bail!("the agent answers: {}", body.trim()),
        }
    }
    Ok(Some(body.to_owned()))
}
