/** The tests of the hook again, in React 18: every import of React is redirected to it. */
import assert from 'node:assert/strict';
import Module, { register } from 'node:module';
import { test } from 'node:test';

const OLD = ['react', 'react-dom', 'react-test-renderer'];
const alias = (name) => name.replace(/^(react|react-dom|react-test-renderer)(?=\/|$)/, '$1-18');

register(`data:text/javascript,${encodeURIComponent(`
    const alias = ${alias};
    export const resolve = (name, context, next) => next(alias(name), context);`)}`);
const resolve = Module._resolveFilename;
Module._resolveFilename = (name, ...rest) => resolve(alias(name), ...rest);

test('These are the tests of React 18', async () => {
    for (const name of OLD)
        assert.match((await import(`${name}/package.json`, { with: { type: 'json' } })).default.version, /^18\./, name);
});

await import('./react.test.js');
await import('./react-server.test.js');
