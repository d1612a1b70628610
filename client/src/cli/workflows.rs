//! `workflows`: stored plans of several steps.

use clap::{Args, Subcommand};
use mediary_proto::admin::{
    CreateWorkflowRequest, DeleteWorkflowRequest, GetWorkflowRequest, ListWorkflowsRequest,
    UpdateWorkflowRequest, Workflow,
};

use super::{
    draft::{ChangeArgs, Draft, FileArgs, bare, quoted},
    feed::ConsentArgs,
    out::{Out, Tone},
    problem::Problem,
    show::{self, Columns, ListArgs},
    table::{id, named},
    when::time,
};
use crate::{
    Client,
    client::{empty, request_id_of_its_own},
};

const COLLECTION: &str = "workflows";
const COLUMNS: Columns<Workflow> = Columns {
    list: "workflows",
    header: &["WORKFLOW", "KIND", "STEPS", "TITLE"],
    row,
    id: |workflow| id(&workflow.name),
};

/// What to do with workflows.
#[derive(Debug, Clone, Subcommand)]
pub enum WorkflowsCommand {
    /// List workflows
    List(ListArgs),
    /// Show one
    Show {
        /// The workflow
        workflow: String,
    },
    /// Add one from a file: workflows create slides -f slides.toml
    Create(CreateArgs),
    /// Change one
    Update(UpdateArgs),
    /// Delete one
    Delete(DeleteArgs),
}

/// What of a workflow options can set; its steps come from a file.
#[derive(Debug, Clone, Args)]
struct Fields {
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What it makes
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    file: FileArgs,
}

/// Options of `workflows create`.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Its id; without one the server makes it
    workflow: Option<String>,
    #[command(flatten)]
    fields: Fields,
    /// Only check it; nothing is made
    #[arg(long)]
    dry_run: bool,
}

/// Options of `workflows update`.
#[derive(Debug, Clone, Args)]
pub struct UpdateArgs {
    /// The workflow
    workflow: String,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Options of `workflows delete`.
#[derive(Debug, Clone, Args)]
pub struct DeleteArgs {
    /// The workflow
    workflow: String,
    #[command(flatten)]
    consent: ConsentArgs,
    /// Delete exactly this version
    #[arg(long)]
    etag: Option<String>,
}

/// `workflows`
pub(super) async fn run(
    client: &Client,
    out: &Out,
    command: WorkflowsCommand,
) -> Result<(), Problem> {
    match command {
        WorkflowsCommand::List(args) => list(client, out, &args).await,
        WorkflowsCommand::Show { workflow } => {
            let request = GetWorkflowRequest { name: named(COLLECTION, &workflow) };
            let call = client
                .call(request, async |raw, request| raw.workflows().get_workflow(request).await);
            show(out, &call.await?.workflow.ok_or_else(|| empty("workflow"))?)
        }
        WorkflowsCommand::Create(args) => create(client, out, args).await,
        WorkflowsCommand::Update(args) => update(client, out, args).await,
        WorkflowsCommand::Delete(args) => delete(client, out, args).await,
    }
}

async fn list(client: &Client, out: &Out, args: &ListArgs) -> Result<(), Problem> {
    let filter = args.filter_and([]);
    let fetch = async |page_size, page_token| {
        let filter = filter.clone();
        let request = ListWorkflowsRequest { page_size, page_token, filter, ..Default::default() };
        let page = client
            .call(request, async |raw, request| raw.workflows().list_workflows(request).await);
        let page = page.await?;
        Ok((page.workflows, page.next_page_token))
    };
    show::list(out, &COLUMNS, &args.read(fetch).await?)
}

fn draft(fields: &Fields) -> Result<Draft, Problem> {
    let mut draft = Draft::new("workflow", &fields.file)?;
    draft.text("display_name", "--name", fields.name.as_deref());
    draft.text("description", "--description", fields.description.as_deref());
    Ok(draft)
}

async fn create(client: &Client, out: &Out, args: CreateArgs) -> Result<(), Problem> {
    let (workflow, sent) = draft(&args.fields)?.finish::<Workflow>()?;
    let request = CreateWorkflowRequest {
        workflow: Some(workflow),
        workflow_id: args.workflow.unwrap_or_default(),
        request_id: request_id_of_its_own(),
        validate_only: args.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.workflows().create_workflow(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.workflow.ok_or_else(|| empty("workflow"))?)?;
    if args.dry_run {
        out.note(Tone::Aside, "only checked: nothing is made");
    }
    Ok(())
}

async fn update(client: &Client, out: &Out, args: UpdateArgs) -> Result<(), Problem> {
    let draft = draft(&args.fields)?;
    let (workflow, mask, sent) = draft.change(named(COLLECTION, &args.workflow), &args.change)?;
    let request = UpdateWorkflowRequest {
        workflow: Some(workflow),
        update_mask: Some(mask),
        request_id: request_id_of_its_own(),
        validate_only: args.change.dry_run,
    };
    let reply =
        client.call(request, async |raw, request| raw.workflows().update_workflow(request).await);
    let reply = reply.await.map_err(|error| sent.refused(error))?;
    show(out, &reply.workflow.ok_or_else(|| empty("workflow"))?)?;
    if args.change.dry_run {
        out.note(Tone::Aside, "only checked: nothing is changed");
    }
    Ok(())
}

async fn delete(client: &Client, out: &Out, args: DeleteArgs) -> Result<(), Problem> {
    let name = named(COLLECTION, &args.workflow);
    args.consent.ask(&format!("delete {name}"))?;
    let request = DeleteWorkflowRequest {
        name: name.clone(),
        etag: quoted(&args.etag.unwrap_or_default()),
        request_id: request_id_of_its_own(),
        ..Default::default()
    };
    let reply =
        client.call(request, async |raw, request| raw.workflows().delete_workflow(request).await);
    reply.await?;
    out.note(Tone::Aside, &format!("{name} is deleted"));
    Ok(())
}

fn show(out: &Out, workflow: &Workflow) -> Result<(), Problem> {
    let mut rows = vec![
        ("name", workflow.name.clone()),
        ("title", workflow.display_name.clone()),
        ("makes", workflow.description.clone()),
        ("kind", kind(workflow)),
    ];
    let parameters = workflow.parameters.iter();
    rows.extend(parameters.map(|one| ("parameter", format!("{} ({})", one.key, one.kind))));
    let steps = workflow.steps.iter();
    rows.extend(steps.map(|one| match one.depends_on.as_slice() {
        [] => ("step", one.id.clone()),
        after => ("step", format!("{} after {}", one.id, after.join(", "))),
    }));
    rows.extend([
        ("made", time(workflow.create_time.as_ref())),
        ("changed", time(workflow.update_time.as_ref())),
        ("etag", bare(&workflow.etag)),
    ]);
    show::one(out, workflow, id(&workflow.name), rows)
}

fn row(workflow: &Workflow) -> Vec<String> {
    let steps: Vec<&str> = workflow.steps.iter().map(|one| one.id.as_str()).collect();
    vec![
        id(&workflow.name).to_owned(),
        kind(workflow),
        steps.join(", "),
        workflow.display_name.clone(),
    ]
}

fn kind(workflow: &Workflow) -> String {
    workflow.kind().as_str_name().trim_start_matches("WORKFLOW_KIND_").to_lowercase()
}
