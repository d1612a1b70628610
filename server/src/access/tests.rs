#[cfg(test)]
use std::time::UNIX_EPOCH;

use http::HeaderValue;
use mediary_store::Stamp;

use super::*;

fn access(admin_key: Option<&str>) -> Access {
    let admin_key = admin_key.map(|key| Secret::new(key.to_owned()));
    let terms = Terms { admin_key, max_streams_per_key: 100 };
    Access::new(Clock::system(), terms)
}

fn anybody() -> Caller {
    Caller::anonymous("loopback", Role::Viewer)
}

fn row(id: &str, token: &Token) -> ApiKey {
    ApiKey {
        id: id.to_owned(),
        prefix: token.prefix.clone(),
        secret_hash: token.hash,
        key_hint: token.hint.clone(),
        owner: "team".to_owned(),
        display_name: id.to_owned(),
        role: "user".to_owned(),
        enabled: true,
        expire_time: None,
        last_used_time: None,
        settings_json: String::new(),
        stamp: Stamp::default(),
    }
}

fn sent(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

fn kind(access: &Access, value: &str) -> Kind {
    access.identify(&sent(value), Some(&anybody())).map(|_| panic!("admitted")).unwrap_err().kind()
}

#[test]
fn a_key_is_known_by_all_of_its_text_and_by_nothing_else() {
    let access = access(None);
    let token = Token::new(&Clock::system());
    access.take(&[row("k", &token)]);
    let text = token.text.as_str();
    for value in [format!("Bearer {text}"), format!("bearer {text}"), format!("BEARER {text}")] {
        let caller = access.identify(&sent(&value), None).unwrap();
        assert_eq!((&*caller.owner, caller.role), ("team", Role::User));
    }
    let shorter = &text[..text.len() - 1];
    for wrong in [
        format!("Bearer {shorter}"),
        format!("Bearer {text}x"),
        format!("Bearer  {text}"),
        format!("Basic {text}"),
        text.to_owned(),
        format!("Bearer mdy_{}_{}", token.prefix, "0".repeat(52)),
        "Bearer ".to_owned(),
        "Bearer".to_owned(),
    ] {
        assert_eq!(kind(&access, &wrong), Kind::KeyInvalid, "{wrong:?}");
    }
    let mut twice = sent(&format!("Bearer {text}"));
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer other"));
    assert!(access.identify(&twice, None).is_err());
    let nothing = access.identify(&HeaderMap::new(), None).map(drop);
    assert_eq!(nothing.unwrap_err().kind(), Kind::KeyMissing);
}

#[test]
fn a_wrong_key_is_refused_where_none_is_needed() {
    let access = access(None);
    let caller = access.identify(&HeaderMap::new(), Some(&anybody())).unwrap();
    assert_eq!(caller.role, Role::Viewer);
    assert_eq!(kind(&access, "Bearer nonsense"), Kind::KeyInvalid);
}

#[test]
fn keys_end_and_are_revoked() {
    let access = access(None);
    let token = Token::new(&Clock::system());
    let value = format!("Bearer {}", token.text.as_str());
    access.take(&[ApiKey { expire_time: Some(UNIX_EPOCH), ..row("k", &token) }]);
    assert_eq!(kind(&access, &value), Kind::KeyExpired);
    access.take(&[row("k", &token)]);
    let key = access.identify(&sent(&value), None).unwrap().key.unwrap();
    access.take(&[ApiKey { display_name: "other".to_owned(), ..row("k", &token) }]);
    assert!(!key.revoked().is_cancelled());
    access.take(&[ApiKey { enabled: false, ..row("k", &token) }]);
    assert!(key.revoked().is_cancelled());
    assert_eq!(kind(&access, &value), Kind::KeyInvalid);
    access.take(&[row("k", &token)]);
    let again = access.identify(&sent(&value), None).unwrap().key.unwrap();
    assert!(!again.revoked().is_cancelled());
    access.take(&[]);
    assert!(again.revoked().is_cancelled());
}

#[test]
fn the_key_of_the_configuration_is_an_admin() {
    let access = access(Some("a-key-of-the-configuration"));
    assert!(access.has_admin_key());
    let caller = access.identify(&sent("Bearer a-key-of-the-configuration"), None).unwrap();
    assert_eq!((&*caller.owner, caller.role), ("admin", Role::Admin));
    assert_eq!(kind(&access, "Bearer a-key-of-the-configuratiom"), Kind::KeyInvalid);
}

#[test]
fn a_key_that_cannot_be_read_admits_nobody() {
    let access = access(None);
    let token = Token::new(&Clock::system());
    let value = format!("Bearer {}", token.text.as_str());
    access.take(&[ApiKey { role: "emperor".to_owned(), ..row("k", &token) }]);
    assert_eq!(kind(&access, &value), Kind::KeyInvalid);
    access.take(&[ApiKey { settings_json: "{\"x\":1}".to_owned(), ..row("k", &token) }]);
    assert_eq!(kind(&access, &value), Kind::KeyInvalid);
}

#[test]
fn a_permit_names_models_or_all_of_a_provider() {
    let access = access(None);
    let token = Token::new(&Clock::system());
    let settings = KeySettings {
        allowed_models: vec![
            "providers/a/models/one".to_owned(),
            "providers/b/models/-".to_owned(),
        ],
        allowed_routes: vec!["routes/text".to_owned()],
        ..KeySettings::default()
    };
    let settings_json = serde_json::to_string(&settings).unwrap();
    access.take(&[ApiKey { settings_json, ..row("k", &token) }]);
    let value = format!("Bearer {}", token.text.as_str());
    let permit = access.identify(&sent(&value), None).unwrap().permit();
    let models = ["a/models/one", "a/models/one-more", "b/models/any", "bb/models/any"];
    let allowed = models.map(|model| permit.allows_model(&format!("providers/{model}")));
    assert_eq!(allowed, [true, false, true, false]);
    assert!(permit.allows_route("text") && !permit.allows_route("image"));
    assert!(Permit::default().allows_route("image"));
}

/// Least time of a batch, of many that take turns: what the machine does besides falls out.
#[test]
#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures, and tells")]
fn a_wrong_key_takes_as_long_as_one_that_is_nearly_right() {
    let access = access(Some("a-key-of-the-configuration"));
    let token = Token::new(&Clock::system());
    access.take(&[row("k", &token)]);
    let nearly = sent(&format!("Bearer mdy_{}_{}", token.prefix, "0".repeat(52)));
    let unknown = sent(&format!("Bearer mdy_{}_{}", "0".repeat(12), "0".repeat(52)));
    let mut least = [Duration::MAX; 2];
    for _ in 0..200 {
        for (least, headers) in least.iter_mut().zip([&nearly, &unknown]) {
            let begin = std::time::Instant::now();
            for _ in 0..200 {
                assert!(std::hint::black_box(access.identify(headers, None)).is_err());
            }
            *least = begin.elapsed().min(*least);
        }
    }
    let ratio = least[0].as_secs_f64() / least[1].as_secs_f64();
    println!("a key that is nearly right takes {ratio:.3} times as long to refuse");
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
}
