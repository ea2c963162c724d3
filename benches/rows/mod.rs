//! What is measured, and what the measures are made of.

pub(crate) mod asking;
mod bare;
pub(crate) mod budget;
pub(crate) mod burst;
pub(crate) mod growth;
mod image;
pub(crate) mod overload;
pub(crate) mod pickup;
mod world;

/// The value that this share of `values` do not exceed.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values[place.clamp(1, values.len()) - 1]
}

/// To so many decimal places.
pub(crate) fn round(value: f64, places: i32) -> f64 {
    let factor = 10f64.powi(places);
    (value * factor).round() / factor
}
