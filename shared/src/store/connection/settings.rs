//! Where the database is: `DATABASE_URL`, checked.

use std::net::IpAddr;
use std::path::Path;

use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use url::{Host, Url};

use crate::invalid_setting::InvalidSetting;

/// Where the database is and how many connections to keep.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub(super) options: MySqlConnectOptions,
    pub(super) max_connections: u32,
    pub(super) work_connections: u32,
    tls: Tls,
}

/// How well the connection to the server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Tls {
    /// The server proves who it is.
    Verified,
    /// It does not, but the settings say that this is intended, or the connection stays on this machine.
    Accepted,
    /// It does not, and the settings do not say that this is intended.
    Unverified,
}

/// The parameters that the URL may have.
const PARAMETERS: [&str; 5] = ["socket", "ssl-ca", "ssl-cert", "ssl-key", "ssl-mode"];

impl StoreSettings {
    /// Checks a URL of the form `mysql://user:password@host:port/database`; `max_connections` is at least 2.
    ///
    /// Fails if the text is not a URL, is for another kind of database, names no database, or has an unknown or
    /// unreadable parameter. The error never shows the URL, since that holds the password.
    pub fn new(url: &str, max_connections: u32) -> Result<Self, InvalidSetting> {
        let url = parse(url)?;
        let mut options = MySqlConnectOptions::new().username(&decoded(url.username(), "user")?);
        options = options.database(&database(&url)?);
        if let Some(password) = url.password() {
            options = options.password(&decoded(password, "password")?);
        }
        let host = match url.host() {
            // The driver takes an IPv6 address without its brackets.
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(name)) => decoded(name, "host")?,
            None => return Err(invalid("it names no host")),
        };
        options = options.host(&host);
        let is_near = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if let Some(port) = url.port() {
            options = options.port(port);
        }
        let mut is_spelled_out = false;
        for (name, value) in url.query_pairs() {
            is_spelled_out |= name == "ssl-mode";
            options = with_parameter(options, &name, &value)?;
        }
        let tls = match options.get_ssl_mode() {
            MySqlSslMode::VerifyCa | MySqlSslMode::VerifyIdentity => Tls::Verified,
            _ if is_spelled_out || is_near || options.get_socket().is_some() => Tls::Accepted,
            _ => Tls::Unverified,
        };
        // Statements hold callers' data, which must not get into a log. Slow calls are logged by `super::call`.
        Ok(Self { options: options.disable_statement_logging(), max_connections, work_connections: 1, tls })
    }

    /// Reserves some of the connections for the program's own work, so that callers cannot hold it up.
    #[must_use]
    pub fn with_work_connections(self, work_connections: u32) -> Self {
        Self { work_connections, ..self }
    }

    /// The most connections that a process opens.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.max_connections as usize
    }

    /// Where the server is: host and port.
    #[must_use]
    pub fn server(&self) -> (&str, u16) {
        (self.options.get_host(), self.options.get_port())
    }

    /// A warning for the log about the security of the connection; `None` if all is well.
    #[must_use]
    pub fn tls_warning(&self) -> Option<&'static str> {
        (self.tls == Tls::Unverified).then_some(
            "the database's certificate is not verified, so that somebody on the way could read the password: set \
             ssl-mode=VERIFY_CA and ssl-ca in DATABASE_URL, or spell out the ssl-mode that is meant",
        )
    }

    pub(in crate::store) fn tls(&self) -> Tls {
        self.tls
    }

    /// The same database by a connection of its own, for calls that must not wait behind others.
    #[must_use]
    pub fn single(&self) -> Self {
        Self { max_connections: 1, ..self.clone() }
    }
}

fn invalid(why: impl std::fmt::Display) -> InvalidSetting {
    InvalidSetting::new("DATABASE_URL", format!("must be mysql://user:password@host:port/database; {why}"))
}

fn parse(text: &str) -> Result<Url, InvalidSetting> {
    const ENCODE: &str =
        "characters such as # / ? @ : % in the user or the password must be percent-encoded: %23 for #";
    if !text.starts_with("mysql://") && !text.starts_with("mariadb://") {
        return Err(invalid("it does not start with mysql://"));
    }
    let url = Url::parse(text).map_err(|error| invalid(format_args!("{error}; {ENCODE}")))?;
    // A raw # or ? in a password hides all that follows it, the @ before the host included.
    let has_lost_its_host = text.contains('@') && url.username().is_empty() && url.password().is_none();
    if url.fragment().is_some() || has_lost_its_host || url.path().contains('@') {
        return Err(invalid(ENCODE));
    }
    Ok(url)
}

