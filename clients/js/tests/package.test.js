/** The published package: its size, its files, its types, and that it works in every way of importing it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import * as client from '@aglow/client';
import * as react from '@aglow/client/react';
import * as tabs from '@aglow/client/tabs';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const MAX_BYTES = 8000;
const read = (path) => readFileSync(join(PACKAGE, path), 'utf8');
const bin = (name) => join(PACKAGE, 'node_modules/.bin', name);
const QUIETLY = { cwd: PACKAGE, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
const run = (program, args, options) => execFileSync(program, args, { ...QUIETLY, ...options });

// a project that uses this package
let project;
before(() => {
    run(process.execPath, ['build.js']);
    project = mkdtempSync(join(tmpdir(), 'aglow-client-package-'));
    mkdirSync(join(project, 'node_modules/@aglow'), { recursive: true });
    symlinkSync(PACKAGE, join(project, 'node_modules/@aglow/client'));
    for (const name of ['react', 'typescript', 'vitest', 'vite', '@types'])
        symlinkSync(join(PACKAGE, 'node_modules', name), join(project, 'node_modules', name));
});
after(() => rmSync(project, { recursive: true }));

function files(contents) {
    for (const [name, content] of Object.entries(contents))
        writeFileSync(join(project, name), content);
}

/** A module, and all modules of this package that it imports. */
function modulesOf(path, found = new Set()) {
    if (found.has(path))
        return found;
    found.add(path);
    for (const [, imported] of read(path).matchAll(/(?:from |new URL\()'\.\/([^']+)'/g))
        modulesOf(`src/${imported}`, found);
    return found;
}

async function bytesOf(entry) {
    const entryPoints = [join(PACKAGE, entry)];
    const made = await build({ entryPoints, bundle: true, minify: true, format: 'esm', write: false, external: ['react'] });
    return gzipSync(made.outputFiles[0].text, { level: 9 }).length;
}

test('The client without React is at most 8 KB, minified and compressed', async (t) => {
    const bytes = await bytesOf('src/index.js');
    for (const entry of ['index', 'tabs', 'react'])
        t.diagnostic(`${entry}: ${await bytesOf(`src/${entry}.js`)} bytes`);
    assert.ok(bytes <= MAX_BYTES, `${bytes} bytes`);
});

test('The package holds its sources, its CommonJS, their types and nothing else', () => {
    const [packed] = JSON.parse(run('npm', ['pack', '--dry-run', '--ignore-scripts', '--json']));
    const entries = ['index', 'react', 'tabs'];
    const modules = entries.flatMap((entry) => [...modulesOf(`src/${entry}.js`)]);
    const made = entries.flatMap((entry) => [`src/${entry}.d.ts`, `dist/${entry}.cjs`, `dist/${entry}.d.cts`]);
    assert.deepEqual(
        packed.files.map((file) => file.path).sort(),
        [...new Set([...modules, ...made, 'react/package.json', 'tabs/package.json', 'package.json', 'README.md', 'LICENSE'])].sort(),
    );
    assert.equal(packed.name, '@aglow/client');
});

test('It depends on nothing, and React may be missing', () => {
    const manifest = JSON.parse(read('package.json'));
    assert.equal(manifest.dependencies, undefined);
    assert.equal(manifest.license, 'Apache-2.0');
    assert.deepEqual(manifest.peerDependenciesMeta, { react: { optional: true } });
    for (const path of [...modulesOf('src/index.js'), ...modulesOf('src/tabs.js')])
        assert.doesNotMatch(read(path), /from '[^.]/, path);
});

test('The types declare what there is', () => {
    const declared = (path) => [...read(path).matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
    for (const [path, made] of [['src/index.d.ts', client], ['src/react.d.ts', react], ['src/tabs.d.ts', tabs]])
        assert.deepEqual([...new Set(declared(path))].sort(), Object.keys(made).sort());
});

test('Programs that use the types rightly compile, and those that use them wrongly do not', () => {
    // tsc fails if the line after an "@ts-expect-error" has no error
    run(process.execPath, [bin('tsc'), '--project', 'tests']);
});

test('publint finds nothing to complain about', () => {
    assert.match(run(bin('publint'), ['--strict']), /All good/);
});

test('The types are right for every way of resolving modules', () => {
    const packed = run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', project]).trim().split('\n').at(-1);
    run(bin('attw'), [join(project, packed)]);
});

test('CommonJS has the same client', () => {
    const required = createRequire(import.meta.url);
    assert.deepEqual(Object.keys(required('@aglow/client')).sort(), Object.keys(client).sort());
    assert.deepEqual(Object.keys(required('@aglow/client/react')).sort(), Object.keys(react).sort());
    assert.deepEqual(Object.keys(required('@aglow/client/tabs')).sort(), Object.keys(tabs).sort());
});

test('A CommonJS TypeScript program compiles, with node10 and nodenext', () => {
    files({
        'package.json': '{}',
        'program.ts': `
            import { connect, AglowError } from '@aglow/client';
            import { usePresence } from '@aglow/client/react';
            import { shareTabs } from '@aglow/client/tabs';
            const connection = connect({ url: 'https://presence.example', user: 1, WebSocket: shareTabs('ann') });
            const saved: Promise<'saved' | 'replaced'> = connection.setStatus('busy');
            export const wrong = (error: unknown) => error instanceof AglowError && error.status;
            export { saved, usePresence };`,
    });
    for (const resolution of [['--module', 'commonjs', '--moduleResolution', 'node10'], ['--module', 'nodenext']])
        run(process.execPath, [bin('tsc'), '--strict', '--noEmit', '--target', 'es2022', ...resolution, 'program.ts'], { cwd: project });
});

test('Server components see a client module', () => {
    for (const path of ['src/react.js', 'dist/react.cjs'])
        assert.match(read(path), /^["']use client["'];\n/, path);
});

const USE = `
    const connection = connect({ url: 'http://127.0.0.1:1', user: 1, WebSocket: class { addEventListener() {} close() {} } });
    expect(connection.state).toBe('connecting');
    connection.close();
    expect(typeof usePresence).toBe('function');
    expect(new AglowError({ title: 'a', detail: 'b' }).message).toBe('a: b');`;

test('Jest imports the client, in Node and in CommonJS', () => {
    files({
        'package.json': '{}',
        'client.test.js': `
            const { AglowError, connect } = require('@aglow/client');
            const { usePresence } = require('@aglow/client/react');
            test('the client', () => {${USE}});`,
    });
    run(bin('jest'), ['--rootDir', project, '--watchman=false'], { cwd: project });
});

test('Vitest imports the client', () => {
    files({
        'package.json': '{ "type": "module" }',
        'client.spec.js': `
            import { expect, test } from 'vitest';
            import { AglowError, connect } from '@aglow/client';
            import { usePresence } from '@aglow/client/react';
            test('the client', () => {${USE}});`,
    });
    run(bin('vitest'), ['run', '--root', project, 'client.spec.js'], { cwd: project });
});

test('The example in the README is ten lines of what there is', () => {
    const [, example] = /```js\n([^]*?)```/.exec(read('README.md'));
    assert.ok(example.trimEnd().split('\n').length <= 10);
    const connection = client.connect({ url: 'http://127.0.0.1:1', user: 42 });
    connection.close();
    for (const [, verb] of example.matchAll(/connection\.(\w+)\(/g))
        assert.equal(typeof connection[verb], 'function', verb);
});
