//! The contract of blobs, in a folder on the simulated disk.

#[macro_use]
#[path = "../../../../store/tests/conformance/blobs.rs"]
mod conformance;

use super::*;

blobs_conform!(in_a_folder, folder);

fn folder(check: &dyn Fn(&dyn Blobs)) {
    let disk = Disk::new(1);
    check(&super::folder(&disk));
    assert!(disk.list(Path::new("blobs/incoming")).unwrap().is_empty());
}
