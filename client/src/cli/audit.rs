//! `audit`: who changed what, newest first.

use clap::Args;
use mediary_proto::admin::{AuditEvent, ListAuditEventsRequest};

use super::{
    out::Out,
    problem::Problem,
    show::{self, Columns, ListArgs, quote},
    table::id,
    when::{When, time},
};
use crate::Client;

const COLUMNS: Columns<AuditEvent> = Columns {
    list: "audit_events",
    header: &["TIME", "BY", "KEY", "DID", "TO", "OUTCOME", "FIELDS"],
    row,
    id: |event| id(&event.name),
};

/// Options of `audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// Only what happened within this time or after this date: 12h, 7d, 2027-01-31
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Only what concerns this resource, such as accounts/main
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only what did not go well
    #[arg(long)]
    failed: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// `audit`
pub(super) async fn run(client: &Client, out: &Out, args: AuditArgs) -> Result<(), Problem> {
    let since = args
        .since
        .and_then(When::past)
        .map(|time| format!("event_time >= {}", quote(&time.to_string())));
    let resource = args.resource.map(|name| format!("resource = {}", quote(&name)));
    let failed = args.failed.then(|| "outcome != \"OK\"".to_owned());
    let filter = args.list.filter_and([since, resource, failed].into_iter().flatten());
    let fetch = async |page_size, page_token| {
        let filter = filter.clone();
        let request =
            ListAuditEventsRequest { page_size, page_token, filter, ..Default::default() };
        let page =
            client.call(request, async |raw, request| raw.audit().list_audit_events(request).await);
        let page = page.await?;
        Ok((page.audit_events, page.next_page_token))
    };
    show::list(out, &COLUMNS, &args.list.read(fetch).await?)
}

fn row(event: &AuditEvent) -> Vec<String> {
    let outcome = match event.reason.as_str() {
        "" => event.outcome.clone(),
        reason => format!("{} ({reason})", event.outcome),
    };
    let method = event.method.rsplit('.').next().unwrap_or_default();
    vec![
        time(event.event_time.as_ref()),
        event.actor.clone(),
        id(&event.api_key).to_owned(),
        method.to_owned(),
        event.resource.clone(),
        outcome,
        event.changed_fields.join(", "),
    ]
}
