//! From the text of one value to its type: no value is read in two ways.
//!
//! Apart from the keys because several share a parser, and because these are the tables
//! that the tests walk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use a4co_core::ids::ParticipantId;
use a4co_core::shards::{SHARDS_MAX, ShardCount};
use a4co_core::time::Millis;
use secrecy::SecretString;

use super::CaptureMode;
use super::problem::Fault;

/// Bytes of one MiB.
pub const MIB: u64 = 1024 * 1024;

/// One million: the parts that a rate is counted in.
const PARTS: u32 = 1_000_000;

/// A share from none to all, in parts per million: exact, and compared without binary
/// floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u32);

impl Rate {
    /// Never.
    pub const NONE: Self = Self(0);
    /// Always.
    pub const ALL: Self = Self(PARTS);

    /// This many parts per million, at most all.
    #[must_use]
    pub const fn from_parts_per_million(parts: u32) -> Self {
        Self(if parts > PARTS { PARTS } else { parts })
    }

    /// Parts per million, 0 to 1,000,000.
    #[must_use]
    pub const fn parts_per_million(self) -> u32 {
        self.0
    }

    /// Whether the share takes in what stands at `place`, a number spread evenly over all
    /// 64-bit numbers.
    #[must_use]
    pub const fn takes(self, place: u64) -> bool {
        place % (PARTS as u64) < self.0 as u64
    }
}

/// Where the HTTP API listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(SocketAddr);

impl ListenAddr {
    /// The address and port; port 0 asks for a free one.
    #[must_use]
    pub const fn socket_addr(self) -> SocketAddr {
        self.0
    }

    /// The same address with another port.
    pub(super) const fn with_port(mut self, port: u16) -> Self {
        self.0.set_port(port);
        self
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.0.ip().is_loopback()
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Pretty on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Which participants a process runs, once journals are on NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The orchestrator.
    Order,
    /// The stock.
    Inventory,
    /// The payments.
    Payment,
    /// Every one.
    All,
}

impl Role {
    /// May a process of this role lead the participant?
    #[must_use]
    pub const fn may_lead(self, participant: ParticipantId) -> bool {
        match self {
            Self::Order => matches!(participant, ParticipantId::Order),
            Self::Inventory => matches!(participant, ParticipantId::Inventory),
            Self::Payment => matches!(participant, ParticipantId::Payment),
            Self::All => true,
        }
    }

    /// The port of its HTTP API, unless another is asked for.
    #[must_use]
    pub const fn port(self) -> u16 {
        match self {
            Self::Order | Self::All => 3004,
            Self::Payment => 3005,
            Self::Inventory => 3006,
        }
    }
}

pub(super) fn listen_addr(text: &str) -> Result<ListenAddr, Fault> {
    let fault = |problem: &str| {
        Fault::new(
            problem,
            "write ADDRESS:PORT, such as 127.0.0.1:3004, [::1]:3004 or 0.0.0.0:3004",
        )
    };
    if let Ok(address) = text.parse() {
        return Ok(ListenAddr(address));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port
            .parse()
            .map_err(|_| fault("the port is not a number from 0 to 65535"))?;
        return Ok(ListenAddr(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
    Err(fault("is not an IP address with a port"))
}

pub(super) fn folder(text: &str) -> Result<PathBuf, Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("is empty", "name a folder, such as ./data"));
    }
    if text.contains('\0') {
        return Err(Fault::new(
            "contains a NUL character",
            "name a folder, such as ./data",
        ));
    }
    Ok(PathBuf::from(text))
}

pub(super) fn boolean(text: &str) -> Result<bool, Fault> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(Fault::new(
            "is neither true nor false",
            "write true or false",
        )),
    }
}

/// Reads a decimal from 0 to 1, exactly.
pub(super) fn rate(text: &str) -> Result<Rate, Fault> {
    let fix = "write a number from 0.0 to 1.0 with at most six decimals, such as 0.95";
    let fault = |problem: &str| Fault::new(problem, fix);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(fault("is not a decimal number from 0 to 1"));
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 6 {
        return Err(fault("has more than six decimals"));
    }
    let mut parts: u32 = 0;
    for digit in fraction.bytes().chain(std::iter::repeat(b'0')).take(6) {
        parts = parts * 10 + u32::from(digit - b'0');
    }
    match whole.trim_start_matches('0') {
        "" => Ok(Rate(parts)),
        "1" if parts == 0 => Ok(Rate::ALL),
        _ => Err(fault("is above 1")),
    }
}

