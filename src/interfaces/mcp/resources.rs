//! Resources: how they are listed, linked and read.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource as Listed, ResourceContents, ResourceTemplate};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;

use super::{McpServer, refused};
use crate::error::Error;
use crate::model::clean_text;
use crate::resource::{FIXED, Listing, Resource, TEMPLATES};

/// Those that are always there.
pub(super) fn fixed() -> Vec<Listed> {
    FIXED.iter().map(|listing| listed(listing, listing.uri)).collect()
}

/// Those that there is one of for each repository or container.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template = |listing: &Listing| {
        ResourceTemplate::new(listing.uri, listing.name)
            .with_title(listing.title)
            .with_description(listing.about)
            .with_mime_type(listing.mime)
    };
    TEMPLATES.iter().map(template).collect()
}

/// A link to `resource`, for a result.
pub(super) fn linked(resource: &Resource) -> Listed {
    listed(resource.listing(), resource.to_string())
}

fn listed(listing: &Listing, uri: impl Into<String>) -> Listed {
    Listed::new(uri, listing.name)
        .with_title(listing.title)
        .with_description(listing.about)
        .with_mime_type(listing.mime)
}

impl McpServer {
    /// What is in the resource at `uri`.
    pub(super) async fn read(
        &self,
        uri: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<ReadResourceResult, ErrorData> {
        let resource: Resource = uri.parse().map_err(|error| unread(&error, uri))?;
        let text = tokio::select! {
            text = self.host.read(&resource) => text.map_err(|error| unread(&error, uri))?,
            () = context.ct.cancelled() => {
                return Err(ErrorData::internal_error("It was cancelled.", None));
            }
        };
        let contents = ResourceContents::text(text, uri).with_mime_type(resource.listing().mime);
        Ok(ReadResourceResult::new(vec![contents]))
    }
}

/// A refusal that names what could not be read, as SEP-2164 wants it.
fn unread(error: &Error, uri: &str) -> ErrorData {
    let mut refusal = refused(error);
    if let Some(Value::Object(data)) = &mut refusal.data {
        data.insert("uri".to_owned(), clean_text(uri, 200).into());
    }
    refusal
}
