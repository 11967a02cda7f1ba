//! Tokens and workers.

use std::time::{Duration, Instant};

use trainyard_server::store::{NewToken, RevokeError};
use trainyard_wire::token::Scope;
use trainyard_wire::{Timestamp, TokenId};

use crate::world::{World, register};

fn token(secret: u8) -> NewToken {
    NewToken { name: "mine".to_owned(), scopes: vec![Scope::Read, Scope::Submit], secret_sha256: [secret; 32], expires_at: None }
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_until_it_is_revoked() {
    let world = World::new().await;
    let stored = world.store.insert_token(token(1)).await.unwrap();
    assert_eq!(stored.scopes, [Scope::Read, Scope::Submit]);
    assert_eq!(world.store.insert_token(token(1)).await.unwrap(), stored);
    let other = world.store.insert_token(token(2)).await.unwrap();
    assert_ne!(other.id, stored.id);
    let secrets = world.store.token_secrets().await.unwrap();
    assert_eq!(secrets.iter().map(|secret| secret.secret_sha256[0]).collect::<Vec<_>>(), [2, 1]);

    let revoked = world.store.revoke_token(stored.id).await.unwrap().unwrap();
    assert!(revoked.revoked_at.is_some());
    assert_eq!(world.store.revoke_token(stored.id).await.unwrap(), Some(revoked.clone()));
    assert_eq!(world.store.token_secrets().await.unwrap().len(), 1);
    assert_eq!(world.store.tokens().await.unwrap(), [other, revoked]);
    assert_eq!(world.store.revoke_token(TokenId(99)).await.unwrap(), None);
}

#[tokio::test]
async fn of_the_last_two_admin_tokens_only_one_is_revoked_even_at_once() {
    let world = World::new().await;
    let admin = |secret| NewToken { scopes: vec![Scope::Admin], ..token(secret) };
    let first = world.store.insert_token(admin(1)).await.unwrap();
    let second = world.store.insert_token(admin(2)).await.unwrap();
    // Neither an admin whose token expires nor one without the scope can stand in.
    world.store.insert_token(NewToken { expires_at: Some(Timestamp(i64::MAX)), ..admin(3) }).await.unwrap();
    world.store.insert_token(token(4)).await.unwrap();
    let (one, other) = tokio::join!(world.store.revoke_token(first.id), world.store.revoke_token(second.id));
    assert!(one.unwrap().is_some());
    assert!(matches!(other, Err(RevokeError::LastAdmin)));
    assert!(world.store.revoke_token(first.id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_silent_worker_is_forgotten_and_its_id_never_used_again() {
    let world = World::new().await;
    world.submit_and_claim().await;
    let silent = register(&world.store).await;
    assert_eq!(world.store.workers().await.unwrap().len(), 2);
    let later = Instant::now() + Duration::from_secs(2 * 3600);
    assert_eq!(world.store.forget_silent_workers(later).await.unwrap(), 1);
    let workers = world.store.workers().await.unwrap();
    assert_eq!(workers.iter().map(|worker| worker.id).collect::<Vec<_>>(), [world.worker]);
    assert!(register(&world.store).await > silent);
}
