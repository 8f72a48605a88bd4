/** What is shipped: how much it is, what is in it, and that its types say what it does. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import * as client from '@aglow/client';
import * as react from '@aglow/client/react';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const read = (path) => readFileSync(join(PACKAGE, path), 'utf8');

/** A module and all that it imports of ours. */
function modulesOf(path, found = new Set()) {
    if (found.has(path))
        return found;
    found.add(path);
    for (const [, imported] of read(path).matchAll(/from '\.\/([^']+)'/g))
        modulesOf(`src/${imported}`, found);
    return found;
}

test('The client is less than 8 KB, gzipped', (t) => {
    const source = [...modulesOf('src/index.js')].map(read).join('');
    // what a bundler leaves of it at the least: without comments, and nothing renamed or squeezed
    const code = source.replace(/^\s*\/\*\*[^]*?\*\/\n/gm, '').replace(/^\s*\/\/.*\n/gm, '').replace(/ \/\/ .*$/gm, '');
    assert.ok(!/^\s*(\/\/|\/?\*)/m.test(code));
    const bytes = (text) => gzipSync(text, { level: 9 }).length;
    t.diagnostic(`${bytes(code)} bytes gzipped without comments, ${bytes(source)} with them`);
    assert.ok(bytes(code) < 8000);
    // what the README says
    assert.ok(bytes(code) < 7000);
});

test('The package holds its sources, its types and nothing else', () => {
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: PACKAGE, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
    const modules = [...modulesOf('src/index.js'), ...modulesOf('src/react.js')];
    assert.deepEqual(
        packed.files.map((file) => file.path).sort(),
        [...new Set([...modules, 'src/index.d.ts', 'src/react.d.ts', 'package.json', 'README.md', 'LICENSE'])].sort(),
    );
    assert.equal(packed.name, '@aglow/client');
});

test('It depends on nothing, and React may be missing', () => {
    const manifest = JSON.parse(read('package.json'));
    assert.equal(manifest.dependencies, undefined);
    assert.equal(manifest.license, 'Apache-2.0');
    assert.equal(manifest.sideEffects, false);
    assert.deepEqual(manifest.peerDependenciesMeta, { react: { optional: true } });
    for (const path of modulesOf('src/index.js'))
        assert.doesNotMatch(read(path), /from '[^.]/, path);
});

test('The types declare what there is', () => {
    const declared = (path) => [...read(path).matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
    assert.deepEqual([...new Set(declared('src/index.d.ts'))].sort(), Object.keys(client).sort());
    assert.deepEqual([...new Set(declared('src/react.d.ts'))].sort(), Object.keys(react).sort());
});

test('Programs that use the types rightly compile, and those that use them wrongly do not', () => {
    // each "@ts-expect-error" in types.ts is an error if there is none
    execFileSync(process.execPath, [join(PACKAGE, 'node_modules/typescript/bin/tsc'), '--project', join(PACKAGE, 'tests')], { encoding: 'utf8' });
});

test('The example in the README is ten lines of what there is', () => {
    const [, example] = /```js\n([^]*?)```/.exec(read('README.md'));
    assert.ok(example.trimEnd().split('\n').length <= 10);
    const connection = client.connect({ url: 'http://127.0.0.1:1', user: 42 });
    connection.close();
    for (const [, verb] of example.matchAll(/connection\.(\w+)\(/g))
        assert.equal(typeof connection[verb], 'function', verb);
});
