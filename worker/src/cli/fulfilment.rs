//! Settings of a worker that pushes its orders to a service.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::{PathBufValueParser, StringValueParser};
use clap::{Args, ValueEnum, value_parser};
use hyper::StatusCode;
use orders_shared::config::InvalidSetting;
use orders_shared::domain::{GIVE_UP_AFTER, PAUSE_MAX, Pauses, RetryPolicy};

use super::given::{Given, OrEmpty};
use crate::gate::GateSettings;
use crate::processors::http::{FulfilmentSettings, Requests, Secrets, Watched, extra_headers, service_uri, tls};

/// Where orders are pushed, and how.
#[derive(Args)]
#[command(next_help_heading = "Pushing orders to a service")]
#[expect(clippy::struct_field_names, reason = "the fields have the names of the settings")]
pub struct FulfilmentArgs {
    /// Pushes each order to this URL as a POST request, whose answer says how the attempt ended. A redirect is not
    /// followed.
    #[arg(long, env = "FULFILMENT_URL", default_value = "", hide_default_value = true, hide_env_values = true, value_parser = OrEmpty(StringValueParser::new()))]
    fulfilment_url: Given<String>,

    /// Signs the requests as Standard Webhooks says: `whsec_` and 24 to 64 random bytes in base64. During a rotation
    /// two, separated by a space.
    #[arg(long, env = "FULFILMENT_SECRET", default_value = "", hide_default_value = true, hide_env_values = true, value_parser = OrEmpty(StringValueParser::new()))]
    fulfilment_secret: Given<String>,

    /// A file with what `FULFILMENT_SECRET` would say. It is read again every 30 seconds.
    #[arg(long, env = "FULFILMENT_SECRET_FILE", default_value = "", hide_default_value = true, value_parser = OrEmpty(PathBufValueParser::new()))]
    fulfilment_secret_file: Given<PathBuf>,

    /// A file with headers that are added to each request, such as `Authorization: Bearer …`, one a line. It is read
    /// again every 30 seconds.
    #[arg(long, env = "FULFILMENT_HEADERS_FILE", default_value = "", hide_default_value = true, value_parser = OrEmpty(PathBufValueParser::new()))]
    fulfilment_headers_file: Given<PathBuf>,

    /// A file with the certificates (PEM) of authorities that are trusted beside the public ones.
    #[arg(long, env = "FULFILMENT_CA_FILE", default_value = "", hide_default_value = true, value_parser = OrEmpty(PathBufValueParser::new()))]
    fulfilment_ca_file: Given<PathBuf>,

    /// Milliseconds that the service may take for an answer [default: 15000]. It must be less than
    /// `PROCESSING_TIMEOUT_MS`. Too low repeats orders that the service has nearly done; too high holds slots for a
    /// service that hangs.
    #[arg(long, env = "FULFILMENT_TIMEOUT_MS", default_value = "", hide_default_value = true, value_parser = OrEmpty(value_parser!(u64).range(1..=86_400_000)))]
    fulfilment_timeout_ms: Given<u64>,

    /// The pauses after failed attempts, each longer or shorter by up to a fifth at random [default:
    /// 5s,30s,2m,10m,30m,1h,2h,4h,8h,8h]. When the attempt after the last pause fails, the order becomes FAILED. Units
    /// are ms, s, m, h and d.
    #[arg(long, env = "FULFILMENT_RETRY_SCHEDULE", default_value = "", hide_default_value = true, value_parser = OrEmpty(Schedule::from_str))]
    fulfilment_retry_schedule: Given<Schedule>,

    /// How long an order waits for a service that is away, from the first time on, before it becomes FAILED [default:
    /// 72h].
    #[arg(long, env = "FULFILMENT_GIVE_UP_AFTER", default_value = "", hide_default_value = true, value_parser = OrEmpty(pause))]
    fulfilment_give_up_after: Given<Duration>,

    /// A status from 400 to 499 by which the service says that it has the order already, mostly 409. The order is then
    /// done. Not 401, 403, 404, 405, 408, 425 or 429, which proxies and gateways answer too.
    #[arg(long, env = "FULFILMENT_DUPLICATE_STATUS", default_value = "", hide_default_value = true, value_parser = OrEmpty(duplicate_status))]
    fulfilment_duplicate_status: Given<StatusCode>,

