//! Lines on stderr: which ones, and how they look.
//!
//! It knows commands only by how much each has to say.

use std::io::{IsTerminal, Stderr, Write, stderr};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::args::{Command, Format, Global};
use crate::output;

/// Sends what Convoke's crates have to say to stderr. Services tell what happens; other commands only warn.
pub fn start(global: &Global, command: &Command) {
    let service = matches!(command, Command::Coordinator(_) | Command::Worker(_));
    let level = match (global.quiet, service, global.verbose) {
        (true, _, _) | (false, false, 0) => Level::WARN,
        (false, true, 0) | (false, false, 1) => Level::INFO,
        (false, true, 1) | (false, false, 2) => Level::DEBUG,
        _ => Level::TRACE,
    };
    let ours = ["convoke", "convoke_node", "convoke_wire", "convoke_store"];
    let targets = Targets::new().with_targets(ours.map(|target| (target, level))).with_default(Level::ERROR);
    let lines =
        tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(|| Lines(stderr())).with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    match global.log {
        Format::Json => registry.with(lines.json().flatten_event(true)).init(),
        Format::Text => registry.with(lines.with_ansi(stderr().is_terminal())).init(),
    }
}

/// Where lines go, one event each: what a peer said ends no line, nor begins another.
struct Lines(Stderr);

impl Write for Lines {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        // Colours are the layer's own; it lets no other escape through.
        let parts: Vec<_> = text.trim_end_matches('\n').split('\u{1b}').map(output::line).collect();
        writeln!(self.0, "{}", parts.join("\u{1b}"))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}
