/** The samples that people copy, run as their heads say: Next, Express, Blazor, Python. React is a guide, and has its test there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { cpSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { WAITS_MS, startBrowser } from '../../clients/js/tests/browser.js';
import { AglowServer, ROOT, until } from '../../clients/js/tests/server.js';
import { MODULES, freePort, newFolder } from './guide.js';

const SAMPLES = join(ROOT, 'samples');
const MOST_LINES = 100;
// long, because a machine that builds at the same time is slow
const MOST_MS = 200_000;
const JWT_SECRET = randomBytes(32).toString('base64');

let browser, open, closed, nextPort, expressPort;
before(async () => {
    [nextPort, expressPort] = [await freePort(), await freePort()];
    // one after the other, so that each is ended if the next does not start
    browser = await startBrowser();
    open = await AglowServer.start('--allowed-origins', `http://localhost:${nextPort}`);
    closed = await AglowServer.start(
        '--auth', 'token', '--jwt-secret', JWT_SECRET, '--allowed-origins', `http://127.0.0.1:${expressPort}`);
});
after(async () => {
    await Promise.all([browser?.close(), open?.dispose(), closed?.dispose()]);
});

/** Starts a program, ended with the test; `says` waits until it has printed this. */
function run(t, program, args, environment = {}, cwd = SAMPLES) {
    const child = spawn(program, args, { cwd, env: { ...process.env, AGLOW_URL: open.url, ...environment }, detached: true });
    let log = '';
    for (const stream of [child.stdout, child.stderr])
        stream.setEncoding('utf8').on('data', (text) => (log += text));
    // with what it started itself
    t.after(() => child.exitCode ?? process.kill(-child.pid, 'SIGKILL'));
    return {
        says: (pattern) => until(() => {
            const said = pattern.exec(log);
            assert.ok(said || child.exitCode === null, log);
            return said;
        }, `${program} ${args[0]} says ${pattern}: ${log}`, MOST_MS),
        ended: () => until(() => child.exitCode !== null && { code: child.exitCode, log }, `${program} ${args[0]} ends`, MOST_MS),
    };
}

/** A window of its own, and what its list shows. */
async function windowAt(address) {
    const page = await (await browser.createBrowserContext()).newPage();
    page.setDefaultTimeout(WAITS_MS);
    await page.goto(address);
    const lines = () => page.$$eval('li', (all) => all.map((line) => `${line.innerText} ${line.dataset.status ?? ''}`.toLowerCase()));
    const shows = (user, status) => until(
        async () => (await lines()).some((line) => line.includes(user) && line.includes(status)), `${address} shows ${user} ${status}`);
    return { page, shows };
}

const post = (url, body, headers = {}) =>
    fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(body) });

