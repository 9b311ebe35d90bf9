//! What a worker counts beside slots: its GPUs, each with an id of its own, and amounts of whatever else it was given.
//!
//! The coordinator sees to it that what it assigns fits. Here a task waits for those that it was told of as ended, and
//! whose processes have yet to go. It knows no process: what a task finds in its environment, it says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use convoke_core::{Needs, Resources};
use tokio::sync::Notify;

/// The resource whose units are devices.
pub const GPU: &str = "gpu";
/// The resource that is memory, in bytes.
pub const MEMORY: &str = "memory";
/// Which devices CUDA shows to a process: their ids, with commas.
pub const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// What a worker counts. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Devices(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counted: Resources,
    /// The ids of the GPUs, in order.
    gpus: Vec<String>,
    taken: Mutex<Held>,
    /// Told whenever something is given back.
    freed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    /// Places in the list of GPUs.
    gpus: BTreeSet<usize>,
    resources: Resources,
}

/// The GPUs cannot be told apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevicesError {
    /// Fewer are there.
    #[error("gpu={count}, and {VISIBLE} lists {}: `{visible}`", ids(.visible).len())]
    TooMany {
        /// As counted.
        count: u64,
        /// What is there.
        visible: String,
    },
    /// More than anybody has.
    #[error("gpu={0} is more than {GPUS_MAX}")]
    Implausible(u64),
}

/// The most GPUs of a worker.
pub const GPUS_MAX: u64 = 1_024;

/// A task needs more than the worker has: it would wait for ever.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task needs {needed}, and this worker has {counted}")]
pub(crate) struct TooMuch {
    needed: String,
    counted: String,
}

impl Devices {
    /// What is counted, where this is what [`VISIBLE`] says to the worker itself, if it is set: the GPUs are then the first
    /// of those, and otherwise 0, 1, 2, and so on.
    pub fn new(counted: Resources, visible: Option<&str>) -> Result<Self, DevicesError> {
        let count = counted.get(GPU);
        if count > GPUS_MAX {
            return Err(DevicesError::Implausible(count));
        }
        let gpus: Vec<_> = match visible {
            Some(visible) => ids(visible).into_iter().take(count as usize).map(str::to_owned).collect(),
            None => (0..count).map(|id| id.to_string()).collect(),
        };
        match visible {
            Some(visible) if (gpus.len() as u64) < count => {
                Err(DevicesError::TooMany { count, visible: visible.chars().take(64).collect() })
            }
            _ => Ok(Self(Arc::new(Inner { counted, gpus, ..Inner::default() }))),
        }
    }

    /// What there is, all together.
    pub fn counted(&self) -> &Resources {
        &self.0.counted
    }

    /// Takes what a task needs, once it is free.
    pub(crate) async fn take(&self, needs: &Needs) -> Result<Taken, TooMuch> {
        let needed = &needs.resources;
        if !self.0.counted.hold(needed) {
            let counted = if self.0.counted.is_empty() { "none".to_owned() } else { self.0.counted.to_string() };
            return Err(TooMuch { needed: needed.to_string(), counted });
        }
        loop {
            // Whoever is told while it looks is not told in vain.
            let freed = self.0.freed.notified();
            if let Some(taken) = self.try_take(needed) {
                return Ok(taken);
            }
            freed.await;
        }
    }

    fn try_take(&self, needed: &Resources) -> Option<Taken> {
        let mut held = self.0.held();
        let together = held.resources.with(needed);
        self.0.counted.hold(&together).then_some(())?;
        let free = (0..self.0.gpus.len()).filter(|place| !held.gpus.contains(place));
        let gpus: Vec<_> = free.take(needed.get(GPU) as usize).collect();
        held.gpus.extend(&gpus);
        held.resources = together;
        Some(Taken { devices: self.clone(), gpus, resources: needed.clone() })
    }
}

impl Inner {
    /// Nothing that is done under the lock panics halfway.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a task has. Dropped, it is free for others.
#[derive(Debug)]
pub(crate) struct Taken {
    devices: Devices,
    /// Places in the list of GPUs.
    gpus: Vec<usize>,
    resources: Resources,
}

impl Taken {
    /// What a task's process is told of it. Where GPUs are counted, one that takes none is to see none.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let ids: Vec<_> = self.gpus.iter().map(|place| self.devices.0.gpus[*place].as_str()).collect();
        let ids = ids.join(",");
        let visible = (!self.devices.0.gpus.is_empty()).then(|| (VISIBLE.to_owned(), ids.clone()));
        let told = self.resources.iter().map(|(name, amount)| {
            let value = if name == GPU { ids.clone() } else { amount.to_string() };
            (format!("CONVOKE_RESOURCE_{}", name.to_ascii_uppercase()), value)
        });
        visible.into_iter().chain(told).collect()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut held = self.devices.0.held();
        for place in &self.gpus {
            held.gpus.remove(place);
        }
        let left = held.resources.iter().map(|(name, amount)| (name, amount.saturating_sub(self.resources.get(name))));
        held.resources = left.collect();
        drop(held);
        self.devices.0.freed.notify_waiters();
    }
}

