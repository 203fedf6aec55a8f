'use strict';

const assert = require('assert');
const http = require('http');
const test = require('node:test');
const { Notebook } = require('../notebook');
const { createServer } = require('../server');

function ask(port, method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ port, method, path }, (response) => {
      let text = '';
      response.on('data', (part) => { text += part; });
      response.on('end', () => resolve([response.statusCode, JSON.parse(text)]));
    });
    request.on('error', reject);
    request.end(body);
  });
}

test('notes are numbered from one', () => {
  const notebook = new Notebook();
  assert.strictEqual(notebook.add('buy bread'), 1);
  assert.deepStrictEqual(notebook.all(), [{ number: 1, text: 'buy bread' }]);
});

test('an empty note is refused', () => {
  assert.throws(() => new Notebook().add(''), RangeError);
});

test('the service says its version and keeps notes', async () => {
  const server = createServer('1.2.3').listen(0);
  try {
    const { port } = server.address();
    assert.strictEqual((await ask(port, 'GET', '/'))[1].version, '1.2.3');
    assert.deepStrictEqual(await ask(port, 'POST', '/notes', 'call home'), [201, { number: 1 }]);
    assert.strictEqual((await ask(port, 'GET', '/notes'))[1].length, 1);
  } finally {
    server.close();
  }
});
