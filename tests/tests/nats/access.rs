//! Who may do what, and how the line is secured: real servers that are configured for each
//! way of saying who we are, and for the permissions of the sample configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use a4co_tests::nats::NatsServer;
use a4co_tests::server::run;
use a4co_tests::{Client, Options, Order, Server, shop};
use nkeys::KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
    KeyPair as CertificateKey, KeyUsagePurpose,
};
use serde_json::{Value, json};

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8(both).expect("text")
}

/// A server that is configured so.
fn server(configure: impl FnOnce(&Path) -> String) -> NatsServer {
    let mut nats = NatsServer::start(&[]);
    let text = configure(nats.folder());
    nats.kill();
    nats.configure(&text);
    nats.launch();
    nats
}

/// `a4co nats setup` with these settings in its file: how it ends, and what it says.
fn set_up(nats: &NatsServer, settings: &str) -> (Option<i32>, String) {
    let file = nats.folder().join("a4co.toml");
    fs::write(&file, settings).expect("a configuration");
    let file = file.to_string_lossy().into_owned();
    let url = nats.url();
    let output = run(&["--config", &file, "nats", "setup", "--nats", &url]);
    (output.status.code(), said(&output))
}

#[track_caller]
fn expect(nats: &NatsServer, settings: &str, code: i32) {
    let (ended, told) = set_up(nats, settings);
    assert_eq!(ended, Some(code), "{settings}\n{told}");
    assert!(!told.contains("hunter"), "a secret is shown: {told}");
}

#[test]
fn a_user_with_a_password_and_a_token() {
    let nats =
        server(|_| "authorization { users: [ { user: ada, password: hunter2 } ] }".to_owned());
    expect(&nats, "nats_user = 'ada'\nnats_password = 'hunter2'", 0);
    expect(&nats, "nats_user = 'ada'\nnats_password = 'hunter3'", 3);
    expect(&nats, "", 3);

    let nats = server(|_| "authorization { token: hunter4 }".to_owned());
    expect(&nats, "nats_token = 'hunter4'", 0);
    expect(&nats, "nats_token = 'hunter5'", 3);
    expect(&nats, "", 3);
}

#[test]
fn an_nkey() {
    let ours = KeyPair::new_user();
    let other = KeyPair::new_user();
    let nats = server(|_| {
        let key = ours.public_key();
        format!("authorization {{ users: [ {{ nkey: {key} }} ] }}")
    });
    let seed = |key: &KeyPair| format!("nats_nkey_seed = '{}'", key.seed().expect("a seed"));
    expect(&nats, &seed(&ours), 0);
    expect(&nats, &seed(&other), 3);
    let (_, told) = set_up(&nats, &seed(&other));
    assert!(!told.contains(&other.seed().expect("a seed")), "{told}");
}

/// A token of the servers' operator mode, signed by its issuer.
fn jwt(issuer: &KeyPair, subject: &KeyPair, nats: &Value) -> String {
    let encode = |value: &Value| {
        let bytes = serde_json::to_vec(value).expect("JSON");
        data_encoding::BASE64URL_NOPAD.encode(&bytes)
    };
    let head = encode(&json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = encode(&json!({
        "jti": "of-a-test",
        "iat": 1_767_225_600,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": nats,
    }));
    let signed = format!("{head}.{claims}");
    let signature = issuer.sign(signed.as_bytes()).expect("signed");
    let signature = data_encoding::BASE64URL_NOPAD.encode(&signature);
    format!("{signed}.{signature}")
}

#[test]
fn a_credentials_file() {
    let operator = KeyPair::new_operator();
    let (system, account) = (KeyPair::new_account(), KeyPair::new_account());
    let user = KeyPair::new_user();
    let stranger = KeyPair::new_account();
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let of_account = json!({
        "type": "account", "version": 2, "limits": limits,
        "default_permissions": { "pub": {}, "sub": {} },
    });
    let of_user = json!({
        "type": "user", "version": 2, "pub": {}, "sub": {},
        "subs": -1, "data": -1, "payload": -1,
    });
    let nats = server(|_| {
        let own = jwt(
            &operator,
            &operator,
            &json!({ "type": "operator", "version": 2 }),
        );
        let keys = [&system, &account];
        let [system_key, account_key] = keys.map(KeyPair::public_key);
        // Nothing is kept for a system account.
        let of_system = json!({
            "type": "account", "version": 2,
            "limits": { "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
                        "wildcards": true, "conn": -1, "leaf": -1 },
            "default_permissions": { "pub": {}, "sub": {} },
        });
        let system_jwt = jwt(&operator, &system, &of_system);
        let account_jwt = jwt(&operator, &account, &of_account);
        format!(
            "operator: {own}\nsystem_account: {system_key}\nresolver: MEMORY\n\
             resolver_preload: {{ {system_key}: {system_jwt}, {account_key}: {account_jwt} }}"
        )
    });
    let credentials = |issuer: &KeyPair| {
        let token = jwt(issuer, &user, &of_user);
        let seed = user.seed().expect("a seed");
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    };
    let write = |name: &str, text: &str| {
        let file = nats.folder().join(name);
        fs::write(&file, text).expect("a file");
        format!("nats_creds = '{}'", file.display())
    };
    expect(&nats, &write("ours.creds", &credentials(&account)), 0);
    expect(&nats, &write("other.creds", &credentials(&stranger)), 3);
    expect(&nats, "", 3);
    let (code, told) = set_up(&nats, &write("broken.creds", "nothing"));
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.contains("nats_creds: ") && told.contains("cannot be used"),
        "{told}"
    );
}

