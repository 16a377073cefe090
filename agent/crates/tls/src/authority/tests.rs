//! The authority on disk, the shape of what it signs, and that its limits bind clients that are not ours.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, SanType};
use rustls::client::{WebPkiServerVerifier, danger::ServerCertVerifier};
use rustls_pki_types::UnixTime;
use x509_parser::extensions::ParsedExtension;

use super::*;
use crate::{
    leaves::Minted,
    profile::{BACKDATED, LEAF_LIFE},
    testing::{HOST, authority, name},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn it_is_made_once_and_loaded_with_what_it_was_made_for() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, now) = (dir.path().join("state/ca"), SystemTime::now());
    let permitted = [name(HOST), name("other.snowflakecomputing.com")];
    let made = Authority::create(&ca, &permitted, now).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&ca), mode(&ca.join(KEY_FILE)), mode(&ca.join(CERTIFICATE_FILE))),
        (0o700, 0o600, 0o644)
    );
    assert!(matches!(Authority::create(&ca, &permitted, now), Err(AuthorityError::Exists(_))));
    let loaded = Authority::load(&ca).unwrap();
    assert_eq!((loaded.root_pem(), loaded.permitted()), (made.root_pem(), permitted.as_slice()));
    assert!(loaded.valid_until() > now + 9 * 365 * DAY);
    assert!(!format!("{loaded:?}").contains("KEY"));
}

