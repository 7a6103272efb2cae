// Those who use an application: so many requests a second, whether or not the earlier ones have been answered.
//
//   node visitors.js URL PER_SECOND
'use strict';

const http = require('http');

const [url, perSecond] = process.argv.slice(2);

function visit() {
  http.get(url, (response) => response.resume()).on('error', (error) => console.error(error.message));
}

setInterval(visit, 1000 / Number(perSecond));
