// A web application as Node programs have them: prom-client times its requests and exposes them at /metrics. A second,
// plain port lets a test make it fail and slow: /set?errors=0.2&latency=1.5 (a share of the requests, seconds).
//
//   node app.js PORT CONTROL_PORT
'use strict';

const http = require('http');
const metrics = require('prom-client');

const [port, controlPort] = process.argv.slice(2);
const manner = { errors: 0, latency: 0 };
let owed = 0;

metrics.collectDefaultMetrics();
const durations = new metrics.Histogram({
  name: 'http_request_duration_seconds',
  help: 'How long requests took, by route and status',
  labelNames: ['method', 'route', 'status_code'],
});

// Evenly spread, so that every stretch of time has the share that was asked for.
function fails() {
  owed += manner.errors;
  if (owed < 1) return false;
  owed -= 1;
  return true;
}

function serve(request, response) {
  const timed = durations.startTimer({ method: request.method, route: '/orders' });
  response.on('finish', () => timed({ status_code: response.statusCode }));
  response.statusCode = fails() ? 500 : 200;
  setTimeout(() => response.end('{}\n'), manner.latency * 1000);
}

async function expose(response) {
  response.setHeader('Content-Type', metrics.register.contentType);
  response.end(await metrics.register.metrics());
}

function answer(request, response) {
  if (request.url === '/metrics') return expose(response);
  if (request.url === '/health') return response.end('{"status":"ok"}\n');
  return serve(request, response);
}

function control(request, response) {
  for (const [name, value] of new URL(request.url, 'http://control').searchParams) manner[name] = Number(value);
  response.end(JSON.stringify(manner));
}

http.createServer(answer).listen(Number(port), '127.0.0.1', () => {
  http.createServer(control).listen(Number(controlPort), '127.0.0.1');
});