    /// Whether to stop when the service rejects half of a minute's orders, in case the fault is its own [default: on].
    #[arg(long, env = "FULFILMENT_REJECT_GUARD", default_value = "", hide_default_value = true, value_parser = OrEmpty(value_parser!(Switch)))]
    fulfilment_reject_guard: Given<Switch>,

    /// The most orders a second that the service is sent by all workers together; no limit by default. Each of the live
    /// workers that push takes an equal part.
    #[arg(long, env = "FULFILMENT_RATE", default_value = "", hide_default_value = true, value_parser = OrEmpty(rate))]
    fulfilment_rate: Given<f64>,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// The pauses between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Schedule(Arc<[Duration]>);

/// A day and more, so that an order outlasts a fault that is found in the morning.
const SCHEDULE: &str = "5s,30s,2m,10m,30m,1h,2h,4h,8h,8h";

/// A healthy service answers far sooner. One that takes longer is repeated, and should take orders first and work on
/// them later.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The longest list of pauses.
const PAUSES_MAX: usize = 100;

impl FulfilmentArgs {
    /// Checks the settings and reads the files that they name. `None` if no service is named, in which case nothing else
    /// may be set: a worker that has lost its URL must not simulate work and complete the orders.
    pub fn settings(&self) -> Result<Option<FulfilmentSettings>, InvalidSetting> {
        let Some(url) = self.fulfilment_url.as_ref() else {
            return match self.names_but_url().first() {
                None => Ok(None),
                Some(name) => Err(InvalidSetting::new(name, "is set, so FULFILMENT_URL must be set too")),
            };
        };
        self.settings_to("FULFILMENT_URL", url).map(Some)
    }

    /// The same with the URL that another setting names.
    pub(super) fn settings_to(&self, name: &'static str, url: &str) -> Result<FulfilmentSettings, InvalidSetting> {
        let ca_file = self.fulfilment_ca_file.as_ref();
        Ok(FulfilmentSettings {
            uri: service_uri(url).map_err(|why| InvalidSetting::new(name, why))?,
            requests: Requests { secrets: self.secrets()?, headers: self.headers()? },
            tls: tls(ca_file.map(PathBuf::as_path)).map_err(|why| InvalidSetting::new("FULFILMENT_CA_FILE", why))?,
            ca_file: ca_file.cloned(),
            timeout: self.fulfilment_timeout_ms.as_ref().map_or(TIMEOUT, |ms| Duration::from_millis(*ms)),
            duplicate_status: self.fulfilment_duplicate_status.0,
            retries: self.retries()?,
            gate: GateSettings {
                guard: self.fulfilment_reject_guard.as_ref() != Some(&Switch::Off),
                rate: self.fulfilment_rate.0,
            },
        })
    }

    /// The names of the settings that are given beside the URL.
    fn names_but_url(&self) -> Vec<&'static str> {
        // Naming every field makes the compiler point here when one is added.
        let Self {
            fulfilment_url: _,
            fulfilment_secret,
            fulfilment_secret_file,
            fulfilment_headers_file,
            fulfilment_ca_file,
            fulfilment_timeout_ms,
            fulfilment_retry_schedule,
            fulfilment_give_up_after,
            fulfilment_duplicate_status,
            fulfilment_reject_guard,
            fulfilment_rate,
        } = self;
        let given = [
            ("FULFILMENT_SECRET", fulfilment_secret.0.is_some()),
            ("FULFILMENT_SECRET_FILE", fulfilment_secret_file.0.is_some()),
            ("FULFILMENT_HEADERS_FILE", fulfilment_headers_file.0.is_some()),
            ("FULFILMENT_CA_FILE", fulfilment_ca_file.0.is_some()),
            ("FULFILMENT_TIMEOUT_MS", fulfilment_timeout_ms.0.is_some()),
            ("FULFILMENT_RETRY_SCHEDULE", fulfilment_retry_schedule.0.is_some()),
            ("FULFILMENT_GIVE_UP_AFTER", fulfilment_give_up_after.0.is_some()),
            ("FULFILMENT_DUPLICATE_STATUS", fulfilment_duplicate_status.0.is_some()),
            ("FULFILMENT_REJECT_GUARD", fulfilment_reject_guard.0.is_some()),
            ("FULFILMENT_RATE", fulfilment_rate.0.is_some()),
        ];
        given.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect()
    }

