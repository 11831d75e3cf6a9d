//! The variable inspector. Front ends fill it through requests of the debug adapter protocol. No
//! other function of a debugger is implemented.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use azureml_kernel_evaluator::{Analyst, Evaluator, Variable};
use serde_json::{Value, json};

use super::request::Request;
use crate::protocol::content::DebugRequest;

/// Maximum length of a value in the list, in characters.
const IN_LIST: usize = 200;

/// Maximum length of a value that is shown alone, in characters.
const ALONE: usize = 20_000;

/// The seed from which front ends compute file names of cells; any number is valid.
const HASH_SEED: u32 = 0xc70f_6907;

/// The state that is available without the evaluator.
#[derive(Default)]
pub struct Debugger {
    started: AtomicBool,
    /// The last known types and values of variables, by name.
    values: Mutex<BTreeMap<String, (String, String)>>,
}

/// A request for variables.
pub struct VariablesRequest {
    command: DebugRequest,
    /// The variable that is shown alone; `None` for all variables.
    name: Option<String>,
}

impl VariablesRequest {
    /// Parses a `debug_request`; `None` if it requests no values.
    pub fn parse(command: &DebugRequest) -> Option<Self> {
        let name = match command.command.as_str() {
            Some("inspectVariables") => None,
            Some("richInspectVariables") => Some(
                command.arguments["variableName"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ),
            _ => return None,
        };
        Some(Self {
            command: command.clone(),
            name,
        })
    }

    /// Reads the values from the evaluator.
    pub fn look(&self, debugger: &Debugger, evaluator: &mut dyn Evaluator) {
        let limit = if self.name.is_some() { ALONE } else { IN_LIST };
        let wanted = evaluator
            .variables()
            .into_iter()
            .filter(|variable| self.name.as_ref().is_none_or(|name| *name == variable.name));
        let wanted: Vec<Variable> = wanted.collect();
        let names: Vec<&str> = wanted.iter().map(|one| one.name.as_str()).collect();
        let mut values = evaluator.values(&names, limit);
        let mut known = debugger
            .values
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.name.is_none() {
            known.clear();
        }
        for variable in wanted {
            if let Some(value) = values.remove(&variable.name) {
                known.insert(variable.name, (variable.type_name, value));
            }
        }
    }

    /// Replies with the last known values.
    pub fn reply(
        &self,
        debugger: &Debugger,
        analyst: Option<&Arc<dyn Analyst>>,
        request: &Request,
    ) {
        let variables = analyst
            .map(|analyst| analyst.variables())
            .unwrap_or_default();
        let known = debugger
            .values
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let value = |variable: &Variable| {
            known
                .get(&variable.name)
                .filter(|(type_name, _)| *type_name == variable.type_name)
                .map(|(_, value)| value.as_str())
                .unwrap_or_default()
        };
        let Some(name) = &self.name else {
            let list: Vec<Value> = variables
                .iter()
                .map(|variable| {
                    let text: String = value(variable).chars().take(IN_LIST).collect();
                    json!({
                        "name": variable.name,
                        "value": text,
                        "type": variable.type_name,
                        "evaluateName": variable.name,
                        // The variable has no children.
                        "variablesReference": 0,
                    })
                })
                .collect();
            return succeed(request, &self.command, &json!({ "variables": list }));
        };
        match variables.iter().find(|variable| variable.name == *name) {
            Some(variable) => {
                let (type_name, value) = (&variable.type_name, value(variable));
                let plain = if value.is_empty() {
                    format!("{name}: {type_name}")
                } else {
                    format!("{name}: {type_name} = {value}")
                };
                let html = format!(
                    "<code>{}: {}</code><pre>{}</pre>",
                    escaped(name),
                    escaped(type_name),
                    escaped(value)
                );
                let data = json!({ "text/plain": plain, "text/html": html });
                succeed(
                    request,
                    &self.command,
                    &json!({ "data": data, "metadata": {} }),
                );
            }
            None => fail(
                request,
                &self.command,
                &format!("there is no variable `{name}`"),
            ),
        }
    }
}

/// Replies to a command that requests no values.
pub fn answer(debugger: &Debugger, request: &Request, command: &DebugRequest) {
    let started = &debugger.started;
    let body = match command.command.as_str().unwrap_or_default() {
        "debugInfo" => json!({
            "isStarted": started.load(Ordering::SeqCst),
            "hashMethod": "Murmur2",
            "hashSeed": HASH_SEED,
            "tmpFilePrefix": "rust-cell-",
            "tmpFileSuffix": ".rs",
            "breakpoints": [],
            "stoppedThreads": [],
            "richRendering": true,
            "exceptionPaths": [],
            "copyToGlobals": false,
        }),
        "initialize" => {
            started.store(true, Ordering::SeqCst);
            json!({ "supportsConfigurationDoneRequest": true })
        }
        "attach" => {
            started.store(true, Ordering::SeqCst);
            json!({})
        }
        "disconnect" | "terminate" => {
            started.store(false, Ordering::SeqCst);
            json!({})
        }
        "configurationDone" => json!({}),
        "setExceptionBreakpoints" => json!({ "breakpoints": [] }),
        "setBreakpoints" => {
            let asked = command.arguments["breakpoints"].as_array();
            let refused: Vec<Value> = asked
                .into_iter()
                .flatten()
                .map(|one| {
                    json!({
                        "verified": false,
                        "line": one["line"],
                        "message": "cells of this kernel run without stopping",
                    })
                })
                .collect();
            json!({ "breakpoints": refused })
        }
        // Front ends need a file name of the cell only for breakpoints.
        "dumpCell" => json!({ "sourcePath": "" }),
        "threads" => json!({ "threads": [] }),
        "stackTrace" => json!({ "stackFrames": [] }),
        "scopes" => json!({ "scopes": [] }),
        "variables" => json!({ "variables": [] }),
        "modules" => json!({ "modules": [], "totalModules": 0 }),
        "evaluate" => {
            return fail(
                request,
                command,
                "nothing is evaluated here; run a cell instead",
            );
        }
        other => {
            return fail(
                request,
                command,
                &format!(
                    "`{other}` is not supported: this kernel shows variables, it has no debugger"
                ),
            );
        }
    };
    succeed(request, command, &body);
}

fn succeed(request: &Request, command: &DebugRequest, body: &Value) {
    request.reply(&json!({
        "type": "response",
        "success": true,
        "command": command.command,
        "request_seq": command.seq,
        "seq": command.seq,
        "body": body,
    }));
}

fn fail(request: &Request, command: &DebugRequest, words: &str) {
    request.reply(&json!({
        "type": "response",
        "success": false,
        "command": command.command,
        "request_seq": command.seq,
        "seq": command.seq,
        "message": words,
        "body": {},
    }));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
