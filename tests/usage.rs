//! What was used and what it cost: every attempt is one row, however it ended, and all sums agree.

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use futures::{StreamExt as _, TryStreamExt as _};
use mediary_client::{TextRequest, target, v1};
use mediary_proto::admin::{
    AttemptRecord, ListAttemptsRequest, QueryUsageRequest, QueryUsageResponse, UsageBucket,
    UsageInterval,
};
use prost_types::Timestamp;
use support::{
    House, Reply, Vendor,
    ask::{self, listen, question, said},
    house::well,
    vendors::{ANTHROPIC_HELLO, CAREFUL, OPENAI_HELLO, QUICK, Street},
};
use tonic::{Code, Request, Status};

/// What "Hello!" costs at 1 USD per million tokens in and 2 out.
const HELLO_COST: i64 = 9 * 1_000_000 + 2 * 2_000_000;
const EMBEDDING: &str = "providers/openai/models/vectors";

fn labelled(model: &str, how: &str) -> TextRequest {
    let mut request = question(model, "say hello");
    request.labels.insert("how".to_owned(), how.to_owned());
    request
}

/// The last hour, split by keys.
fn last_hour(keys: &[&str]) -> QueryUsageRequest {
    QueryUsageRequest {
        start_time: Some((SystemTime::now() - Duration::from_secs(3_600)).into()),
        group_by: keys.iter().map(|&key| key.to_owned()).collect(),
        page_size: 1_000,
        ..Default::default()
    }
}

async fn query(house: &House, request: QueryUsageRequest) -> Result<QueryUsageResponse, Status> {
    Ok(house.client().raw().usage().query_usage(request).await?.into_inner())
}

async fn usage(house: &House, request: QueryUsageRequest) -> Vec<UsageBucket> {
    house.client().query_usage(request).try_collect().await.expect("usage")
}

async fn attempts(house: &House, filter: &str) -> Vec<AttemptRecord> {
    let request = ListAttemptsRequest { filter: filter.to_owned(), ..Default::default() };
    house.client().list_attempts(request).try_collect().await.expect("attempts")
}

/// Requests, successes, attempts and cost by the values of a split.
fn by_group(buckets: &[UsageBucket]) -> BTreeMap<String, (i64, i64, i64, i64)> {
    let groups = buckets.iter().map(|one| {
        let values: Vec<&str> = one.groups.iter().map(|group| group.value.as_str()).collect();
        (values.join(" "), (one.requests, one.successes, one.attempts, one.cost_pico_usd))
    });
    groups.collect()
}

/// Asks until `is_so`: the server hears of a peer that has left a moment later.
async fn eventually(house: &House, keys: &[&str], is_so: impl Fn(&[UsageBucket]) -> bool) {
    let begin = Instant::now();
    loop {
        let buckets = usage(house, last_hour(keys)).await;
        if is_so(&buckets) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "{buckets:?}");
        tokio::task::yield_now().await;
    }
}

