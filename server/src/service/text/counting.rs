//! CountTokens: what a conversation would cost to read, without answering it.

use mediary_domain::{Error, Kind, Result};
use mediary_proto::v1::{CountTokensRequest, CountTokensResponse};
use tonic::Request;

use super::{TextApi, parse::Asked};
use crate::{
    provider::{CallContext, accounting},
    routing::plan,
    service::change,
};

impl TextApi {
    /// Counted by the provider where it counts, estimated where it does not.
    pub(super) async fn count(
        &self,
        request: Request<CountTokensRequest>,
    ) -> Result<CountTokensResponse> {
        let caller = change::caller(&request)?;
        let asked = Asked::count(request.into_inner(), &caller)?;
        let plan = plan(&self.registry.now(), &asked.wish, asked.call, self.setting())?;
        let model = plan.candidates[0].model.clone();
        let mut failure = None;
        // The same model with another account counts alike; another model does not.
        for candidate in plan.candidates.iter().filter(|one| one.model.name == model.name) {
            let cx = CallContext {
                provider: candidate.provider.clone(),
                model: candidate.model.clone(),
                account: candidate.account.clone(),
            };
            let (input_tokens, exact) =
                match candidate.adapter.count_tokens(&cx, &candidate.call).await {
                    Ok(tokens) => (tokens, true),
                    Err(error) if error.kind() == Kind::CapabilityUnsupported => {
                        (accounting::estimate_input(&candidate.call), false)
                    }
                    Err(error) if error.may_succeed_elsewhere() => {
                        failure = Some(error);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
            return Ok(CountTokensResponse {
                input_tokens,
                exact,
                model: model.name.clone(),
                context_tokens: model.context_tokens,
            });
        }
        Err(failure.unwrap_or_else(|| Error::bug("a plan held no candidate")))
    }
}
