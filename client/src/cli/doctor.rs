//! `doctor`: whether the server answers, what it could use, and what to do about the rest.
//!
//! Owns: the server and its providers, and how all is printed. Leaves: looking at accounts, keys and
//! this command's own way to the server (`findings`).

mod findings;

use mediary_proto::v1;
use serde_json::{Value, json};

use self::findings::Findings;
use super::{
    json,
    out::{Out, Tone},
    problem::{self, Problem},
    providers::{self, health},
    table::id,
};
use crate::{Client, Error, profile::Place};

/// What a newcomer can always try.
const TRY_SANDBOX: &str = "mediary chat --model sandbox-text \"hello\"";
/// The provider that is always there and serves nothing real.
const SANDBOX: &str = "providers/sandbox";

/// What a server tells.
struct Examined {
    server: v1::ServerInfo,
    providers: Vec<v1::Provider>,
    findings: Findings,
}

/// `doctor`
pub(super) async fn run(client: &Client, out: &Out, place: &Place) -> Result<(), Problem> {
    let url = &place.url;
    match examine(client, place).await {
        Ok(found) if out.is_json() => out.json(&report(url, &found)),
        Ok(found) => {
            show_server(out, place, &found.server)?;
            show_providers(out, &found.providers)?;
            show_findings(out, &found.findings)
        }
        Err(problem) => {
            if out.is_json() {
                out.json(&failure(url, &problem))?;
            }
            Err(problem)
        }
    }
}

async fn examine(client: &Client, place: &Place) -> Result<Examined, Problem> {
    let server = client.server_info().await?;
    let providers = providers::all(client).await?;
    let findings = Findings::look(client, place, &providers).await?;
    Ok(Examined { server, providers, findings })
}

fn show_server(out: &Out, place: &Place, server: &v1::ServerInfo) -> Result<(), Problem> {
    let url = &place.url;
    let build =
        if server.build.is_empty() { String::new() } else { format!(" ({})", server.build) };
    out.line(&format!("server     {url} answers"))?;
    if let Some(profile) = &place.profile {
        out.line(&format!("profile    {profile}"))?;
    }
    out.line(&format!("version    {}{build}", server.version))?;
    if let Some(time) = &server.started_time {
        out.line(&format!("started    {time}"))?;
    }
    out.line(&format!("contract   {}", server.api_versions.join(", ")))?;
    for (service, methods) in services(&server.features) {
        out.line(&format!("feature    {service}: {}", methods.join(", ")))?;
    }
    let own = env!("CARGO_PKG_VERSION");
    if server.version != own {
        out.note(
            Tone::Warning,
            &format!("this command is {own}, the server is {}", server.version),
        );
    }
    Ok(())
}

fn show_providers(out: &Out, providers: &[v1::Provider]) -> Result<(), Problem> {
    for provider in providers {
        let name = id(&provider.name);
        match remedy(provider) {
            None => out.line(&format!("provider   {name}: configured, {}", health(provider)))?,
            Some(fix) => {
                out.line(&format!("provider   {name}: not configured"))?;
                out.line(&format!("  fix: {fix}"))?;
            }
        }
    }
    if providers.iter().any(|provider| !provider.required_env.is_empty() && !provider.configured) {
        out.line("variables are read where the server runs: set them there and restart it; or")?;
        out.line("  mediary accounts add PROVIDER --key-stdin")?;
    }
    if nothing_configured(providers) {
        out.line("no provider is configured; the sandbox needs no key:")?;
        out.line(&format!("  {TRY_SANDBOX}"))?;
    }
    Ok(())
}

fn show_findings(out: &Out, findings: &Findings) -> Result<(), Problem> {
    for one in &findings.all {
        out.line(&format!("finding    {}: {}", one.about, one.problem))?;
        out.line(&format!("  fix: {}", one.fix))?;
    }
    for one in &findings.unseen {
        out.line(&format!("not seen   {one}"))?;
    }
    Ok(())
}

fn report(url: &str, found: &Examined) -> Value {
    let Examined { server, providers, findings } = found;
    let checked = providers.iter().map(|provider| {
        json!({
            "name": provider.name,
            "configured": provider.configured,
            "health": provider.health().as_str_name(),
            "required_env": provider.required_env,
            "fix": remedy(provider),
        })
    });
    json!({
        "url": url,
        "reachable": true,
        "client_version": env!("CARGO_PKG_VERSION"),
        "server_info": json::message(server),
        "providers": checked.collect::<Vec<_>>(),
        "findings": findings.all.iter().map(findings::Finding::json).collect::<Vec<_>>(),
        "not_seen": findings.unseen,
        "suggestion": nothing_configured(providers).then_some(TRY_SANDBOX),
    })
}

fn failure(url: &str, problem: &Problem) -> Value {
    json!({
        "url": url,
        "reachable": !matches!(problem, Problem::Call(Error::Unreachable(_))),
        "client_version": env!("CARGO_PKG_VERSION"),
        "error": problem.json(),
    })
}

/// How to make a provider usable. None = it is.
fn remedy(provider: &v1::Provider) -> Option<String> {
    if provider.configured {
        return None;
    }
    let variables = provider.required_env.iter().map(String::as_str);
    Some(if !provider.required_env.is_empty() {
        problem::export(variables)
    } else if provider.documentation_uri.is_empty() {
        "add an account for it in the server's configuration".to_owned()
    } else {
        format!("see {}", provider.documentation_uri)
    })
}

fn nothing_configured(providers: &[v1::Provider]) -> bool {
    !providers.iter().any(|provider| provider.configured && provider.name != SANDBOX)
}

/// Full method names by service, in the order given.
fn services(features: &[String]) -> Vec<(&str, Vec<&str>)> {
    let mut services: Vec<(&str, Vec<&str>)> = Vec::new();
    for feature in features {
        let (service, method) = feature.rsplit_once('.').unwrap_or(("", feature));
        let service = service.rsplit('.').next().unwrap_or(service);
        match services.iter_mut().find(|(known, _)| *known == service) {
            Some((_, methods)) => methods.push(method),
            None => services.push((service, vec![method])),
        }
    }
    services
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str, configured: bool, required_env: &[&str]) -> v1::Provider {
        let required_env = required_env.iter().map(ToString::to_string).collect();
        v1::Provider { name: name.into(), configured, required_env, ..Default::default() }
    }

    #[test]
    fn a_provider_without_key_comes_with_the_line_to_copy() {
        let kling = provider("providers/kling", false, &["KLING_ACCESS_KEY", "KLING_SECRET_KEY"]);
        let fix = remedy(&kling).expect("it is not configured");
        assert_eq!(fix, "export KLING_ACCESS_KEY=... KLING_SECRET_KEY=...");
    }

    #[test]
    fn a_server_with_only_the_sandbox_suggests_it() {
        let providers =
            vec![provider(SANDBOX, true, &[]), provider("providers/openai", false, &["X"])];
        let (server, findings) = (v1::ServerInfo::default(), Findings::default());
        let report = report("http://x", &Examined { server, providers, findings });
        assert_eq!(report["suggestion"], TRY_SANDBOX);
        assert_eq!(report["providers"][1]["fix"], "export X=...");
    }

    #[test]
    fn features_are_shown_by_service() {
        let features = ["mediary.v1.TextService.StreamText", "mediary.v1.TextService.StopText"]
            .map(String::from);
        assert_eq!(services(&features), [("TextService", vec!["StreamText", "StopText"])]);
    }
}
