//! The fetch against small archives made here and served from this machine.

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest as _, Md5};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use trainyard_wire::dataset::{CIFAR_RECORD_BYTES, FileRole};

use super::{Archive, FetchError, download, unpack};

const RECORD: usize = CIFAR_RECORD_BYTES as usize;
const MEMBERS: &[(FileRole, &str)] = &[(FileRole::Train, "data_batch_1.bin"), (FileRole::Val, "test_batch.bin")];

fn tar_gz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Set directly: `append_data` itself refuses a path with `..`, which a hostile archive would not.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Serves one answer and tells its address.
async fn serve(body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/archive.tar.gz", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0u8; 4096];
        let _ = stream.read(&mut request).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        // The client may have hung up at the head already.
        let _ = stream.write_all(&body).await;
    });
    url
}

fn archive<'a>(url: &'a str, md5: &'a str) -> Archive<'a> {
    // Fails only where a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Archive { url, md5, most_bytes: 1 << 20, folder: "cifar", members: MEMBERS, records: 2 }
}

#[tokio::test]
async fn the_known_files_are_taken_and_nothing_else() {
    let bytes = tar_gz(&[
        ("cifar/readme.html", b"hello".to_vec()),
        ("cifar/test_batch.bin", vec![7; 2 * RECORD]),
        ("cifar/../../evil.bin", vec![1; 2 * RECORD]),
        ("cifar/data_batch_1.bin", vec![3; 2 * RECORD]),
    ]);
    let (url, md5) = (serve(bytes.clone()).await, md5(&bytes));
    let archive = archive(&url, &md5);
    let folder = tempfile::tempdir().unwrap();
    let path = download(&archive, folder.path()).await.unwrap();
    let files = unpack(&archive, &path, folder.path()).unwrap();
    assert_eq!(files.iter().map(|file| file.role).collect::<Vec<_>>(), [FileRole::Train, FileRole::Val]);
    assert_eq!(std::fs::read(&files[0].path).unwrap(), vec![3; 2 * RECORD]);
    assert_eq!(std::fs::read(&files[1].path).unwrap(), vec![7; 2 * RECORD]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[tokio::test]
async fn a_wrong_checksum_is_an_error() {
    let url = serve(tar_gz(&[("cifar/test_batch.bin", vec![7; 2 * RECORD])])).await;
    let folder = tempfile::tempdir().unwrap();
    let error = download(&archive(&url, "c32a1d4ab5d03f1284b67883e8d87530"), folder.path()).await.unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");
}

#[tokio::test]
async fn a_download_that_is_too_large_is_refused_at_its_head() {
    let url = serve(vec![0; (1 << 20) + 1]).await;
    let folder = tempfile::tempdir().unwrap();
    let error = download(&archive(&url, ""), folder.path()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn without_a_network_the_error_says_what_else_can_be_done() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let folder = tempfile::tempdir().unwrap();
    let error = download(&archive(&url, ""), folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("refused") && error.contains("trainyard datasets add"), "{error}");
}

#[test]
fn files_of_another_size_and_missing_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive.tar.gz");
    std::fs::write(&path, tar_gz(&[("cifar/test_batch.bin", vec![7; 2 * RECORD - 1])])).unwrap();
    assert!(matches!(unpack(&archive("", ""), &path, folder.path()), Err(FetchError::MemberSize { .. })));
    std::fs::write(&path, tar_gz(&[("cifar/test_batch.bin", vec![7; 2 * RECORD])])).unwrap();
    let missing = unpack(&archive("", ""), &path, folder.path()).unwrap_err();
    assert_eq!(missing.to_string(), "the archive has no data_batch_1.bin");
}
