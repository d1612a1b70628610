//! WorkflowService: stored plans of several steps.
//!
//! Owns: the RPCs. Leaves: what a workflow may be and how it looks (`wire`, `template`). A run is a
//! job, and there are none yet: nothing runs them.

mod template;
mod wire;

use std::sync::Arc;

use mediary_domain::{Error, Result};
use mediary_proto::admin::{
    CreateWorkflowRequest, CreateWorkflowResponse, DeleteWorkflowRequest, DeleteWorkflowResponse,
    GetWorkflowRequest, GetWorkflowResponse, ListWorkflowsRequest, ListWorkflowsResponse,
    UpdateWorkflowRequest, UpdateWorkflowResponse, Workflow,
    workflow_service_server::WorkflowService,
};
use mediary_store::{RecipeKey, RecipeRow as Row, Shared, Stamp};
use tonic::{Request, Response, Status};

use super::{
    change::{self, Changing},
    decide::{self, Saving, Turn},
    listing::{Asked, PageTokens},
    names,
};
use crate::{
    clock::Clock,
    error::status,
    registry::{Keeper, Moment, Origin, Registry, Snapshot},
};

const CREATE: &str = "mediary.admin.v1.WorkflowService.CreateWorkflow";
const UPDATE: &str = "mediary.admin.v1.WorkflowService.UpdateWorkflow";
const DELETE: &str = "mediary.admin.v1.WorkflowService.DeleteWorkflow";

pub const METHODS: &[&str] =
    &[CREATE, "mediary.admin.v1.WorkflowService.GetWorkflow", wire::WORKFLOWS.rpc, UPDATE, DELETE];

pub struct WorkflowApi {
    store: Shared,
    keeper: Arc<Keeper>,
    registry: Registry,
    pages: Arc<PageTokens>,
    clock: Clock,
}

impl WorkflowApi {
    pub fn new(
        store: Shared,
        keeper: Arc<Keeper>,
        registry: Registry,
        pages: Arc<PageTokens>,
        clock: Clock,
    ) -> Self {
        Self { store, keeper, registry, pages, clock }
    }

    async fn create(&self, request: Request<CreateWorkflowRequest>) -> Result<Response<Workflow>> {
        let CreateWorkflowRequest { workflow, workflow_id, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE, &request, request_id)?;
        let id = match workflow_id.as_str() {
            "" => self.clock.resource_id('w'),
            chosen => {
                names::chosen_id("workflow_id", chosen)?;
                chosen.to_owned()
            }
        };
        let saving = Saving {
            changing,
            given: &workflow.clone().unwrap_or_default(),
            mask: None,
            is_new: true,
            allow_missing: true,
            validate_only: *validate_only,
        };
        self.save(&id, saving).await
    }

    async fn update(&self, request: Request<UpdateWorkflowRequest>) -> Result<Response<Workflow>> {
        let UpdateWorkflowRequest { workflow, update_mask, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE, &request, request_id)?;
        let given = workflow.clone().unwrap_or_default();
        let id = names::id_in("workflow.name", &given.name, wire::COLLECTION)?;
        let saving = Saving {
            changing,
            given: &given,
            mask: update_mask.as_ref(),
            is_new: false,
            allow_missing: false,
            validate_only: *validate_only,
        };
        self.save(id, saving).await
    }

