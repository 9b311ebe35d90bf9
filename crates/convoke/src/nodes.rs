//! The nodes file: the listening workers that a coordinator dials, `host,port` each on a line of its own.
//!
//! Empty lines, and what follows a `#`, say nothing. Whether anybody is there it does not know.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use convoke_node::dial::Node;

use crate::failure::Failure;

/// How many lines a file may have.
const LINES_MAX: usize = 10_000;
/// How many bytes a file may have: as many lines of the longest names, with some words on each.
const BYTES_MAX: u64 = 4 << 20;
/// The longest name of a host.
const HOST_BYTES_MAX: usize = 253;
/// How much of a wrong value is shown.
const SHOWN_CHARS_MAX: usize = 64;

/// Why a nodes file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NodesError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is too large to be one.
    #[error("{} has more than {BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
    },
    /// A line is wrong.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        /// The path.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: LineError,
    },
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// There is no port.
    #[error("`{0}` names no port: host,port is expected, such as 127.0.0.1,7001")]
    NoPort(String),
    /// The port is none.
    #[error("`{0}` is not a port: a number from 1 to 65535 is expected")]
    Port(String),
    /// The host is none.
    #[error("`{0}` is not a host: a name or an address is expected")]
    Host(String),
    /// It was named before.
    #[error("{node} is named already, on line {line}")]
    Again {
        /// The worker.
        node: Node,
        /// Where.
        line: usize,
    },
    /// There are too many.
    #[error("a file has at most {LINES_MAX} lines")]
    TooMany,
}

impl From<NodesError> for Failure {
    fn from(error: NodesError) -> Self {
        let hint = match error {
            NodesError::Read { .. } => "name a file with a line `host,port` for each worker that listens",
            _ => "write a line `host,port` for each worker that listens; `convoke worker --listen` prints it",
        };
        Self::bad_input(error).hint(hint)
    }
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Vec<Node>, Failure> {
    Ok(read_file(path)?)
}

fn read_file(path: &Path) -> Result<Vec<Node>, NodesError> {
    let fail = |source| NodesError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(fail)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(NodesError::TooLarge { path: path.to_owned() });
    }
    // What is not UTF-8 is no host, and is refused with its line.
    parse(&String::from_utf8_lossy(&bytes)).map_err(|(line, reason)| NodesError::Line {
        path: path.to_owned(),
        line,
        reason,
    })
}

/// The nodes in a file's order, or the first line that is wrong.
fn parse(text: &str) -> Result<Vec<Node>, (usize, LineError)> {
    let mut nodes = Vec::new();
    let mut lines = HashMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        if line > LINES_MAX {
            return Err((line, LineError::TooMany));
        }
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let node = parse_line(text).map_err(|error| (line, error))?;
        if let Some(before) = lines.insert(node.clone(), line) {
            return Err((line, LineError::Again { node, line: before }));
        }
        nodes.push(node);
    }
    Ok(nodes)
}

fn parse_line(text: &str) -> Result<Node, LineError> {
    // The colons of an address of IPv6 without brackets are not the port's.
    let by_colon = || text.rsplit_once(':').filter(|_| !text.ends_with(']') && text.parse::<Ipv6Addr>().is_err());
    let split = text.rsplit_once(',').or_else(by_colon);
    let (host, port) = split.ok_or_else(|| LineError::NoPort(shown(text)))?;
    let host = parse_host(host.trim()).ok_or_else(|| LineError::Host(shown(host)))?;
    let digits = Some(port.trim()).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    Ok(Node { host, port: number.ok_or_else(|| LineError::Port(shown(port)))? })
}

/// A host in the one form that it has: without brackets, and in small letters.
fn parse_host(text: &str) -> Option<String> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = bracketed.unwrap_or(text).parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_host = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name);
    is_host.then(|| text.to_ascii_lowercase())
}

fn shown(text: &str) -> String {
    text.trim().chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[&str], (usize, &str)>) {
        let parsed = parse(text).map(|nodes| nodes.iter().map(Node::to_string).collect::<Vec<_>>());
        let parsed = parsed.map_err(|(line, error)| (line, error.to_string()));
        let expected = expected.map(|nodes| nodes.iter().map(|&node| node.to_owned()).collect());
        assert_eq!(parsed, expected.map_err(|(line, error)| (line, error.to_owned())), "{text:?}");
    }

    #[test]
    fn nodes_are_read_as_people_write_them() {
        check("", Ok(&[]));
        check("# none\n\n \r\n", Ok(&[]));
        check("lab,7001\r\n 10.0.0.7 , 7002 # second\n\nb:7003", Ok(&["lab:7001", "10.0.0.7:7002", "b:7003"]));
        check("[::1]:7001\n::1,7002\n[::1],7003", Ok(&["[::1]:7001", "[::1]:7002", "[::1]:7003"]));
        check("LAB-1.example.,1\nlab-1.example.,65535", Ok(&["lab-1.example.:1", "lab-1.example.:65535"]));
    }

    #[test]
    fn the_first_wrong_line_is_named() {
        let no_port = |text| format!("`{text}` names no port: host,port is expected, such as 127.0.0.1,7001");
        check("a,1\nlab\nb,0", Err((2, &no_port("lab"))));
        check("::1", Err((1, &no_port("::1"))));
        check("[::1]", Err((1, &no_port("[::1]"))));
        let not_a_port = |text| format!("`{text}` is not a port: a number from 1 to 65535 is expected");
        for port in ["0", "65536", "-1", "+1", "x", "", "1 2"] {
            check(&format!("\nlab,{port}"), Err((2, &not_a_port(port))));
        }
        check("lab:0", Err((1, &not_a_port("0"))));
        let not_a_host = |text| format!("`{text}` is not a host: a name or an address is expected");
        for host in ["", "a b", "http://lab", "u@lab", "a,b", "[lab]", "1::2::3", "\u{fffd}"] {
            check(&format!("{host},7001"), Err((1, &not_a_host(host))));
        }
        check(&format!("{},1", "x".repeat(254)), Err((1, &not_a_host(&"x".repeat(64)))));
        check("lab,1\n\nLab:1", Err((3, "lab:1 is named already, on line 1")));
    }

    #[test]
    fn a_file_is_bounded() {
        let lines = |count: usize| (0..count).map(|number| format!("n{number},1\n")).collect::<String>();
        assert_eq!(parse(&lines(LINES_MAX)).map(|nodes| nodes.len()), Ok(LINES_MAX));
        check(&lines(LINES_MAX + 1), Err((10_001, "a file has at most 10000 lines")));
    }
}
