/** The client in several JavaScript runtimes, each with its own WebSocket. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AglowServer, CALM } from './server.js';

const FOLDER = fileURLToPath(new URL('runtimes/', import.meta.url));
const module = (...path) => join(FOLDER, 'node_modules', ...path);
const RUNTIMES = [
    ['Node of this run', process.execPath, '--experimental-websocket'],
    ['Node 22', module('node-22/bin/node')],
    ['Node 24', module('node-24/bin/node')],
    ['Deno', module('.bin/deno'), 'run', '--allow-net', '--allow-env', '--no-config'],
    ['Bun', module('.bin/bun'), 'run'],
];

before(() => {
    const installed = module('.package-lock.json');
    const lock = join(FOLDER, 'package-lock.json');
    if (!existsSync(installed) || statSync(installed).mtimeMs < statSync(lock).mtimeMs)
        execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: FOLDER, stdio: 'ignore' });
});

for (const [name, program, ...flags] of RUNTIMES) {
    test(`${name} comes online, watches and leaves`, async (t) => {
        const server = await AglowServer.start(...CALM);
        t.after(() => server.dispose());
        const env = { ...process.env, NODE_NO_WARNINGS: '1', DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' };
        const { stdout } = await promisify(execFile)(program, [...flags, join(FOLDER, 'program.js'), server.url], { cwd: FOLDER, env });
        assert.equal(stdout, 'online saved busy busy left offline\n');
    });
}
