//! RouteService: who serves each task, so that callers name the task and not the model.
//!
//! Owns: the RPCs. Leaves: what a route may be and how it looks (`wire`), what becomes of it
//! (`registry`, `routing`).

pub mod parameters;
pub mod wire;

use std::sync::Arc;

use mediary_domain::{Error, Result};
use mediary_proto::admin::{
    CreateRouteRequest, CreateRouteResponse, DeleteRouteRequest, DeleteRouteResponse,
    GetRouteRequest, GetRouteResponse, ListRoutesRequest, ListRoutesResponse, Route,
    UpdateRouteRequest, UpdateRouteResponse, route_service_server::RouteService,
};
use mediary_store::{Route as Row, Shared, Stamp};
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

const CREATE: &str = "mediary.admin.v1.RouteService.CreateRoute";
const UPDATE: &str = "mediary.admin.v1.RouteService.UpdateRoute";
const DELETE: &str = "mediary.admin.v1.RouteService.DeleteRoute";

pub const METHODS: &[&str] =
    &[CREATE, "mediary.admin.v1.RouteService.GetRoute", wire::ROUTES.rpc, UPDATE, DELETE];

pub struct RouteApi {
    store: Shared,
    keeper: Arc<Keeper>,
    registry: Registry,
    pages: Arc<PageTokens>,
    clock: Clock,
}

impl RouteApi {
    pub fn new(
        store: Shared,
        keeper: Arc<Keeper>,
        registry: Registry,
        pages: Arc<PageTokens>,
        clock: Clock,
    ) -> Self {
        Self { store, keeper, registry, pages, clock }
    }

    async fn create(&self, request: Request<CreateRouteRequest>) -> Result<Response<Route>> {
        let CreateRouteRequest { route, route_id, request_id, validate_only } = request.get_ref();
        let changing = Changing::begin(&self.clock, CREATE, &request, request_id)?;
        names::chosen_id("route_id", route_id)?;
        let saving = Saving {
            changing,
            given: &route.clone().unwrap_or_default(),
            mask: None,
            is_new: true,
            allow_missing: true,
            validate_only: *validate_only,
        };
        self.save(route_id, saving).await
    }

    async fn update(&self, request: Request<UpdateRouteRequest>) -> Result<Response<Route>> {
        let UpdateRouteRequest { route, update_mask, allow_missing, request_id, validate_only } =
            request.get_ref();
        let changing = Changing::begin(&self.clock, UPDATE, &request, request_id)?;
        let given = route.clone().unwrap_or_default();
        let task = names::id_in("route.name", &given.name, wire::COLLECTION)?;
        if *allow_missing {
            names::chosen_id("route.name", task)?;
        }
        let saving = Saving {
            changing,
            given: &given,
            mask: update_mask.as_ref(),
            is_new: false,
            allow_missing: *allow_missing,
            validate_only: *validate_only,
        };
        self.save(task, saving).await
    }

    async fn save(&self, task: &str, saving: Saving<'_, Route>) -> Result<Response<Route>> {
        let name = format!("{}/{task}", wire::COLLECTION);
        let shown = |name: &str| self.get(name);
        if let Some(made) = decide::repeated(&saving.changing, self.store.requests()).await? {
            return made.answer(shown);
        }
        let mut turn = Turn::at(&self.keeper, &name).await;
        loop {
            let moment = turn.moment().await?;
            let before = view(&moment.snapshot, task);
            let kept = stored(&moment, task);
            let masked = saving.laid_over(
                before.as_ref(),
                kept.is_some(),
                &name,
                wire::missing,
                wire::NOT_SET,
            )?;
            let route = wire::parse(task, masked.resource, &moment.snapshot)?;
            let row = Row {
                id: task.to_owned(),
                origin: Origin::Manual.as_str().to_owned(),
                json: serde_json::to_string(&route)
                    .map_err(|_| Error::bug("a route cannot be written"))?,
                stamp: kept.map_or_else(Stamp::default, |row| row.stamp),
            };
            let mut rows = moment.rows.clone();
            rows.routes.retain(|one| one.id != row.id);
            rows.routes.push(row.clone());
            let (trial, complaints) = self.keeper.try_out(rows).await?;
            decide::taken(&complaints, &name, "route")?;
            let after = view(&trial, task).ok_or_else(|| wire::missing(&name))?;
            if saving.validate_only {
                return Ok(Response::new(after));
            }
            let change = saving.change(&moment, &name, before.as_ref(), after, &masked.fields);
            let saved = self.store.routes().put(row, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return made.answer(shown);
            }
        }
    }

