//! How many commands a second two slots run: `/bin/true`, as a worker would, without and with a scratch directory, beside a
//! program that does the least there is.
//!
//!     cargo run --release -p convoke-node --example spawn_rate -- [COMMANDS] [ROUNDS] [LIMIT]
//!
//! LIMIT is that program; it is given COMMANDS and timed, alternating. What a task costs besides, this does not know.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use convoke_node::process::environment::View;
use convoke_node::process::scratch::ScratchRoot;
use convoke_node::process::{How, Invocation, adopt_orphans, run};

const SLOTS: u64 = 2;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default| arguments.get(place).map_or(default, |text| text.parse().expect("a number"));
    let (commands, rounds) = (number(0, 10_000), number(1, 3));
    adopt_orphans().expect("orphans can be adopted");
    let folder = tempfile::tempdir().expect("a folder");
    let scratch = ScratchRoot::open(&folder.path().join("scratch")).expect("a place to work");
    for _ in 0..rounds {
        let rate = |began: Instant| commands as f64 / began.elapsed().as_secs_f64();
        let time = |scratch| {
            let began = Instant::now();
            run_all(commands, scratch);
            rate(began)
        };
        let (ours, in_scratch) = (time(None), time(Some(&scratch)));
        print!("ours {ours:.0}/s, in scratch directories {in_scratch:.0}/s");
        if let Some(limit) = arguments.get(2) {
            let began = Instant::now();
            let status = std::process::Command::new(limit).arg(commands.to_string()).status();
            assert!(status.expect("the limit starts").success());
            let limit = rate(began);
            print!(", limit {limit:.0}/s: {:.0} % and {:.0} %", 100.0 * ours / limit, 100.0 * in_scratch / limit);
        }
        println!();
    }
}

fn run_all(commands: u64, root: Option<&ScratchRoot>) {
    let next = AtomicU64::new(0);
    let slot = || {
        let stop = AtomicBool::new(false);
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= commands {
                return;
            }
            let scratch = root.map(|root| root.scratch().expect("a scratch directory"));
            let directory = scratch.as_ref().map_or(PathBuf::from("/"), |scratch| scratch.directory().to_owned());
            let view = View { slots: 1, directory: &directory, variables: &[], convoke: &[] };
            let environment = view.environment(|name| std::env::var_os(name)).expect("an environment");
            let invocation = Invocation {
                argv: vec!["/bin/true".to_owned()],
                environment,
                directory,
                stdin: Bytes::new(),
                stdout_bytes_max: 1 << 20,
                time_max: None,
                mark: format!("{}-{number}", std::process::id()),
            };
            let ended = run(&invocation, &stop).expect("it starts");
            assert_eq!(ended.how, How::Exited(0));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..SLOTS {
            scope.spawn(slot);
        }
    });
}