#[test]
fn it_is_not_made_for_no_name_or_at_an_impossible_time() {
    let dir = tempfile::tempdir().unwrap();
    let create = |permitted: &[HostName], now| Authority::create(&dir.path().join("ca"), permitted, now);
    assert!(matches!(create(&[], SystemTime::now()), Err(AuthorityError::NoNames)));
    assert!(matches!(create(&[name(HOST)], UNIX_EPOCH), Err(AuthorityError::Clock)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_authority_is_refused_by_what_is_wrong_with_it() {
    let other = authority();
    let other = other.0.path().join("ca");
    let unlimited = |ca: &Path| {
        let key = KeyPair::from_pem(&fs::read_to_string(ca.join(KEY_FILE)).unwrap()).unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(ca.join(CERTIFICATE_FILE), params.self_signed(&key).unwrap().pem()).unwrap();
    };
    let no_authority = |ca: &Path| {
        let key = KeyPair::from_pem(&fs::read_to_string(ca.join(KEY_FILE)).unwrap()).unwrap();
        let params = CertificateParams::new(vec![HOST.to_owned()]).unwrap();
        fs::write(ca.join(CERTIFICATE_FILE), params.self_signed(&key).unwrap().pem()).unwrap();
    };
    type Damage<'a> = (&'a dyn Fn(&Path), fn(&AuthorityError) -> bool);
    let damages: [Damage<'_>; 9] = [
        (&|ca| fs::remove_file(ca.join(KEY_FILE)).unwrap(), |e| matches!(e, AuthorityError::Missing(_))),
        (&|ca| fs::remove_dir_all(ca).unwrap(), |e| matches!(e, AuthorityError::Missing(_))),
        (&|ca| fs::write(ca.join(CERTIFICATE_FILE), "x").unwrap(), |e| {
            matches!(e, AuthorityError::Malformed(_))
        }),
        (&|ca| fs::write(ca.join(KEY_FILE), "x").unwrap(), |e| matches!(e, AuthorityError::Malformed(_))),
        (&|ca| fs::set_permissions(ca.join(KEY_FILE), fs::Permissions::from_mode(0o640)).unwrap(), |e| {
            matches!(e, AuthorityError::KeyExposed { mode: 0o640, .. })
        }),
        (&|ca| assert!(fs::copy(other.join(CERTIFICATE_FILE), ca.join(CERTIFICATE_FILE)).is_ok()), |e| {
            matches!(e, AuthorityError::NotAPair(_))
        }),
        (&unlimited, |e| matches!(e, AuthorityError::Unlimited(_))),
        (&no_authority, |e| matches!(e, AuthorityError::Malformed(_))),
        (
            &|ca| {
                fs::remove_file(ca.join(KEY_FILE)).unwrap();
                symlink(other.join(KEY_FILE), ca.join(KEY_FILE)).unwrap();
            },
            |e| matches!(e, AuthorityError::Malformed(_)),
        ),
    ];
    for (number, (damage, expected)) in damages.iter().enumerate() {
        let dir = authority().0;
        let ca = dir.path().join("ca");
        damage(&ca);
        let error = Authority::load(&ca).unwrap_err();
        assert!(expected(&error), "damage {number}: {error}");
    }
}

#[test]
fn an_interrupted_creation_is_named_and_its_key_kept() {
    let dir = authority().0;
    let ca = dir.path().join("ca");
    fs::remove_file(ca.join(CERTIFICATE_FILE)).unwrap();
    let key = fs::read(ca.join(KEY_FILE)).unwrap();
    let error = Authority::create(&ca, &[name(HOST)], SystemTime::now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Interrupted(_)), "{error}");
    assert_eq!(fs::read(ca.join(KEY_FILE)).unwrap(), key);
}

#[test]
fn the_chain_has_the_shape_that_every_driver_takes() {
    let (_dir, authority) = authority();
    let now = SystemTime::now();
    let leaf = authority.leaf(&name(HOST), now).unwrap();
    assert_eq!(leaf.cert.len(), 2, "leaf and intermediate, not the root");
    let parsed: Vec<_> = [&leaf.cert[0], &leaf.cert[1], authority.root_der()]
        .map(|der| X509Certificate::from_der(der).unwrap().1)
        .into();
    let [leaf, intermediate, root] = parsed.as_slice() else { panic!("three certificates") };

    let days = |c: &X509Certificate<'_>| {
        c.validity().time_to_expiration().map(|d| d.whole_seconds() as f64 / 86_400.0)
    };
    for (certificate, life) in [(leaf, 3.0), (intermediate, 5.0), (root, 3650.0)] {
        let left = days(certificate).unwrap();
        assert!(left < life - 0.04 && left > life - 0.05, "{left} of {life}: backdated by an hour");
        let oid = certificate.public_key().algorithm.parameters.as_ref().unwrap().as_oid().unwrap();
        assert_eq!(oid.to_id_string(), "1.2.840.10045.3.1.7", "P-256");
        assert!(certificate.extended_key_usage().unwrap().unwrap().value.server_auth);
        for extension in certificate.extensions() {
            let name = format!("{:?}", extension.parsed_extension());
            assert!(
                !name.starts_with("AuthorityInfoAccess") && !name.starts_with("CRLDistribution"),
                "{name}"
            );
            assert!(!matches!(extension.parsed_extension(), ParsedExtension::UnsupportedExtension { .. }));
        }
    }
    assert!(!leaf.is_ca() && leaf.subject().iter().next().is_none());
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical);
    assert_eq!(san.value.general_names, [GeneralName::DNSName(HOST)]);
    for (certificate, length) in [(intermediate, 0), (root, 1)] {
        assert_eq!(certificate.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(length));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        let limits = certificate.name_constraints().unwrap().unwrap();
        assert!(limits.critical);
        assert_eq!(limits.value.permitted_subtrees.as_ref().unwrap()[0].base, GeneralName::DNSName(HOST));
        assert_eq!(limits.value.excluded_subtrees.as_ref().unwrap().len(), 2);
    }
}

#[test]
fn a_name_is_asked_for_in_lower_case_and_only_below_what_is_permitted() {
    let (_dir, authority) = authority();
    let ask = |text: &str| authority.leaf(&name(text), SystemTime::now());
    assert!(Arc::ptr_eq(&ask(HOST).unwrap(), &ask("ACME.SnowflakeComputing.COM").unwrap()));
    assert!(ask("xy_1.acme.snowflakecomputing.com").is_ok());
    for bad in ["snowflakecomputing.com", "evilacme.snowflakecomputing.com", "example.org"] {
        assert!(matches!(ask(bad), Err(LeafError::NotPermitted(_))), "{bad}");
    }
}

