'use strict';
/** The web service of @NAME@: `node app.js PORT VERSION`. */

const http = require('http');
const os = require('os');

/** The status and the answer to a request for that path. */
function answer(path, version) {
  if (path === '/') {
    return [200, { application: '@NAME@', version, host: os.hostname() }];
  }
  if (path === '/health') {
    return [200, { version }];
  }
  return [404, { error: 'no such page' }];
}

if (require.main === module) {
  const [port, version] = process.argv.slice(2);
  const server = http.createServer((request, response) => {
    const [status, said] = answer(request.url, version);
    response.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close' });
    response.end(JSON.stringify(said));
  });
  server.listen(Number(port));
  process.on('SIGTERM', () => server.close());
}

module.exports = { answer };