    async fn save(&self, id: &str, saving: Saving<'_, Workflow>) -> Result<Response<Workflow>> {
        let name = format!("{}/{id}", wire::COLLECTION);
        let shown = |name: &str| self.get(name);
        if let Some(made) = decide::repeated(&saving.changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let before = view(&moment.snapshot, id);
            let kept = stored(&moment, id);
            let masked = saving.laid_over(
                before.as_ref(),
                kept.is_some(),
                &name,
                wire::missing,
                wire::NOT_SET,
            )?;
            let workflow = wire::parse(id, masked.resource, &moment.snapshot)?;
            let row = Row {
                key: RecipeKey::Workflow(id.to_owned()),
                origin: Origin::Manual.as_str().to_owned(),
                json: serde_json::to_string(&workflow)
                    .map_err(|_| Error::bug("a workflow cannot be written"))?,
                stamp: kept.map_or_else(Stamp::default, |row| row.stamp),
            };
            let mut rows = moment.rows.clone();
            rows.recipes.retain(|one| one.key != row.key);
            rows.recipes.push(row.clone());
            let (trial, complaints) = self.keeper.try_out(rows).await?;
            decide::taken(&complaints, &name, "workflow")?;
            let after = view(&trial, id).ok_or_else(|| wire::missing(&name))?;
            if saving.validate_only {
                return Ok(Response::new(after));
            }
            let change = saving.change(&moment, &name, before.as_ref(), after, &masked.fields);
            let saved = self.store.recipes().put(row, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    async fn delete(&self, request: Request<DeleteWorkflowRequest>) -> Result<Response<()>> {
        let DeleteWorkflowRequest { name, etag, allow_missing, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE, &request, request_id)?;
        let id = names::id_in("name", name, wire::COLLECTION)?;
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return Ok(made.gone());
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let known = view(&moment.snapshot, id);
            let Some(row) = stored(&moment, id) else {
                return decide::gone(*allow_missing, || wire::missing(name));
            };
            decide::check_etag(etag, &decide::etag(&row.stamp), name)?;
            let change = changing.deletion(name, known.as_ref()).based_on(moment.rows.version);
            let key = RecipeKey::Workflow(id.to_owned());
            let saved = self.store.recipes().delete(vec![key], change).await;
            if let Some(made) = turn.kept(saved).await? {
                return Ok(made.gone());
            }
        }
    }

    fn get(&self, name: &str) -> Result<Workflow> {
        let id = names::id_in("name", name, wire::COLLECTION)?;
        let snapshot = self.registry.now();
        let row = snapshot.workflows.get(id).ok_or_else(|| wire::missing(name))?;
        Ok(wire::view(row))
    }

    fn list(&self, request: &Request<ListWorkflowsRequest>) -> Result<ListWorkflowsResponse> {
        let caller = change::caller(request)?;
        let ListWorkflowsRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter,
            order_by,
            page_size: *page_size,
            page_token,
        };
        let snapshot = self.registry.now();
        let rows = snapshot.workflows.values().map(|row| wire::View::new(row));
        let page = wire::WORKFLOWS.page(rows, &asked, &self.pages)?;
        Ok(ListWorkflowsResponse {
            workflows: page.rows.iter().map(|one| wire::view(one.row)).collect(),
            next_page_token: page.next_page_token,
        })
    }
}

fn view(snapshot: &Snapshot, id: &str) -> Option<Workflow> {
    snapshot.workflows.get(id).map(|row| wire::view(row))
}

/// The row of the store, be it readable or not.
fn stored<'a>(moment: &'a Moment, id: &str) -> Option<&'a Row> {
    let is_meant = |row: &&Row| matches!(&row.key, RecipeKey::Workflow(one) if one == id);
    moment.rows.recipes.iter().find(is_meant)
}

#[tonic::async_trait]
impl WorkflowService for WorkflowApi {
    async fn create_workflow(
        &self,
        request: Request<CreateWorkflowRequest>,
    ) -> Result<Response<CreateWorkflowResponse>, Status> {
        let saved = self.create(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|workflow| CreateWorkflowResponse { workflow: Some(workflow) }))
    }

    async fn get_workflow(
        &self,
        request: Request<GetWorkflowRequest>,
    ) -> Result<Response<GetWorkflowResponse>, Status> {
        let workflow = self.get(&request.get_ref().name).map_err(|error| status(&error))?;
        Ok(Response::new(GetWorkflowResponse { workflow: Some(workflow) }))
    }

    async fn list_workflows(
        &self,
        request: Request<ListWorkflowsRequest>,
    ) -> Result<Response<ListWorkflowsResponse>, Status> {
        self.list(&request).map(Response::new).map_err(|error| status(&error))
    }

    async fn update_workflow(
        &self,
        request: Request<UpdateWorkflowRequest>,
    ) -> Result<Response<UpdateWorkflowResponse>, Status> {
        let saved = self.update(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|workflow| UpdateWorkflowResponse { workflow: Some(workflow) }))
    }

    async fn delete_workflow(
        &self,
        request: Request<DeleteWorkflowRequest>,
    ) -> Result<Response<DeleteWorkflowResponse>, Status> {
        let gone = self.delete(request).await.map_err(|error| status(&error))?;
        Ok(gone.map(|()| DeleteWorkflowResponse {}))
    }
}
