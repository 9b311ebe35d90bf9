//! Outputs of results that arrive in any order, over blobs that come in any stretches.
//!
//! What is written goes to memory or to a folder that is removed.

use std::fs;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// A stream that others can look at.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn destination(&self) -> Destination {
        Destination::Stream(Box::new(self.clone()))
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of the blob that holds this byte, so many times.
fn digest(byte: u8, times: u8) -> Digest {
    Digest(std::array::from_fn(|place| if place == 0 { byte } else { times }))
}

/// Sends the blob of a [`digest`], in stretches of three bytes.
async fn fetch(digest: Digest, chunks: mpsc::Sender<Bytes>) -> Result<(), Failure> {
    for chunk in vec![digest.0[0]; digest.0[1].into()].chunks(3) {
        tokio::task::yield_now().await;
        if chunks.send(Bytes::copy_from_slice(chunk)).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn inline(text: &str) -> Arrived {
    Arrived::Result(Payload::inline(text.as_bytes()).unwrap())
}

fn blob(byte: u8, times: u8) -> Arrived {
    Arrived::Result(Payload::blob(digest(byte, times)))
}

/// An output of what is told in this order, and nothing more.
async fn run<F, Fetch>(output: OrderedOutput<F>, told: Vec<(u32, Arrived)>) -> Result<Ending, Failure>
where
    F: Fn(Digest, mpsc::Sender<Bytes>) -> Fetch,
    Fetch: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (tell, arrivals) = mpsc::channel(1);
    let telling = async move {
        for arrival in told {
            // The output may have ended by an error.
            drop(tell.send(arrival).await);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(output.run(arrivals), telling).0 })
        .await
        .unwrap()
}

#[tokio::test]
async fn results_are_written_as_soon_as_their_turn_comes() {
    let shared = Shared::default();
    let (tell, arrivals) = mpsc::channel(1);
    let output = tokio::spawn(OrderedOutput::new(4, shared.destination(), fetch).run(arrivals));
    let wait_for = async |text: &str| {
        while shared.text() != text {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tell.send((1, inline("b\n"))).await.unwrap();
    tell.send((0, inline("a"))).await.unwrap();
    wait_for("ab\n").await;
    tell.send((2, blob(b'c', 7))).await.unwrap();
    wait_for("ab\nccccccc").await;
    tell.send((3, Arrived::Nothing)).await.unwrap();
    assert_eq!(output.await.unwrap().unwrap(), Ending::Complete { skipped: 1 });
}

#[tokio::test]
async fn what_is_missing_ends_a_stream_before_it_and_leaves_no_file() {
    let shared = Shared::default();
    let told = vec![(0, inline("a")), (2, inline("c")), (3, blob(b'd', 9))];
    let output = OrderedOutput::new(4, shared.destination(), fetch);
    assert_eq!(run(output, told.clone()).await.unwrap(), Ending::Incomplete { missing: 1 });
    assert_eq!(shared.text(), "a");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let to_file = || OrderedOutput::new(4, Destination::file(&path).unwrap(), fetch);
    run(to_file(), told.clone()).await.unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let whole = [told, vec![(1, inline("b"))]].concat();
    assert_eq!(run(to_file(), whole).await.unwrap(), Ending::Complete { skipped: 0 });
    assert_eq!(fs::read_to_string(&path).unwrap(), "abcddddddddd");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    drop(to_file());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "an interrupted output leaves the old file alone");
}

#[tokio::test]
async fn no_tasks_make_an_empty_output() {
    let shared = Shared::default();
    let output = OrderedOutput::new(0, shared.destination(), fetch);
    assert_eq!(run(output, Vec::new()).await.unwrap(), Ending::Complete { skipped: 0 });
}

#[tokio::test]
async fn a_fetch_that_fails_ends_the_output_where_it_is() {
    let shared = Shared::default();
    let failing = async |digest: Digest, chunks: mpsc::Sender<Bytes>| match digest.0[0] {
        b'x' => Err(Failure::failed("the blob is gone")),
        b'p' => panic!("on purpose"),
        _ => fetch(digest, chunks).await,
    };
    let failing =
        |digest, chunks| Box::pin(failing(digest, chunks)) as std::pin::Pin<Box<dyn Future<Output = _> + Send>>;
    let told = |byte| vec![(2, blob(byte, 1)), (1, blob(b'b', 4)), (0, inline("a"))];
    let output = OrderedOutput::new(3, shared.destination(), failing);
    assert_eq!(run(output, told(b'x')).await.unwrap_err().to_string(), "the blob is gone");
    assert!("abbbb".starts_with(&shared.text()), "{}", shared.text());
    let output = OrderedOutput::new(3, Shared::default().destination(), failing);
    assert_eq!(run(output, told(b'p')).await.unwrap_err().to_string(), "fetching the result of task 2 panicked");
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
    struct Refuses(io::ErrorKind);
    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = |kind| OrderedOutput::new(2, Destination::Stream(Box::new(Refuses(kind))), fetch);
    let told = vec![(0, inline("a"))];
    assert_eq!(run(output(io::ErrorKind::BrokenPipe), told.clone()).await.unwrap(), Ending::ReaderGone);
    let refused = run(output(io::ErrorKind::StorageFull), told).await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot write stdout: no storage space");
}

#[tokio::test]
async fn a_task_that_there_is_not_is_an_error() {
    let output = OrderedOutput::new(2, Shared::default().destination(), fetch);
    let refused = run(output, vec![(2, inline("c"))]).await.unwrap_err();
    assert_eq!(refused.to_string(), "the coordinator told of task 2, and there are 2");
}

#[tokio::test]
async fn a_slow_reader_holds_up_no_arrival_and_few_fetches_run() {
    struct Stuck(std::sync::mpsc::Receiver<()>);
    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Until the other end is dropped.
            let _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (release, stuck) = std::sync::mpsc::channel();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = |digest, chunks| {
        begun.fetch_add(1, Ordering::SeqCst);
        fetch(digest, chunks)
    };
    let (tell, arrivals) = mpsc::channel(1);
    let output = OrderedOutput::new(100, Destination::Stream(Box::new(Stuck(stuck))), counted).run(arrivals);
    let telling = async {
        for index in 0..100 {
            let arrived = if index == 0 { inline("a") } else { blob(b'b', 200) };
            tell.send((index, arrived)).await.unwrap();
        }
        let while_stuck = begun.load(Ordering::SeqCst);
        drop(release);
        while_stuck
    };
    let (ending, while_stuck) = tokio::join!(output, telling);
    assert_eq!(ending.unwrap(), Ending::Complete { skipped: 0 });
    assert_eq!((while_stuck, begun.load(Ordering::SeqCst)), (FETCHES_MAX, 99));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_the_order_the_output_is_the_same(
        results in prop::collection::vec((0u8..4, any::<u8>()), 0..40),
        keys in prop::collection::vec(any::<u32>(), 80),
        held_bytes_max in 0usize..400,
    ) {
        let result = |index: usize, (kind, length): (u8, u8)| {
            let byte = b'a' + (index % 26) as u8;
            match kind {
                0 => (Arrived::Nothing, String::new()),
                1 => (blob(byte, length), String::from(byte as char).repeat(length.into())),
                _ => {
                    let text = String::from(byte as char).repeat(length.into());
                    (inline(&text), text)
                }
            }
        };
        let results: Vec<_> = results.into_iter().enumerate().map(|(index, drawn)| result(index, drawn)).collect();
        let count = results.len() as u32;
        let expected: String = results.iter().map(|(_, text)| text.as_str()).collect();
        let skipped = results.iter().filter(|(arrived, _)| matches!(arrived, Arrived::Nothing)).count() as u32;
        // Each is told twice, in any order.
        let arrivals = (0..).zip(results.iter().map(|(arrived, _)| arrived.clone()));
        let mut told: Vec<_> = arrivals.clone().chain(arrivals).zip(keys).collect();
        told.sort_by_key(|(_, key)| *key);
        let told = told.into_iter().map(|(arrival, _)| arrival).collect();
        let shared = Shared::default();
        let output = OrderedOutput { held_bytes_max, ..OrderedOutput::new(count, shared.destination(), fetch) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ending = runtime.block_on(run(output, told)).unwrap();
        prop_assert_eq!(ending, Ending::Complete { skipped });
        prop_assert_eq!(shared.text(), expected);
    }
}