fn database(url: &Url) -> Result<String, InvalidSetting> {
    let name = decoded(url.path().trim_start_matches('/'), "database")?;
    if name.is_empty() { Err(invalid("it names no database")) } else { Ok(name) }
}

fn decoded(text: &str, what: &str) -> Result<String, InvalidSetting> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| invalid(format_args!("the {what} is not UTF-8")))
}

fn with_parameter(
    options: MySqlConnectOptions,
    name: &str,
    value: &str,
) -> Result<MySqlConnectOptions, InvalidSetting> {
    Ok(match name {
        "socket" => options.socket(value),
        "ssl-mode" => {
            let modes = "DISABLED, PREFERRED, REQUIRED, VERIFY_CA or VERIFY_IDENTITY";
            options.ssl_mode(value.parse().map_err(|_| invalid(format_args!("its ssl-mode must be {modes}")))?)
        }
        "ssl-ca" => options.ssl_ca(readable(name, value)?),
        "ssl-cert" => options.ssl_client_cert(readable(name, value)?),
        "ssl-key" => options.ssl_client_key(readable(name, value)?),
        _ => {
            let name: String = name.chars().take(40).collect();
            let known = PARAMETERS.join(", ");
            return Err(invalid(format_args!("it has no parameter `{name}`: there are {known}")));
        }
    })
}

/// Checks that a file can be read, so that a wrong path is reported at the start and not at each connection.
fn readable<'a>(name: &str, path: &'a str) -> Result<&'a Path, InvalidSetting> {
    let path = Path::new(path);
    std::fs::File::open(path).map_err(|error| invalid(format_args!("its {name} cannot be read: {error}")))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Result<StoreSettings, String> {
        StoreSettings::new(url, 10).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_of_version_6_loses_its_brackets() {
        assert_eq!(settings("mysql://u:p@[::1]:3307/orders").unwrap().server(), ("::1", 3307));
    }

    #[test]
    fn a_raw_delimiter_in_a_password_gets_a_hint() {
        for password in ["a#b", "a/b", "a?b", "1#b", "1/b", "1?b", "?x=1"] {
            let error = settings(&format!("mysql://user:{password}@host:3306/orders")).unwrap_err();

            assert!(error.contains("percent-encoded") && !error.contains(password), "{password}: {error}");
        }
        assert!(settings("mysql://user:a%23b%2Fc%3Fd%40e@host:3306/orders").is_ok());
    }

    #[test]
    fn a_url_of_no_database_gets_one_line_and_an_unknown_parameter_its_name() {
        for (url, says) in [
            ("", "does not start with mysql://"),
            ("postgres://u:p@h/d", "does not start with mysql://"),
            ("mysql://u:p@h", "names no database"),
            ("mysql://u:p@h/", "names no database"),
            ("mysql:///d", "must be"),
            ("mysql://u:p@h:x/d", "must be"),
            ("mysql://u:p@host/orders?ssl_mode=x", "`ssl_mode`"),
            ("mysql://u:p@host/orders?charset=x", "`charset`"),
            ("mysql://u:p@host/orders?useSSL=x", "there are socket, ssl-ca, ssl-cert, ssl-key, ssl-mode"),
        ] {
            let error = settings(url).unwrap_err();

            assert!(error.starts_with("DATABASE_URL must be") && !error.contains('\n'), "{url}: {error}");
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_certificate_that_nobody_verifies_is_told_of_unless_somebody_said_so() {
        for (url, warns) in [
            ("mysql://u:p@db.example/orders", true),
            ("mysql://u:p@192.0.2.1/orders", true),
            ("mysql://u:p@db.example/orders?ssl-mode=PREFERRED", false),
            ("mysql://u:p@db.example/orders?ssl-mode=verify_ca", false),
            ("mysql://u:p@127.0.0.1/orders", false),
            ("mysql://u:p@[::1]/orders", false),
            ("mysql://u:p@localhost/orders", false),
        ] {
            assert_eq!(settings(url).unwrap().tls_warning().is_some(), warns, "{url}");
        }
    }
}
