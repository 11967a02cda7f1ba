//! The OpenAPI document at `/v1/openapi.json` and the page that shows it at `/docs/`.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, License, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_swagger_ui::Config;

use super::app::Shared;
use super::conditional::matches;
use super::examples;
use super::extract::Path;
use super::problem::{ApiError, MlflowError};
use crate::blobs::hex;

static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/v1/openapi.json")));

/// The document before any route is in it.
pub(crate) fn base() -> OpenApi {
    let description = "Submit training runs, follow their metrics, fetch their files. Every error is an RFC 9457 problem, except that those under \
                       `/api/` have the shape that MLflow's clients read. Lists come in pages: \
                       the next one is in `Link: <…>; rel=\"next\"`. Unknown query parameters are refused.";
    let info = InfoBuilder::new()
        .title("Trainyard")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description))
        .license(Some(License::new("MIT OR Apache-2.0")))
        .build();
    let mut openapi = OpenApiBuilder::new().info(info).security(Some([SecurityRequirement::new("token", Vec::<String>::new())])).build();
    let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A token of `POST /v1/tokens`")).build();
    let components = openapi.components.get_or_insert_with(Default::default);
    components.add_security_scheme("token", SecurityScheme::Http(token));
    components.schemas.insert(MlflowError::name().into_owned(), MlflowError::schema());
    openapi
}

/// The document as text, and its hash.
#[derive(Debug)]
pub(crate) struct Document {
    text: String,
    hash: String,
}

impl Document {
    pub(crate) fn new(openapi: &OpenApi) -> Result<Self, serde_json::Error> {
        let mut document = serde_json::to_value(openapi)?;
        put_tags_into_structs(&mut document);
        finish_operations(&mut document);
        bound_unsigned_integers(&mut document);
        for example in examples::put_into(&mut document)? {
            tracing::warn!(example, "the document has no place for it");
        }
        let text = document.to_string();
        let hash = hex(&Sha256::digest(text.as_bytes()));
        Ok(Self { text, hash })
    }
}

/// Moves the tag of a tagged enum into the structs that it tells apart. utoipa writes each branch as all of the struct and of an object with
/// the tag; where the struct allows no other fields, nothing is both.
fn put_tags_into_structs(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    let mut tags = Vec::new();
    for branch in schemas.values_mut().filter_map(|schema| schema.get_mut("oneOf")?.as_array_mut()).flatten() {
        let Some([of, tag]) = branch.get("allOf").and_then(Value::as_array).map(Vec::as_slice) else { continue };
        let name = of.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/components/schemas/"));
        let (Some(name), Some(properties), Some(required)) = (name, tag.get("properties"), tag.get("required")) else { continue };
        tags.push((name.to_owned(), properties.clone(), required.clone()));
        *branch = of.clone();
    }
    for (name, properties, required) in tags {
        let Some(schema) = schemas.get_mut(&name) else { continue };
        if let (Some(known), Some(more)) = (schema["properties"].as_object_mut(), properties.as_object()) {
            known.extend(more.clone());
        }
        // A struct whose fields are all optional has none.
        match (schema.get_mut("required").and_then(Value::as_array_mut), required.as_array()) {
            (Some(known), Some(more)) => known.extend(more.iter().cloned()),
            _ => schema["required"] = required,
        }
    }
}

/// Gives each operation a name of its own, made of its method and path (handlers share names, and clients that are generated need them
/// apart), calls bytes bytes (utoipa has them as arrays of numbers), and says of an answer without a description what its status means.
fn finish_operations(document: &mut Value) {
    let Some(paths) = document["paths"].as_object_mut() else { return };
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = Value::String(name_of(method, path));
            for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
                // The one thing that an answer must have.
                if response.get("description").is_none() {
                    let reason = status.parse().ok().and_then(|status: StatusCode| status.canonical_reason());
                    response["description"] = json!(reason.unwrap_or("Any other answer"));
                }
                response.get_mut("content").into_iter().for_each(bytes_are_bytes);
                response.get_mut("content").into_iter().for_each(streams_are_of_messages);
            }
            if let Some(request) = operation.get_mut("requestBody") {
                // utoipa does not say so of a body in several media types.
                request["required"] = Value::Bool(true);
                request.get_mut("content").into_iter().for_each(bytes_are_bytes);
            }
        }
    }
}