fn falling_back_to(mut request: TextRequest, model: &str) -> TextRequest {
    let fallback = v1::Fallback { models: vec![model.to_owned()], ..Default::default() };
    request.target.as_mut().unwrap().fallback = Some(fallback);
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_one_row_however_it_ended() {
    let street = Street::new().await;
    let (house, openai) = (&street.house, &street.openai);
    let hello = || Reply::sse(OPENAI_HELLO);

    // Whole, as a stream and in one message.
    openai.replies([hello(), hello()]);
    listen(house, labelled(QUICK, "streamed")).await.finished();
    house.client().generate(labelled(QUICK, "unary")).await.unwrap();
    // Failed before its first token; failed, and answered by another.
    let broken = || Reply::json(500, r#"{"error":{"message":"the lights are out"}}"#);
    openai.replies([broken(), broken()]);
    listen(house, labelled(QUICK, "failed")).await.failed();
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);
    let request = falling_back_to(labelled(QUICK, "fallback"), CAREFUL);
    assert_eq!(listen(house, request).await.finished().attempts.len(), 2);
    // Cut off in the middle.
    openai.replies([hello().cut_after(120)]);
    listen(house, labelled(QUICK, "cut")).await.failed();
    // Stopped by its caller.
    openai.replies([hello().hang_after(120)]);
    let mut stream = house.client().stream(labelled(QUICK, "stopped")).await.unwrap();
    let generation = begun(&mut stream).await;
    let stop = v1::StopTextRequest { generation, ..Default::default() };
    house.client().raw().text().stop_text(stop).await.unwrap();
    while stream.next().await.is_some() {}
    // Too late.
    openai.replies([hello().hang_after(120)]);
    let mut late = Request::new(labelled(QUICK, "late").into());
    late.set_timeout(Duration::from_millis(300));
    let mut late = ask::without_a_timer(house).stream_text(late).await.unwrap().into_inner();
    while let Some(Ok(_)) = late.next().await {}
    // Its reader leaves, after the first token and before it; a caller of a whole answer leaves.
    openai.replies([hello().hang_after(120)]);
    let mut stream = house.client().stream(labelled(QUICK, "left")).await.unwrap();
    begun(&mut stream).await;
    drop(stream);
    openai.wait_for_leavers(1).await;
    let asked = openai.asked().len();
    openai.replies([hello().after(Duration::from_secs(600))]);
    let stream = house.client().stream(labelled(QUICK, "left early")).await.unwrap();
    openai.wait_for_calls(asked + 1).await;
    drop(stream);
    openai.replies([hello().after(Duration::from_secs(600))]);
    let client = house.client();
    let whole = tokio::spawn(async move { client.generate(labelled(QUICK, "left whole")).await });
    openai.wait_for_calls(asked + 2).await;
    whole.abort();
    // Refused before anybody is asked.
    listen(house, labelled("providers/openai/models/no-such-thing", "refused")).await;

    let expected: BTreeMap<&str, (i64, i64, i64)> = [
        ("streamed", (1, 1, 1)),
        ("unary", (1, 1, 1)),
        ("failed", (1, 0, 1)),
        ("fallback", (1, 1, 2)),
        ("cut", (1, 0, 1)),
        ("stopped", (1, 0, 1)),
        ("late", (1, 0, 1)),
        ("left", (1, 0, 1)),
        ("left early", (1, 0, 1)),
        ("left whole", (1, 0, 1)),
    ]
    .into();
    let is_as_expected = |buckets: &[UsageBucket]| {
        let seen = by_group(buckets);
        let seen = seen.iter().map(|(how, (requests, successes, attempts, _))| {
            (how.as_str(), (*requests, *successes, *attempts))
        });
        seen.collect::<BTreeMap<_, _>>() == expected
    };
    eventually(house, &["labels.how"], is_as_expected).await;

    let rows = attempts(house, "").await;
    assert_eq!(rows.len(), 11);
    let state = |row: &AttemptRecord| row.attempt.as_ref().unwrap().state();
    let count = |wanted| rows.iter().filter(|row| state(row) == wanted).count();
    assert_eq!(count(v1::AttemptState::Succeeded), 3);
    assert_eq!(count(v1::AttemptState::Failed), 4);
    assert_eq!(count(v1::AttemptState::Cancelled), 4);
    // What was cut, stopped, late or left after its first token costs what was written.
    let costs = by_group(&usage(house, last_hour(&["labels.how"])).await);
    for how in ["cut", "stopped", "late", "left"] {
        assert!(costs[how].3 > 0, "{how}: {costs:?}");
    }
    assert_eq!((costs["left early"].3, costs["failed"].3), (0, 0));
}

/// Reads up to the first piece of text. The name of the generation.
async fn begun(stream: &mut mediary_client::TextStream) -> String {
    let mut generation = String::new();
    while let Some(event) = stream.next().await {
        match event.unwrap().kind {
            Some(v1::text_event::Kind::Started(started)) => generation = started.generation,
            Some(v1::text_event::Kind::TextDelta(_)) => return generation,
            _ => {}
        }
    }
    panic!("no text came");
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_agree_with_the_answers_and_splits_with_the_whole() {
    let street = Street::new().await;
    let house = &street.house;
    let mut told = 0;
    for n in 0..6 {
        street.openai.replies([match n % 3 {
            0 => Reply::json(503, "{}"),
            _ => Reply::sse(OPENAI_HELLO),
        }]);
        street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);
        let request = falling_back_to(labelled(QUICK, &format!("{}", n % 2)), CAREFUL);
        let answer = house.client().generate(request).await.unwrap();
        told += answer.cost_pico_usd;
        let hints = answer.attempts.iter().map(|one| one.account_hint.split('-').next().unwrap());
        let expected: &[&str] = if n % 3 == 0 { &["openai", "anthropic"] } else { &["openai"] };
        assert_eq!(hints.collect::<Vec<_>>(), expected, "the accounts that were asked");
    }

    let whole = usage(house, last_hour(&[])).await;
    let [whole] = &whole[..] else { panic!("{whole:?}") };
    assert_eq!((whole.requests, whole.successes, whole.attempts), (6, 6, 8));
    assert_eq!((told, whole.cost_pico_usd), (6 * HELLO_COST, told));
    let tokens = whole.usage.clone().unwrap();
    assert_eq!((tokens.input_tokens, tokens.output_tokens), (6 * 9, 6 * 2));
    assert_eq!(tokens.source(), v1::UsageSource::Reported);
    for percentile in
        [&whole.latency_p50_duration, &whole.latency_p95_duration, &whole.latency_p99_duration]
    {
        let took = percentile.as_ref().expect("answers came");
        assert!(took.seconds < 10 && (took.seconds, took.nanos) > (0, 0), "{took:?}");
    }
    let listed = attempts(house, "").await;
    let costs = listed.iter().map(|one| one.attempt.as_ref().unwrap().cost_pico_usd);
    assert_eq!(costs.sum::<i64>(), told);

    // A call that fell back is a request of the model that answered.
    let by_model = by_group(&usage(house, last_hour(&["model"])).await);
    assert_eq!(by_model[CAREFUL], (2, 2, 2, 2 * HELLO_COST));
    assert_eq!(by_model[QUICK], (4, 4, 6, 4 * HELLO_COST));
    for keys in [
        &["provider"][..],
        &["account", "capability"],
        &["owner", "api_key", "route", "preset"],
        &["labels.how", "labels.other"],
    ] {
        let parts = usage(house, last_hour(keys)).await;
        let sum = |of: fn(&UsageBucket) -> i64| parts.iter().map(of).sum::<i64>();
        assert_eq!(sum(|one| one.requests), whole.requests, "{keys:?}");
        assert_eq!(sum(|one| one.attempts), whole.attempts, "{keys:?}");
        assert_eq!(sum(|one| one.cost_pico_usd), whole.cost_pico_usd, "{keys:?}");
        assert!(parts.iter().all(|one| one.groups.len() == keys.len()));
        assert!(parts[0].groups.iter().zip(keys).all(|(group, key)| group.key == *key));
    }
    let owners = by_group(&usage(house, last_hour(&["owner", "capability", "account"])).await);
    let names = owners.keys().map(|name| name.rsplit_once('-').unwrap().0);
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["loopback text-to-text accounts/anthropic", "loopback text-to-text accounts/openai"]
    );

    // Buckets: the same in minutes, hours and days.
    for interval in [UsageInterval::Minute, UsageInterval::Hour, UsageInterval::Day] {
        let request = QueryUsageRequest { interval: interval.into(), ..last_hour(&["labels.how"]) };
        let parts = usage(house, request).await;
        assert_eq!(parts.iter().map(|one| one.requests).sum::<i64>(), 6, "{interval:?}");
        for one in &parts {
            let (start, end) = (one.start_time.unwrap(), one.end_time.unwrap());
            assert!((start.seconds, start.nanos) < (end.seconds, end.nanos), "{one:?}");
        }
    }

    // Filters.
    for (filter, requests, attempts) in [
        (format!("model = {CAREFUL:?}"), 2, 2),
        (format!("model = {QUICK:?}"), 4, 6),
        ("labels.how = \"0\"".to_owned(), 3, 4),
        ("labels.how = \"0\" AND provider = \"providers/anthropic\"".to_owned(), 1, 1),
        ("NOT labels.how : *".to_owned(), 0, 0),
        ("account : OPEN".to_owned(), 4, 6),
        ("owner = \"loop*\"".to_owned(), 6, 8),
    ] {
        let request = QueryUsageRequest { filter: filter.clone(), ..last_hour(&[]) };
        let found = usage(house, request).await;
        let sum = |of: fn(&UsageBucket) -> i64| found.iter().map(of).sum::<i64>();
        let seen = (sum(|one| one.requests), sum(|one| one.attempts));
        assert_eq!(seen, (requests, attempts), "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_tells_what_happened_and_is_found_by_it() {
    let street = Street::new().await;
    let house = &street.house;
    let words = r#"{"error":{"message":"no room for sk-openai-key-of-the-test","type":"x"}}"#;
    street.openai.replies([Reply::json(503, words)]);
    street.anthropic.replies([Reply::sse(ANTHROPIC_HELLO)]);
    let heard = listen(house, falling_back_to(question(QUICK, "say hello"), CAREFUL)).await;
    let generation = heard.started().generation.clone();

    let by_generation = attempts(house, &format!("generation = {generation:?}")).await;
    let [second, first] = &by_generation[..] else { panic!("{by_generation:?}") };
    assert_eq!(first.generation, generation);
    let account = format!("openai-{}", street.openai.address.rsplit(':').next().unwrap());
    assert_eq!(first.account, format!("accounts/{account}"));
    assert_eq!(first.owner, "loopback");
    assert_eq!((first.job.as_str(), first.api_key.as_str()), ("", ""));
    assert_eq!(first.capability, "text-to-text");
    assert_eq!(first.upstream_excerpt, "no room for ***");
    assert_eq!(first.first_byte_duration, None);
    let attempt = first.attempt.clone().unwrap();
    assert_eq!((attempt.index, attempt.model.as_str()), (1, QUICK));
    assert_eq!(attempt.account_hint, account);
    assert_eq!((attempt.http_status, attempt.usage, attempt.cost_pico_usd), (Some(503), None, 0));
    let status = attempt.status.unwrap();
    assert_eq!(status.code, Code::Unavailable as i32);
    assert!(!format!("{by_generation:?}").contains("sk-openai"), "{by_generation:?}");
    let attempt = second.attempt.clone().unwrap();
    assert_eq!((attempt.index, attempt.cost_pico_usd), (2, HELLO_COST));
    assert!(attempt.status.is_none() && attempt.outcome_known);
    assert!(second.first_byte_duration.is_some());
    let of_answer = heard.finished().attempts.clone();
    let told: Vec<_> = of_answer.iter().map(|one| (one.index, one.start_time)).collect();
    // Times are kept to the microsecond.
    let near = |time: Option<Timestamp>| time.map(|time| (time.seconds, time.nanos / 1_000));
    for (row, (index, start)) in [first, second].into_iter().zip(told) {
        let row = row.attempt.as_ref().unwrap();
        assert_eq!((row.index, near(row.start_time)), (index, near(start)));
    }

    for (filter, found) in [
        ("state = FAILED", 1),
        ("state = ATTEMPT_STATE_SUCCEEDED", 1),
        ("state = RUNNING", 0),
        ("http_status = 503", 1),
        ("http_status < 400", 0),
        ("reason = \"UPSTREAM_UNAVAILABLE\"", 1),
        ("account = \"accounts/openai-*\" AND provider = \"providers/openai\"", 1),
        ("model : careful", 1),
        ("owner = loopback", 2),
        ("generation : *", 2),
        ("generation = \"generations/*\"", 2),
        ("generation = \"generations/none\"", 0),
        ("job : *", 0),
        ("start_time > \"2020-01-01T00:00:00Z\"", 2),
        ("start_time > \"2100-01-01T00:00:00Z\"", 0),
    ] {
        assert_eq!(attempts(house, filter).await.len(), found, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_whose_caller_goes_away_are_booked_as_far_as_they_came() {
    let vendor = Vendor::start().await;
    let row = r#"[[models]]
        id = "vectors"
        provider_model_id = "v"
        max_batch = 1
        capabilities = ["text-embedding"]
        input_kinds = ["text"]
        output_kinds = ["vector"]
        prices = [
            { unit = "input-token", micro_usd_per_million = 20000 },
            { unit = "request", micro_usd_per_unit = 3 },
        ]"#;
    let house = House::plan()
        .row("models/openai.toml", row)
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    let one = r#"{"data":[{"index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":4}}"#;
    let request = |how: &str| v1::EmbedTextRequest {
        target: Some(target::model(EMBEDDING)),
        texts: vec!["a".to_owned(), "b".to_owned()],
        labels: [("how".to_owned(), how.to_owned())].into(),
        ..Default::default()
    };
    vendor.replies([Reply::json(200, one), Reply::json(200, one)]);
    let answer = house.client().embed(request("whole")).await.unwrap();
    // Eight tokens, and a price for the call.
    assert_eq!(answer.cost_pico_usd, 8 * 20_000 + 3_000_000);
    vendor.replies([Reply::json(200, one), Reply::json(200, one).after(Duration::from_secs(600))]);
    let client = house.client();
    let leaving = request("left");
    let going = tokio::spawn(async move { client.embed(leaving).await });
    vendor.wait_for_calls(4).await;
    going.abort();
    vendor.wait_for_leavers(1).await;

    eventually(&house, &["labels.how"], |buckets| {
        let expected = [
            ("left".to_owned(), (1, 0, 1, 4 * 20_000 + 3_000_000)),
            ("whole".to_owned(), (1, 1, 1, 8 * 20_000 + 3_000_000)),
        ];
        by_group(buckets) == expected.into()
    })
    .await;
    let rows = attempts(&house, "state = CANCELLED").await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((row.generation.as_str(), row.capability.as_str()), ("", "text-embedding"));
    let request = v1::GetModelRequest { name: EMBEDDING.to_owned() };
    let model = house.client().raw().models().get_model(request).await.unwrap();
    let model = model.into_inner().model.unwrap();
    let request = model.prices.iter().find(|price| price.unit == "request").unwrap();
    assert_eq!(request.rate, Some(v1::price::Rate::MicroUsdPerUnit(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_row_once_and_a_token_is_bound_to_its_question() {
    let house = House::new();
    for n in 0..7 {
        let mut request = question("sandbox-text", "hi");
        request.labels.insert("n".to_owned(), n.to_string());
        request.labels.insert("odd".to_owned(), (n % 2).to_string());
        house.client().generate(request).await.unwrap();
    }
    for order_by in ["", "start_time", "cost_pico_usd desc", "cost_pico_usd, start_time desc"] {
        let request = ListAttemptsRequest {
            page_size: 3,
            order_by: order_by.to_owned(),
            ..Default::default()
        };
        let rows: Vec<_> = house.client().list_attempts(request).try_collect().await.unwrap();
        let mut calls: Vec<_> = rows.iter().map(|row| row.generation.clone()).collect();
        if order_by == "start_time" {
            assert!(calls.is_sorted(), "{calls:?}");
        }
        calls.sort();
        calls.dedup();
        assert_eq!((rows.len(), calls.len()), (7, 7), "{order_by:?}");
    }
    for order_by in ["", "requests desc", "cost_pico_usd", "start_time desc"] {
        let request = QueryUsageRequest {
            page_size: 2,
            order_by: order_by.to_owned(),
            // Fixed, so that all pages are of one time.
            end_time: Some((SystemTime::now() + Duration::from_secs(60)).into()),
            ..last_hour(&["labels.n"])
        };
        let first = query(&house, request.clone()).await.unwrap();
        let buckets = usage(&house, request.clone()).await;
        let groups: std::collections::BTreeSet<_> =
            buckets.iter().map(|one| one.groups[0].value.clone()).collect();
        assert_eq!((buckets.len(), groups.len()), (7, 7), "{order_by:?}");
        let page_token = first.next_page_token;
        for other in [
            QueryUsageRequest { group_by: vec!["labels.odd".to_owned()], ..request.clone() },
            QueryUsageRequest { interval: UsageInterval::Hour.into(), ..request.clone() },
            QueryUsageRequest { start_time: Some(Timestamp::default()), ..request.clone() },
        ] {
            let other = QueryUsageRequest { page_token: page_token.clone(), ..other };
            let refused = query(&house, other).await.unwrap_err();
            assert_eq!(said(&refused).0, "PAGE_TOKEN_INVALID", "{order_by:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_cannot_be_answered_says_why() {
    let house = House::new();
    let day = |days: i64| Some(Timestamp { seconds: 1_795_000_000 + days * 86_400, nanos: 0 });
    let asked = |change: fn(&mut QueryUsageRequest)| {
        let mut request = QueryUsageRequest {
            start_time: Some(Timestamp { seconds: 1_795_000_000, nanos: 0 }),
            end_time: Some(Timestamp { seconds: 1_795_086_400, nanos: 0 }),
            ..Default::default()
        };
        change(&mut request);
        request
    };
    let long = |interval: UsageInterval, days| QueryUsageRequest {
        interval: interval.into(),
        end_time: day(days),
        ..asked(|_| {})
    };
    for (request, reason, field) in [
        (asked(|one| one.start_time = None), "FIELD_INVALID", "start_time"),
        (asked(|one| one.end_time = one.start_time), "FIELD_INVALID", "end_time"),
        (asked(|one| one.end_time = Some(Timestamp::default())), "FIELD_INVALID", "end_time"),
        (long(UsageInterval::Minute, 2), "FIELD_INVALID", "interval"),
        (long(UsageInterval::Hour, 32), "FIELD_INVALID", "interval"),
        (long(UsageInterval::Day, 401), "FIELD_INVALID", "interval"),
        (asked(|one| one.interval = 9), "FIELD_INVALID", "interval"),
        (asked(|one| one.group_by = vec!["colour".to_owned()]), "FIELD_INVALID", "group_by[0]"),
        (asked(|one| one.group_by = vec!["labels.".to_owned()]), "FIELD_INVALID", "group_by[0]"),
        (
            asked(|one| one.group_by = ["model", "model"].map(str::to_owned).to_vec()),
            "FIELD_INVALID",
            "group_by[1]",
        ),
        (
            asked(|one| {
                one.group_by =
                    ["model", "owner", "route", "preset", "account"].map(str::to_owned).to_vec();
            }),
            "FIELD_INVALID",
            "group_by",
        ),
        (asked(|one| one.filter = "state = FAILED".to_owned()), "FILTER_INVALID", "filter"),
        (asked(|one| one.filter = "model =".to_owned()), "FILTER_INVALID", "filter"),
        (asked(|one| one.order_by = "model".to_owned()), "FIELD_INVALID", "order_by"),
        (asked(|one| one.page_size = -1), "FIELD_INVALID", "page_size"),
        (asked(|one| one.page_token = "x".to_owned()), "PAGE_TOKEN_INVALID", "page_token"),
    ] {
        let refused = query(&house, request.clone()).await.expect_err("it is refused");
        let (told, fields) = said(&refused);
        assert_eq!(refused.code(), Code::InvalidArgument, "{request:?}");
        assert_eq!((told.as_str(), fields[0].0.as_str()), (reason, field), "{request:?}");
    }
    for interval in
        [(UsageInterval::Minute, 1), (UsageInterval::Hour, 31), (UsageInterval::Day, 400)]
    {
        let found = query(&house, long(interval.0, interval.1)).await.expect("it may be asked");
        assert_eq!(found, QueryUsageResponse::default());
    }
    for (filter, order_by) in [("labels.a = b", ""), ("state = DONE", ""), ("", "model")] {
        let (filter, order_by) = (filter.to_owned(), order_by.to_owned());
        let request = ListAttemptsRequest { filter, order_by, ..Default::default() };
        let refused = house.client().raw().usage().list_attempts(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_outlives_a_stop_and_a_kill() {
    let mut house = House::new();
    let ask = async |house: &House| {
        house.client().generate(question("sandbox-text", "hi")).await.unwrap().cost_pico_usd
    };
    let requests = async |house: &House| {
        let buckets = usage(house, last_hour(&[])).await;
        (buckets[0].requests, buckets[0].cost_pico_usd)
    };
    // A stop writes what is queued.
    let cost = ask(&house).await;
    house.signal("TERM");
    assert!(house.wait_for_exit(Duration::from_secs(10)).1);
    house.restart();
    assert_eq!(requests(&house).await, (1, cost));
    // A kill takes at most what nobody has asked for yet.
    ask(&house).await;
    assert_eq!(requests(&house).await, (2, 2 * cost));
    house.kill_and_restart();
    assert_eq!(requests(&house).await, (2, 2 * cost));
    ask(&house).await;
    assert_eq!(requests(&house).await, (3, 3 * cost));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_know_accounts_is_not_told_them() {
    let vendor = Vendor::start().await;
    let house = House::plan()
        .config("auth.anonymous_role = \"user\"")
        .env("OPENAI_API_KEY", "key-of-the-test")
        .env("OPENAI_BASE_URL", format!("{}/v1", vendor.url()))
        .start();
    vendor.replies([Reply::sse(OPENAI_HELLO)]);
    let model = "providers/openai/models/gpt-4-1-mini";
    let answer = house.client().generate(question(model, "say hello")).await.unwrap();
    assert_eq!(answer.attempts[0].account_hint, "");
    // The sandbox needs no account.
    let open = House::new();
    let answer = open.client().generate(question("sandbox-text", "hi")).await.unwrap();
    assert_eq!(answer.attempts[0].account_hint, "");
    assert_eq!(attempts(&open, "").await[0].attempt.as_ref().unwrap().account_hint, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_adds_up_and_lists() {
    let street = Street::new().await;
    let house = &street.house;
    street.openai.replies([Reply::sse(OPENAI_HELLO), Reply::json(503, "{}")]);
    house.client().generate(labelled(QUICK, "a,\"b\"")).await.unwrap();
    let failed = listen(house, labelled(QUICK, "c")).await;
    let generation = failed.started().generation.clone();

    let csv = well(house.run(&["usage", "--by", "labels.how,model", "-o", "csv"], ""));
    let lines: Vec<&str> = csv.stdout.lines().collect();
    let header = "start_time,end_time,labels.how,model,requests,successes,attempts,input_tokens,\
                  cached_input_tokens,cache_write_tokens,output_tokens,reasoning_tokens,\
                  is_estimated,cost_pico_usd,cost_usd,";
    assert!(lines[0].starts_with(header), "{csv:?}");
    let row = format!(",\"a,\"\"b\"\"\",{QUICK},1,1,1,9,,,2,,false,{HELLO_COST},0.000013,");
    assert!(lines[1].contains(&row), "{csv:?}");
    assert!(lines[2].contains(&format!(",c,{QUICK},1,0,1,,,,,,,0,0.00,,,")), "{csv:?}");

    let json = well(house.run(&["usage", "--since", "1h", "--interval", "day", "-o", "json"], ""));
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let buckets = json["usage_buckets"].as_array().unwrap();
    let cost: i64 = buckets.iter().map(|one| one["cost_pico_usd"].as_i64().unwrap()).sum();
    assert_eq!(cost, HELLO_COST);
    let table = well(house.run(&["usage", "--by", "provider"], ""));
    assert!(table.stdout.contains("providers/openai  2         1     2"), "{}", table.stdout);

    let failed = well(house.run(&["attempts", "--failed", "--since", "1h", "-o", "id"], ""));
    assert_eq!(format!("generations/{}", failed.stdout.trim()), generation);
    let one = well(house.run(&["attempts", "--generation", &generation, "-o", "jsonl"], ""));
    let one: serde_json::Value = serde_json::from_str(&one.stdout).unwrap();
    assert_eq!(one["attempt"]["http_status"], 503);
    let all = well(house.run(&["attempts"], ""));
    assert!(all.stdout.contains("failed (503)") && all.stdout.contains("$0.000013"), "{all:?}");
    let refused = house.run(&["usage", "--by", "colour"], "");
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains("must be model, provider"), "{refused:?}");
    assert_eq!(house.run(&["usage", "-o", "id"], "").code, 2);
}
