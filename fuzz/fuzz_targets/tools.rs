//! Arguments of the seven tools.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    runner_kit_fuzz::tools(data);
});
