// HTTP/2 and HTTP/1.1 over TLS: `/` greets, `/echo` gives the request back as JSON, `/events` sends five events, 50 ms apart.
// Prints its port, then one line of JSON a request. Arguments: certificate, key, [header field, value it must have].
'use strict';
const fs = require('fs');
const http2 = require('http2');
const [certificate, key, field, value] = process.argv.slice(2);
const server = http2.createSecureServer({
  cert: fs.readFileSync(certificate), key: fs.readFileSync(key), allowHTTP1: true,
});
server.on('request', (request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', () => {
    const seen = {
      version: request.httpVersion, method: request.method, target: request.url,
      headers: request.headers, body: Buffer.concat(pieces).toString(),
    };
    console.log(JSON.stringify(seen));
    if (field && request.headers[field] !== value) {
      response.writeHead(401);
      response.end('who are you?\n');
    } else if (request.url === '/echo') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(seen));
    } else if (request.url === '/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      let sent = 0;
      const next = () => {
        response.write(`data: ${sent}\n\n`);
        sent += 1;
        if (sent < 5) setTimeout(next, 50); else response.end();
      };
      next();
    } else {
      response.writeHead(200, { 'content-type': 'text/plain' });
      response.end(`hello over ${request.httpVersion}\n`);
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
