//! The calculators and the description of the API.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::world::World;

#[tokio::test]
async fn a_network_is_counted_layer_by_layer() {
    let world = World::start().await;
    let question = json!({"name": "unet", "kernel": 3, "num_filters": 32, "in_channels": 1, "num_colours": 24, "height": 32, "width": 32});
    let answer = world.post("/v1/tools/network", &question).await.expect(StatusCode::OK);
    assert_eq!(answer["weights"], 56_856);
    let last = answer["layers"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["name"], &last["output"]), (&json!("layer5"), &json!([24, 32, 32])));
    for (field, value) in [("kernel", 0), ("dilation", 0), ("dilation", 33), ("num_filters", 0), ("height", 30), ("width", 0)] {
        let mut wrong = question.clone();
        wrong[field] = json!(value);
        assert_eq!(world.post("/v1/tools/network", &wrong).await.pointer(), format!("/{field}"));
    }
    let mut huge = question;
    huge["num_filters"] = json!(u64::MAX);
    assert_eq!(world.post("/v1/tools/network", &huge).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Weights, outputs and connections, counted and by the closed forms.
async fn counts(world: &World, question: &Value) -> [[u64; 3]; 2] {
    let answer = world.post("/v1/tools/network", question).await.expect(StatusCode::OK);
    let names = ["weights", "outputs", "connections"];
    let numbers = |values: [&Value; 3]| values.map(|value| value.as_u64().unwrap());
    [numbers(names.map(|name| &answer[name])), numbers(names.map(|name| &answer["closed_forms"][name]["value"]))]
}

#[tokio::test]
async fn counts_come_to_their_closed_forms_and_grow_by_1_4_and_4_with_the_picture() {
    let world = World::start().await;
    for (name, weights) in [("pool_upsample", 49_728), ("conv_transpose", 49_728), ("unet", 56_856)] {
        let usual = json!({"name": name, "kernel": 3, "num_filters": 32, "in_channels": 1, "num_colours": 24, "height": 32, "width": 32});
        let [counted, formed] = counts(&world, &usual).await;
        assert_eq!((counted, counted[0]), (formed, weights), "{name}");
        let mut doubled = usual.clone();
        (doubled["height"], doubled["width"]) = (json!(64), json!(64));
        let [large, formed] = counts(&world, &doubled).await;
        assert_eq!(large, formed, "{name}");
        assert_eq!(large, [counted[0], 4 * counted[1], 4 * counted[2]], "{name}");
    }
    for (k, nic, nf, nc) in [(1, 1, 1, 1), (3, 1, 32, 24), (4, 3, 5, 7), (5, 2, 64, 3), (7, 1, 16, 100)] {
        let question = json!({"name": "pool_upsample", "kernel": k, "num_filters": nf, "in_channels": nic, "num_colours": nc, "height": 32, "width": 32});
        let square = k * k;
        let expected = [
            square * (nic * nf + nf * nc + nc * nc + 4 * nf * nf) + 12 * nf + 4 * nc,
            2880 * nf + 3328 * nc,
            square * (1024 * nic * nf + 256 * nf * nc + 1024 * nc * nc + 640 * nf * nf) + 2432 * nf + 2048 * nc,
        ];
        assert_eq!(counts(&world, &question).await, [expected, expected], "{question}");
    }
    let answer = world.post("/v1/tools/network", &json!({"name": "pool_upsample", "kernel": 3, "num_filters": 32, "in_channels": 1, "num_colours": 24, "height": 32, "width": 32})).await;
    let answer = answer.expect(StatusCode::OK);
    assert_eq!(answer["closed_forms"]["outputs"]["formula"], "2880·NF + 3328·NC");
}

#[tokio::test]
async fn receptive_fields_come_out_with_their_least_and_greatest_sides() {
    let world = World::start().await;
    let field = async |name: &str, kernel: u64, dilation: u64, layer: &str| {
        let question = json!({"name": name, "kernel": kernel, "dilation": dilation, "num_filters": 32, "in_channels": 1, "num_colours": 24,
            "height": 32, "width": 32});
        let answer = world.post("/v1/tools/network", &question).await.expect(StatusCode::OK);
        let found = answer["layers"].as_array().unwrap().iter().find(|found| found["name"] == layer).unwrap();
        (found["receptive_field"].clone(), found["output"].clone())
    };
    assert_eq!(field("pool_upsample", 3, 1, "layerFinal").await.0, json!([22, 26]));
    assert_eq!(field("conv_transpose", 3, 1, "layer4.2").await.0, json!([7, 11]));
    assert_eq!(field("conv_transpose", 4, 1, "layer3.2").await.0, json!([14, 14]));
    // r ← r + (k − 1)·dilation·j on the way down: 1 + 2d for the first convolution, and then with j = 2 one more for pooling.
    for dilation in 1..=4 {
        let side = 1 + 2 * dilation;
        assert_eq!(field("pool_upsample", 3, dilation, "layer1.0").await, (json!([side, side]), json!([32, 32, 32])));
        let side = side + 1 + 4 * dilation;
        assert_eq!(field("pool_upsample", 3, dilation, "layer2.0").await, (json!([side, side]), json!([64, 16, 16])));
    }
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

    let convolved = async |input: Value, kernel: Value, mode: &str, operation: &str| {
        let question = json!({"input": input, "kernel": kernel, "mode": mode, "operation": operation});
        world.post("/v1/tools/convolution", &question).await.expect(StatusCode::OK)["output"].clone()
    };
    // numpy.convolve and numpy.correlate of [1, 2, 3] and [0, 1, 0.5].
    for (mode, operation, output) in [
        ("full", "convolution", json!([[0.0, 1.0, 2.5, 4.0, 1.5]])),
        ("same", "convolution", json!([[1.0, 2.5, 4.0]])),
        ("valid", "convolution", json!([[2.5]])),
        ("full", "cross_correlation", json!([[0.5, 2.0, 3.5, 3.0, 0.0]])),
        ("valid", "cross_correlation", json!([[3.5]])),
    ] {
        assert_eq!(convolved(json!([[1, 2, 3]]), json!([[0, 1, 0.5]]), mode, operation).await, output, "{mode} {operation}");
    }
    // Without them, the mode is same and the operation convolution.
    let plain = world.post("/v1/tools/convolution", &json!({"input": [[1, 2, 3]], "kernel": [[0, 1, 0.5]]})).await;
    assert_eq!(plain.expect(StatusCode::OK)["output"], json!([[1.0, 2.5, 4.0]]));
    let mut valid = json!({"input": [[1]], "kernel": [[1, 2]], "mode": "valid"});
    assert_eq!(world.post("/v1/tools/convolution", &valid).await.pointer(), "/kernel");
    valid["mode"] = json!("reflect");
    assert_eq!(world.post("/v1/tools/convolution", &valid).await.pointer(), "/mode");

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
    // A spec is one of the kinds, with its kind among the fields: all of a struct without other fields and of a tag would be nothing.
    let kinds = document["components"]["schemas"]["Spec"]["oneOf"].as_array().unwrap();
    assert_eq!(kinds.len(), 6);
    for kind in kinds {
        let schema = document.pointer(kind["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap();
        assert_eq!(schema["properties"]["kind"]["enum"].as_array().unwrap().len(), 1, "{schema}");
        assert!(schema["required"].as_array().unwrap().contains(&json!("kind")), "{schema}");
    }
    let page = world.get("/docs/").await;
    assert!(page.text().contains("swagger-ui"), "{}", page.text());
    assert!(world.get("/docs/swagger-initializer.js").await.text().contains("/v1/openapi.json"));
}
