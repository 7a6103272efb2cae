//! The gateway's own count, read beside a look.

use super::*;

/// A gateway and its page of metrics, at one port.
async fn exposing(page: &'static str) -> Server {
    Server::start(move |mut stream, seen| async move {
        let request = read_head(&mut stream).await;
        if request.starts_with("GET /metrics ") {
            let _ = stream.write_all(page.as_bytes()).await;
            let _ = stream.shutdown().await;
            return read_to_end(&mut stream).await;
        }
        seen.requests.lock().unwrap().push(request.clone());
        stream.write_all(accepted(&request, "").as_bytes()).await.unwrap();
        behave(stream, Arc::default()).await;
    })
    .await
}

fn loaded(server: &Server) -> Prober {
    let metrics = server.url("/metrics");
    configured(server, serde_json::json!({"load": {"metrics": metrics, "gauge": "ws_connections", "hard": 800}}))
}

const PAGE: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n# TYPE ws_connections gauge\nws_connections 200\n";

#[tokio::test]
async fn the_load_is_read_beside_each_look_and_kept_over_a_restart() {
    let server = exposing(PAGE).await;
    let mut prober = loaded(&server);
    let report = look(&mut prober).await;
    assert_eq!((report.failure.as_ref(), &report.warnings), (None, &Vec::new()));
    for (name, wanted) in [
        ("watchkeeper_websocket_load_known", 1.0),
        ("watchkeeper_websocket_connections", 200.0),
        ("watchkeeper_websocket_connections_peak", 200.0),
        ("watchkeeper_websocket_connections_soft_limit", 500.0),
        ("watchkeeper_websocket_connections_hard_limit", 800.0),
        ("watchkeeper_websocket_saturation_ratio", 0.25),
    ] {
        assert_eq!(value(&report, name), Some(wanted), "{name}");
    }
    let memory = report.memory.expect("the first value is kept").replace(":200", ":730");
    assert_eq!(look(&mut prober).await.memory, None, "nothing has changed");
    let mut restarted = loaded(&server);
    restarted.recall(&memory);
    assert_eq!(value(&look(&mut restarted).await, "watchkeeper_websocket_connections_peak"), Some(730.0));
}

#[tokio::test]
async fn a_load_that_cannot_be_read_is_unknown_and_no_outage() {
    for (page, part) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "status 404"),
        ("HTTP/1.1 200 OK\r\n\r\nother 1\n", "no series ws_connections"),
        ("HTTP/1.1 200 OK\r\n\r\nws_connections NaN\n", "no count"),
        ("HTTP/1.1 200 OK\r\n\r\nws_connections -1\n", "no count"),
        ("HTTP/1.1 200 OK\r\n\r\n<html>\n", "line 1"),
        ("HTTP/1.1 200 OK\r\n\r\n\u{0}\u{7f}", "line 1"),
        ("", "closed"),
    ] {
        let report = look(&mut loaded(&exposing(page).await)).await;
        assert_eq!(report.failure, None);
        assert!(report.warnings[0].contains(part), "{part}: {:?}", report.warnings);
        assert_eq!(value(&report, "watchkeeper_websocket_load_known"), Some(0.0));
        assert_eq!(value(&report, "watchkeeper_websocket_connections"), None);
        assert_eq!(value(&report, "watchkeeper_websocket_saturation_ratio"), None);
        assert_eq!(value(&report, "watchkeeper_websocket_connections_hard_limit"), Some(800.0));
        assert_eq!(report.memory, None);
    }
}

/// Answers this status to an upgrade, and has so many connections.
async fn refusing(status: &'static str, connections: u32) -> Server {
    Server::start(move |mut stream, _| async move {
        let request = read_head(&mut stream).await;
        let answer = match request.starts_with("GET /metrics ") {
            true => format!("HTTP/1.1 200 OK\r\n\r\nws_connections {connections}\n"),
            false => format!("HTTP/1.1 {status}\r\n\r\n"),
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await
}

#[tokio::test]
async fn a_gateway_that_is_full_by_its_own_count_is_not_down() {
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let report = look(&mut loaded(&refusing(status, 800).await)).await;
        let error = failed(&report, Reason::Full);
        assert!(error.contains(status) && error.contains("it has 800 of 800 connections"), "{error}");
        assert_eq!(value(&report, "watchkeeper_websocket_saturation_ratio"), Some(1.0));
        let report = look(&mut loaded(&refusing(status, 799).await)).await;
        failed(&report, Reason::Status);
    }
    failed(&look(&mut loaded(&refusing("500 Internal Server Error", 800).await)).await, Reason::Status);
    failed(&look(&mut prober(&refusing("503 Service Unavailable", 800).await)).await, Reason::Status);
}

#[tokio::test]
async fn a_page_that_takes_its_time_leaves_the_look_good() {
    let server = Server::start(|mut stream, _| async move {
        let request = read_head(&mut stream).await;
        if request.starts_with("GET /metrics ") {
            return read_to_end(&mut stream).await;
        }
        stream.write_all(accepted(&request, "").as_bytes()).await.unwrap();
        behave(stream, Arc::default()).await;
    })
    .await;
    let mut prober = loaded(&server);
    for (limit, part) in [(AMPLE, "within 1s"), (SHORT, "no answer within")] {
        let report = look_within(limit, &mut prober, Path::Fresh).await;
        assert_eq!(report.failure, None);
        assert!(report.warnings[0].contains(part), "{:?}", report.warnings);
        assert_eq!(value(&report, "watchkeeper_websocket_load_known"), Some(0.0));
    }
    assert!(server.is_left_alone_after(4).await);
}