/// The devices that a variable lists.
fn ids(visible: &str) -> Vec<&str> {
    visible.split(',').map(str::trim).filter(|id| !id.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(amounts: &[(&str, u64)]) -> Resources {
        amounts.iter().copied().collect()
    }

    fn devices(amounts: &[(&str, u64)], visible: Option<&str>) -> Devices {
        Devices::new(resources(amounts), visible).unwrap()
    }

    fn needs(amounts: &[(&str, u64)]) -> Needs {
        Needs { slots: 1, resources: resources(amounts) }
    }

    fn told(taken: &Taken) -> String {
        taken.environment().iter().map(|(name, value)| format!("{name}={value} ")).collect()
    }

    #[tokio::test]
    async fn a_task_sees_the_devices_that_it_has_and_no_others() {
        let devices = devices(&[("gpu", 3), ("memory", 100), ("license", 2)], None);
        let first = devices.take(&needs(&[("gpu", 1)])).await.unwrap();
        let second = devices.take(&needs(&[("gpu", 2), ("memory", 60), ("license", 1)])).await.unwrap();
        let none = devices.take(&needs(&[])).await.unwrap();
        assert_eq!(told(&first), "CUDA_VISIBLE_DEVICES=0 CONVOKE_RESOURCE_GPU=0 ");
        assert_eq!(
            told(&second),
            "CUDA_VISIBLE_DEVICES=1,2 CONVOKE_RESOURCE_GPU=1,2 CONVOKE_RESOURCE_LICENSE=1 CONVOKE_RESOURCE_MEMORY=60 "
        );
        assert_eq!(told(&none), "CUDA_VISIBLE_DEVICES= ");
        // What is given back is given again, the first first.
        drop(first);
        assert_eq!(devices.take(&needs(&[("gpu", 1)])).await.unwrap().gpus, [0]);
        drop(second);
        let again = devices.take(&needs(&[("gpu", 3), ("memory", 100), ("license", 2)])).await.unwrap();
        assert_eq!(again.gpus, [0, 1, 2]);
    }

    #[tokio::test]
    async fn where_nothing_is_counted_nothing_is_said() {
        let taken = Devices::default().take(&Needs::default()).await.unwrap();
        assert_eq!(told(&taken), "");
    }

    #[tokio::test]
    async fn what_is_taken_is_waited_for() {
        let devices = devices(&[("gpu", 2), ("memory", 100)], None);
        for (held, wanted) in [(("gpu", 1), ("gpu", 2)), (("memory", 60), ("memory", 41))] {
            let taken = devices.take(&needs(&[held])).await.unwrap();
            let (pool, wanted) = (devices.clone(), needs(&[wanted]));
            let waits = tokio::spawn(async move { pool.take(&wanted).await.unwrap().resources.clone() });
            // It has had its turn, and did not get it.
            tokio::task::yield_now().await;
            assert!(!waits.is_finished());
            drop(taken);
            assert!(!waits.await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn one_that_gives_up_waiting_takes_nothing() {
        let devices = devices(&[("gpu", 1)], None);
        let taken = devices.take(&needs(&[("gpu", 1)])).await.unwrap();
        let (pool, wanted) = (devices.clone(), needs(&[("gpu", 1)]));
        let waits = tokio::spawn(async move { pool.take(&wanted).await.map(drop) });
        tokio::task::yield_now().await;
        waits.abort();
        drop(taken);
        assert_eq!(devices.take(&needs(&[("gpu", 1)])).await.unwrap().gpus, [0]);
    }

    #[tokio::test]
    async fn more_than_there_is_is_refused() {
        let said = |taken: Result<Taken, TooMuch>| taken.unwrap_err().to_string();
        let counts = devices(&[("gpu", 2)], None);
        assert_eq!(said(counts.take(&needs(&[("gpu", 3)])).await), "the task needs gpu=3, and this worker has gpu=2");
        let none = Devices::default().take(&needs(&[("tpu", 1)])).await;
        assert_eq!(said(none), "the task needs tpu=1, and this worker has none");
    }

    #[tokio::test]
    async fn the_workers_own_devices_are_those_that_it_sees_itself() {
        let seen = devices(&[("gpu", 2)], Some("4, GPU-8f1c,6"));
        let taken = seen.take(&needs(&[("gpu", 2)])).await.unwrap();
        assert_eq!(told(&taken), "CUDA_VISIBLE_DEVICES=4,GPU-8f1c CONVOKE_RESOURCE_GPU=4,GPU-8f1c ");
        let error = |count, visible| Devices::new(resources(&[("gpu", count)]), visible).unwrap_err().to_string();
        assert_eq!(error(3, Some("0,2")), "gpu=3, and CUDA_VISIBLE_DEVICES lists 2: `0,2`");
        assert_eq!(error(1, Some("")), "gpu=1, and CUDA_VISIBLE_DEVICES lists 0: ``");
        assert_eq!(error(u64::MAX, None), "gpu=18446744073709551615 is more than 1024");
        assert!(Devices::new(Resources::default(), Some("")).is_ok());
    }
}