    fn secrets(&self) -> Result<Option<Watched<Secrets>>, InvalidSetting> {
        match (self.fulfilment_secret.as_ref(), self.fulfilment_secret_file.as_ref()) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                Err(InvalidSetting::new("FULFILMENT_SECRET", "and FULFILMENT_SECRET_FILE must not both be set"))
            }
            (Some(text), None) => {
                let secrets = text.parse().map_err(|why: <Secrets as FromStr>::Err| {
                    InvalidSetting::new("FULFILMENT_SECRET", why.to_string())
                })?;
                Ok(Some(Watched::fixed(secrets)))
            }
            (None, Some(file)) => {
                let parse = |text: &str| Secrets::from_str(text).map_err(|why| format!("it {why}"));
                let secrets = Watched::file(file, parse);
                secrets.map(Some).map_err(|why| unusable_file("FULFILMENT_SECRET_FILE", &why))
            }
        }
    }

    fn headers(&self) -> Result<Option<Watched<hyper::HeaderMap>>, InvalidSetting> {
        let headers = self.fulfilment_headers_file.as_ref().map(|file| Watched::file(file, extra_headers));
        headers.transpose().map_err(|why| unusable_file("FULFILMENT_HEADERS_FILE", &why))
    }

    fn retries(&self) -> Result<RetryPolicy, InvalidSetting> {
        let pauses = match &self.fulfilment_retry_schedule.0 {
            Some(schedule) => schedule.clone(),
            None => SCHEDULE.parse().map_err(|why: String| InvalidSetting::new("FULFILMENT_RETRY_SCHEDULE", why))?,
        };
        let give_up_after = self.fulfilment_give_up_after.0.unwrap_or(GIVE_UP_AFTER);
        Ok(RetryPolicy { pauses: Pauses::Listed(pauses.0), give_up_after })
    }
}

fn unusable_file(name: &'static str, why: &str) -> InvalidSetting {
    InvalidSetting::new(name, format!("names a file that cannot be used: {why}"))
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pauses = text.split(',').map(pause).collect::<Result<Arc<[_]>, _>>()?;
        if pauses.len() > PAUSES_MAX { Err(format!("more than {PAUSES_MAX} pauses")) } else { Ok(Self(pauses)) }
    }
}

/// Reads a length of time such as `30s` or `1h 30m`.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = humantime::parse_duration(text.trim()).map_err(|error| format!("`{text}`: {error}"))?;
    let is_within = (Duration::from_millis(1)..=PAUSE_MAX).contains(&pause);
    is_within.then_some(pause).ok_or_else(|| format!("`{text}` is not from 1 ms to 30 days"))
}

