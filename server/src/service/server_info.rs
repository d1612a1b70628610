//! ServerService: what a client may want to know before its first call.

use std::time::SystemTime;

use mediary_proto::v1::{
    GetServerInfoRequest, GetServerInfoResponse, ServerInfo, ServerLimits,
    server_service_server::ServerService,
};
use tonic::{Request, Response, Status};

use super::text::limits;
use crate::config::ListenSection;

pub const METHODS: &[&str] = &["mediary.v1.ServerService.GetServerInfo"];

pub struct ServerApi {
    info: ServerInfo,
}

impl ServerApi {
    pub fn new(listen: &ListenSection, public_base_uri: Option<&str>, started: SystemTime) -> Self {
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let limits = ServerLimits {
            max_request_bytes: number(listen.max_message_bytes),
            max_response_bytes: number(listen.max_message_bytes),
            max_metadata_bytes: i64::from(listen.max_header_bytes),
            max_inline_asset_bytes: number(limits::INLINE_ASSET_BYTES),
            max_messages: count(limits::MESSAGES),
            max_parts: count(limits::PARTS),
            max_text_bytes: number(limits::TEXT_BYTES),
            max_page_size: super::listing::MAX_PAGE_SIZE,
            max_streams_per_connection: i32::try_from(listen.max_streams_per_connection)
                .unwrap_or(i32::MAX),
            max_labels: count(limits::LABELS),
            max_opaque_state_bytes: number(limits::OPAQUE_STATE_BYTES),
            // What is not built has no limit to tell.
            ..ServerLimits::default()
        };
        let mut features: Vec<String> = super::served().into_iter().map(str::to_owned).collect();
        features.sort();
        Self {
            info: ServerInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                build: option_env!("MEDIARY_BUILD").unwrap_or_default().to_owned(),
                api_versions: vec!["mediary.v1".to_owned()],
                limits: Some(limits),
                features,
                public_base_uri: public_base_uri.unwrap_or_default().to_owned(),
                started_time: Some(started.into()),
            },
        }
    }
}

#[tonic::async_trait]
impl ServerService for ServerApi {
    async fn get_server_info(
        &self,
        _: Request<GetServerInfoRequest>,
    ) -> Result<Response<GetServerInfoResponse>, Status> {
        Ok(Response::new(GetServerInfoResponse { server_info: Some(self.info.clone()) }))
    }
}
