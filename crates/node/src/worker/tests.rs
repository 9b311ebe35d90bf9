//! The loop around the worker's machine, where an executor breaks.

use super::*;

#[tokio::test]
async fn a_run_that_panics_outside_its_computation_has_failed() {
    let target = convoke_wire::channel::Target::InProcess(tokio::sync::mpsc::channel(1).0);
    let way = Way::Dial { target, wait: Duration::ZERO };
    let (name, load) = ("ann".to_owned(), Load::default());
    let options = Options {
        way,
        name,
        slots: 1,
        devices: Devices::default(),
        load,
        cache_bytes: 1,
        commands: None,
        wasm: WasmLimits::default(),
        membership: None,
    };
    let mut worker = Worker::new(options).unwrap();
    let task = worker.running.spawn(async { panic!("as a broken executor does") });
    worker.tasks.insert(task.id(), Run(1));
    let ended = worker.running.join_next_with_id().await.unwrap();
    let Some(Input::Finished { run, outcome }) = worker.ended(ended) else { panic!("its end is told") };
    assert_eq!((run, &*outcome.unwrap_err().reason), (Run(1), "the executor panicked"));
}
