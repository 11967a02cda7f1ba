//! The calculators and the description of the API.

use reqwest::StatusCode;
use serde_json::json;

use super::world::World;

#[tokio::test]
async fn a_network_is_counted_layer_by_layer() {
    let world = World::start().await;
    let question = json!({"name": "unet", "kernel": 3, "num_filters": 32, "in_channels": 1, "num_colours": 24, "height": 32, "width": 32});
    let answer = world.post("/v1/tools/network", &question).await.expect(StatusCode::OK);
    assert_eq!(answer["weights"], 56_856);
    let last = answer["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &last["output"]), (&json!("layer5"), &json!([24, 32, 32])));
    for (field, value) in [("kernel", 0), ("num_filters", 0), ("height", 30), ("width", 0)] {
        let mut wrong = question.clone();
        wrong[field] = json!(value);
        assert_eq!(world.post("/v1/tools/network", &wrong).await.pointer(), format!("/{field}"));
    }
    let mut huge = question;
    huge["num_filters"] = json!(u64::MAX);
    assert_eq!(world.post("/v1/tools/network", &huge).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_plane_is_convolved_as_in_the_book() {
    let world = World::start().await;
    let question = json!({
        "input": [[0, 0, 0, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]],
        "kernel": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]], "mode": "same", "operation": "convolution"});
    let answer = world.post("/v1/tools/convolution", &question).await.expect(StatusCode::OK);
    let expected: [[f64; 5]; 5] = [
        [0.0, 0.0, -1.0, -1.0, -1.0],
        [-1.0, -2.0, 3.0, 2.0, 4.0],
        [4.0, 2.0, 1.0, 2.0, -2.0],
        [-2.0, 3.0, 1.0, 3.0, -1.0],
        [0.0, -2.0, 4.0, -2.0, 0.0],
    ];
    let output: Vec<Vec<f64>> = serde_json::from_value(answer["output"].clone()).unwrap();
    assert_eq!(output, expected.map(Vec::from));

    let mut ragged = question.clone();
    ragged["input"] = json!([[1, 2], [3]]);
    assert_eq!(world.post("/v1/tools/convolution", &ragged).await.pointer(), "/input");
    let mut wide = question;
    (wide["input"], wide["kernel"]) = (json!(vec![vec![1; 300]; 300]), json!(vec![vec![1; 300]; 300]));
    assert_eq!(world.post("/v1/tools/convolution", &wide).await.pointer(), "/kernel");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let world = World::start().await;
    let document = world.get("/v1/openapi.json").await.expect(StatusCode::OK);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
    assert!(document["paths"]["/v1/runs/{id}/artifacts/{name}"]["get"].is_object());
    assert!(document["components"]["schemas"]["Run"].is_object());
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let page = world.get("/docs/").await;
    assert!(page.text().contains("swagger-ui"), "{}", page.text());
    assert!(world.get("/docs/swagger-initializer.js").await.text().contains("/v1/openapi.json"));
}
