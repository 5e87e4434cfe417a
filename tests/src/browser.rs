//! A headless Chromium that looks at a server's pages, driven by WebDriver.
//!
//! WebDriver is JSON over HTTP, so the tests' own client speaks it and no driver library is
//! needed. Every look is repeated until it finds what it should, as a person's would be.
//! When a [`Browser`] ends well, it has seen no error in the console, no violation of the
//! page's policy and no request to anybody but the server.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::client::Client;
use crate::until;

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Keys that are no characters.
pub mod keys {
    /// Goes to the next control.
    pub const TAB: &str = "\u{e004}";
    /// Presses a button, or sends a form.
    pub const ENTER: &str = "\u{e007}";
    /// Closes a dialog.
    pub const ESCAPE: &str = "\u{e00c}";
}

/// How the browser is set up.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Of the page, in CSS pixels.
    pub width: u32,
    /// Of the page, in CSS pixels.
    pub height: u32,
    /// What the person prefers.
    pub dark: bool,
}

/// A desk's screen, in light colours.
pub const DESK: Look = Look {
    width: 1280,
    height: 900,
    dark: false,
};

/// A small telephone.
pub const PHONE: Look = Look {
    width: 390,
    height: 844,
    dark: false,
};

/// A browser with one page. It is ended when it is dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    client: Client,
    session: String,
    site: SocketAddr,
    requests: Vec<String>,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Opens a browser on the server's first page.
    ///
    /// # Panics
    /// Without `chromedriver` and `chromium`: `./test console` installs them.
    #[must_use]
    #[track_caller]
    pub fn open(site: SocketAddr, look: Look) -> Self {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("its address");
        drop(free);
        let driver = Command::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, of the Debian package chromium-driver");
        let mut browser = Self {
            driver,
            client: Client::new(address),
            session: String::new(),
            site,
            requests: Vec::new(),
            complaints: Vec::new(),
            _profile: profile,
        };
        until("chromedriver", || browser.client.try_get("/status"));
        let options = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--hide-scrollbars", "--force-color-profile=srgb", "--no-first-run",
                "--disable-background-networking", "--disable-component-update",
                format!("--user-data-dir={}", browser._profile.path().display()),
                format!("--window-size={},{}", look.width.max(500), look.height),
            ] },
        } } });
        let session = browser.client.post("/session", &options).expect(200).json();
        session["value"]["sessionId"]
            .as_str()
            .expect("a session's id")
            .clone_into(&mut browser.session);
        let scheme = if look.dark { "dark" } else { "light" };
        browser.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
        browser.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": false }),
        );
        // What the browser did before is its own.
        browser.ask("/url", &json!({ "url": "about:blank" }));
        browser.forgive();
        browser.requests.clear();
        browser.go("/");
        browser
    }

    /// Opens a page of the server.
    ///
    /// # Panics
    /// When it cannot be opened.
    #[track_caller]
    pub fn go(&self, path: &str) {
        let url = format!("http://{}{path}", self.site);
        self.ask("/url", &json!({ "url": url }));
    }

    /// The page's address, without the server's.
    #[must_use]
    #[track_caller]
    pub fn path(&self) -> String {
        self.eval("return location.pathname + location.search")
            .as_str()
            .expect("an address")
            .to_owned()
    }

    /// Runs a script in the page.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn eval(&self, script: &str) -> Value {
        self.ask("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a script says `true`; what it says otherwise is shown.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn wait(&self, what: &str, script: &str) {
        until(what, || match self.eval(script) {
            Value::Bool(true) => Ok(()),
            other => Err(format!("{other}; the page says:\n{}", self.text("body"))),
        });
    }

    /// Waits until the page shows this text.
    ///
    /// # Panics
    /// When it never does.
    #[track_caller]
    pub fn see(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        self.wait(&format!("the page to show `{text}`"), &script);
    }

    /// The text of what fits the selector first; empty where nothing does.
    #[must_use]
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let script = format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(selector)
        );
        self.eval(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks what fits the selector, once it can be clicked.
    ///
    /// # Panics
    /// When it never can.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.act("css selector", selector, "click", &json!({}));
    }

    /// Clicks the button or link with this text.
    ///
    /// # Panics
    /// When there never is one.
    #[track_caller]
    pub fn press(&self, text: &str) {
        let path = format!(
            "//*[self::button or self::a][not(@disabled)][normalize-space(.)='{text}' or *[1][normalize-space(.)='{text}']]"
        );
        self.act("xpath", &path, "click", &json!({}));
    }

    /// Types into what fits the selector, in place of what is there.
    ///
    /// # Panics
    /// When it never can be typed into.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.act("css selector", selector, "clear", &json!({}));
        self.act("css selector", selector, "value", &json!({ "text": text }));
    }

    /// Chooses an option of a list by its value, as a person does.
    ///
    /// # Panics
    /// When it is not there.
    #[track_caller]
    pub fn choose(&self, list: &str, value: &str) {
        self.click(&format!("{list} option[value='{value}']"));
    }

    /// Types with no eye on where it goes: to what has the focus.
    ///
    /// # Panics
    /// When there is no page.
    #[track_caller]
    pub fn keys(&self, typed: &str) {
        let actions: Vec<Value> = typed
            .chars()
            .flat_map(|key| {
                ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
            })
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.ask("/actions", &json!({ "actions": [keyboard] }));
    }

    /// Presses the tabulator until what has the focus has this text.
    ///
    /// # Panics
    /// When it never has.
    #[track_caller]
    pub fn tab_to(&self, text: &str) {
        let mut seen = Vec::new();
        for _ in 0..80 {
            self.keys(keys::TAB);
            let script = "const it = document.activeElement; return (it.labels?.[0]?.innerText || it.innerText || it.getAttribute('aria-label') || '').trim()";
            let focused = self.eval(script).as_str().unwrap_or_default().to_owned();
            if focused.lines().next() == Some(text) {
                let ring = "const style = getComputedStyle(document.activeElement); return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2";
                assert_eq!(self.eval(ring), true, "the focus on `{text}` is not seen");
                return;
            }
            seen.push(focused);
        }
        panic!("no tabulator leads to `{text}`, but to {seen:?}");
    }

    /// Keeps a picture where `A4CO_SCREENSHOTS` names a folder; a person looks at it.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("A4CO_SCREENSHOTS").map(PathBuf::from) else {
            return;
        };
        let said = self.devtools(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": false }),
        );
        let png = decoded(said["data"].as_str().expect("a picture"));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), png).expect("a picture is written");
    }

    /// Fails unless nothing sticks out to the side of the page.
    ///
    /// # Panics
    /// When something does; with what it is.
    #[track_caller]
    pub fn expect_no_sideways_scrolling(&self) {
        let script = "const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            return [...document.querySelectorAll('body *')]
                .filter((it) => it.getBoundingClientRect().right > width + 1 && !it.closest('.scroll, nav'))
                .map((it) => it.outerHTML.slice(0, 200))";
        assert_eq!(self.eval(script), json!([]), "at {}", self.path());
    }

    /// Says from here on that it does not matter what the console complained of so far: the
    /// test broke something by itself.
    #[track_caller]
    pub fn forgive(&mut self) {
        self.listen();
        self.complaints.clear();
    }

    /// Fails if anything was complained of, or asked of anybody but the server.
    ///
    /// # Panics
    /// When that happened.
    #[track_caller]
    pub fn close(mut self) {
        self.listen();
        assert_eq!(self.complaints, Vec::<String>::new(), "the console's log");
        let ours = [format!("http://{}/", self.site), "data:".to_owned()];
        let foreign: Vec<&String> = (self.requests.iter())
            .filter(|url| !ours.iter().any(|start| url.starts_with(start)))
            .collect();
        assert!(!self.requests.is_empty(), "no request was seen");
        assert!(foreign.is_empty(), "asked of others: {foreign:?}");
    }

    /// Fetches what the browser logged since the last time.
    fn listen(&mut self) {
        let log = self.ask("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        self.complaints
            .extend(entries.iter().map(|entry| entry["message"].to_string()));
        let log = self.ask("/se/log", &json!({ "type": "performance" }));
        for entry in log.as_array().cloned().unwrap_or_default() {
            let text = entry["message"].as_str().unwrap_or_default();
            let event: Value = serde_json::from_str(text).unwrap_or_default();
            if event["message"]["method"] == "Network.requestWillBeSent"
                && let Some(url) = event["message"]["params"]["request"]["url"].as_str()
            {
                self.requests.push(url.to_owned());
            }
        }
    }

    #[track_caller]
    fn act(&self, using: &str, value: &str, action: &str, body: &Value) {
        let find = json!({ "using": using, "value": value });
        until(&format!("{action} on {value}"), || {
            let said = |answer: crate::Answer| {
                let value = answer.json()["value"].clone();
                match answer.status {
                    200 => Ok(value),
                    _ => Err(format!(
                        "{}; the page says:\n{}",
                        value["message"],
                        self.text("body")
                    )),
                }
            };
            let found = said(self.try_ask("/element", &find)?)?;
            let element = found[ELEMENT].as_str().ok_or("no element")?.to_owned();
            said(self.try_ask(&format!("/element/{element}/{action}"), body)?)
        });
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("/goog/cdp/execute", &body)
    }

    #[track_caller]
    fn ask(&self, path: &str, body: &Value) -> Value {
        match self.try_ask(path, body) {
            Ok(answer) => answer.expect(200).json()["value"].take(),
            Err(error) => panic!("{path} {body}: {error}"),
        }
    }

    fn try_ask(&self, path: &str, body: &Value) -> Result<crate::Answer, String> {
        let path = format!("/session/{}{path}", self.session);
        self.client.ask("POST", &path).json(body).try_send()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.picture("failed");
        }
        // The browser is the driver's child, and ends with its session.
        let session = format!("/session/{}", self.session);
        let _ = self.client.ask("DELETE", &session).try_send();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Base64, as pictures come.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits & 0xff) as u8);
        }
    }
    bytes
}
