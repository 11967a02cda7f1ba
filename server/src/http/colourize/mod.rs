//! `/v1/runs/{id}/colourize`: pictures that a finished run's model colours.
//!
//! The server reads no more of a picture than its head ([`head`]), which tells whether it is small enough; a worker decodes it, and colours
//! it as a run that lists leave out.

mod head;
mod receive;

use std::fs::File;
use std::io::BufReader;
use std::time::Duration;

use axum::Json as JsonAnswer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::colourize::Colourized;
use trainyard_wire::spec::picture::{COLOURIZED, MOST_PICTURE_PIXELS};
use trainyard_wire::{Page, Problem, RunId, RunState};

use super::app::{App, Shared};
use super::artifacts;
use super::conditional::{etag, not_modified};
use super::credentials::Identity;
use super::extract::{IdempotencyKey, Path};
use super::prefer;
use super::problem::ApiError;
use super::runs::no_run;
use crate::admission::estimate::picture_memory;
use crate::blobs::{StagedBlob, sha256_hex};
use crate::store::{ArtifactFile, Idempotency, NewPicture, PictureError};
use head::{Head, HeadError};
use receive::Received;

/// Tells that the answer is about the picture of an earlier request with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

impl From<PictureError> for ApiError {
    fn from(error: PictureError) -> Self {
        match error {
            PictureError::NotFound => Self::NotFound(error.to_string()),
            PictureError::NotColourization(_) | PictureError::NotSucceeded(_) | PictureError::NoModel(_) | PictureError::TooMany => {
                Self::Conflict(error.to_string())
            }
            PictureError::KeyReused => Self::KeyReused,
            PictureError::Store(error) => error.into(),
        }
    }
}

/// The form, for the documentation.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "documents the form, which is read part by part")]
struct PictureForm {
    #[schema(value_type = String, format = Binary)]
    picture: Vec<u8>,
}

