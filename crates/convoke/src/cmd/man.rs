//! `convoke man`: the manual's pages, made from what `--help` says.
//!
//! It has no words of its own.

use std::fs;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Cli, ManArgs};
use crate::failure::Failure;
use crate::output;

/// Runs the command.
pub fn run(args: &ManArgs) -> Result<ExitCode, Failure> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).map_err(Failure::failed)?;
        output::print(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    };
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    written.map_err(|error| {
        Failure::bad_input(format!("cannot write pages to {}: {error}", folder.display()))
            .hint("check the path, its rights and the space there")
    })?;
    output::print(&folder.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
