//! What a check of a data folder finds.

use std::path::{Path, PathBuf};

use trainyard_server::check::{CheckError, FindingKind, Report, check};

use crate::world::World;

/// A closed store with one run that has two files; answers the paths of their contents, that of the checkpoint first.
async fn closed() -> (tempfile::TempDir, [PathBuf; 2]) {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    world.put(&claimed, "model.safetensors", b"weights", None).await.unwrap();
    let artifacts = world.store.artifacts(claimed.run_id).await.unwrap().unwrap().artifacts;
    let paths = [0, 1].map(|i| world.folder.path().join("blobs").join(&artifacts[i].sha256[..2]).join(&artifacts[i].sha256));
    world.store.close().await.unwrap();
    (world.folder, paths)
}

async fn checked(folder: &Path) -> Report {
    check(folder).await.unwrap()
}

fn kinds(report: &Report) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn nothing_is_wrong_with_a_store_that_was_closed_and_a_check_changes_nothing() {
    let (folder, _) = closed().await;
    let names = || {
        let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, bytes) = (names(), std::fs::read(folder.path().join("trainyard.db")).unwrap());
    let report = checked(folder.path()).await;
    assert!(report.ok, "{report:?}");
    assert_eq!((report.contents, report.bytes), (2, 24));
    assert_eq!(names(), before);
    assert!(std::fs::read(folder.path().join("trainyard.db")).unwrap() == bytes);
}

#[tokio::test]
async fn what_a_killed_server_left_in_the_write_ahead_log_is_checked_too() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    assert!(matches!(check(world.folder.path()).await, Err(CheckError::InUse(_))));
    let killed = tempfile::tempdir().unwrap();
    copy(world.folder.path(), killed.path());
    assert!(std::fs::metadata(killed.path().join("trainyard.db-wal")).unwrap().len() > 0);
    let report = checked(killed.path()).await;
    assert!(report.ok, "{report:?}");
    assert_eq!(report.contents, 1);
}

#[tokio::test]
async fn a_flipped_byte_is_found_and_whose_file_it_is() {
    let (folder, [checkpoint, _]) = closed().await;
    let mut bytes = std::fs::read(&checkpoint).unwrap();
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        std::fs::write(&checkpoint, &bytes).unwrap();
        let report = checked(folder.path()).await;
        assert_eq!((report.ok, kinds(&report)), (false, vec![FindingKind::DamagedContent]));
        assert_eq!(report.findings[0].used_by, ["artifact checkpoint.safetensors of run 1"]);
        bytes[at] ^= 1;
    }
    std::fs::write(&checkpoint, &bytes[1..]).unwrap();
    assert_eq!(kinds(&checked(folder.path()).await), [FindingKind::DamagedContent]);
    std::fs::write(&checkpoint, &bytes).unwrap();
    assert!(checked(folder.path()).await.ok);
}

#[tokio::test]
async fn a_missing_content_is_found_and_one_that_nobody_knows_is_told() {
    let (folder, [_, model]) = closed().await;
    let stray = model.with_file_name(format!("{}{}", &model.file_name().unwrap().to_str().unwrap()[..2], "0".repeat(62)));
    std::fs::rename(&model, &stray).unwrap();
    let report = checked(folder.path()).await;
    assert_eq!(kinds(&report), [FindingKind::MissingContent]);
    assert_eq!(report.findings[0].used_by, ["artifact model.safetensors of run 1"]);
    assert_eq!((report.unreferenced[0].size, report.unreferenced[0].noted), (7, false));
    assert_eq!(report.unreferenced[0].sha256, stray.file_name().unwrap().to_str().unwrap());
}

#[tokio::test]
async fn a_content_that_was_let_go_and_not_swept_yet_is_told_and_no_damage() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    world.checkpoint(&claimed, 2).await;
    world.store.close().await.unwrap();
    let report = checked(world.folder.path()).await;
    assert!(report.ok);
    assert_eq!(report.unreferenced.len(), 1);
    assert!(report.unreferenced[0].noted);
}

#[tokio::test]
async fn a_damaged_page_of_the_database_is_found_whichever_it_is() {
    const PAGE: usize = 4096;
    let (folder, _) = closed().await;
    let database = folder.path().join("trainyard.db");
    let whole = std::fs::read(&database).unwrap();
    assert!(whole.len() > 20 * PAGE, "{} bytes", whole.len());
    for page in 0..whole.len() / PAGE {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0xab);
        std::fs::write(&database, damaged).unwrap();
        let report = checked(folder.path()).await;
        assert!(kinds(&report).contains(&FindingKind::Database), "page {page}: {report:?}");
    }
    std::fs::write(&database, &whole[..whole.len() - PAGE]).unwrap();
    assert!(!checked(folder.path()).await.ok, "the last page is missing");
}

#[tokio::test]
async fn a_folder_without_a_database_is_no_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(check(folder.path()).await, Err(CheckError::NoDatabase(_))));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
