//! Joules and tokens to kilowatt hours, money and grams. Pure arithmetic, checked against numbers
//! that were computed elsewhere (`energy.json`).

/// Joules in a kilowatt hour.
const JOULES_PER_KWH: f64 = 3.6e6;
/// Cloud models are priced by so many tokens.
const MILLION: f64 = 1e6;
/// Seconds of a day.
pub(super) const DAY_S: f64 = 86_400.0;

pub(super) fn kwh(joules: f64) -> f64 {
    joules / JOULES_PER_KWH
}

/// What a device is worth less after `device_days`, of which the model bears `share`.
pub(super) fn wear(price: f64, share: f64, life_days: f64, device_days: f64) -> f64 {
    price * share / life_days * device_days
}

pub(super) fn network(bytes: f64, price_per_gb: f64) -> f64 {
    bytes / 1e9 * price_per_gb
}

/// The same tokens at a cloud model's prices a million.
pub(super) fn cloud(tokens: Tokens, price: Tokens) -> f64 {
    (tokens.input * price.input + tokens.output * price.output) / MILLION
}

/// Kilowatt hours of the same tokens in a data centre.
pub(super) fn cloud_kwh(tokens: Tokens, wh_per_1k_tokens: f64) -> f64 {
    (tokens.input + tokens.output) / 1000.0 * wh_per_1k_tokens / 1000.0
}

/// Something of prompts and of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tokens {
    pub(super) input: f64,
    pub(super) output: f64,
}

/// Tokens a day at which the edge costs what the cloud does: what is paid anyway, a day, over what
/// each token saves. None where a token saves nothing.
pub(super) fn break_even(fixed_a_day: f64, cloud_a_token: f64, energy_a_token: f64) -> Option<f64> {
    let saved = cloud_a_token - energy_a_token;
    (saved > 0.0).then(|| fixed_a_day / saved)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn vectors() -> Value {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
        let folder = std::env::var_os("FATHOMLINE_VECTORS").map_or(own, Into::into);
        let text = std::fs::read_to_string(folder.join("energy.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn days_cost_what_was_computed_elsewhere() {
        let vectors = vectors();
        let cases = vectors["cost"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let given = |name: &str| case["in"][name].as_f64().unwrap();
            let near = |found: f64, name: &str| {
                let expected = case[name].as_f64().unwrap();
                let off = (found - expected).abs() / expected.abs().max(1e-300);
                assert!(off <= 1e-9, "{name}: {found}, expected {expected}");
            };
            let count = given("tokens_per_day");
            let share = given("out_share");
            let tokens = Tokens {
                input: count * (1.0 - share),
                output: count * share,
            };
            let price = Tokens {
                input: given("cloud_in_per_m"),
                output: given("cloud_out_per_m"),
            };
            let of_tokens = kwh(count / 1000.0 * given("energy_j_per_1k_tokens"));
            let of_idling = kwh(given("idle_w_attributed") * DAY_S);
            near(of_tokens + of_idling, "kwh_per_day");
            let energy = (of_tokens + of_idling) * given("price_kwh");
            near(energy, "energy_cost");
            let (life, share) = (given("life_days"), given("share_for_ai"));
            let device = wear(given("capex"), share, life, 1.0);
            near(device, "capex_cost");
            let bytes = network(given("net_bytes_per_day"), given("price_gb"));
            near(bytes, "network_cost");
            let edge = energy + device + bytes;
            near(edge, "edge_cost");
            let there = cloud(tokens, price);
            near(there, "cloud_cost");
            near(there - edge, "saving_per_day");
            near(
                (of_tokens + of_idling) * given("grid_g_per_kwh"),
                "edge_co2_g",
            );
            let there_kwh = cloud_kwh(tokens, given("cloud_wh_per_1k_tokens"));
            near(there_kwh * given("cloud_grid_g_per_kwh"), "cloud_co2_g");
            let fixed = of_idling * given("price_kwh") + device + bytes;
            let a_token = of_tokens * given("price_kwh") / count;
            let found = break_even(fixed, there / count, a_token);
            match case["break_even_tokens_per_day"].as_f64() {
                Some(_) => near(found.unwrap(), "break_even_tokens_per_day"),
                None => assert_eq!(found, None),
            }
        }
    }

    #[test]
    fn a_token_that_saves_nothing_never_breaks_even() {
        assert_eq!(break_even(1.0, 1e-6, 1e-6), None);
        assert_eq!(break_even(1.0, 1e-6, 2e-6), None);
        assert!((break_even(1.0, 3e-6, 1e-6).unwrap() - 5e5).abs() < 1e-6);
    }
}
