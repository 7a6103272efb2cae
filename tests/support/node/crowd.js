// Clients that connect to a gateway, say nothing and stay until this process ends. One that is refused tries again.
//
//   node crowd.js URL COUNT
'use strict';

const { WebSocket } = require('ws');

const [url, count] = process.argv.slice(2);

function connect(opened) {
  const client = new WebSocket(url, { rejectUnauthorized: false });
  client.on('error', (error) => {
    console.error(error.message);
    setTimeout(connect, 50, opened);
  });
  client.on('open', opened);
}

Promise.all(Array.from({ length: Number(count) }, () => new Promise(connect)))
  .then(() => console.log(`${count} are in`));
