//! `convoke token`: make, list and revoke the tokens that others join by.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use convoke_wire::CallError;
use convoke_wire::TokenTerms;
use convoke_wire::channel::Target;
use convoke_wire::core::Role;
use convoke_wire::core::coordinator::TokenView;
use serde::Serialize;

use crate::args::{At, CreateTokenArgs, Format, Global, RevokeTokenArgs, TokenAction, TokenCommand};
use crate::failure::Failure;
use crate::{access, output, place};

#[derive(Serialize)]
struct Created {
    id: String,
    token: String,
    role: String,
    allow_command: bool,
    expires_ms: u64,
}

#[derive(Serialize)]
struct Row {
    id: String,
    role: String,
    allow_command: bool,
    name: Option<String>,
    expires_ms: Option<u64>,
    uses: Option<u32>,
    used: u32,
    created_by: String,
}

/// Runs the command.
pub async fn run(command: &TokenCommand, global: &Global) -> Result<ExitCode, Failure> {
    match &command.action {
        TokenAction::Create(args) => create(args, global).await?,
        TokenAction::List(at) => list(at, global).await?,
        TokenAction::Revoke(args) => revoke(args, global).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: &CreateTokenArgs, global: &Global) -> Result<(), Failure> {
    check_right(args)?;
    let (target, mut client) = place::reach_user(args.at.coordinator.as_deref(), args.at.wait).await?;
    let Target::Address { address, trust } = &target else {
        return Err(Failure::failed("a coordinator has an address"));
    };
    let authority = trust.met().ok_or_else(|| Failure::failed("the coordinator's authority is not known"))?;
    let (token, expires_ms) = (access::new_token(authority)?, access::after(args.ttl));
    let (role, commands, name) = (args.role, args.allow_command, args.name.clone());
    let terms = TokenTerms { role, commands, name, expires_ms: Some(expires_ms), uses: args.uses };
    client.create_token(&token, terms).await?;
    match global.output {
        Format::Json => {
            let (id, role) = (token.id.to_string(), role.to_string());
            output::json(&Created { id, token: token.to_string(), role, allow_command: commands, expires_ms })?;
        }
        Format::Text => {
            output::print(&token.to_string())?;
            let (id, until) = (token.id, output::duration(args.ttl.as_secs_f64()));
            output::note(match role {
                Role::Worker => format!("Workers join with:   convoke worker {address} --token {token}"),
                Role::Client | Role::Admin => {
                    format!("Whoever has it joins with:   convoke login {address} --token {token}")
                }
            });
            if address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback()) {
                output::note("From another machine, with the address that it reaches this one by.");
            }
            output::note(format!("It is good for {until}; `convoke token revoke {id}` ends it before."));
        }
    }
    Ok(())
}

/// The right to run commands is a client's to be given.
fn check_right(args: &CreateTokenArgs) -> Result<(), Failure> {
    let hint = match args.role {
        Role::Client => return Ok(()),
        _ if !args.allow_command => return Ok(()),
        Role::Admin => "leave it out: an admin may always run commands",
        Role::Worker => {
            "leave it out: on the worker's machine, `convoke worker --allow-command` lets commands run there"
        }
    };
    let error = format!("--allow-command is for clients, and this token is for the role {}", args.role);
    Err(Failure::bad_input(error).hint(hint))
}

async fn list(at: &At, global: &Global) -> Result<(), Failure> {
    let tokens = place::connect(at).await?.tokens().await?;
    if global.output == Format::Json {
        return output::json(&tokens.into_iter().map(row).collect::<Vec<_>>());
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64;
    let headings = ["ID", "ROLE", "COMMANDS", "NAME", "EXPIRES", "USED", "CREATED BY"];
    let cells = |token: &TokenView| {
        let expires = token.expires_ms.map_or_else(
            || "never".to_owned(),
            |at| match at.checked_sub(now_ms) {
                Some(left) => format!("in {}", output::duration(left as f64 / 1_000.0)),
                None => "expired".to_owned(),
            },
        );
        let commands = if token.commands || token.role == Role::Admin { "yes" } else { "-" };
        let used = token.uses.map_or_else(|| token.used.to_string(), |uses| format!("{}/{uses}", token.used));
        let name = token.name.clone().unwrap_or_else(|| "-".to_owned());
        [token.token.to_string(), token.role.to_string(), commands.to_owned(), name, expires, used, token.by.clone()]
    };
    output::print(&output::table(headings, &tokens.iter().map(cells).collect::<Vec<_>>()))
}

fn row(token: TokenView) -> Row {
    Row {
        id: token.token.to_string(),
        role: token.role.to_string(),
        allow_command: token.commands,
        name: token.name,
        expires_ms: token.expires_ms,
        uses: token.uses,
        used: token.used,
        created_by: token.by,
    }
}

async fn revoke(args: &RevokeTokenArgs, global: &Global) -> Result<(), Failure> {
    let mut client = place::connect(&args.at).await?;
    client.revoke_token(args.id).await.map_err(|error| match error {
        CallError::NotFound(_) => Failure::bad_input(error).hint("`convoke token list` lists the tokens"),
        error => error.into(),
    })?;
    match global.output {
        Format::Json => output::json(&std::collections::BTreeMap::from([
            ("token", args.id.to_string()),
            ("state", "revoked".to_owned()),
        ])),
        Format::Text => output::print(&format!("token {} is revoked: who has joined by it stays", args.id)),
    }
}