fn bytes_are_bytes(content: &mut Value) {
    for body in content.as_object_mut().into_iter().flatten().map(|(_, body)| body) {
        if body["schema"]["type"] == "array" && body["schema"]["items"]["format"] == "int32" {
            body["schema"] = json!({"type": "string", "format": "binary"});
        }
    }
}

/// The schema of a stream is, in OpenAPI 3.1, that of one message of it, and what utoipa was told is that of the message's data.
fn streams_are_of_messages(content: &mut Value) {
    if let Some(body) = content.get_mut("text/event-stream") {
        let data = body["schema"].take();
        body["schema"] = json!({
            "type": "object",
            "required": ["id", "data"],
            "properties": {
                "id": {"type": "string"},
                "event": {"type": "string"},
                "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
            },
        });
    }
}

/// Says how large an unsigned integer may be: utoipa gives it the format of a signed one, which half of its values do not have.
fn bound_unsigned_integers(value: &mut Value) {
    let is_unsigned = value.get("minimum") == Some(&json!(0)) && value.get("maximum").is_none();
    let unsigned = match value.get("format").and_then(Value::as_str) {
        Some("int32") if is_unsigned => Some(("uint32", u64::from(u32::MAX))),
        Some("int64") if is_unsigned => Some(("uint64", u64::MAX)),
        _ => None,
    };
    if let Some((format, maximum)) = unsigned {
        (value["format"], value["maximum"]) = (json!(format), json!(maximum));
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(bound_unsigned_integers),
        Value::Array(items) => items.iter_mut().for_each(bound_unsigned_integers),
        _ => {}
    }
}

/// `get_runs`, `get_run`, `post_run_cancel`: what a parameter follows is one of many.
fn name_of(method: &str, path: &str) -> String {
    let mut words = vec![method.to_owned()];
    for segment in path.trim_start_matches('/').split('/') {
        match segment {
            "v1" | "api" | "2.0" => {}
            "" => words.push("index".to_owned()),
            _ if segment.starts_with('{') => {
                if let Some(many) = words.last_mut().filter(|word| word.ends_with('s')) {
                    many.pop();
                }
            }
            _ => words.push(segment.replace(['-', '.'], "_")),
        }
    }
    words.join("_")
}

/// The OpenAPI document of this API.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "documentation",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
pub(crate) async fn openapi(State(app): State<Shared>, headers: HeaderMap) -> Response {
    let Document { text, hash } = &app.document;
    let tag = [(header::ETAG, format!("\"{hash}\""))];
    if matches(&headers, hash) {
        return (StatusCode::NOT_MODIFIED, tag).into_response();
    }
    (tag, [(header::CONTENT_TYPE, "application/json")], text.clone()).into_response()
}

/// To the page that shows this document.
#[utoipa::path(get, path = "/docs", tag = "documentation", responses((status = 308, description = "To `/docs/`")))]
pub(crate) async fn entry() -> Redirect {
    Redirect::permanent("/docs/")
}

/// The page that shows this document.
#[utoipa::path(get, path = "/docs/", tag = "documentation", responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn page() -> Result<Response, ApiError> {
    file("")
}

/// A script or style of the page.
#[utoipa::path(get, path = "/docs/{*path}", tag = "documentation", params(("path" = String, Path)),
    responses((status = 200, content_type = "*/*", body = Vec<u8>)))]
pub(crate) async fn asset(Path(path): Path<String>) -> Result<Response, ApiError> {
    // The page has one address.
    if path.starts_with('/') {
        return Err(ApiError::not_found(format!("/docs/{path}")));
    }
    file(&path)
}

fn file(path: &str) -> Result<Response, ApiError> {
    let found = utoipa_swagger_ui::serve(path, Arc::clone(&PAGE)).map_err(ApiError::internal)?;
    let file = found.ok_or_else(|| ApiError::not_found(format!("/docs/{path}")))?;
    Ok(([(header::CONTENT_TYPE, file.content_type)], Body::from(file.bytes.into_owned())).into_response())
}