/// An authority of its own, made for this test.
struct Authority(CertifiedIssuer<'static, CertificateKey>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = CertificateKey::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Writes the authority's certificate.
    fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, self.0.pem()).expect("a file");
        file
    }

    /// Writes a certificate that it signs, with its key.
    fn issue(&self, folder: &Path, name: &str, usage: ExtendedKeyUsagePurpose) -> [PathBuf; 2] {
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let mut params = CertificateParams::new(names).expect("names");
        params.extended_key_usages = vec![usage];
        let key = CertificateKey::generate().expect("a key");
        let signed = params.signed_by(&key, &self.0).expect("a certificate");
        let files = ["pem", "key"].map(|end| folder.join(format!("{name}.{end}")));
        fs::write(&files[0], signed.pem()).expect("a file");
        fs::write(&files[1], key.serialize_pem()).expect("a file");
        files
    }
}

#[test]
fn tls_and_a_certificate_of_our_own() {
    let (ours, other) = (Authority::new(), Authority::new());
    let block = |folder: &Path, rest: &str| {
        let ca = ours.write(folder, "ca");
        let [cert, key] = ours.issue(folder, "server", ExtendedKeyUsagePurpose::ServerAuth);
        let [ca, cert, key] = [ca, cert, key].map(|it| it.display().to_string());
        format!("tls {{ cert_file: '{cert}', key_file: '{key}', ca_file: '{ca}'{rest} }}")
    };
    let trusting = |ca: &Path| format!("nats_ca = '{}'\n", ca.display());
    let with = |[cert, key]: &[PathBuf; 2]| {
        format!(
            "nats_cert = '{}'\nnats_key = '{}'\n",
            cert.display(),
            key.display()
        )
    };

    let nats = server(|folder| block(folder, ""));
    let ca = nats.folder().join("ca.pem");
    let other_ca = other.write(nats.folder(), "other-ca");
    expect(&nats, &trusting(&ca), 0);
    expect(&nats, &trusting(&other_ca), 3);
    expect(&nats, "", 3);

    let nats = server(|folder| block(folder, ", verify: true"));
    let ca = nats.folder().join("ca.pem");
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let certificate = ours.issue(nats.folder(), "client", client.clone());
    let foreign = other.issue(nats.folder(), "foreign", client);
    expect(&nats, &(trusting(&ca) + &with(&certificate)), 0);
    expect(&nats, &trusting(&ca), 3);
    expect(&nats, &(trusting(&ca) + &with(&foreign)), 3);
}

/// A server without TLS, and somebody who insists on it.
#[test]
fn a_line_that_must_be_secured_is_not_used_in_the_clear() {
    let nats = NatsServer::start(&[]);
    let authority = Authority::new();
    let ca = authority.write(nats.folder(), "ca");
    expect(&nats, &format!("nats_ca = '{}'", ca.display()), 3);
}

const USERS: [&str; 6] = [
    "operator",
    "order",
    "inventory",
    "payment",
    "a4co",
    "reader",
];

