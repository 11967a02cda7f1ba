//! What a submit may say, and where an error points.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use trainyard_wire::spec::Spec;
use trainyard_wire::spec::submit::{Submission, SubmitError};

fn regression() -> Value {
    json!({"name": "counterexample", "tags": {"topic": "rmsprop"}, "priority": 0,
        "spec": {"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "initial_weights": "zeros",
            "optimizer": {"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8, "weight_decay": 0, "schedule": "cosine"},
            "l2": 0, "steps": 20000, "seed": 0}})
}

fn colourization() -> Value {
    json!({"spec": {"kind": "colourization", "dataset": {"name": "cifar10", "category": "horse"},
            "network": {"name": "unet", "kernel": 3, "num_filters": 32}, "num_colours": 24,
            "optimizer": {"name": "adam", "learning_rate": 0.001}, "batch_size": 100, "epochs": 25, "shuffle": false, "seed": 0,
            "early_stopping": {"metric": "val_loss", "patience": 5, "min_delta": 0.001}},
        "sweep": {"network.name": ["pool_upsample", "conv_transpose", "unet"]}})
}

fn hypergradient() -> Value {
    json!({"spec": {"kind": "hypergradient", "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1, "seed": 0},
        "l2": 0.1, "inner_steps": 10, "learning_rate": 0.01, "method": "forward", "outer_steps": 200}})
}

fn parse(value: &Value) -> Result<Submission, SubmitError> {
    Submission::parse(value.to_string().as_bytes(), 10_000)
}

/// The body with `value` at `pointer`, whose last token may be new.
fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}

fn first_pointer(body: &Value) -> String {
    match parse(body) {
        Err(SubmitError::Invalid(errors)) => errors[0].pointer.clone(),
        other => panic!("expected a validation error, got {other:?}"),
    }
}

#[test]
fn the_documented_submits_are_accepted() {
    assert_eq!(parse(&regression()).unwrap().points.len(), 1);
    assert_eq!(parse(&hypergradient()).unwrap().points.len(), 1);
    let points = parse(&colourization()).unwrap().points;
    let names: Vec<_> = points.iter().map(|point| point.sets["network.name"].clone()).collect();
    assert_eq!(names, [json!("pool_upsample"), json!("conv_transpose"), json!("unet")]);
}

#[test]
fn an_offending_value_is_pointed_at_wherever_it_stands() {
    for (pointer, value) in [
        ("/spec/optimizer/learning_rate", json!(-0.1)),
        ("/spec/optimizer/learning_rate", json!("fast")),
        ("/spec/optimizer/warmup", json!(10)),
        ("/spec/optimizer/beta1", json!(0.9)),
        ("/spec/optimizer/beta", json!(1.0)),
        ("/spec/optimizer/name", json!("lion")),
        ("/spec/optimizer/schedule", json!("sometimes")),
        ("/spec/problem/t", json!([2, 3])),
        ("/spec/problem/n", json!(7)),
        ("/spec/problem/condition", json!(10)),
        ("/spec/steps", json!(0)),
        ("/spec/steps", json!(1.5)),
        ("/spec/initial_weights", json!([1, 2, 3])),
        ("/spec/initial_weights", json!("ones")),
        ("/spec/l2", json!(-1)),
        ("/spec/stepz", json!(10)),
        ("/spec/kind", json!("classification")),
        ("/priority", json!(2000)),
        ("/colour", json!("red")),
        ("/name", json!("")),
    ] {
        assert_eq!(first_pointer(&with(regression(), pointer, value.clone())), pointer, "for {value}");
    }
    for (pointer, value) in [
        ("/spec/batch_size", json!(1_000_000_000)),
        ("/spec/network/kernel", json!(0)),
        ("/spec/network/kernel", json!(8)),
        ("/spec/network/num_filters", json!(0)),
        ("/spec/num_colours", json!(1)),
        ("/spec/dataset/category", json!("unicorn")),
        ("/spec/dataset/size", json!(32)),
        ("/spec/optimizer/batch_size", json!(10)),
        ("/spec/early_stopping/patience", json!(0)),
        ("/spec/early_stopping/metric", json!("luck")),
        ("/spec/epochs", json!(-1)),
    ] {
        assert_eq!(first_pointer(&with(colourization(), pointer, value.clone())), pointer, "for {value}");
    }
}

#[test]
fn a_very_wide_problem_is_refused_by_its_width() {
    let problem = json!({"source": "synthetic", "n": 50, "d": 10_000_000, "condition": 20});
    assert_eq!(first_pointer(&with(regression(), "/spec/problem", problem)), "/spec/problem/d");
}

#[test]
fn a_row_of_another_width_and_a_cell_of_another_type_are_pointed_at() {
    let ragged = json!({"source": "inline", "x": [[1, 2], [3]], "t": [1, 2]});
    assert_eq!(first_pointer(&with(regression(), "/spec/problem", ragged)), "/spec/problem/x/1");
    let text = json!({"source": "inline", "x": [[1, 2], [3, "four"]], "t": [1, 2]});
    assert_eq!(first_pointer(&with(regression(), "/spec/problem", text)), "/spec/problem/x/1/1");
}

