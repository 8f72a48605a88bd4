/** Environments that lack features of browsers and Node: React Native, insecure pages, server rendering. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect, http } from '@aglow/client';
import { Clock } from './clock.js';

class QuietSocket extends EventTarget {
    static made = [];
    sent = [];

    constructor(address, protocols) {
        super();
        Object.assign(this, { address, protocols });
        QuietSocket.made.push(this);
    }

    send(text) {
        this.sent.push(JSON.parse(text));
    }

    say(message) {
        this.dispatchEvent(Object.assign(new Event('message'), { data: JSON.stringify(message) }));
    }

    close() {}
}

/** Replaces these globals until the test ends. */
function replace(t, globals) {
    for (const [name, value] of Object.entries(globals)) {
        const had = Object.getOwnPropertyDescriptor(globalThis, name);
        Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
        t.after(() => (had ? Object.defineProperty(globalThis, name, had) : delete globalThis[name]));
    }
}

function connectIn(t, options) {
    QuietSocket.made = [];
    const connection = connect({ url: 'https://presence.example/chat/?a=b#c', user: 'ann', WebSocket: QuietSocket, ...options });
    t.after(() => connection.close());
    return connection;
}

test('React Native has a URL that cannot be changed, no TextEncoder and no page', async (t) => {
    class FixedUrl {
        constructor(address) {
            this.href = address;
        }

        get searchParams() {
            throw new Error('not implemented');
        }
    }

    for (const name of ['protocol', 'pathname', 'search', 'hash'])
        Object.defineProperty(FixedUrl.prototype, name, { set: () => assert.fail('not implemented') });
    replace(t, { URL: FixedUrl, TextEncoder: undefined, crypto: undefined, navigator: { product: 'ReactNative' } });
    const asked = [];
    const fetch = async (address) => {
        asked.push(address);
        return { ok: true, json: async () => [{ user_id: 'bob', is_online: true, status: 'online', last_seen: 1 }] };
    };
    const connection = connectIn(t, { fetch });
    await new Promise(setImmediate);
    const [{ address }] = QuietSocket.made;
    assert.match(address, /^wss:\/\/presence\.example\/chat\/ws\?user_id=ann&device_id=[\d.e-]{20,64}&device_kind=mobile$/);
    connection.watch(['bob', 'ключ 🟢']);
    assert.throws(() => connection.watch('\ud800'), /surrogate/);
    assert.equal((await connection.statusOf('bob', { definition: 'a b' })).status, 'online');
    assert.deepEqual(asked, ['https://presence.example/chat/status/batch?definition=a%20b']);
});

test('The server may live below a path', async (t) => {
    connectIn(t, { user: 'ann & co', device: { id: 'dévice', kind: 'web' } });
    await new Promise(setImmediate);
    const [{ address }] = QuietSocket.made;
    assert.equal(address, 'wss://presence.example/chat/ws?user_id=ann%20%26%20co&device_id=d%C3%A9vice&device_kind=web');
});

test('An app that is active again checks its connection, and reports that somebody is there', async (t) => {
    const clock = new Clock();
    clock.install();
    t.after(() => clock.uninstall());
    let changed;
    let isRemoved = false;
    const appState = {
        addEventListener: (kind, callback) => {
            assert.equal(kind, 'change');
            changed = callback;
            return { remove: () => (isRemoved = true) };
        },
    };
    const connection = connectIn(t, { appState });
    await clock.settle();
    const [socket] = QuietSocket.made;
    socket.say({ type: 'welcome', user_id: 'ann', offline_after_seconds: 30, tick_seconds: 10 });
    changed('background');
    await clock.settle();
    assert.deepEqual(socket.sent, []);
    changed('active');
    await clock.settle();
    assert.deepEqual(socket.sent.map(({ type }) => type), ['unwatch', 'active']);
    await clock.pass(2000);
    assert.equal(connection.state, 'connecting');
    await clock.pass(1000);
    assert.equal(QuietSocket.made.length, 2);
    connection.close();
    assert.ok(isRemoved);
});

test('A page without storage has a device all the same, and the same for all its connections', async (t) => {
    replace(t, { document: Object.assign(new EventTarget(), { visibilityState: 'visible' }) });
    Object.defineProperty(globalThis, 'localStorage', { get: () => assert.fail('forbidden'), configurable: true });
    t.after(() => delete globalThis.localStorage);
    connectIn(t);
    await new Promise(setImmediate);
    const [first] = QuietSocket.made;
    connectIn(t);
    await new Promise(setImmediate);
    assert.match(first.address, /device_id=[\w.-]{20,64}&device_kind=web/);
    assert.equal(QuietSocket.made[0].address, first.address);
});

test('A connection keeps its device, although the browser stores another', async (t) => {
    const stored = new Map();
    replace(t, {
        document: Object.assign(new EventTarget(), { visibilityState: 'visible' }),
        localStorage: { getItem: (name) => stored.get(name) ?? null, setItem: (name, value) => stored.set(name, value) },
    });
    const bodies = [];
    const fetch = async (_, { body }) => {
        bodies.push(JSON.parse(body));
        return { ok: true, json: async () => ({ status: 'success' }) };
    };
    const connection = connectIn(t, { fetch });
    await new Promise(setImmediate);
    const [{ address }] = QuietSocket.made;
    stored.set('aglow.device', 'another');
    await connection.heartbeat();
    assert.equal(bodies[0].device.id, new URL(address).searchParams.get('device_id'));
});

test('Importing it does nothing, and asks for nothing', () => {
    const client = (name) => JSON.stringify(new URL(`../src/${name}.js`, import.meta.url).href);
    const program = `
        for (const name of ['WebSocket', 'fetch', 'navigator', 'document', 'localStorage', 'performance', 'crypto', 'BroadcastChannel'])
            Object.defineProperty(globalThis, name, { get: () => { throw new Error(name + ' is used'); } });
        await import(${client('index')});
        await import(${client('tabs')});
        await import(${client('react')});`;
    const cwd = fileURLToPath(new URL('.', import.meta.url));
    execFileSync(process.execPath, ['--input-type=module', '--eval', program], { cwd, stdio: 'pipe' });
});

test('A callback that does not complete does not hold up a call for ever', async (t) => {
    const clock = new Clock();
    clock.install();
    t.after(() => clock.uninstall());
    const { statusOf } = http({ url: 'http://127.0.0.1:1', token: () => new Promise(() => {}) });
    let failure;
    statusOf(1).catch((error) => (failure = error));
    await clock.pass(9999);
    assert.equal(failure, undefined);
    await clock.pass(2);
    assert.match(failure.message, /the token callback did not complete within 10 s/);
});
