//! Who is let in: the administrator's token, tokens of the database, and nobody else.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{
    admin::FILE,
    credentials::{CredentialError, Credentials, Holder},
    *,
};

fn open(folder: &Path) -> Result<Access, AccessError> {
    with(folder, Rules::default())
}

fn with(folder: &Path, rules: Rules) -> Result<Access, AccessError> {
    Access::open(folder, Database::open(folder).unwrap(), rules)
}

fn headers(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    headers
}

#[test]
fn the_token_is_made_once_for_its_owner_alone_and_opens_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let access = open(folder.path()).unwrap();
    let token = fs::read_to_string(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let aside = folder.path().join("admin.token.new");
    assert!(!aside.exists(), "nothing left aside");
    let bearer = headers(&format!("Bearer {}", token.trim()));
    assert_eq!(access.require(&bearer, Role::Admin).unwrap().name, "admin");

    let again = open(folder.path()).unwrap();
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        token,
        "a restart keeps it"
    );
    assert!(again.require(&bearer, Role::Operator).is_ok());
    let other = tempfile::tempdir().unwrap();
    assert!(
        open(other.path())
            .unwrap()
            .require(&bearer, Role::Viewer)
            .is_err()
    );
}

#[test]
fn without_a_token_one_may_look_but_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(folder.path()).unwrap();
    let none = HeaderMap::new();
    assert_eq!(
        access.require(&none, Role::Viewer).unwrap().role,
        Role::Viewer
    );
    assert_eq!(access.require(&none, Role::Operator), Err(Denied::Absent));
    for wrong in ["Bearer ", "Bearer nonsense", "Basic YTpi", "bearer"] {
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            assert_eq!(
                access.require(&headers(wrong), role),
                Err(Denied::Unknown),
                "{wrong}"
            );
        }
    }
}

#[test]
fn a_token_that_others_could_read_or_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    open(folder.path()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = open(folder.path()).err().unwrap().to_string();
    assert!(
        error.contains("mode 644") && error.contains("remove it"),
        "{error}"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "\n").unwrap();
    assert!(matches!(open(folder.path()), Err(AccessError::Empty(_))));
}

#[test]
fn a_lower_role_is_told_what_it_lacks() {
    let denied = Denied::Role {
        needed: Role::Admin,
        has: Role::Operator,
    };
    assert_eq!(
        denied.to_string(),
        "this needs the role admin, and you are operator"
    );
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
}

#[test]
fn where_looking_needs_a_token_a_browsers_password_may_be_it() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules {
        read: true,
        send: false,
    };
    let access = with(folder.path(), rules).unwrap();
    let none = HeaderMap::new();
    assert_eq!(access.require(&none, Role::Viewer), Err(Denied::Absent));
    let token = fs::read_to_string(folder.path().join(FILE)).unwrap();
    let password = BASE64_STANDARD.encode(format!("anyone:{}", token.trim()));
    let basic = headers(&format!("Basic {password}"));
    assert_eq!(access.require(&basic, Role::Admin), Ok(Actor::admin()));
}

#[tokio::test]
async fn a_token_opens_what_its_scope_says_until_it_is_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(folder.path()).unwrap();
    // Another connection, as that of the command line in a process of its own.
    let keeper = Credentials::open(folder.path()).unwrap();
    let reader = keeper.create(Holder::Reader("ann".into())).await.unwrap();
    let admin = keeper.create(Holder::Admin("bob".into())).await.unwrap();
    let fleet = keeper.create(Holder::Fleet("kiosks".into())).await.unwrap();
    let ask = |token: &str, role| access.require(&headers(&format!("Bearer {token}")), role);
    assert_eq!(ask(&reader.token, Role::Viewer), Err(Denied::Unknown));

    access.refresh().await.unwrap();
    assert_eq!(ask(&reader.token, Role::Viewer).unwrap().name, "ann");
    let denied = Denied::Role {
        needed: Role::Operator,
        has: Role::Viewer,
    };
    assert_eq!(ask(&reader.token, Role::Operator), Err(denied));
    assert_eq!(ask(&admin.token, Role::Admin).unwrap().name, "bob");
    assert_eq!(ask(&fleet.token, Role::Viewer), Err(Denied::SendsOnly));
    // The right key with a wrong secret, and the right secret cut short.
    let wrong = format!("fathomline_{}_{}", reader.key, "A".repeat(43));
    assert_eq!(ask(&wrong, Role::Viewer), Err(Denied::Unknown));
    let cut = &reader.token[..reader.token.len() - 1];
    assert_eq!(ask(cut, Role::Viewer), Err(Denied::Unknown));

    keeper.revoke_token(&reader.key).await.unwrap();
    access.refresh().await.unwrap();
    assert_eq!(ask(&reader.token, Role::Viewer), Err(Denied::Revoked));
    assert!(
        ask(&admin.token, Role::Admin).is_ok(),
        "others are not touched"
    );
    let again = keeper.revoke_token(&reader.key).await;
    assert!(matches!(again, Err(CredentialError::NoToken(_))));
}

#[tokio::test]
async fn secrets_are_in_no_file_and_every_change_is_in_the_audit() {
    let folder = tempfile::tempdir().unwrap();
    let access = open(folder.path()).unwrap();
    let keeper = Credentials::open(folder.path()).unwrap();
    let token = keeper.create(Holder::Fleet("f".into())).await.unwrap();
    let own = keeper.enrol("d-1", Some("f")).await.unwrap();
    keeper.revoke_device("d-1").await.unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        for secret in [&token.token, &own.token] {
            let end = secret.splitn(3, '_').nth(2).unwrap().as_bytes();
            assert!(!bytes.windows(end.len()).any(|part| part == end));
        }
    }
    let listed = serde_json::to_string(&keeper.tokens().await.unwrap()).unwrap();
    assert!(
        !listed.contains("digest") && listed.contains(&token.key),
        "{listed}"
    );
    let actions = access.database.transact(|t| {
        let mut rows = t.prepare("SELECT action, subject FROM audit ORDER BY id")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<Vec<(String, String)>>>()?)
    });
    let pair = |action: &str, subject: &str| (action.to_owned(), subject.to_owned());
    let wanted = [
        pair("token.create", &token.key),
        pair("device.enrol", "d-1"),
        pair("device.revoke", "d-1"),
    ];
    assert_eq!(actions.await.unwrap(), wanted);
}

#[tokio::test]
async fn a_device_is_enrolled_once_and_comes_back_only_by_an_operator() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Credentials::open(folder.path()).err().unwrap().to_string();
    assert!(missing.contains("--data"), "{missing}");
    open(folder.path()).unwrap();
    let keeper = Credentials::open(folder.path()).unwrap();
    keeper.enrol("d-1", Some("f")).await.unwrap();
    let again = keeper.enrol("d-1", None).await;
    assert!(matches!(again, Err(CredentialError::Enrolled(_))));
    keeper.create(Holder::Device("d-1".into())).await.unwrap();
    assert_eq!(keeper.revoke_device("d-1").await.unwrap(), 2);
    let another = keeper.create(Holder::Device("d-1".into())).await;
    assert!(matches!(another, Err(CredentialError::Revoked(_))));
    keeper.enrol("d-1", None).await.unwrap();
    let devices = keeper.devices().await.unwrap();
    assert_eq!(devices[0].fleet.as_deref(), Some("f"), "it keeps its fleet");
    assert_eq!(devices[0].revoked_us, None);
    for name in ["", "a b", "ü", &"x".repeat(65)] {
        let refused = keeper.enrol(name, None).await;
        assert!(matches!(refused, Err(CredentialError::Name(_))), "{name}");
    }
}