    async fn delete(&self, request: Request<DeleteRouteRequest>) -> Result<Response<()>> {
        let DeleteRouteRequest { name, etag, allow_missing, force, request_id } = request.get_ref();
        let changing = Changing::begin(&self.clock, DELETE, &request, request_id)?;
        let task = names::id_in("name", name, wire::COLLECTION)?;
        if let Some(made) = decide::repeated(&changing, self.store.requests()).await? {
            return Ok(made.gone());
        }
        let mut turn = Turn::at(&self.keeper, name).await;
        loop {
            let moment = turn.moment().await?;
            let known = view(&moment.snapshot, task);
            let Some(row) = stored(&moment, task) else {
                if known.is_some() {
                    let mend = "unset its variables, or take it out of routes.toml in the catalog \
                                folder";
                    return Err(decide::not_ours(name, mend));
                }
                return decide::gone(*allow_missing, || wire::missing(name));
            };
            decide::check_etag(etag, &decide::etag(&row.stamp), name)?;
            if !force {
                let by = moment.snapshot.users_of_route(task);
                if !by.is_empty() {
                    let mend = "change those first, or set force to delete it all the same";
                    return Err(decide::in_use(name, &by, mend));
                }
            }
            let change = changing.deletion(name, known.as_ref()).based_on(moment.rows.version);
            let saved = self.store.routes().delete(task, None, change).await;
            if let Some(made) = turn.kept(saved).await? {
                return Ok(made.gone());
            }
        }
    }

    fn get(&self, name: &str) -> Result<Route> {
        let task = names::id_in("name", name, wire::COLLECTION)?;
        view(&self.registry.now(), task).ok_or_else(|| wire::missing(name))
    }

    fn list(&self, request: &Request<ListRoutesRequest>) -> Result<ListRoutesResponse> {
        let caller = change::caller(request)?;
        let ListRoutesRequest { page_size, page_token, filter, order_by } = request.get_ref();
        let asked = Asked {
            owner: &caller.owner,
            parent: "",
            filter,
            order_by,
            page_size: *page_size,
            page_token,
        };
        let snapshot = self.registry.now();
        let rows = snapshot.routes.values().map(|row| wire::View::new(row));
        let page = wire::ROUTES.page(rows, &asked, &self.pages)?;
        Ok(ListRoutesResponse {
            routes: page.rows.iter().map(|one| wire::view(one.row)).collect(),
            next_page_token: page.next_page_token,
        })
    }
}

fn view(snapshot: &Snapshot, task: &str) -> Option<Route> {
    snapshot.routes.get(task).map(|row| wire::view(row))
}

/// The row of the store, be it readable or not.
fn stored<'a>(moment: &'a Moment, task: &str) -> Option<&'a Row> {
    moment.rows.routes.iter().find(|row| row.id == task)
}

#[tonic::async_trait]
impl RouteService for RouteApi {
    async fn create_route(
        &self,
        request: Request<CreateRouteRequest>,
    ) -> Result<Response<CreateRouteResponse>, Status> {
        let saved = self.create(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|route| CreateRouteResponse { route: Some(route) }))
    }

    async fn get_route(
        &self,
        request: Request<GetRouteRequest>,
    ) -> Result<Response<GetRouteResponse>, Status> {
        let route = self.get(&request.get_ref().name).map_err(|error| status(&error))?;
        Ok(Response::new(GetRouteResponse { route: Some(route) }))
    }

    async fn list_routes(
        &self,
        request: Request<ListRoutesRequest>,
    ) -> Result<Response<ListRoutesResponse>, Status> {
        self.list(&request).map(Response::new).map_err(|error| status(&error))
    }

    async fn update_route(
        &self,
        request: Request<UpdateRouteRequest>,
    ) -> Result<Response<UpdateRouteResponse>, Status> {
        let saved = self.update(request).await.map_err(|error| status(&error))?;
        Ok(saved.map(|route| UpdateRouteResponse { route: Some(route) }))
    }

    async fn delete_route(
        &self,
        request: Request<DeleteRouteRequest>,
    ) -> Result<Response<DeleteRouteResponse>, Status> {
        let gone = self.delete(request).await.map_err(|error| status(&error))?;
        Ok(gone.map(|()| DeleteRouteResponse {}))
    }
}