/// A whole number within bounds, both allowed.
pub(super) fn count(text: &str, min: u64, max: u64) -> Result<u64, Fault> {
    let fix = || format!("write a whole number from {min} to {max}");
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(Fault::new("is not a whole number", fix()));
    }
    match text.parse() {
        Ok(number) if number < min => Err(Fault::new(format!("is below {min}"), fix())),
        Ok(number) if number <= max => Ok(number),
        _ => Err(Fault::new(format!("is above {max}"), fix())),
    }
}

/// A length of time, in whole milliseconds within bounds, both allowed.
pub(super) fn millis(text: &str, min: Millis, max: Millis) -> Result<Millis, Fault> {
    let (low, high) = (friendly(min), friendly(max));
    let fix = || format!("write a time from {low} to {high}, such as 500ms, 90s, 5m or 1h30m");
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Fault::new("has no unit", fix()));
    }
    // Days are 24 hours here: a clock that is changed twice a year has no part in this.
    let hours = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u64>().ok());
    let span: Option<Duration> = match hours {
        Some(days) => days.checked_mul(24 * 60 * 60).map(Duration::from_secs),
        None => text
            .parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|span| Duration::try_from(span).ok()),
    };
    let Some(span) = span else {
        return Err(Fault::new("is not a length of time", fix()));
    };
    if span.subsec_nanos() % 1_000_000 != 0 {
        return Err(Fault::new("is finer than a millisecond", fix()));
    }
    let ms = u64::try_from(span.as_millis()).map_or(Millis::MAX, Millis::new);
    if ms < min {
        return Err(Fault::new(format!("is below {low}"), fix()));
    }
    if ms > max {
        return Err(Fault::new(format!("is above {high}"), fix()));
    }
    Ok(ms)
}

/// Writes a length in the largest unit that is exact: `90s`, `5m`, `30d`.
pub(super) fn friendly(length: Millis) -> String {
    let ms = length.get();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    let unit = units
        .iter()
        .find(|(size, _)| ms != 0 && ms.is_multiple_of(*size));
    unit.map_or_else(
        || format!("{ms}ms"),
        |(size, name)| format!("{}{name}", ms / size),
    )
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Fault> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err(Fault::new("is no log format", "write auto, pretty or json")),
    }
}

pub(super) fn log_level(text: &str) -> Result<String, Fault> {
    crate::telemetry::directives(text).map_err(|error| {
        Fault::new(
            error.to_string(),
            "write off, error, warn, info, debug or trace, or directives such as warn,a4co=debug",
        )
    })
}

pub(super) fn role(text: &str) -> Result<Role, Fault> {
    match text {
        "order" => Ok(Role::Order),
        "inventory" => Ok(Role::Inventory),
        "payment" => Ok(Role::Payment),
        "all" => Ok(Role::All),
        _ => Err(Fault::new(
            "is no role",
            "write order, inventory, payment or all",
        )),
    }
}

/// A count of shards.
pub(super) fn shards(text: &str) -> Result<ShardCount, Fault> {
    let count = count(text, 1, u64::from(SHARDS_MAX))?;
    let count = u16::try_from(count).ok().and_then(ShardCount::new);
    count.ok_or_else(|| Fault::new("is no count of shards", "write 1 to 64"))
}

pub(super) fn nats_url(text: &str) -> Result<String, Fault> {
    let fits = |url: &str| {
        ["nats://", "tls://", "ws://", "wss://"]
            .iter()
            .any(|scheme| {
                url.strip_prefix(scheme)
                    .is_some_and(|rest| !rest.is_empty())
            })
    };
    if text.split(',').all(|url| fits(url.trim())) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        "is not the URL of a NATS server",
        "write nats://HOST:4222",
    ))
}

/// The address of an HTTP API: scheme, host and port, and a path where there is one.
pub(super) fn http_url(text: &str) -> Result<String, Fault> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let is_plain = |rest: &str| {
        // No user, query or fragment: they have no business here, or are secrets.
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"@?#\"".contains(&byte);
        !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(plain)
    };
    if rest.is_some_and(is_plain) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        "is not the address of an HTTP API",
        "write https://HOST or http://HOST:PORT",
    ))
}

