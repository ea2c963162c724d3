//! Completions of owners, repositories and containers, from what is known without asking GitHub.

use std::collections::BTreeSet;

use rmcp::ErrorData;
use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};

use super::prompts;
use crate::interfaces::host::Host;
use crate::resource::TEMPLATES;

pub(super) async fn complete(
    host: &Host,
    request: CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let CompleteRequestParams { r#ref, argument, context, .. } = request;
    let whole_names = match &r#ref {
        Reference::Prompt(prompt) if prompts::all().iter().any(|p| p.name == prompt.name) => true,
        Reference::Resource(resource) if TEMPLATES.iter().any(|t| t.uri == resource.uri) => false,
        _ => {
            let text = "There is no such prompt or resource template.";
            return Err(ErrorData::invalid_params(text, None));
        }
    };
    let given = context.and_then(|context| context.arguments).unwrap_or_default();
    let values: Vec<String> = match argument.name.as_str() {
        "container" => host.containers().await,
        "repo" if whole_names => host.repos().await,
        "owner" => {
            let repos = host.repos().await;
            let owners = repos.iter().filter_map(|repo| repo.split_once('/'));
            owners.map(|(owner, _)| owner.to_owned()).collect()
        }
        "repo" => {
            let owner = given.get("owner");
            let repos = host.repos().await;
            let parts = repos.iter().filter_map(|repo| repo.split_once('/'));
            let of_owner =
                |(of, _): &(&str, &str)| owner.is_none_or(|owner| owner.eq_ignore_ascii_case(of));
            parts.filter(of_owner).map(|(_, name)| name.to_owned()).collect()
        }
        _ => Vec::new(),
    };
    Ok(CompleteResult::new(matching(values, &argument.value)))
}

/// The `values` that have `typed` in them, those that begin with it first.
fn matching(values: Vec<String>, typed: &str) -> CompletionInfo {
    let typed = typed.to_ascii_lowercase();
    let ranked: BTreeSet<(bool, String)> = values
        .into_iter()
        .filter_map(|value| {
            let at = value.to_ascii_lowercase().find(&typed)?;
            Some((at > 0, value))
        })
        .collect();
    let mut completion = CompletionInfo::default();
    completion.total = u32::try_from(ranked.len()).ok();
    completion.has_more = Some(ranked.len() > CompletionInfo::MAX_VALUES);
    let values = ranked.into_iter().map(|(_, value)| value);
    completion.values = values.take(CompletionInfo::MAX_VALUES).collect();
    completion
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_with_what_was_typed_comes_first_and_a_hundred_are_told() {
        let names = ["zoo/api", "api/zoo", "other/x", "Api-two/y"].map(str::to_owned);
        let told = matching(names.to_vec(), "api");
        assert_eq!(told.values, ["Api-two/y", "api/zoo", "zoo/api"]);
        assert_eq!((told.total, told.has_more), (Some(3), Some(false)));
        let many = (0..150).map(|number| format!("o/{number}")).collect();
        let told = matching(many, "");
        assert_eq!((told.values.len(), told.total, told.has_more), (100, Some(150), Some(true)));
    }
}
