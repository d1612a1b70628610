//! `capabilities`: what can be done.

use futures::TryStreamExt as _;
use mediary_proto::v1;

use super::{
    out::Out,
    problem::Problem,
    show::{self, Columns, Listed, WHOLE_PAGE},
};
use crate::Client;

const COLUMNS: Columns<v1::Capability> = Columns {
    list: "capabilities",
    header: &["CAPABILITY", "FROM", "TO", "USABLE MODELS"],
    row: |one| {
        vec![
            one.id.clone(),
            one.input_kinds.join(", "),
            one.output_kinds.join(", "),
            one.models_usable.to_string(),
        ]
    },
    id: |one| &one.id,
};

/// `capabilities`
pub(super) async fn run(client: &Client, out: &Out) -> Result<(), Problem> {
    let request = v1::ListCapabilitiesRequest { page_size: WHOLE_PAGE, ..Default::default() };
    let items = client.list_capabilities(request).try_collect().await?;
    show::list(out, &COLUMNS, &Listed { items, more: false })
}
