//! Datasets.

use tokio::io::AsyncReadExt as _;
use trainyard_server::store::{DatasetError, NewDataset, NewDatasetFile};
use trainyard_wire::dataset::{DatasetKind, FileRole};

use crate::world::World;

async fn dataset(world: &World, name: &str, files: &[(FileRole, &[u8])]) -> NewDataset {
    let mut staged = Vec::new();
    for (role, bytes) in files {
        let mut staging = world.store.stage().await.unwrap();
        staging.write(bytes).await.unwrap();
        let blob = staging.finish().await.unwrap();
        staged.push(NewDatasetFile { role: *role, name: "data.bin".to_owned(), records: 3, blob });
    }
    NewDataset { name: name.to_owned(), kind: DatasetKind::Images, files: staged, columns: Vec::new(), labels: vec![1, 2] }
}

#[tokio::test]
async fn a_dataset_is_stored_listed_and_read() {
    let world = World::new().await;
    let files = [(FileRole::Train, b"train".as_slice()), (FileRole::Val, b"val")];
    let stored = world.store.insert_dataset(dataset(&world, "horses", &files).await).await.unwrap();
    assert_eq!((stored.size, stored.files.len(), stored.files[0].records), (8, 2, 3));
    assert_eq!(world.store.dataset("horses").await.unwrap(), Some(stored.clone()));
    assert_eq!(world.store.datasets(None, 10).await.unwrap().items, std::slice::from_ref(&stored));
    let (file, mut bytes) = world.store.dataset_file("horses", &stored.files[1].sha256).await.unwrap().unwrap();
    let mut text = String::new();
    bytes.read_to_string(&mut text).await.unwrap();
    assert_eq!((file.role, text.as_str()), (FileRole::Val, "val"));
    assert!(world.store.dataset_file("horses", "00").await.unwrap().is_none());
    assert_eq!(world.store.dataset("cows").await.unwrap(), None);
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0);
}

#[tokio::test]
async fn a_name_stands_for_the_same_bytes_for_ever() {
    let world = World::new().await;
    let first = world.store.insert_dataset(dataset(&world, "horses", &[(FileRole::Train, b"horses")]).await).await.unwrap();
    let again = world.store.insert_dataset(dataset(&world, "horses", &[(FileRole::Train, b"horses")]).await).await.unwrap();
    assert_eq!(first, again);
    for other in
        [dataset(&world, "horses", &[(FileRole::Train, b"cows")]).await, dataset(&world, "horses", &[(FileRole::Val, b"horses")]).await]
    {
        let refused = world.store.insert_dataset(other).await;
        assert!(matches!(refused, Err(DatasetError::NameTaken { name }) if name == "horses"));
    }
    // The file of the first refused one; that of the second is the stored dataset's.
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 1);
}