pub(super) fn capture_mode(text: &str) -> Result<CaptureMode, Fault> {
    match text {
        "automatic" => Ok(CaptureMode::Automatic),
        "manual" => Ok(CaptureMode::Manual),
        _ => Err(Fault::new(
            "is no way to capture",
            "write automatic or manual",
        )),
    }
}

/// A name of one word.
pub(super) fn name(text: &str) -> Result<String, Fault> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        "is empty, or has a space or a character that no such name has",
        "write it as the servers know it",
    ))
}

/// A secret of any form, on one line. What is wrong is told without a part of it.
pub(super) fn opaque(text: &str) -> Result<SecretString, Fault> {
    if !text.is_empty() && !text.contains(char::is_control) {
        return Ok(SecretString::from(text));
    }
    Err(Fault::new(
        "is empty, or has a line end or a control character",
        "copy it whole, without the line's end",
    ))
}

/// The address of an OpenTelemetry collector, without a path.
pub(super) fn collector(text: &str) -> Result<String, Fault> {
    let fix =
        "write the collector's address, such as http://127.0.0.1:4318 or https://otlp.example.com";
    let uri: Result<axum::http::Uri, _> = text.parse();
    let is_http = uri.as_ref().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if is_http {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err(Fault::new("is not an http:// or https:// address", fix))
    }
}

/// Headers as OpenTelemetry writes them: `name=value,name=value`.
pub(super) fn headers(text: &str) -> Result<Vec<(String, SecretString)>, Fault> {
    let fault = || {
        Fault::new(
            "is not a list of headers",
            "write name=value, with commas between several, such as x-token=abc",
        )
    };
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or_else(fault)?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = axum::http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        let is_value = axum::http::HeaderValue::from_str(value).is_ok();
        if is_name && is_value {
            Ok((name.to_owned(), SecretString::from(value)))
        } else {
            Err(fault())
        }
    };
    text.split(',').map(header).collect()
}

/// A service's name in traces.
pub(super) fn service(text: &str) -> Result<String, Fault> {
    let is_short = (1..=128).contains(&text.len());
    if is_short && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        "is not 1 to 128 printable ASCII characters",
        "write a short name, such as a4co-shop",
    ))
}

