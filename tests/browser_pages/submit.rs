//! The form that submits a job.

use fantoccini::Locator;
use serde_json::{Value, json};

use crate::Desk;
use crate::support::browser::{holds, shows};

const VALID: &str = "return document.querySelector('.submit-form button[type=submit]').disabled === false";

#[tokio::test]
async fn every_kind_and_optimizer_has_a_form_that_the_server_takes() {
    let Some(desk) = Desk::open(0).await else { return };
    desk.visit("#/submit").await;
    shows(&desk.browser, "#spec-kind").await;
    for kind in ["regression", "regularization_pair", "hypergradient", "colourization"] {
        desk.browser.find(Locator::Css("#spec-kind")).await.unwrap().select_by_value(kind).await.unwrap();
        holds(&desk.browser, "the form starts valid", VALID).await;
        if kind == "hypergradient" {
            continue;
        }
        for optimizer in ["gd", "sgd", "momentum", "rmsprop", "adam", "adamw"] {
            // Its twin is the weight decay, and networks take mini-batches of their own.
            if (kind, optimizer) == ("regularization_pair", "adamw") || (kind == "colourization" && ["sgd", "gd"].contains(&optimizer)) {
                continue;
            }
            desk.browser.find(Locator::Css("#spec-optimizer-name")).await.unwrap().select_by_value(optimizer).await.unwrap();
            if optimizer == "sgd" {
                desk.write("#spec-optimizer-batch_size", "10").await;
            }
            let body = desk.text("pre[aria-label='Body as JSON']").await;
            assert!(body.contains(optimizer), "{body}");
            holds(&desk.browser, &format!("{kind} with {optimizer} is valid"), VALID).await;
        }
    }
    // What the optimizer has not is not shown, and not sent.
    let shown = desk
        .tell(
            "return [...document.querySelectorAll('[data-path^=\"optimizer.\"]')].filter((it) => !it.hidden).map((it) => it.dataset.path)",
        )
        .await;
    assert!(
        !shown.as_array().unwrap().contains(&json!("optimizer.beta")) && shown.as_array().unwrap().contains(&json!("optimizer.beta1")),
        "{shown}"
    );
    desk.is_quiet("422").await;
    desk.close().await;
}

#[tokio::test]
async fn a_mistake_is_told_at_its_field_and_a_valid_job_is_submitted_again_as_it_was() {
    let Some(desk) = Desk::open(1).await else { return };
    desk.visit("#/submit").await;
    shows(&desk.browser, "#spec-optimizer-learning_rate").await;
    desk.write("#spec-optimizer-learning_rate", "-1").await;
    shows(&desk.browser, "[data-pointer='/spec/optimizer/learning_rate'].wrong .field-error:not(:empty)").await;
    let disabled = desk.tell("return document.querySelector('.submit-form button[type=submit]').disabled").await;
    assert_eq!(disabled, json!(true));
    let plan = desk.tell("return document.querySelectorAll(\"section[aria-label='What would run'] :is(dd, li)\").length").await;
    assert_eq!(plan, json!(0), "figures of the form before the mistake are still there");
    desk.write("#spec-optimizer-learning_rate", "0.05").await;
    desk.write("#job-name", "from the form").await;
    desk.write("#job-project", "forms").await;
    desk.write("#job-tags", "topic=form").await;
    holds(&desk.browser, "the mistake is gone", VALID).await;
    assert!(desk.text("section[aria-label='What would run']").await.contains("best fixed rate"));
    let curl = desk.text("pre[aria-label='curl command']").await;
    assert!(curl.contains("/v1/jobs") && curl.contains(r#""learning_rate":0.05"#), "{curl}");

    desk.click(".submit-form button[type=submit]").await;
    shows(&desk.browser, ".run-title").await;
    desk.yard.until(trainyard_wire::RunId(1), trainyard_wire::RunState::Succeeded).await;
    let stored = desk.yard.client.run(trainyard_wire::RunId(1)).await.unwrap();
    let described = (stored.name.as_deref(), stored.project.as_deref(), stored.tags["topic"].as_str());
    assert_eq!(described, (Some("from the form"), Some("forms"), "form"));

    desk.visit("#/submit?like=1").await;
    shows(&desk.browser, "#spec-optimizer-learning_rate").await;
    holds(&desk.browser, "the run's spec is valid", VALID).await;
    let again: Value = serde_json::from_str(&desk.text("pre[aria-label='Body as JSON']").await).unwrap();
    let spec: trainyard_wire::Spec = serde_json::from_value(again["spec"].clone()).unwrap();
    assert_eq!((spec, &again["name"], &again["project"]), (stored.spec, &json!("from the form"), &json!("forms")));
    desk.is_quiet("422").await;
    desk.close().await;
}

#[tokio::test]
async fn a_sweep_is_written_in_the_form_and_leads_to_its_comparison() {
    let Some(desk) = Desk::open(1).await else { return };
    desk.visit("#/submit").await;
    shows(&desk.browser, "#spec-kind").await;
    desk.click("fieldset[data-pointer='/sweep'] > button").await;
    desk.write("#sweep-path-1", "optimizer.learning_rate").await;
    desk.write("#sweep-values-1", "0.1, -3").await;
    shows(&desk.browser, ".sweep-row.wrong .field-error:not(:empty)").await;
    desk.write("#sweep-values-1", "0.1, 0.05").await;
    holds(&desk.browser, "two runs", "return document.querySelectorAll('.plan-points li').length === 2").await;
    holds(&desk.browser, "the sweep is valid", VALID).await;
    desk.click(".submit-form button[type=submit]").await;
    shows(&desk.browser, "section[aria-label='Runs'] tbody tr:nth-child(2)").await;
    shows(&desk.browser, "section[aria-label='Curves'] .scatterlayer .trace").await;
    desk.is_quiet("422").await;
    desk.close().await;
}
