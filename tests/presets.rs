//! Presets: each strategy through the real server, the service that keeps them, and what they learn.

mod support;

use std::{collections::BTreeMap, time::Duration};

use mediary_client::v1;
use mediary_proto::admin::{
    self as pb, preset_service_client::PresetServiceClient,
    workflow_service_client::WorkflowServiceClient,
};
use support::{
    House,
    admin::{add_route, route, routes},
    ask::{listen, question, said},
};

const TEXT: &str = "providers/sandbox/models/sandbox-text";
const THINKING: &str = "providers/sandbox/models/sandbox-reasoning";

macro_rules! presets {
    ($house:expr) => {
        PresetServiceClient::new($house.client().raw().transport())
    };
}

fn to_preset(name: &str) -> v1::ModelTarget {
    let target = Some(v1::model_target::Target::Preset(name.to_owned()));
    v1::ModelTarget { target, ..Default::default() }
}

fn hello(preset: &str) -> v1::StreamTextRequest {
    v1::StreamTextRequest { target: Some(to_preset(preset)), ..question("", "say hello").into() }
}

fn hello_at_once(preset: &str) -> v1::GenerateTextRequest {
    v1::GenerateTextRequest { target: Some(to_preset(preset)), ..question("", "say hello").into() }
}

/// A member that the sandbox plays as these options say.
fn member(model: &str, options: &str) -> pb::PresetMember {
    let text = v1::TextParameters {
        provider_options_json: BTreeMap::from([("sandbox".to_owned(), options.to_owned())]),
        ..Default::default()
    };
    let parameters = pb::TargetParameters { text: Some(text), media: None };
    let parameters = (!options.is_empty()).then_some(parameters);
    pb::PresetMember { model: model.to_owned(), parameters, ..Default::default() }
}

fn preset(strategy: pb::PresetStrategy, members: Vec<pb::PresetMember>) -> pb::Preset {
    let capability = "text-to-text".to_owned();
    pb::Preset { capability, strategy: strategy.into(), members, ..Default::default() }
}

fn ensemble(mode: pb::EnsembleMode, members: Vec<pb::PresetMember>) -> pb::Preset {
    let judge_model = match mode {
        pb::EnsembleMode::First => String::new(),
        _ => TEXT.to_owned(),
    };
    let settings = pb::EnsembleSettings { mode: mode.into(), judge_model, ..Default::default() };
    let preset = preset(pb::PresetStrategy::Ensemble, members);
    pb::Preset { ensemble: Some(settings), ..preset }
}

async fn add(house: &House, id: &str, preset: pb::Preset) -> pb::Preset {
    let request = pb::CreatePresetRequest {
        preset: Some(preset),
        preset_id: id.to_owned(),
        ..Default::default()
    };
    let made = presets!(house).create_preset(request).await.expect("a preset");
    made.into_inner().preset.unwrap()
}

async fn get(house: &House, id: &str) -> pb::Preset {
    let request = pb::GetPresetRequest { name: format!("presets/{id}") };
    presets!(house).get_preset(request).await.expect("a preset").into_inner().preset.unwrap()
}

async fn generate(house: &House, preset: &str) -> v1::GenerateTextResponse {
    let mut text = house.client().raw().text();
    text.generate_text(hello_at_once(preset)).await.expect("an answer").into_inner()
}

const FAILS: &str = r#"{"fail":{"kind":"overloaded"}}"#;