/// Has a picture coloured with the model of a colourization that has succeeded.
///
/// The picture, PNG or JPEG of at most 10 MiB and 1,048,576 pixels (1024×1024), is the body, or the one file of a form. A worker makes it
/// grey as training does and colours it, as a run that lists leave out, before all that was submitted. The newest 50 pictures of a run are
/// kept.
///
/// With `Prefer: wait=n` the answer comes once that is done, or after n seconds. Who then accepts `image/png` is answered with the coloured
/// picture itself, or, if it is not done in time, with 202. With an `Idempotency-Key`, a repeat of the same picture is coloured once.
#[utoipa::path(post, path = "/v1/runs/{id}/colourize", tag = "runs",
    params(("id" = i64, Path), ("Prefer" = Option<String>, Header, description = "`wait=n`: wait up to n seconds until it is done"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters")),
    request_body(content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (PictureForm = "multipart/form-data"))),
    responses((status = 201, description = "Taken; how far it is", body = Colourized, headers(("Location" = String))),
        (status = 200, description = "The coloured picture, to who accepts `image/png`", content_type = "image/png", body = Vec<u8>,
            headers(("Location" = String))),
        (status = 202, description = "Not done in time, to who accepts `image/png`", body = Colourized, headers(("Location" = String))),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run is no colourization, has not succeeded, or has lost its model; or 50 pictures wait already",
            body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "More than 10 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Neither PNG nor JPEG nor a form", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No picture, one of too many pixels, or (to who accepts `image/png`) one that could not be coloured",
            body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn colourize(
    State(app): State<Shared>,
    identity: Identity,
    key: Option<IdempotencyKey>,
    Path(id): Path<RunId>,
    request: Request,
) -> Result<Response, ApiError> {
    let spec = app.store.model_spec(id).await?;
    let wait = prefer::wait(request.headers());
    let wants_picture = accepts_picture(request.headers());
    let Received { blob, announced } = receive::receive(&app, request).await?;
    let (blob, head) = read_head(blob).await?;
    if let Some(announced) = announced.filter(|announced| *announced != head.format) {
        return Err(ApiError::invalid("", format!("is a picture of the type {}, not {announced}", head.format)));
    }
    if head.width.saturating_mul(head.height) > MOST_PICTURE_PIXELS {
        let Head { width, height, .. } = head;
        let detail = format!("the picture has {width}×{height} pixels; at most {MOST_PICTURE_PIXELS} are coloured, as of 1024×1024");
        return Err(ApiError::invalid("", detail));
    }
    let idempotency = key.map(|IdempotencyKey(key)| Idempotency {
        token: identity.token,
        key,
        // What is no submit's body.
        body_sha256: sha256_hex(format!("colourize {id} {}", blob.sha256()).as_bytes()),
    });
    let memory_bytes = picture_memory(&spec, head.width, head.height);
    let Head { format, width, height } = head;
    let queued = app.store.colourize(NewPicture { model_run: id, format, width, height, blob, memory_bytes, idempotency }).await?;
    let picture = match wait {
        Some(wait) => wait_for_end(&app, queued.picture, wait.min(app.limits.longest_wait)).await?,
        None => queued.picture,
    };
    let location = HeaderValue::try_from(format!("/v1/runs/{}", picture.run_id)).map_err(ApiError::internal)?;
    let mut response = if wants_picture { send_picture(&app, picture).await? } else { created(&picture) };
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    if queued.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if wait.is_some() {
        let (name, value) = prefer::applied("wait");
        headers.insert(name, value);
    }
    Ok(response)
}

/// The pictures that were sent to be coloured with a run's model, newest first; 50 at most.
#[utoipa::path(get, path = "/v1/runs/{id}/colourized", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = Page<Colourized>), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, Path(id): Path<RunId>, headers: HeaderMap) -> Result<Response, ApiError> {
    // Before the look, so that what changes in between is told the next time.
    let revision = app.store.revision();
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let items = app.store.pictures(id).await?.ok_or_else(|| no_run(id))?;
    Ok(([etag(revision)], JsonAnswer(Page { items })).into_response())
}

fn created(picture: &Colourized) -> Response {
    (StatusCode::CREATED, JsonAnswer(picture)).into_response()
}

/// The answer to who wants the coloured picture itself.
async fn send_picture(app: &App, picture: Colourized) -> Result<Response, ApiError> {
    match picture.state {
        RunState::Succeeded => {
            let found = app.store.artifact(picture.run_id, COLOURIZED).await?;
            let ArtifactFile { artifact, file } = found.ok_or_else(|| ApiError::not_found("the coloured picture"))?;
            // The whole of it: what is asked for is made by this request.
            artifacts::send(&artifact, file, &HeaderMap::new()).await
        }
        RunState::Failed => {
            let error = picture.error.unwrap_or_default();
            Err(ApiError::invalid("", format!("the picture was not coloured: {error}")))
        }
        RunState::Cancelled => Err(ApiError::Conflict("somebody has cancelled the colouring of the picture".to_owned())),
        RunState::Queued | RunState::Paused | RunState::Running => Ok((StatusCode::ACCEPTED, JsonAnswer(picture)).into_response()),
    }
}

async fn wait_for_end(app: &App, mut picture: Colourized, wait: Duration) -> Result<Colourized, ApiError> {
    let deadline = tokio::time::Instant::now() + wait;
    let mut changes = app.store.revision_watch();
    let id = picture.run_id;
    let mut known = None;
    loop {
        // Marked before the look, so that no change falls between look and wait.
        changes.mark_unchanged();
        // The revision alone costs less than the picture, and most commits are about other runs.
        let revision = app.store.run_revision(id).await?;
        if known != revision || revision.is_none() {
            known = revision;
            picture = app.store.picture(id).await?.ok_or_else(|| no_run(id))?;
        }
        if picture.state.is_finished() {
            return Ok(picture);
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return Ok(picture),
            () = app.stop.cancelled() => return Ok(picture),
            changed = changes.changed() => if changed.is_err() { return Ok(picture) },
        }
    }
}

/// Reads the head of what has arrived, off the runtime's threads.
async fn read_head(blob: StagedBlob) -> Result<(StagedBlob, Head), ApiError> {
    let read = move || {
        let head = File::open(blob.path()).map_err(HeadError::from).and_then(|file| head::read(BufReader::new(file)));
        (blob, head)
    };
    let (blob, head) = tokio::task::spawn_blocking(read).await.map_err(ApiError::internal)?;
    let head = head.map_err(|error| match error {
        HeadError::Invalid(detail) => ApiError::invalid("", detail),
        HeadError::Io(error) => ApiError::internal(error),
    })?;
    Ok((blob, head))
}

/// Whether `Accept` names PNG, or all images.
fn accepts_picture(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| value.split(',')).map(|range| range.split(';').next().unwrap_or_default().trim());
    ranges.any(|range| range.eq_ignore_ascii_case("image/png") || range.eq_ignore_ascii_case("image/*"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::accepts_picture;

    #[test]
    fn only_who_names_pictures_is_sent_one() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(text));
            accepts_picture(&headers)
        };
        assert!(accepts("image/png") && accepts("text/html, Image/PNG;q=0.9") && accepts("image/*"));
        assert!(!accepts("*/*") && !accepts("application/json") && !accepts("image/webp"));
        assert!(!accepts_picture(&HeaderMap::new()));
    }
}