/// Reads the status of a duplicate. A wrong address, an expired token or a busy gateway must not complete orders that
/// nobody has.
fn duplicate_status(text: &str) -> Result<StatusCode, String> {
    match text.parse() {
        Ok(status @ (401 | 403 | 404 | 405 | 408 | 425 | 429)) => Err(format!(
            "{status} also means that the order did not reach the service, and such an order would be completed; choose \
             another, such as 409"
        )),
        Ok(status @ 400..=499) => StatusCode::from_u16(status).map_err(|error| error.to_string()),
        _ => Err("it is not a status from 400 to 499".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "it is not a number from 0.001 to 1000000".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const URL: &str = "http://localhost/";
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        fulfilment: FulfilmentArgs,
    }

    /// The settings that these arguments give, or what is wrong with them.
    fn settings(args: &[(&str, &str)]) -> Result<Option<FulfilmentSettings>, String> {
        let args = args.iter().map(|(name, value)| format!("--fulfilment-{name}={value}"));
        let parsed = Settings::try_parse_from(std::iter::once("worker".to_owned()).chain(args));
        parsed.map_err(|error| error.to_string())?.fulfilment.settings().map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_alone_has_the_documented_defaults() {
        let settings = settings(&[("url", URL), ("secret", ""), ("rate", ""), ("timeout-ms", "")]).unwrap().unwrap();

        assert_eq!(settings.timeout, Duration::from_secs(15));
        assert!(settings.gate.guard && settings.gate.rate.is_none() && settings.requests.secrets.is_none());
        assert_eq!(settings.retries.give_up_after, Duration::from_hours(72));
        let Pauses::Listed(pauses) = settings.retries.pauses else { panic!("the pauses are not listed") };
        let hours = [1, 2, 4, 8, 8].map(Duration::from_hours);
        assert_eq!(pauses[..2], [5, 30].map(Duration::from_secs));
        assert_eq!(pauses[2..5], [2, 10, 30].map(Duration::from_mins));
        assert_eq!(pauses[5..], hours);
    }

    #[test]
    fn every_setting_is_read() {
        let settings = settings(&[
            ("url", URL),
            ("secret", SECRET),
            ("timeout-ms", "500"),
            ("retry-schedule", "10ms, 1h 30m,1d"),
            ("give-up-after", "5m"),
            ("duplicate-status", "409"),
            ("reject-guard", "off"),
            ("rate", "0.5"),
        ])
        .unwrap()
        .unwrap();

        assert_eq!(settings.timeout, Duration::from_millis(500));
        let pauses = [Duration::from_millis(10), Duration::from_mins(90), Duration::from_hours(24)];
        let give_up_after = Duration::from_mins(5);
        assert_eq!(settings.retries(), RetryPolicy { pauses: Pauses::Listed(pauses.into()), give_up_after });
        assert_eq!(settings.duplicate_status, Some(StatusCode::CONFLICT));
        assert!(!settings.gate.guard && settings.gate.rate == Some(0.5) && settings.requests.secrets.is_some());
    }

    #[test]
    fn without_a_url_nothing_else_may_be_set() {
        assert!(settings(&[]).unwrap().is_none());
        assert!(settings(&[("url", ""), ("rate", ""), ("ca-file", "")]).unwrap().is_none());
        for (name, value) in [
            ("secret", SECRET),
            ("secret-file", "/x"),
            ("headers-file", "/x"),
            ("ca-file", "/x"),
            ("timeout-ms", "1"),
            ("retry-schedule", "1s"),
            ("give-up-after", "1s"),
            ("duplicate-status", "409"),
            ("reject-guard", "on"),
            ("rate", "1"),
        ] {
            let error = settings(&[(name, value)]).err().unwrap();

            let variable = format!("FULFILMENT_{} is set,", name.to_uppercase().replace('-', "_"));
            assert!(error.starts_with(&variable), "{error}");
        }
    }

    #[test]
    fn a_wrong_setting_is_named_and_a_secret_one_not_shown() {
        for (name, value, said) in [
            ("url", "ftp://secret@x", "FULFILMENT_URL must begin with http:// or https://"),
            ("secret", "secret", "FULFILMENT_SECRET must begin with `whsec_`"),
            (
                "secret-file",
                "/nonexistent",
                "FULFILMENT_SECRET_FILE names a file that cannot be used: it cannot be read",
            ),
            (
                "secret-file",
                "/dev/null",
                "FULFILMENT_SECRET_FILE names a file that cannot be used: it must be one secret",
            ),
            ("headers-file", "/nonexistent", "FULFILMENT_HEADERS_FILE names a file"),
            ("ca-file", "/dev/null", "FULFILMENT_CA_FILE names a file without a certificate"),
            ("retry-schedule", "5s,,1m", "--fulfilment-retry-schedule"),
            ("retry-schedule", "0s", "is not from 1 ms to 30 days"),
            ("retry-schedule", "5", "--fulfilment-retry-schedule"),
            ("give-up-after", "31d", "is not from 1 ms to 30 days"),
            ("duplicate-status", "200", "it is not a status from 400 to 499"),
            ("duplicate-status", "500", "it is not a status from 400 to 499"),
            ("duplicate-status", "conflict", "--fulfilment-duplicate-status"),
            ("duplicate-status", "401", "401 also means that the order did not reach the service"),
            ("duplicate-status", "403", "403 also means"),
            ("duplicate-status", "404", "404 also means"),
            ("duplicate-status", "405", "405 also means"),
            ("duplicate-status", "408", "408 also means"),
            ("duplicate-status", "425", "425 also means"),
            ("duplicate-status", "429", "429 also means"),
            ("reject-guard", "maybe", "[possible values: on, off]"),
            ("rate", "0", "--fulfilment-rate"),
            ("rate", "NaN", "--fulfilment-rate"),
            ("timeout-ms", "0", "--fulfilment-timeout-ms"),
        ] {
            let error = settings(&[("url", URL), (name, value)][usize::from(name == "url")..]).err().unwrap();

            assert!(error.contains(said) && !error.contains("secret@"), "{name}={value}: {error}");
        }
        let both = settings(&[("url", URL), ("secret", SECRET), ("secret-file", "/x")]).err().unwrap();
        assert_eq!(both, "FULFILMENT_SECRET and FULFILMENT_SECRET_FILE must not both be set");
    }
}
