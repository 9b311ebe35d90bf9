//! `convoke login`: turn a token into the user's credentials for a cluster.

use std::collections::BTreeMap;
use std::process::ExitCode;

use convoke_wire::channel;
use convoke_wire::core::Role;

use super::enrol;
use crate::args::{Format, Global, LoginArgs};
use crate::failure::Failure;
use crate::{access, output, place};

/// Runs the command.
pub async fn run(args: &LoginArgs, global: &Global) -> Result<ExitCode, Failure> {
    let token = enrol::parse(&args.token)?;
    let address = channel::parse(&args.address)?;
    let name = args.name.clone().unwrap_or_else(place::submitter);
    let credentials = enrol::by_token(&address, &token, &name, args.wait).await?;
    let identity = credentials.identity().clone();
    if identity.role == Role::Worker {
        return Err(Failure::no_coordinator("the token's role is worker, and to log in needs client or admin")
            .hint(format!("start one with `convoke worker {address} --token …`")));
    }
    access::book()?.record(&credentials, std::slice::from_ref(&address))?;
    let (role, name) = (identity.role.to_string(), identity.name);
    match global.output {
        Format::Json => output::json(&BTreeMap::from([("coordinator", address), ("role", role), ("name", name)]))?,
        Format::Text => output::print(&format!("logged in to {address} as {} ({role})", output::line(&name)))?,
    }
    Ok(ExitCode::SUCCESS)
}