#[test]
fn sgd_needs_a_batch_size_and_gd_takes_none() {
    let optimizer = json!({"name": "sgd", "learning_rate": 0.1});
    assert_eq!(first_pointer(&with(regression(), "/spec/optimizer", optimizer)), "/spec/optimizer/batch_size");
    let optimizer = json!({"name": "gd", "learning_rate": 0.1, "batch_size": 1});
    assert_eq!(first_pointer(&with(regression(), "/spec/optimizer", optimizer)), "/spec/optimizer/batch_size");
}

#[test]
fn a_missing_field_points_at_the_object_that_lacks_it() {
    let mut body = regression();
    body["spec"].as_object_mut().unwrap().remove("steps");
    assert_eq!(first_pointer(&body), "/spec");
    body["spec"].as_object_mut().unwrap().remove("kind");
    assert_eq!(first_pointer(&body), "/spec");
}

#[test]
fn a_sweep_is_the_product_of_its_values_and_the_last_path_varies_fastest() {
    let body = with(regression(), "/sweep", json!({"optimizer.learning_rate": [0.1, 0.01], "seed": [0, 1, 2]}));
    let points = parse(&body).unwrap().points;
    let sets: Vec<_> = points.iter().map(|point| json!([point.sets["optimizer.learning_rate"], point.sets["seed"]])).collect();
    assert_eq!(sets, [json!([0.1, 0]), json!([0.1, 1]), json!([0.1, 2]), json!([0.01, 0]), json!([0.01, 1]), json!([0.01, 2])]);
    let Spec::Regression(last) = &points[5].spec else { panic!("not a regression") };
    assert_eq!((last.optimizer.learning_rate, last.seed), (0.01, 2));
}

#[test]
fn an_error_of_a_swept_value_points_into_the_sweep() {
    let body = with(regression(), "/sweep", json!({"optimizer.learning_rate": [0.1, -1]}));
    assert_eq!(first_pointer(&body), "/sweep/optimizer.learning_rate/1");
    let body = with(regression(), "/sweep", json!({"optimizer.speed": [1]}));
    assert_eq!(first_pointer(&body), "/sweep/optimizer.speed/0");
    let body = with(regression(), "/sweep", json!({"steps.more": [1]}));
    assert_eq!(first_pointer(&body), "/sweep/steps.more/0");
    let body = with(regression(), "/sweep", json!({"seed": []}));
    assert_eq!(first_pointer(&body), "/sweep/seed");
    let body = with(regression(), "/sweep", json!({"seed": (0..200).collect::<Vec<_>>(), "steps": (1..=200).collect::<Vec<_>>()}));
    assert_eq!(first_pointer(&body), "/sweep");
}

#[test]
fn a_normalized_spec_says_every_default_and_can_be_submitted_again() {
    for body in [regression(), hypergradient(), colourization()] {
        for point in parse(&body).unwrap().points {
            let written = serde_json::to_value(&point.spec).unwrap();
            let again = parse(&json!({"spec": written})).unwrap();
            assert_eq!(again.points[0].spec, point.spec);
            assert_eq!(serde_json::from_value::<Spec>(written).unwrap(), point.spec);
        }
    }
    let Spec::Colourization(spec) = &parse(&json!({"spec": {"kind": "colourization", "dataset": {"name": "synthetic"},
        "network": {"name": "unet"}, "optimizer": {"name": "adam", "learning_rate": 0.001}}}))
    .unwrap()
    .points[0]
        .spec
        .clone()
    else {
        panic!()
    };
    assert_eq!((spec.network.kernel, spec.network.num_filters, spec.num_colours, spec.batch_size, spec.epochs), (3, 32, 24, 100, 25));
    assert_eq!((spec.dataset.train_images, spec.dataset.size), (Some(1000), Some(32)));
    assert_eq!((spec.optimizer.beta1, spec.optimizer.beta2, spec.optimizer.epsilon), (Some(0.9), Some(0.999), Some(1e-8)));
}

#[test]
fn an_array_is_no_object_although_serde_would_take_one() {
    for (pointer, value) in [
        ("/spec", json!([1])),
        ("/spec/optimizer", json!(["gd", 0.01, "constant"])),
        ("/spec/problem", json!(["inline"])),
        ("/sweep", json!([])),
    ] {
        assert_eq!(first_pointer(&with(regression(), pointer, value)), pointer);
    }
    assert_eq!(first_pointer(&json!(["name", {}, 0, regression()["spec"], {}])), "");
    let swept = with(regression(), "/sweep", json!({"optimizer": [["gd", 0.1]]}));
    assert_eq!(first_pointer(&swept), "/sweep/optimizer/0");
}

#[test]
fn a_sweep_may_not_set_a_value_and_what_lies_in_it() {
    let body = with(regression(), "/sweep", json!({"optimizer.learning_rate": [0.1], "optimizer": [{"name": "gd", "learning_rate": 0.3}]}));
    assert_eq!(first_pointer(&body), "/sweep/optimizer.learning_rate");
}

#[test]
fn the_schema_of_a_word_lists_it_as_json_has_it() {
    use utoipa::PartialSchema as _;
    let schema = serde_json::to_value(trainyard_wire::StopReason::schema()).unwrap();
    assert_eq!(schema["enum"][2], json!("early_stopped"));
}

#[test]
fn a_body_that_is_no_json_is_a_syntax_error() {
    assert!(matches!(Submission::parse(b"{\"spec\": ", 10), Err(SubmitError::Syntax(_))));
}
