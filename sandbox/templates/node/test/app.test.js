'use strict';

const assert = require('assert');
const test = require('node:test');
const { answer } = require('../app');

test('it says its version', () => {
  assert.strictEqual(answer('/', '1.2.3')[1].version, '1.2.3');
});

test('the health check says the version', () => {
  assert.deepStrictEqual(answer('/health', '1.2.3'), [200, { version: '1.2.3' }]);
});
