//! stub
#![allow(missing_docs)]
use crate::{config::Row, error::Error, operations::Answer};
pub fn terminal_width() -> Option<u16> {
    None
}
pub fn render(
    _: &str,
    a: &Answer<serde_json::Value>,
    _: chrono::DateTime<chrono::Utc>,
    _: Option<u16>,
) -> String {
    a.message.clone()
}
pub fn render_error(e: &Error) -> String {
    format!("error: {}\n  → {} [{}]\n", e.message, e.remedy, e.code.as_str())
}
pub fn configuration(_: &[Row], _: Option<u16>) -> String {
    String::new()
}