#[test]
fn the_intermediate_is_rotated_in_time_and_ends_with_the_root() {
    let (_dir, authority) = authority();
    let now = SystemTime::now();
    let chain = |after: Duration| authority.leaf(&name(HOST), now + after).unwrap().cert.clone();
    let (first, second, third) = (chain(Duration::ZERO), chain(DAY * 2), chain(DAY * 4));
    assert!(first[0] != second[0] && first[1] == second[1], "a new leaf of the same intermediate");
    assert!(second[0] != third[0] && second[1] != third[1], "a new intermediate past half of its life");
    for (after, chain) in [(DAY * 2, second), (DAY * 4, third)] {
        for der in &chain {
            let until = time(X509Certificate::from_der(der).unwrap().1.validity().not_after).unwrap();
            let left = until.duration_since(now + after).unwrap();
            assert!(left > LEAF_LIFE / 2, "{left:?} left");
        }
    }

    let last = authority.valid_until() - DAY;
    let leaf = authority.leaf(&name(HOST), last).unwrap();
    for der in &leaf.cert {
        let until = time(X509Certificate::from_der(der).unwrap().1.validity().not_after).unwrap();
        assert_eq!(until, authority.valid_until());
    }
    for outside in [authority.valid_until() + LEAF_LIFE, now - 2 * BACKDATED] {
        assert!(matches!(authority.leaf(&name(HOST), outside), Err(LeafError::Validity { .. })));
    }
}

/// What `openssl verify` says about a leaf when it trusts the root and nothing else, with all of its strictness.
fn openssl_says(authority: &Authority, minted: &Minted, host: &[&str]) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let pem = |der: &[u8]| {
        let mut child = Command::new("openssl")
            .args(["x509", "-inform", "DER"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("needs openssl in PATH");
        io::Write::write_all(child.stdin.as_mut().unwrap(), der).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    fs::write(dir.path().join("root"), authority.root_pem()).unwrap();
    fs::write(dir.path().join("intermediate"), pem(&minted.key.cert[1])).unwrap();
    fs::write(dir.path().join("leaf"), pem(&minted.key.cert[0])).unwrap();
    let output = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-no-CApath",
            "-no-CAstore",
            "-CAfile",
            "root",
        ])
        .args(["-untrusted", "intermediate"])
        .args(host)
        .arg("leaf")
        .current_dir(dir.path())
        .output()
        .unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8(output.stderr).unwrap()) }
}

/// What rustls' verifier says about a leaf when it trusts the root and nothing else.
fn rustls_says(authority: &Authority, minted: &Minted, host: &str) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.root_der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let [leaf, intermediates @ ..] = minted.key.cert.as_slice() else { panic!("no leaf") };
    let host = host.to_owned().try_into().unwrap();
    verifier.verify_server_cert(leaf, intermediates, &host, &[], UnixTime::now()).map(drop)
}

#[test]
fn clients_take_the_chain_and_hold_it_to_its_limits() {
    let (_dir, authority) = authority();
    let now = SystemTime::now();
    let intermediate = authority.intermediate(now).unwrap();
    let mint = |text: &str| intermediate.mint(&name(text), now).unwrap();
    for good in [HOST, "a.acme.snowflakecomputing.com", "x_1.acme.snowflakecomputing.com"] {
        openssl_says(&authority, &mint(good), &["-verify_hostname", good]).unwrap();
        rustls_says(&authority, &mint(good), good).unwrap();
    }
    let wrong_host = openssl_says(&authority, &mint(HOST), &["-verify_hostname", "example.org"]).unwrap_err();
    assert!(wrong_host.contains("hostname mismatch"), "{wrong_host}");

    // What a thief of the keys could sign.
    for stolen in ["example.org", "snowflakecomputing.com", "xacme.snowflakecomputing.com"] {
        let error = openssl_says(&authority, &mint(stolen), &[]).unwrap_err();
        assert!(error.contains("permitted subtree violation"), "{stolen}: {error}");
        let error = rustls_says(&authority, &mint(stolen), stolen).unwrap_err().to_string();
        assert!(error.contains("NameConstraintViolation"), "{stolen}: {error}");
    }
    let validity = Validity::starting(now, LEAF_LIFE).unwrap();
    let mut address = profile::leaf(validity, &name(HOST)).unwrap();
    address.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let error = openssl_says(&authority, &intermediate.sign(&address, validity).unwrap(), &[]).unwrap_err();
    assert!(error.contains("excluded subtree violation"), "{error}");
}
