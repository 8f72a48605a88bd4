/** What the client decides by itself: no server, no clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs, connect, http } from '@aglow/client';
import { Requests } from '../src/requests.js';
import { Topics } from '../src/topics.js';
import { Clock } from './clock.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const record = (user, status = 'online', last_seen = 1763763300) => ({ user_id: user, is_online: status !== 'offline', status, last_seen });

// `sent` has the messages without ids; `answer` answers all messages that have no answer yet
function topics() {
    const sent = [];
    const heard = [];
    let ids = [];
    const requests = new Requests(({ id, ...message }) => {
        ids.push({ id, message });
        sent.push(JSON.parse(JSON.stringify(message)));
    });
    const answer = (...records) => {
        for (const { id, message } of ids.splice(0)) {
            const users = records.filter(({ user_id }) => message.users.includes(user_id));
            requests.receive(message.type === 'watch' ? { type: 'presence', id, users } : { type: 'ok', id });
        }
    };
    return { topics: new Topics(requests, (now) => heard.push(now)), sent, heard, answer };
}

test('Backoff is evenly between nothing and a ceiling that doubles up to the limit', () => {
    const ceilings = [0, 1, 2, 3, 4, 5, 6, 1000].map((attempt) => backoffMs(attempt, 1000, 30_000, () => 1));
    assert.deepEqual(ceilings, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    assert.equal(backoffMs(5, 1000, 30_000, () => 0), 0);
    assert.equal(backoffMs(2, 1000, 30_000, () => 0.25), 1000);

    const waits = Array.from({ length: 10_000 }, () => backoffMs(3, 1000, 30_000));
    for (let eighth = 0; eighth < 8; eighth++) {
        const share = waits.filter((wait) => Math.floor(wait / 1000) === eighth).length / waits.length;
        assert.ok(share > 0.1 && share < 0.15, `${share} of the waits are in second ${eighth} of 8`);
    }
});

test('Calls of one turn are sent in one message, and calls that cancel out are not sent', async () => {
    const { topics: watched, sent } = topics();
    watched.connect();
    watched.watch([1, 2], undefined);
    watched.watch(['bob', 2], undefined);
    watched.watch([3], undefined).stop();
    watched.watch([1], 'reachable');
    await turn();
    assert.deepEqual(sent, [
        { type: 'watch', users: [1, 2, 'bob'] },
        { type: 'watch', users: [1], definition: 'reachable' },
    ]);
});

test('Many small watches one after another are gathered', async (t) => {
    const clock = new Clock();
    clock.install();
    t.after(() => clock.uninstall());
    const { topics: watched, sent } = topics();
    watched.connect();
    for (let user = 0; user < 200; user++) {
        watched.watch([user], undefined);
        await clock.pass(1);
    }

    await clock.pass(100);
    assert.ok(sent.length <= 4, `${sent.length} messages`);
    assert.equal(sent.flatMap(({ users }) => users).length, 200);
});

test('A user is unwatched when nobody wants them any more, and before others are watched', async (t) => {
    const clock = t.mock.method(performance, 'now', () => 0);
    const { topics: watched, sent } = topics();
    watched.connect();
    const one = watched.watch([1, 2], undefined);
    const other = watched.watch([2, 3], undefined);
    await turn();
    clock.mock.mockImplementation(() => 1000);
    one.stop();
    await turn();
    clock.mock.mockImplementation(() => 2000);
    watched.watch([4], undefined);
    other.stop();
    other.stop();
    await turn();
    assert.deepEqual(sent.slice(-3), [
        { type: 'unwatch', users: [1] },
        { type: 'unwatch', users: [2, 3] },
        { type: 'watch', users: [4] },
    ]);
});

test('A long list is sent in messages of less than 64 KiB', () => {
    const { topics: watched, sent } = topics();
    const users = Array.from({ length: 10_000 }, (_, i) => `${'é'.repeat(60)}${i}`);
    watched.watch(users, undefined);
    watched.connect();
    assert.deepEqual(sent.flatMap((message) => message.users), users);
    assert.ok(sent.length > 1 && sent.length <= 22, `${sent.length} messages`);
    for (const message of sent)
        assert.ok(Buffer.byteLength(JSON.stringify(message)) <= 65_536);
});

test('More than 10,000 users are refused, and then nobody of them is watched', async () => {
    const { topics: watched, sent } = topics();
    watched.connect();
    const many = Array.from({ length: 9_999 }, (_, i) => i);
    const first = watched.watch(many, undefined);
    watched.watch([1, 2, 3], undefined); // these are watched already
    assert.throws(
        () => watched.watch([20_000, 20_001], undefined),
        { name: 'RangeError', message: /10000 users, and 9999 are watched: stop a watch/ });
    await turn();
    assert.ok(!sent.some((message) => message.users.includes(20_000)));
    first.stop();
    watched.watch([20_000, 20_001], undefined);
});

test('Saved subscriptions are heard of without being asked for, and kept when a watch of the same user stops', async (t) => {
    const clock = t.mock.method(performance, 'now', () => 0);
    const { topics: watched, sent, heard, answer } = topics();
    const bob = watched.watch(['bob'], undefined);
    watched.connect();
    watched.receive({ users: [record('ann'), record('bob')] });
    assert.deepEqual(heard.map((now) => now.user_id), ['ann', 'bob']);
    answer(record('bob'));

    clock.mock.mockImplementation(() => 1000);
    bob.stop();
    await turn();
    assert.deepEqual(sent, [{ type: 'watch', users: ['bob'] }]);
    watched.receive({ users: [record('bob', 'away')] });
    assert.equal(heard.at(-1).status, 'away');

    clock.mock.mockImplementation(() => 2000);
    watched.unwatch(['ann', 'bob'], undefined);
    await turn();
    assert.deepEqual(sent.at(-1), { type: 'unwatch', users: ['ann', 'bob'] });
    const before = heard.length;
    watched.receive({ users: [record('ann', 'offline')] }); // sent before the unwatch arrived
    assert.equal(heard.length, before);
});

test('While what is known does not hold it is unknown, and afterwards it is as before', async () => {
    const { topics: watched, answer } = topics();
    const told = [];
    const tell = (now, previous) => told.push([now.user_id, now.status, now.is_online, now.last_seen, previous?.status]);
    const watch = watched.watch([1, 2], undefined, tell);
    assert.deepEqual(watch.get(1), { user_id: 1, is_online: null, status: 'unknown', last_seen: null });
    watched.connect();
    answer(record(1, 'busy', 5));
    watched.setStale(true);
    assert.deepEqual(watch.get(1), { user_id: 1, is_online: null, status: 'unknown', last_seen: 5 });
    watched.setStale(false);
    watched.disconnect();
    watched.connect();
    answer(record(1, 'busy', 5));
    // no record of user 2 ever came, so there is nothing to report
    assert.deepEqual(told, [
        [1, 'busy', true, 5, undefined],
        [1, 'unknown', null, 5, 'busy'],
        [1, 'busy', true, 5, 'unknown'],
        [1, 'unknown', null, 5, 'busy'],
        [1, 'busy', true, 5, 'unknown'],
    ]);
});

test('A record that differs in anything is told', () => {
    const { topics: watched, answer } = topics();
    const told = [];
    watched.connect();
    watched.watch([1], undefined, (now) => told.push(now.text));
    watched.connect();
    answer(record(1));
    for (const text of ['at lunch', 'at lunch', undefined])
        watched.receive({ users: [{ ...record(1), text }] });
    assert.deepEqual(told, [undefined, 'at lunch', undefined]);
});

test('A loop that is slow gets the latest of each user and nothing older', async () => {
    const { topics: watched } = topics();
    watched.connect();
    const watch = watched.watch([1, 2], undefined);
    const loop = watch[Symbol.asyncIterator]();
    const first = loop.next();
    watched.receive({ users: [record(1)] });
    assert.equal((await first).value.status, 'online');
    for (let i = 0; i < 1000; i++)
        watched.receive({ users: [record(2, 'busy', i), record(1, i % 2 ? 'away' : 'busy', i)] });
    assert.deepEqual((await loop.next()).value, record(2, 'busy', 999));
    assert.deepEqual((await loop.next()).value, record(1, 'away', 999));
    const none = loop.next();
    watch.stop();
    assert.deepEqual(await none, { value: undefined, done: true });
});

test('Leaving a loop stops the watch', async () => {
    const { topics: watched, sent, answer } = topics();
    watched.connect();
    const watch = watched.watch([1], undefined);
    await turn();
    answer(record(1));
    for await (const now of watch) {
        assert.equal(now.user_id, 1);
        break;
    }

    await new Promise((resolve) => setTimeout(resolve, 150));
    assert.deepEqual(sent.at(-1), { type: 'unwatch', users: [1] });
});

test('A watch of nobody, or left with nobody, ends', async () => {
    const { topics: watched } = topics();
    watched.connect();
    for await (const now of watched.watch([], undefined))
        assert.fail(`nobody is watched, and ${now.user_id} was heard of`);
    const watch = watched.watch([1, 2], undefined);
    watched.unwatch([1], undefined);
    assert.equal(watch.get(1), undefined);
    assert.deepEqual([...watch.records.keys()], [2]);
    watched.unwatch([2], undefined);
    assert.ok((await watch[Symbol.asyncIterator]().next()).done);
});

test('A callback that fails keeps nobody else from being called, and its error is not lost', (t) => {
    const later = [];
    const { topics: watched } = topics();
    watched.connect();
    watched.watch([1], undefined, () => {
        throw new Error('a mistake of the caller');
    });
    const told = [];
    watched.watch([1], undefined, (now) => told.push(now.status));
    t.mock.method(globalThis, 'queueMicrotask', (task) => later.push(task));
    watched.receive({ users: [record(1)] });
    t.mock.restoreAll();
    assert.deepEqual(told, ['online']);
    assert.throws(() => later.forEach((task) => task()), /a mistake of the caller/);
});

test('A value that is not a user ID is refused by the call that gets it', async () => {
    const { statusOf } = http({ url: 'http://127.0.0.1:1' });
    const wrong = [
        [-1, /integer from 0 to 9007199254740991/],
        [1.5, /integer/],
        [2 ** 53, /as text/],
        [Number.NaN, /integer/],
        [12345678901234567890n, /bigint as text/],
        [undefined, /not undefined/],
        [null, /not null/],
        [{}, /not object/],
        ['', /empty text/i],
        ['x'.repeat(256), /1 to 255 bytes/],
        ['é'.repeat(128), /1 to 255 bytes/],
        ['a\nb', /control characters/],
        ['\ud800', /surrogate/],
    ];
    for (const [user, message] of wrong)
        await assert.rejects(statusOf(user), { name: 'TypeError', message });
});

test('Options that cannot work are refused by connect and http', () => {
    const url = 'http://127.0.0.1:1';
    const refused = [
        [() => connect(), /"user" .* or "token"/],
        [() => connect({ url }), /"user" .* or "token"/],
        [() => connect({ user: 1 }), /"url" is missing: give the server's address/],
        [() => connect({ url: 'presence.example', user: 1 }), /"url" is "presence.example"/],
        [() => connect({ url: 'ws://presence.example', user: 1 }), /"url" is "ws:/],
        [() => connect({ url, user: '' }), /not a user/],
        [() => connect({ url, user: 1, minBackoffMs: 5000, maxBackoffMs: 1000 }), /"minBackoffMs" \(5000\)/],
        [() => connect({ url, user: 1, device: { id: '' } }), /"device" is \{ id, kind \}: an "id" of 1 to 64 bytes/],
        [() => connect({ url, user: 1, device: { id: 'é'.repeat(33) } }), /"device" is/],
        [() => connect({ url, user: 1, device: { kind: 'watch' } }), /a "kind" of desktop, mobile, web, other/],
        [() => connect({ url, token: null }), /"user" .* or "token"/],
        [() => http({}), /"url" is missing/],
    ];
    for (const [attempt, message] of refused)
        assert.throws(attempt, { message });
});

test('Without a WebSocket the message says what to do', () => {
    const had = globalThis.WebSocket;
    try {
        delete globalThis.WebSocket;
        assert.throws(
            () => connect({ url: 'http://127.0.0.1:1', user: 1 }), /version 22; in 20 and 21 run "node --experimental-websocket"/);
    } finally {
        globalThis.WebSocket = had;
    }
});