/// A server with the users of the sample configuration, each with a password of its own.
fn sample() -> NatsServer {
    server(|_| {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/nats/users.conf");
        let mut text = fs::read_to_string(sample).expect("the sample's users");
        for user in USERS {
            let variable = format!("${}_NATS_PASSWORD", user.to_uppercase());
            assert!(text.contains(&variable), "{user}");
            text = text.replace(&variable, &format!("hunter-{user}"));
        }
        text
    })
}

fn user(name: &str) -> String {
    format!("nats_user = '{name}'\nnats_password = 'hunter-{name}'\n")
}

/// A process that leads one participant, as the sample's user for it.
fn process(nats: &NatsServer, role: &str) -> Server {
    let options = Options::new()
        .flag("--nats", &nats.url())
        .flag("--role", role)
        .flag("--lease", "2s");
    let file = options.scratch().join("a4co.toml");
    fs::write(file, user(role)).expect("a configuration");
    options.start()
}

#[test]
fn the_sample_lets_each_process_do_its_work_and_write_no_other_journal() {
    let nats = sample();
    expect(&nats, &user("operator"), 0);
    let processes = ["order", "inventory", "payment"].map(|role| process(&nats, role));
    let clients: Vec<Client> = processes.iter().map(Server::client).collect();
    clients[0].stock("cup", 100);
    for client in &clients {
        let order = client.order(&Order::of(&[("cup", 1)]));
        shop::expect_end(&order, "CONFIRMED", "COMPLETED");
    }

    let subjects = [
        ("order", "a4co.journal.order"),
        ("order", "$KV.a4co_leases.leader.order"),
        ("order", "orders.created"),
        ("inventory", "a4co.journal.inventory"),
        ("inventory", "$KV.a4co_leases.leader.inventory"),
        ("inventory", "inventory.reserved"),
        ("payment", "a4co.journal.payment"),
        ("payment", "$KV.a4co_leases.leader.payment"),
        ("payment", "payments.succeeded"),
        ("payment", "a4co.sandbox.books"),
        // Of nobody who runs a process.
        ("operator", "$JS.API.STREAM.DELETE.A4CO_JOURNAL_ORDER"),
        ("operator", "$JS.API.STREAM.PURGE.A4CO_JOURNAL_ORDER"),
        ("operator", "$JS.API.STREAM.UPDATE.A4CO_JOURNAL_ORDER"),
    ];
    for name in ["order", "inventory", "payment", "reader"] {
        for (owner, subject) in subjects.iter().filter(|(owner, _)| *owner != name) {
            let refused = nats.try_publish(name, &format!("hunter-{name}"), subject, b"{}");
            let why = refused.expect_err("a message that was taken");
            assert!(
                why.contains("Permissions Violation for Publish"),
                "{name} to {subject} of {owner}: {why}"
            );
        }
    }
    // A consumer gives up on what it cannot read, and a person gives it back.
    nats.try_publish("operator", "hunter-operator", "orders.created", b"no event")
        .expect("a person may publish");
    let as_user = |name: &str, arguments: &[&str]| {
        let file = nats.folder().join(format!("{name}.toml"));
        fs::write(&file, user(name)).expect("a configuration");
        let (file, url) = (file.to_string_lossy().into_owned(), nats.url());
        let output = run(&[&["--config", &file], arguments, &["--nats", &url]].concat());
        assert!(output.status.success(), "{name}: {}", said(&output));
        said(&output)
    };
    // Three orders of four events each, before it.
    let tail = ["events", "tail", "--durable", "audit", "--stream", "ORDERS"];
    as_user("reader", &[&tail[..], &["--count", "13"]].concat());
    let letters = as_user("operator", &["events", "dead-letters"]);
    assert!(letters.contains("\"consumer\":\"audit\""), "{letters}");
    as_user("operator", &["events", "replay", "1"]);
    assert_eq!(as_user("operator", &["events", "dead-letters"]), "");
    // Nobody's journal was touched: every process goes on.
    for client in &clients {
        let order = client.order(&Order::of(&[("cup", 1)]));
        shop::expect_end(&order, "CONFIRMED", "COMPLETED");
    }
    let file = nats.folder().join("a4co.toml");
    let file = file.to_string_lossy().into_owned();
    let url = nats.url();
    let checked = run(&["--config", &file, "verify", "--nats", &url]);
    assert_eq!(checked.status.code(), Some(0), "{}", said(&checked));
}
