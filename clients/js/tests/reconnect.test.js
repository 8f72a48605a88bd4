/** Reconnects to a real server that is killed, stopped or cut off. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect, http } from '@aglow/client';
import { AglowServer, CALM, Proxy, QUICK, reach, until } from './server.js';

const SOON = { minBackoffMs: 20, maxBackoffMs: 200 };
let server;
const connections = [];
before(async () => (server = await AglowServer.start(...CALM)));
after(async () => {
    connections.forEach((connection) => connection.close());
    await server.dispose();
});

function join(user, options = {}) {
    const connection = connect({ url: server.url, user, ...SOON, ...options });
    connections.push(connection);
    return connection;
}

test('When the server is killed everybody is unknown, and when it is back they are watched again', async () => {
    const watcher = join(1);
    const other = join(2);
    const states = [];
    watcher.onState((state) => states.push(state));
    const watch = watcher.watch([2, 3]);
    const before = await until(() => (watch.get(2).is_online && watch.get(3).status === 'offline' ? watch.get(2) : undefined));
    const looped = [];
    const loop = (async () => {
        for await (const record of watch)
            looped.push(record.status);
    })();

    await server.kill();
    await until(() => watcher.state === 'connecting');
    assert.deepEqual(watch.get(2), { user_id: 2, is_online: null, status: 'unknown', last_seen: before.last_seen });
    assert.deepEqual(watch.get(3), { user_id: 3, is_online: null, status: 'unknown', last_seen: null });
    const late = watcher.watch([4]); // begins while no server runs
    const gone = watcher.watch([5]);
    gone.stop();

    await server.startAgain();
    await until(() => watch.get(2).is_online && watch.get(3).status === 'offline' && late.get(4).status === 'offline');
    assert.deepEqual(states, ['open', 'connecting', 'open']);
    other.setStatus('busy');
    await until(() => watch.get(2).status === 'busy');
    other.setStatus('auto');
    await until(() => watch.get(2).status === 'online');
    watch.stop();
    await loop;
    for (const status of ['online', 'unknown', 'busy'])
        assert.ok(looped.includes(status), status);
});

test('A status chosen while the server was away is sent when it is back', async () => {
    const person = join(10);
    const watch = join(11).watch(10);
    await until(() => watch.get(10).is_online);
    await server.kill();
    await until(() => person.state === 'connecting');
    person.setStatus('busy');
    await server.startAgain();
    await until(() => watch.get(10).status === 'busy');
});

test('A planned stop is got over as well', async () => {
    const person = join(20);
    const watch = person.watch(20);
    await until(() => watch.get(20).is_online);
    await server.stop();
    await until(() => watch.get(20).status === 'unknown');
    await server.startAgain();
    await until(() => watch.get(20).is_online);
});

test('A page that is shown again does not wait for the next try', async (t) => {
    const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
    globalThis.document = page;
    t.after(() => delete globalThis.document);
    const patient = join(30, { minBackoffMs: 3_600_000, maxBackoffMs: 3_600_000 });
    await reach(patient, 'open');
    await server.kill();
    await reach(patient, 'connecting');
    await server.startAgain();
    page.dispatchEvent(new Event('visibilitychange'));
    await reach(patient, 'open');
    page.dispatchEvent(new Event('visibilitychange')); // a working connection does not change
    assert.equal(patient.state, 'open');
});

test('A connection that went silent is made anew', async (t) => {
    const quick = await AglowServer.start(...QUICK);
    t.after(() => quick.dispose());
    const proxy = await Proxy.start(quick.url);
    t.after(() => proxy.dispose());
    let heardAt;
    const person = join(40, {
        url: proxy.url,
        WebSocket: class extends WebSocket {
            constructor(url) {
                super(url);
                this.addEventListener('message', () => (heardAt = performance.now()));
            }
        },
    });
    const watch = person.watch(41);
    await until(() => watch.get(41).status === 'offline');
    const states = [];
    let silentMs;
    person.onState((state) => {
        silentMs ??= performance.now() - heardAt;
        states.push([state, watch.get(41).status]);
    });
    proxy.swallow();
    // the new connection may be there before the next look at the state
    await until(() => states.length > 1 && watch.get(41).status === 'offline');
    // the client waits 2.5 ticks, of a second each here, after the last message
    assert.ok(silentMs > 2400, `it waited for ${silentMs} ms`);
    // on a busy machine it may become silent again
    assert.deepEqual(states.slice(0, 2), [['connecting', 'unknown'], ['open', 'unknown']]);
    person.close();
});

test('A missing server is reported once, and tried until there is one', async () => {
    await server.kill();
    const problems = [];
    const watches = [];
    const person = join(50);
    person.onError((problem) => problems.push(problem));
    const watch = person.watch(50, (record) => watches.push(record));
    let tries = 0;
    const counter = join(51, {
        WebSocket: class extends WebSocket {
            constructor(url) {
                super(url);
                tries++;
            }
        },
    });
    counter.onError(() => {});
    await until(() => problems.length && tries > 3);
    assert.equal(watch.get(50).status, 'unknown');
    assert.deepEqual(watches, []); // nothing is known, so the callback is not called
    await server.startAgain();
    await until(() => watch.get(50).is_online);
    assert.equal(problems.length, 1);
    assert.equal(problems[0].title, 'Not connected');
    assert.match(problems[0].detail, /^ws:\/\/127\.0\.0\.1:\d+\/ws does not answer/);
    assert.doesNotMatch(problems[0].detail, /user_id/); // nor a token
});

test('A failure before a try is reported once, and the try is made again', async () => {
    let asked = 0;
    const token = () => {
        if (++asked < 3)
            throw new Error('signed out');
        return 'a-token';
    };
    let made = 0;
    class Forbidden extends WebSocket {
        constructor(url) {
            if (++made < 3)
                throw new DOMException('not from a secure page');
            super(url);
        }
    }

    for (const [options, message] of [[{ token }, 'signed out'], [{ WebSocket: Forbidden }, 'not from a secure page']]) {
        const person = join(60, options);
        const problems = [];
        person.onError((problem) => problems.push(problem.detail));
        await reach(person, 'open');
        assert.equal(problems.length, 1);
        assert.match(problems[0], new RegExp(`^ws://127.0.0.1:\\d+/ws was not tried: ${message}. The client tries again`));
    }
});

for (const how of ['kill', 'stop']) {
    test(`When one of two addresses is gone (${how}), connections and calls go on at the other`, async (t) => {
        const servers = await Promise.all([AglowServer.start(...CALM), AglowServer.start(...CALM)]);
        t.after(() => Promise.all(servers.map((one) => one.dispose())));
        const [one, two] = servers;
        const url = [one.url, two.url];
        const person = join(80, { url });
        person.onError(() => {});
        const calls = http({ url });
        const isOnline = async (where) => (await where.statusOf(80)).is_online;
        await until(() => isOnline(calls));
        const gone = one[how]();
        await until(() => isOnline(http({ url: two.url })));
        await gone;
        await until(() => isOnline(calls));
        assert.equal(await person.leave(), 'left');
        await until(async () => !(await isOnline(calls)));
    });
}
