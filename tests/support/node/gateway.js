// A voice gateway as Node programs have them: `ws` on an HTTP server that also exposes /metrics. A client's first
// message opens a session, which is what costs money. A second, plain port tells a test what has happened.
//
//   node gateway.js PORT COUNTS_PORT [HARD [CERTIFICATE KEY]]     HARD: how many connections are taken, 0: any number
'use strict';

const fs = require('fs');
const http = require('http');
const https = require('https');
const { WebSocket, WebSocketServer } = require('ws');

const [port, countsPort, hard = '0', certificate, key] = process.argv.slice(2);
const counts = { opened: 0, refused: 0, pings: 0, messages: 0, sessions: 0, closes: {} };
const gateway = new WebSocketServer({ noServer: true });

function connections(state) {
  return [...gateway.clients].filter((client) => client.readyState === state).length;
}

function metrics() {
  return `# HELP ws_connections WebSocket connections by state
# TYPE ws_connections gauge
ws_connections{state="open"} ${connections(WebSocket.OPEN)}
ws_connections{state="closing"} ${connections(WebSocket.CLOSING)}
# HELP voice_sessions_total Sessions opened upstream
# TYPE voice_sessions_total counter
voice_sessions_total ${counts.sessions}
`;
}

function answer(request, response) {
  if (request.url !== '/metrics') {
    response.writeHead(426, { 'Content-Type': 'text/plain' }).end('Upgrade Required\n');
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4; charset=utf-8' }).end(metrics());
}

function upgrade(request, socket, head) {
  socket.on('error', () => socket.destroy());
  if (Number(hard) > 0 && gateway.clients.size >= Number(hard)) {
    counts.refused += 1;
    socket.end('HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    return;
  }
  gateway.handleUpgrade(request, socket, head, serve);
}

function serve(client) {
  let session = false;
  counts.opened += 1;
  client.on('error', () => {});
  client.on('ping', () => { counts.pings += 1; });
  client.on('close', (code) => { counts.closes[code] = (counts.closes[code] ?? 0) + 1; });
  client.on('message', () => {
    counts.messages += 1;
    counts.sessions += session ? 0 : 1;
    session = true;
  });
}

const options = certificate ? { cert: fs.readFileSync(certificate), key: fs.readFileSync(key) } : {};
const server = (certificate ? https : http).createServer(options, answer);
server.on('upgrade', upgrade);
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 2048 }, () => {
  const told = () => JSON.stringify({ ...counts, connections: gateway.clients.size });
  http.createServer((_, response) => response.end(told())).listen(Number(countsPort), '127.0.0.1');
});
