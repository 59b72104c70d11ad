//! The built provider as go-plugin's client sees it: handshake, doors, signals, ends. See
//! `client.rs`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flatcar::protocol::health::{HealthCheckRequest, HealthCheckResponse, health_check_response};
use flatcar::protocol::plugin::StdioData;
use flatcar::protocol::tfplugin6 as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tonic::Code;

use crate::client::{
    ClientCertificate, Plugin, Setup, call, connect, dynamic, object, object_type, soon,
};
use crate::harness::{scratch, wait_until};

#[tokio::test]
async fn without_a_cookie_it_says_what_it_is() {
    for setup in [
        Setup::bare(),
        Setup::bare().set("TF_PLUGIN_MAGIC_COOKIE", ""),
        Setup::bare().set("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f"),
    ] {
        let output = soon("the exit", setup.spawn().wait_with_output())
            .await
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("This is a plugin of Terraform and OpenTofu"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn the_command_line_knows_two_words() {
    for word in ["-version", "--version"] {
        let output = soon(
            "the exit",
            Setup::bare().argument(word).spawn().wait_with_output(),
        )
        .await
        .unwrap();
        assert!(output.status.success());
        let version = concat!(
            "terraform-provider-flatcar v",
            env!("CARGO_PKG_VERSION"),
            "\n"
        );
        assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
    }
    let output = soon(
        "the exit",
        Setup::core().argument("serve").spawn().wait_with_output(),
    )
    .await
    .unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    assert!(String::from_utf8(output.stderr).unwrap().contains("-debug"));
}

#[tokio::test]
async fn the_first_line_says_where_it_listens_and_nothing_follows() {
    let plugin = Setup::core().set("TF_LOG", "trace").start().await;
    let fields: Vec<String> = plugin.line.split('|').map(str::to_owned).collect();
    let [core, protocol, network, address, kind, certificate] = fields.as_slice() else {
        panic!("{fields:?}");
    };
    assert_eq!([core, protocol, network, kind], ["1", "6", "unix", "grpc"]);
    assert!(certificate.len() > 50 && !certificate.contains('='));
    let socket = Path::new(address);
    let directory = socket.parent().unwrap().to_owned();
    assert_eq!(
        std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777,
        0o700
    );
    plugin.schemas().await;
    let ended = plugin.shutdown().await;
    assert_eq!(ended.stdout, "");
    assert!(!directory.exists());
}

#[tokio::test]
async fn only_who_asks_for_a_seventh_field_gets_one() {
    for (asked, last) in [("", "grpc"), ("true", "false"), ("false", "false")] {
        let setup = Setup::without_certificate().set("PLUGIN_MULTIPLEX_GRPC", asked);
        let plugin = setup.start_unconnected().await;
        let fields: Vec<&str> = plugin.line.split('|').collect();
        assert_eq!(fields.len(), if asked.is_empty() { 6 } else { 7 });
        assert_eq!(
            fields.iter().rfind(|field| !field.is_empty()),
            Some(&last),
            "{asked}"
        );
    }
}

#[tokio::test]
async fn without_a_certificate_of_the_core_there_is_none_of_ours() {
    let plugin = Setup::without_certificate().start().await;
    assert_eq!(plugin.field(5), "");
    assert!(plugin.schemas().await.provider.is_some());
    assert!(plugin.shutdown().await.status.success());
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_at_once() {
    let setup = Setup::without_certificate().set("PLUGIN_CLIENT_CERT", "nonsense");
    let output = soon("the exit", setup.spawn().wait_with_output())
        .await
        .unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("PLUGIN_CLIENT_CERT is no certificate")
    );
}

#[tokio::test]
async fn only_the_core_that_started_it_comes_in() {
    let plugin = Setup::core().set("TF_LOG_SDK", "warn").start().await;
    let foreign = ClientCertificate::new();
    // It may have seen the certificate, but it has not its key.
    let stolen = plugin.certificate().with_key_of(&foreign);
    for certificate in [None, Some(&foreign), Some(&stolen)] {
        assert!(plugin.connect(certificate).await.is_err());
    }
    assert!(
        connect(&plugin.socket(), None).await.is_err(),
        "without TLS"
    );
    assert!(plugin.schemas().await.provider.is_some());

    // Why, only the log tells: an alert may come too late to be read.
    let log = plugin.shutdown().await.log;
    for reason in [
        "no certificates",
        "UnknownIssuer",
        "BadSignature",
        "corrupt message",
    ] {
        assert!(
            log.lines()
                .any(|line| line.contains("refused") && line.contains(reason)),
            "{reason}: {log}"
        );
    }
}

#[tokio::test]
async fn garbage_on_the_socket_ends_that_connection_alone() {
    for setup in [Setup::core(), Setup::without_certificate()] {
        let plugin = setup.start_unconnected().await;
        for garbage in [
            &b""[..],
            b"\0",
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x16\x03\x01\x02\x00\x01\xff\xff\xff",
            &[0xa5; 100_000],
        ] {
            let mut stream = UnixStream::connect(plugin.socket()).await.unwrap();
            // It may hang up before it has heard everything.
            let _ = stream.write_all(garbage).await;
            let _ = stream.shutdown().await;
            let _ = soon(
                "the end of the connection",
                stream.read_to_end(&mut Vec::new()),
            )
            .await;
        }
        // One that never says anything keeps nobody waiting.
        let _silent = UnixStream::connect(plugin.socket()).await.unwrap();
        let plugin = plugin.connected().await;
        assert!(plugin.schemas().await.provider.is_some());
        assert!(plugin.shutdown().await.status.success());
    }
}

#[tokio::test]
async fn shutdown_waits_for_no_stream() {
    let plugin = Plugin::start().await;
    let mut stdio = plugin
        .stream::<(), StdioData>("/plugin.GRPCStdio/StreamStdio", ())
        .await
        .unwrap();
    let watch = HealthCheckRequest {
        service: "plugin".to_owned(),
    };
    let mut watch = plugin
        .stream::<_, HealthCheckResponse>("/grpc.health.v1.Health/Watch", watch)
        .await
        .unwrap();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        health_check_response::ServingStatus::Serving
    );
    let directory = plugin.socket().parent().unwrap().to_owned();

    let ended = plugin.shutdown().await;
    assert_eq!(ended.status.code(), Some(0));
    assert!(!directory.exists());
    // Nothing was ever sent: core would log it as a fault of ours.
    assert!(!matches!(stdio.message().await, Ok(Some(_))));
}

#[tokio::test]
async fn sigint_belongs_to_the_core() {
    let plugin = Plugin::start().await;
    for _ in 0..3 {
        plugin.signal("INT");
    }
    assert!(plugin.schemas().await.provider.is_some());
    assert!(plugin.shutdown().await.status.success());
}

#[tokio::test]
async fn sigterm_ends_it_cleanly() {
    let plugin = Plugin::start().await;
    let directory = plugin.socket().parent().unwrap().to_owned();
    plugin.signal("TERM");
    let ended = plugin.ended().await;
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(0), ""));
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_core_that_is_gone_leaves_no_provider_behind() {
    let mut plugin = Plugin::start().await;
    let directory = plugin.socket().parent().unwrap().to_owned();
    plugin.hang_up();
    assert_eq!(plugin.ended().await.status.code(), Some(0));
    assert!(!directory.exists());
}

#[tokio::test]
async fn a_message_of_a_hundred_mebibytes_is_served() {
    let plugin = Plugin::start().await;
    let mut kind = object_type(plugin.schemas().await.provider.as_ref().unwrap());
    let flatcar::protocol::value::Type::Object(attributes) = &mut kind else {
        panic!("{kind:?}")
    };
    assert!(attributes.contains_key("release_server"));
    let config = object(
        &format!(
            r#"{{"release_server":{{"url":"file:///{}"}}}}"#,
            "x".repeat(100 << 20)
        ),
        &kind,
    );
    let request = pb::validate_provider_config::Request {
        config: Some(dynamic(&config, &kind)),
    };
    let answer: pb::validate_provider_config::Response = plugin
        .call("/tfplugin6.Provider/ValidateProviderConfig", request)
        .await
        .unwrap();
    assert_eq!(answer.diagnostics, vec![]);
}

#[tokio::test]
async fn health_knows_the_service_named_plugin() {
    let plugin = Plugin::start().await;
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in ["plugin", ""] {
        let answer: HealthCheckResponse = plugin
            .call("/grpc.health.v1.Health/Check", check(service))
            .await
            .unwrap();
        assert_eq!(
            answer.status(),
            health_check_response::ServingStatus::Serving
        );
    }
    let unknown = plugin
        .call::<_, HealthCheckResponse>("/grpc.health.v1.Health/Check", check("x"))
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_unimplemented() {
    let plugin = Plugin::start().await;
    for path in [
        "/tfplugin6.Provider/GetStates",
        "/tfplugin6.Provider/NoSuchCall",
        "/no.such.Service/Call",
    ] {
        let answer = plugin
            .call::<_, pb::get_states::Response>(path, pb::get_states::Request::default())
            .await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn the_socket_lies_where_it_is_asked_to() {
    let parent = scratch();
    let place = parent.path().to_str().unwrap();
    let plugin = Setup::core()
        .set("PLUGIN_UNIX_SOCKET_DIR", place)
        .start()
        .await;
    assert!(plugin.socket().starts_with(parent.path()));
    assert!(plugin.shutdown().await.status.success());
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);

    let long = parent.path().join("x".repeat(100));
    std::fs::create_dir(&long).unwrap();
    let setup = Setup::core().set("PLUGIN_UNIX_SOCKET_DIR", long.to_str().unwrap());
    let output = soon("the exit", setup.spawn().wait_with_output())
        .await
        .unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("the path is too long for a socket")
    );

    // Nobody asked for the temporary directory in particular.
    let plugin = Setup::core()
        .set("TMPDIR", long.to_str().unwrap())
        .start()
        .await;
    assert!(plugin.socket().starts_with("/tmp"));
    assert!(plugin.shutdown().await.status.success());
}

#[tokio::test]
async fn every_line_of_the_log_is_what_the_cores_parse() {
    for (setup, spoke) in [
        (Setup::core().set("TF_LOG", "trace"), true),
        (Setup::core().set("TF_LOG_SDK", "debug"), true),
        (Setup::core(), false),
        (Setup::core().set("TF_LOG", "error"), false),
    ] {
        let plugin = setup.start().await;
        plugin.schemas().await;
        let log = plugin.shutdown().await.log;
        assert_eq!(!log.is_empty(), spoke, "{log}");
        for line in log.lines() {
            let entry: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(line).unwrap();
            for key in ["@level", "@message", "@module", "@timestamp"] {
                assert!(entry.contains_key(key), "{line}");
            }
            assert!(entry.values().all(serde_json::Value::is_string), "{line}");
            let timestamp = entry["@timestamp"].as_str().unwrap();
            assert_eq!(
                (timestamp.len(), &timestamp[19..20], &timestamp[26..]),
                (27, ".", "Z"),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn a_provider_started_by_hand_serves_one_core_after_another() {
    let mut plugin = Setup::bare().argument("-debug").start_unconnected().await;
    plugin.next_line().await;
    let line = plugin.next_line().await;
    let json = line
        .trim_end()
        .strip_prefix("TF_REATTACH_PROVIDERS='")
        .and_then(|rest| rest.strip_suffix('\''));
    let entries: serde_json::Value = serde_json::from_str(json.unwrap()).unwrap();
    let entry = &entries["registry.terraform.io/flatcar-iac/flatcar"];
    assert_eq!(entry["Protocol"], "grpc");
    assert_eq!(entry["ProtocolVersion"], 6);
    assert_eq!(entry["Pid"], plugin.pid());
    assert_eq!(entry["Test"], true);
    assert_eq!(entry["Addr"]["Network"], "unix");
    let socket = Path::new(entry["Addr"]["String"].as_str().unwrap());

    for server in [
        "https://a.example/{channel}/{arch}",
        "https://b.example/{channel}/{arch}",
    ] {
        let channel = connect(socket, None).await.unwrap();
        let schemas: pb::get_provider_schema::Response = call(
            &channel,
            "/tfplugin6.Provider/GetProviderSchema",
            pb::get_provider_schema::Request {},
        )
        .await
        .unwrap();
        let kind = object_type(schemas.provider.as_ref().unwrap());
        let config = object(
            &format!(r#"{{"release_server":{{"url":"{server}"}}}}"#),
            &kind,
        );
        let request = pb::configure_provider::Request {
            config: Some(dynamic(&config, &kind)),
            ..Default::default()
        };
        let answer: pb::configure_provider::Response =
            call(&channel, "/tfplugin6.Provider/ConfigureProvider", request)
                .await
                .unwrap();
        assert_eq!(answer.diagnostics, vec![]);
    }
    plugin.signal("INT");
    let directory = socket.parent().unwrap().to_owned();
    assert!(plugin.ended().await.status.success());
    wait_until("the directory is gone", || {
        (!directory.exists()).then_some(())
    });
}