#[tokio::test]
async fn a_sequence_falls_back_with_each_members_own_parameters() {
    let house = House::new();
    let members = vec![member(TEXT, FAILS), member(THINKING, r#"{"text":"from the second"}"#)];
    add(&house, "two", preset(pb::PresetStrategy::Sequential, members)).await;
    let heard = listen(&house, hello("presets/two")).await;
    assert_eq!((heard.text().as_str(), heard.finished().attempts.len()), ("from the second", 2));
    assert_eq!(heard.finished().model, THINKING);
    // The same as the target of a route.
    add_route(&house, "work", pb::Route { target: Some(to_preset("two")), ..route("", &[]) }).await;
    let to_route = support::admin::to_route("work");
    let request = v1::StreamTextRequest { target: Some(to_route), ..hello("") };
    assert_eq!(listen(&house, request).await.text(), "from the second");
    let counted = get(&house, "two").await.statistics.unwrap();
    assert_eq!((counted.requests, counted.successes), (4, 2));
    assert!(counted.cost_pico_usd > 0);
}

#[tokio::test]
async fn a_member_that_takes_too_long_gives_way() {
    let house = House::new();
    let slow = pb::PresetMember {
        timeout: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
        ..member(TEXT, r#"{"hang_after":0}"#)
    };
    let members = vec![slow, member(THINKING, "")];
    add(&house, "slow", preset(pb::PresetStrategy::Sequential, members)).await;
    let heard = listen(&house, hello("slow")).await;
    assert_eq!(heard.finished().model, THINKING);
}

#[tokio::test]
async fn weights_decide_who_answers() {
    let house = House::new();
    let weighted = |model, weight| pb::PresetMember { weight: Some(weight), ..member(model, "") };
    let members = vec![weighted(TEXT, 1.0), weighted(THINKING, 1e12)];
    add(&house, "heavy", preset(pb::PresetStrategy::Weighted, members)).await;
    for _ in 0..10 {
        assert_eq!(generate(&house, "heavy").await.model, THINKING);
    }
}

#[tokio::test]
async fn an_ensemble_takes_the_first_good_answer_and_stops_the_others() {
    let house = House::new();
    let members =
        vec![member(TEXT, r#"{"hang_after":0}"#), member(THINKING, r#"{"text":"quick"}"#)];
    add(&house, "race", ensemble(pb::EnsembleMode::First, members)).await;
    let heard = listen(&house, hello("race")).await;
    assert_eq!((heard.text().as_str(), heard.terminals()), ("quick", 1));
    let answer = generate(&house, "race").await;
    assert_eq!((answer.model.as_str(), answer.attempts.len()), (THINKING, 2));
    let states: Vec<_> = answer.attempts.iter().map(|one| one.state()).collect();
    assert!(states.contains(&v1::AttemptState::Cancelled), "{states:?}");
    let chosen: Vec<bool> = answer.alternates.iter().map(|one| one.chosen).collect();
    assert_eq!(chosen, [false, true]);
}

#[tokio::test]
async fn a_judge_chooses_or_merges_and_all_that_was_paid_is_counted() {
    let house = House::new();
    let members = || vec![member(TEXT, r#"{"text":"one"}"#), member(THINKING, r#"{"text":"two"}"#)];
    add(&house, "best", ensemble(pb::EnsembleMode::Best, members())).await;
    let answer = generate(&house, "best").await;
    assert_eq!((answer.attempts.len(), answer.alternates.len()), (3, 2));
    let sum: i64 = answer.attempts.iter().map(|one| one.cost_pico_usd).sum();
    assert_eq!(answer.cost_pico_usd, sum);
    let chosen = answer.alternates.iter().find(|one| one.chosen).expect("one is chosen");
    assert!(!chosen.selection_reason.is_empty());
    assert_eq!(chosen.message, answer.message);
    let heard = listen(&house, hello("best")).await;
    assert!(["one", "two"].contains(&heard.text().as_str()), "{}", heard.text());

    add(&house, "merge", ensemble(pb::EnsembleMode::Merge, members())).await;
    let merged = generate(&house, "merge").await;
    assert_eq!((merged.model.as_str(), merged.attempts.len()), (TEXT, 3));
    assert!(merged.alternates.iter().all(|one| one.chosen), "{merged:?}");
    let heard = listen(&house, hello("merge")).await;
    assert!(heard.text().contains("sandbox"), "{}", heard.text());
    // Where only one has answered there is nothing to judge.
    let members = vec![member(TEXT, FAILS), member(THINKING, r#"{"text":"alone"}"#)];
    add(&house, "alone", ensemble(pb::EnsembleMode::Best, members)).await;
    let alone = generate(&house, "alone").await;
    assert_eq!((alone.model.as_str(), alone.attempts.len()), (THINKING, 2));
}

#[tokio::test]
async fn an_adaptive_preset_learns_follows_and_remembers() {
    let mut house = House::new();
    let arms = |first: &str, second: &str| vec![member(TEXT, first), member(THINKING, second)];
    let adaptive = preset(pb::PresetStrategy::Adaptive, arms(FAILS, ""));
    let made = add(&house, "learner", adaptive).await;
    let served = async |house: &House, count: usize| {
        let mut first = Vec::new();
        for _ in 0..count {
            first.push(generate(house, "learner").await.attempts[0].model.clone());
        }
        first
    };
    let share = |first: &[String], model: &str| {
        first.iter().filter(|one| *one == model).count() as f64 / first.len() as f64
    };
    let first = served(&house, 100).await;
    assert!(share(&first[50..], THINKING) > 0.7, "{first:?}");
    let swap = pb::UpdatePresetRequest {
        preset: Some(pb::Preset { members: arms("", FAILS), ..made }),
        ..Default::default()
    };
    presets!(house).update_preset(swap).await.unwrap();
    let first = served(&house, 150).await;
    assert!(share(&first[100..], TEXT) > 0.7, "{first:?}");

    let learned = get(&house, "learner").await.members[0].learned.unwrap();
    assert!(learned.attempts > 50 && learned.success_rate > 0.5, "{learned:?}");
    house.signal("TERM");
    house.wait_for_exit(Duration::from_secs(10));
    house.restart();
    let again = get(&house, "learner").await.members[0].learned.unwrap();
    // Times are kept in microseconds.
    let micros = |one: pb::LearnedState| {
        let time = one.update_time.map(|time| (time.seconds, time.nanos / 1_000));
        (time, pb::LearnedState { update_time: None, ..one })
    };
    assert_eq!(micros(again), micros(learned));
}

#[tokio::test]
async fn what_a_preset_may_be_is_checked_as_a_whole() {
    let house = House::new();
    let weight = |weight| pb::PresetMember { weight: Some(weight), ..member(TEXT, "") };
    let odd = pb::Preset {
        capability: "to-sing".to_owned(),
        ensemble: Some(pb::EnsembleSettings::default()),
        members: vec![weight(0.0), member("no-such", ""), member(TEXT, "")],
        ..preset(pb::PresetStrategy::Weighted, Vec::new())
    };
    let create = |preset| pb::CreatePresetRequest {
        preset: Some(preset),
        preset_id: "odd".to_owned(),
        ..Default::default()
    };
    let refused = presets!(house).create_preset(create(odd)).await.unwrap_err();
    let fields: Vec<String> = said(&refused).1.into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "preset.capability",
            "preset.members[0].weight",
            "preset.members[1].model",
            "preset.members[2].model",
            "preset.ensemble",
        ]
    );
    let empty = preset(pb::PresetStrategy::Unspecified, Vec::new());
    let refused = presets!(house).create_preset(create(empty)).await.unwrap_err();
    let fields: Vec<String> = said(&refused).1.into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["preset.strategy", "preset.members"]);
    let refused = listen(&house, hello("nobody")).await;
    assert_eq!(refused.reason(), "RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_default_stays_deleted_until_it_is_restored() {
    let mut house = House::new();
    let delete = |force| pb::DeletePresetRequest {
        name: "presets/sandbox-simple".to_owned(),
        force,
        ..Default::default()
    };
    let target = Some(to_preset("sandbox-simple"));
    add_route(&house, "work", pb::Route { target, ..route("", &[]) }).await;
    let refused = presets!(house).delete_preset(delete(false)).await.unwrap_err();
    assert_eq!(said(&refused).0, "RESOURCE_IN_USE");
    presets!(house).delete_preset(delete(true)).await.unwrap();
    house.signal("TERM");
    house.wait_for_exit(Duration::from_secs(10));
    house.restart();
    let refused = presets!(house).delete_preset(delete(true)).await.unwrap_err();
    assert_eq!(said(&refused).0, "RESOURCE_NOT_FOUND");
    let restore = pb::RestoreDefaultPresetsRequest::default();
    let restored = presets!(house).restore_default_presets(restore.clone()).await.unwrap();
    let restored = restored.into_inner().presets;
    assert_eq!(restored.len(), 1);
    assert!(restored[0].built_in && restored[0].origin == "built-in", "{restored:?}");
    let none = presets!(house).restore_default_presets(restore).await.unwrap().into_inner();
    assert_eq!(none.presets, []);
    let _ = routes(&house);
}

#[tokio::test]
async fn the_preset_of_highest_priority_answers_for_auto() {
    let house = House::plan().config("catalog.auto_includes_sandbox = true").start();
    let auto = || {
        let target = v1::model_target::Target::Auto(v1::AutoTarget::default());
        let target = v1::ModelTarget { target: Some(target), ..Default::default() };
        v1::StreamTextRequest { target: Some(target), ..question("", "hello").into() }
    };
    assert_eq!(listen(&house, auto()).await.finished().model, TEXT);
    for (id, priority, model) in [("low", 1, TEXT), ("high", 2, THINKING), ("never", -1, TEXT)] {
        let one = preset(pb::PresetStrategy::Sequential, vec![member(model, "")]);
        add(&house, id, pb::Preset { priority, ..one }).await;
    }
    assert_eq!(listen(&house, auto()).await.finished().model, THINKING);
}

#[tokio::test]
async fn a_workflow_is_checked_as_a_whole_and_kept() {
    let house = House::new();
    let step = |id: &str, template: &str, after: &[&str]| pb::WorkflowStep {
        id: id.to_owned(),
        input_template_json: template.to_owned(),
        depends_on: after.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    let workflow = |steps| pb::Workflow {
        kind: pb::WorkflowKind::Simple.into(),
        parameters: vec![pb::WorkflowParameter { key: "topic".to_owned(), ..Default::default() }],
        steps,
        ..Default::default()
    };
    let create = |workflow| pb::CreateWorkflowRequest {
        workflow: Some(workflow),
        workflow_id: "slides".to_owned(),
        ..Default::default()
    };
    let mut workflows = WorkflowServiceClient::new(house.client().raw().transport());
    let write = r#"{"text":{"prompt":"{{arguments.topic}}"}}"#;
    let paint = r#"{"image":{"prompt":"{{steps.plan.text}}"}}"#;
    let circle = workflow(vec![step("plan", write, &["paint"]), step("paint", paint, &[])]);
    let refused = workflows.create_workflow(create(circle)).await.unwrap_err();
    assert_eq!(said(&refused).1[0].0, "workflow.steps");
    let odd = pb::Workflow {
        adaptive: Some(pb::AdaptiveSettings::default()),
        ..workflow(vec![
            step("a", "{{arguments.none}}", &["b"]),
            step("a", r#"{"text":1,"image":2}"#, &[]),
        ])
    };
    let refused = workflows.create_workflow(create(odd)).await.unwrap_err();
    let fields: Vec<String> = said(&refused).1.into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "workflow.adaptive",
            "workflow.steps[0].input_template_json",
            "workflow.steps[0].input_template_json",
            "workflow.steps[0].depends_on[0]",
            "workflow.steps[1].id",
            "workflow.steps[1].input_template_json",
        ]
    );
    let good = workflow(vec![step("plan", write, &[]), step("paint", paint, &[])]);
    let made = workflows.create_workflow(create(good)).await.unwrap().into_inner();
    let made = made.workflow.unwrap();
    assert_eq!((made.name.as_str(), made.steps.len()), ("workflows/slides", 2));
    let name = made.name.clone();
    let got = workflows.get_workflow(pb::GetWorkflowRequest { name: name.clone() }).await.unwrap();
    assert_eq!(got.into_inner().workflow, Some(made));
    let delete = pb::DeleteWorkflowRequest { name, ..Default::default() };
    workflows.delete_workflow(delete).await.unwrap();
}