/// A secret that begins as one of its kind does. What is wrong is told without a part of it.
pub(super) fn secret(text: &str, prefixes: &[&str]) -> Result<SecretString, Fault> {
    let starts = prefixes.iter().any(|prefix| text.starts_with(prefix));
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if starts && plain {
        return Ok(SecretString::from(text));
    }
    let problem = if plain {
        "does not look like this kind of secret"
    } else {
        "contains a space, a line end or a character that no such secret has"
    };
    Err(Fault::new(
        problem,
        format!(
            "copy it whole from Stripe's dashboard; it begins with {}",
            prefixes.join(" or ")
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn fails<T: std::fmt::Debug>(result: Result<T, Fault>, part: &str) {
        let fault = result.expect_err("a fault");
        assert!(
            fault.problem.contains(part),
            "{fault:?} does not say {part}"
        );
        assert!(!fault.fix.is_empty());
    }

    #[test]
    fn rates_are_exact() {
        let parts = |text| rate(text).map(Rate::parts_per_million);
        for (text, wanted) in [
            ("0", 0),
            ("0.0", 0),
            ("1", 1_000_000),
            ("1.0", 1_000_000),
            ("1.000000000", 1_000_000),
            ("0.95", 950_000),
            ("0.000001", 1),
            ("0.999999", 999_999),
            ("00.5", 500_000),
        ] {
            assert_eq!(parts(text), Ok(wanted), "{text}");
        }
        fails(rate("1.000001"), "above 1");
        fails(rate("2"), "above 1");
        fails(rate("0.0000001"), "six decimals");
        for text in [
            "", ".", ".5", "1.", "-0.5", "+0.5", "95%", "1e-1", "0,5", "NaN", " 0.5",
        ] {
            fails(rate(text), "not a decimal");
        }
    }

    #[test]
    fn a_rate_takes_its_share() {
        let half = Rate::from_parts_per_million(500_000);
        assert!(half.takes(499_999) && !half.takes(500_000));
        assert!(Rate::ALL.takes(u64::MAX) && Rate::ALL.takes(999_999));
        assert!(!Rate::NONE.takes(0));
    }

    #[test]
    fn addresses() {
        let shown = |text| listen_addr(text).map(|it| it.socket_addr().to_string());
        assert_eq!(shown("127.0.0.1:0").as_deref(), Ok("127.0.0.1:0"));
        assert_eq!(shown("localhost:3004").as_deref(), Ok("127.0.0.1:3004"));
        assert_eq!(shown("[::1]:80").as_deref(), Ok("[::1]:80"));
        assert!(listen_addr("[::1]:80").is_ok_and(ListenAddr::is_loopback));
        assert!(listen_addr("0.0.0.0:80").is_ok_and(|it| !it.is_loopback()));
        for text in [
            "",
            "3004",
            ":3004",
            "127.0.0.1",
            "host:80",
            "http://127.0.0.1:80",
        ] {
            fails(listen_addr(text), "not an IP address");
        }
        fails(listen_addr("localhost:99999"), "port");
    }

    #[test]
    fn times() {
        let read =
            |text| millis(text, Millis::new(1), Millis::from_hours(24 * 30)).map(Millis::get);
        for (text, ms) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1500),
            ("2 minutes", 120_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(read(text), Ok(ms), "{text}");
        }
        fails(read("90"), "no unit");
        fails(read("0ms"), "below 1ms");
        fails(read("31d"), "above 30d");
        fails(read("999999999999999999d"), "not a length");
        fails(read("1500us"), "finer");
        for text in ["", "-5m", "5 parsecs", "m", "5m!"] {
            fails(read(text), "not a length");
        }
    }

    #[test]
    fn lengths_are_shown_in_their_largest_unit() {
        for (ms, text) in [
            (0, "0ms"),
            (1, "1ms"),
            (90_000, "90s"),
            (300_000, "5m"),
            (86_400_000, "1d"),
        ] {
            assert_eq!(friendly(Millis::new(ms)), text);
        }
    }

    #[test]
    fn counts() {
        assert_eq!(count("7", 1, 9), Ok(7));
        assert_eq!(count("1", 1, 9), Ok(1));
        assert_eq!(count("9", 1, 9), Ok(9));
        fails(count("0", 1, 9), "below 1");
        fails(count("10", 1, 9), "above 9");
        fails(count("99999999999999999999999", 1, 9), "above 9");
        for text in ["", "-1", "+1", "1.0", "1_000", "ten"] {
            fails(count(text, 1, 9), "whole number");
        }
    }

    #[test]
    fn words() {
        assert_eq!(boolean("true"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        fails(boolean("ja"), "neither");
        assert_eq!(role("all"), Ok(Role::All));
        fails(role("orders"), "no role");
        assert_eq!(log_format("json"), Ok(LogFormat::Json));
        fails(log_format("xml"), "no log format");
        assert!(nats_url("nats://a:4222,nats://b:4222").is_ok());
        fails(nats_url("a:4222"), "NATS");
        fails(folder(" "), "empty");
    }

    #[test]
    fn a_bad_secret_is_not_repeated() {
        assert!(secret("sk_test_abc", &["sk_", "rk_"]).is_ok());
        for text in ["hunter2", "sk_a b", "sk_a\n", ""] {
            let fault = secret(text, &["sk_"]).expect_err("a fault");
            let told = format!("{} {}", fault.problem, fault.fix);
            assert!(text.is_empty() || !told.contains(text));
        }
    }

    proptest! {
        #[test]
        fn every_rate_survives_its_text(parts in 0..=1_000_000u32) {
            let text = format!("{}.{:06}", parts / 1_000_000, parts % 1_000_000);
            prop_assert_eq!(rate(&text), Ok(Rate(parts)));
        }

        #[test]
        fn any_text_is_a_value_or_a_fault(text in any::<String>()) {
            let _ = rate(&text);
            let _ = millis(&text, Millis::ZERO, Millis::MAX);
            let _ = listen_addr(&text);
            let _ = count(&text, 0, u64::MAX);
        }
    }
}