describe('Samples', { concurrency: 2 }, () => {
    test('Next: the page comes with the statuses, and follows them', async (t) => {
        const folder = newFolder('next');
        t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
        cpSync(join(SAMPLES, 'next'), folder, { recursive: true });
        // no word to anybody else
        const quiet = { NEXT_TELEMETRY_DISABLED: '1', NEXT_IGNORE_INCORRECT_LOCKFILE: '1' };
        const next = join(MODULES, 'next/dist/bin/next');
        const { code, log } = await run(t, process.execPath, [next, 'build'], quiet, folder).ended();
        assert.equal(code, 0, log);
        await run(t, process.execPath, [next, 'start', '--port', `${nextPort}`], quiet, folder).says(/Ready in/);
        await post(`${open.url}/heartbeat`, { user_id: 'ben' });
        const address = `http://localhost:${nextPort}/?me=ann`;
        // the server's own words, before any script
        assert.match(await (await fetch(address)).text(), /<li data-status="online">[^]*?ben/);
        const ann = await windowAt(address);
        await ann.shows('ann', 'online');
        await post(`${open.url}/offline`, { user_id: 'ben' });
        await ann.shows('ben', 'offline');
    });

    test('Express: signs people in, and their pages connect with its tokens', async (t) => {
        const address = `http://127.0.0.1:${expressPort}`;
        const folder = newFolder('express');
        t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 10 }));
        cpSync(join(SAMPLES, 'express'), folder, { recursive: true });
        const environment = { AGLOW_URL: closed.url, AGLOW_JWT_SECRET: JWT_SECRET, PORT: `${expressPort}` };
        await run(t, process.execPath, ['server.js'], environment, folder).says(/Now listening/);
        assert.equal((await fetch(`${address}/people`)).status, 401);
        const signIn = async (name) => {
            const window = await windowAt(address);
            await window.page.type('input', name);
            await window.page.click('button');
            return window;
        };
        const ann = await signIn('ann');
        await ann.shows('ann', 'online');
        const ben = await signIn('ben');
        await ben.shows('ann', 'online');
        // out everywhere: the page's socket closes, and others are told
        assert.equal(await ann.page.evaluate(async () => (await fetch('/sign-out', { method: 'POST' })).status), 204);
        await ben.shows('ann', 'offline');
    });

    test('Blazor: two windows see each other come and go', async (t) => {
        const program = join(SAMPLES, 'BlazorChat/bin/Release/net10.0/BlazorChat.dll');
        const [, address] = await run(t, 'dotnet', [program, '--urls', 'http://127.0.0.1:0'])
            .says(/Now listening on: (\S+)/);
        const dan = await windowAt(`${address}/?me=dan`);
        await until(async () => (await dan.page.$$eval('h1', (titles) => titles.map((one) => one.innerText))).includes('You are dan'));
        await post(`${open.url}/heartbeat`, { user_id: 'eve' });
        await dan.shows('eve', 'online');
        await until(async () => (await (await fetch(`${open.url}/status/dan`)).json()).is_online, 'dan is online');
        await post(`${open.url}/offline`, { user_id: 'eve' });
        await dan.shows('eve', 'offline');
    });

    test('Python: a webhook is verified, and who is offline gets a push', async (t) => {
        const port = await freePort();
        const url = `http://127.0.0.1:${port}`;
        const { secret } = await (await post(`${open.url}/webhooks`, { url: `${url}/presence`, events: ['online', 'offline'] })).json();
        run(t, 'python3', [join(SAMPLES, 'python/backend.py')], { WEBHOOK_SECRET: secret, PORT: `${port}` });
        await until(() => fetch(`${url}/online`).catch(() => null), 'it listens');
        const send = async (user) => (await (await fetch(`${url}/messages/${user}`, { method: 'POST', body: 'Lunch?' })).text());
        await post(`${open.url}/heartbeat`, { user_id: 'zoe' });
        await until(async () => (await (await fetch(`${url}/online`)).json()).includes('zoe'));
        assert.equal(await send('zoe'), 'shown by the app');
        await post(`${open.url}/offline`, { user_id: 'zoe' });
        await until(async () => !(await (await fetch(`${url}/online`)).json()).includes('zoe'));
        assert.equal(await send('zoe'), 'pushed');
        const busy = { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{"status":"busy"}' };
        await fetch(`${open.url}/users/zoe/status`, busy);
        assert.equal(await send('zoe'), 'kept for later');
    });

    test('Python: what is not signed by the secret, or is old, or is changed, is refused', async (t) => {
        const port = await freePort();
        const url = `http://127.0.0.1:${port}`;
        const key = randomBytes(32);
        run(t, 'python3', [join(SAMPLES, 'python/backend.py')], { WEBHOOK_SECRET: `whsec_${key.toString('base64')}`, PORT: `${port}` });
        await until(() => fetch(`${url}/online`).catch(() => null), 'it listens');
        const body = JSON.stringify([{ type: 'aglow.presence.online', subject: 'bob' }]);
        const now = Math.floor(Date.now() / 1000);
        const sign = (text, at, by = key) => `v1,${createHmac('sha256', by).update(`msg_1.${at}.${text}`).digest('base64')}`;
        const status = async (signature, at = now, sent = body) => (await fetch(`${url}/presence`, {
            method: 'POST', body: sent, headers: { 'webhook-id': 'msg_1', 'webhook-timestamp': `${at}`, 'webhook-signature': signature },
        })).status;
        for (const [signature, at, sent] of [
            [sign(body, now, randomBytes(32))], [sign(body, now - 600), now - 600], [sign(body, now), now, body.replace('bob', 'eve')],
            ['v1,'], [sign(body, now).slice(3)], [sign(body, 'x'), 'x'],
        ])
            assert.equal(await status(signature, at, sent), 400, signature);
        assert.equal((await fetch(`${url}/presence`, { method: 'POST', body })).status, 400);
        assert.deepEqual(await (await fetch(`${url}/online`)).json(), []);
        // during a rotation there are two, of which one fits
        assert.equal(await status(`${sign(body, now, randomBytes(32))} ${sign(body, now)}`), 204);
        assert.deepEqual(await (await fetch(`${url}/online`)).json(), ['bob']);
    });
});

test('Each sample is shorter than a hundred lines', () => {
    for (const sample of ['react', 'next', 'express', 'HubChat', 'BlazorChat', 'python', 'node']) {
        const files = readdirSync(join(SAMPLES, sample), { recursive: true, withFileTypes: true })
            .filter((file) => file.isFile() && !/lock\.json$/.test(file.name))
            .map((file) => join(file.parentPath, file.name))
            .filter((path) => !/\/(bin|obj|node_modules)\//.test(path));
        assert.ok(files.length > 0, sample);
        const lines = files.map((path) => readFileSync(path, 'utf8').split('\n').length - 1).reduce((sum, one) => sum + one);
        assert.ok(lines < MOST_LINES, `${sample} has ${lines} lines: ${files.map((path) => relative(SAMPLES, path))}`);
    }
});
