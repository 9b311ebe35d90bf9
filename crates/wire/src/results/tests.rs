//! What a job's events tell of its results, and what only its list does.

use convoke_core::event::{Combined, Completion, Metrics, TaskRecord};
use convoke_core::history::{Level, OpenStage};
use convoke_core::{MapReduce, Plan, TaskId, TokenId, Work};

use super::*;
use crate::job::{self, COMMAND, Input, Program};
use crate::program::{self, Range, ResultsPage, ResultsPageEntry};

const JOB: JobId = JobId::from_bits(1);

fn payload(text: &str) -> Payload {
    Payload::inline(text.as_bytes()).unwrap()
}

fn work(tasks: u32) -> Work {
    let input = Input::range(&Range { first: 0, step: 1 }, tasks);
    job::work(Program::new(COMMAND, Payload::default()), input, &job::collect())
}

fn submitted(reduces: bool) -> Event {
    submitted_to(reduces, true)
}

fn submitted_to(reduces: bool, keep_going: bool) -> Event {
    let reduce = reduces.then(|| job::reduce(Program::new(COMMAND, Payload::default()), 2));
    let plan = MapReduce { base: Payload::default(), map: work(3), reduce, keep_going };
    let spec = Box::new(job::spec("three", Plan::MapReduce(plan)));
    Event::JobSubmitted { job: JOB, spec, submitter: "ann".to_owned(), owner: TokenId::LOCAL }
}

fn opened(stage: u32, purpose: Purpose, tasks: u32) -> Event {
    Event::StageOpened { job: JOB, stage: StageNumber(stage), purpose, base: Payload::default(), work: work(tasks) }
}

fn done(stage: u32, index: u32) -> Event {
    let completion = Completion { result: payload(&index.to_string()), ..Completion::default() };
    let record = TaskRecord { attempt: 1, worker: "ann".to_owned(), profile: String::new(), slots: 1, completion };
    Event::TaskDone { task: TaskId { job: JOB, stage: StageNumber(stage), index }, record }
}

fn combined(stage: u32, list: &str) -> Event {
    let combined = Combined { result: payload(list), metrics: Metrics::default(), refused: Vec::new() };
    Event::StageCombined { job: JOB, stage: StageNumber(stage), combined }
}

/// What is told, and the list and the count that are known in the end.
fn check(history: Option<&JobHistory>, events: &[Event], told: &[(u32, bool)], list: Option<&str>, count: u32) {
    let mut arrivals = Arrivals::default();
    history.into_iter().for_each(|history| arrivals.hear_history(history));
    let heard: Vec<_> = events.iter().filter_map(|event| arrivals.hear(event)).collect();
    let heard: Vec<_> = heard.iter().map(|result| (result.index, result.result.is_some())).collect();
    assert_eq!(heard, told);
    assert_eq!((arrivals.list().cloned(), arrivals.count()), (list.map(payload), Some(count)));
}

#[test]
fn a_map_is_told_task_by_task() {
    let failed = Event::TaskFailed { task: TaskId { job: JOB, stage: StageNumber(1), index: 0 } };
    let map = opened(1, Purpose::Map, 3);
    let events = [submitted(false), map, done(1, 2), failed, done(1, 1), combined(1, "all")];
    check(None, &events, &[(2, true), (0, false), (1, true)], Some("all"), 3);
    check(None, &events[..4], &[(2, true), (0, false)], None, 3);
    // Where the job ends with a task, the task is no result.
    let ending = [&[submitted_to(false, false)], &events[1..4]].concat();
    check(None, &ending, &[(2, true)], None, 3);
}

#[test]
fn a_reduction_brings_one_result_at_its_end() {
    let [first, second] = [1, 2].map(|level| opened(level + 1, Purpose::Reduce { level }, 3 - level));
    let events =
        [submitted(true), opened(1, Purpose::Map, 3), done(1, 0), combined(1, "all"), first, combined(2, "two")];
    // What is reduced further is no result of the job's.
    check(None, &events, &[], None, 1);
    let last = [second, done(3, 0), combined(3, "one")];
    check(None, &[&events[..], &last].concat(), &[], Some("one"), 1);
}

#[test]
fn after_a_history_only_the_list_tells() {
    let open = |purpose, count| OpenStage {
        purpose,
        opened_ms: 0,
        count,
        failed: 0,
        tasks: BTreeMap::new(),
        left_out: convoke_core::history::LeftOut::default(),
        counted: BTreeMap::new(),
    };
    let in_map =
        JobHistory { tasks_planned: 3, stages: BTreeMap::from([(1, open(Purpose::Map, 3))]), ..JobHistory::default() };
    check(Some(&in_map), &[done(1, 2), combined(1, "all")], &[], Some("all"), 3);
    let reduce = opened(2, Purpose::Reduce { level: 1 }, 1);
    check(Some(&in_map), &[done(1, 2), combined(1, "all"), reduce.clone()], &[], None, 1);
    let level = Level { purpose: Purpose::Map, tasks: 3, done: 3, failed: 0, seconds: 1.0, cut_off: false };
    let mut mapped =
        JobHistory { tasks_planned: 3, levels: vec![level], results: Some(payload("all")), ..JobHistory::default() };
    check(Some(&mapped), &[], &[], Some("all"), 3);
    check(Some(&mapped), &[reduce, combined(2, "one")], &[], Some("one"), 1);
    let purpose = Purpose::Reduce { level: 1 };
    mapped.levels.push(Level { purpose, tasks: 1, done: 0, failed: 1, seconds: 1.0, cut_off: true });
    // What the map brought is not what its reduction would have made of it.
    check(Some(&mapped), &[], &[], None, 1);
}

#[test]
fn a_list_is_read_a_page_at_a_time() {
    let result =
        |index| program::v1::Result { index, result: Some((&payload("x")).into()), files: None, log: None, bytes: 1 };
    let rest = ResultsPage { results: vec![result(7), result(9)] };
    let stored = ResultsPageEntry { digest: vec![3; 32], results: 5, bytes: 5 };
    let list = program::Results { pages: vec![stored], rest: Some(rest.clone()) };
    let mut list = ResultList::read(&program::encode(&list)).unwrap();
    assert!(matches!(list.next_page(), Ok(Some(Page::Stored(convoke_core::Digest(digest)))) if digest == [3; 32]));
    let Ok(Some(Page::Read(page))) = list.next_page() else { panic!("the rest is here") };
    assert_eq!(page.iter().map(|brought| brought.index).collect::<Vec<_>>(), [7, 9]);
    assert_eq!(ResultList::read_page(&program::encode(&rest)).unwrap(), page);
    assert!(matches!(list.next_page(), Ok(None)));
}
