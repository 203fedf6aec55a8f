'use strict';
/** The notebook's web service: `node server.js PORT VERSION`. */

const http = require('http');
const os = require('os');
const health = require('./health');
const { Notebook } = require('./notebook');

function createServer(version, notebook = new Notebook()) {
  return http.createServer((request, response) => {
    // Each answer closes its connection, so no request can arrive on one about to be closed.
    const send = (status, answer) => {
      response.writeHead(status, { 'Content-Type': 'application/json', Connection: 'close' });
      response.end(JSON.stringify(answer));
    };
    const route = `${request.method} ${request.url}`;
    if (route === 'GET /') {
      send(200, { application: 'notes', version, host: os.hostname() });
    } else if (route === 'GET /health') {
      const problem = health.problem();
      send(problem ? 503 : 200, { problem });
    } else if (route === 'GET /notes') {
      send(200, notebook.all());
    } else if (route === 'POST /notes') {
      addNote(request, notebook, send);
    } else {
      send(404, { error: 'no such page' });
    }
  });
}

function addNote(request, notebook, send) {
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (part) => { text += part; });
  request.on('end', () => {
    try {
      send(201, { number: notebook.add(text) });
    } catch (error) {
      send(400, { error: error.message });
    }
  });
}

if (require.main === module) {
  const [port, version] = process.argv.slice(2);
  const server = createServer(version);
  server.listen(Number(port));
  // Stops accepting, and ends once the requests under way have been answered.
  process.on('SIGTERM', () => server.close());
}

module.exports = { createServer };
