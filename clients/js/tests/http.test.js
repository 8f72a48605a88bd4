/** The calls over HTTP, to a real server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { AglowError, http } from '@aglow/client';
import { AglowServer } from './server.js';

let server;
// the lease is longer than a test, so that nobody goes offline because the machine is busy
before(async () => (server = await AglowServer.start('--heartbeat-seconds', '7', '--lease-seconds', '120')));
after(() => server.dispose());

test('A heartbeat is being online', async () => {
    const { heartbeat, statusOf } = http({ url: server.url, user: 1 });
    assert.deepEqual(await heartbeat(), { status: 'success', next_heartbeat_seconds: 7, offline_after_seconds: 120 });
    const record = await statusOf(1);
    assert.deepEqual([record.user_id, record.is_online, record.status], [1, true, 'online']);
});

test('A gateway speaks for others, and says that they did something', async () => {
    const { heartbeat, status } = http({ url: server.url });
    await heartbeat(['ann', 2], { active: true });
    const records = await status(['ann', 2, 3], { definition: 'active' });
    assert.deepEqual([...records.values()].map((record) => record.is_online), [true, true, false]);
    await assert.rejects(heartbeat(), /Whose heartbeat\?/);
});

test('Statuses come in the order asked, more than a thousand in several calls', async () => {
    let calls = 0;
    const counted = (...call) => {
        calls++;
        return fetch(...call);
    };
    const { status, heartbeat } = http({ url: server.url, fetch: counted });
    await heartbeat([10, 2_400]);
    calls = 0;
    const users = Array.from({ length: 2_500 }, (_, i) => 2_499 - i);
    const records = await status(users);
    assert.equal(calls, 3);
    assert.deepEqual([...records.keys()], users);
    assert.ok([...records].every(([user, record]) => record.user_id === user));
    assert.deepEqual(
        [...records.values()].filter((record) => record.is_online && record.user_id > 2).map((record) => record.user_id), [2_400, 10]);
    assert.equal((await status([])).size, 0);
});

test('Users that mean something else in a path, and the same user in two forms, are asked for like any other', async () => {
    const { status, statusOf } = http({ url: server.url });
    const users = ['users', 'batch', '..', 'a/b?c#d', '%41', 42, '42'];
    assert.deepEqual([...(await status(users)).values()].map((record) => record.user_id), users);
    assert.equal((await statusOf('..')).status, 'offline');
});

test('A refused call is an error in the words of the server', async () => {
    const { status } = http({ url: server.url });
    await assert.rejects(status([1], { definition: 'awake' }), (error) => {
        assert.ok(error instanceof AglowError);
        assert.equal(error.status, 400);
        assert.match(error.detail, /chat/);
        assert.equal(error.message, `${error.title}: ${error.detail}`);
        return true;
    });
});

test('An error says that a server is missing, or is not an Aglow server', async (t) => {
    const stranger = createServer((request, response) => {
        response.writeHead(request.url.startsWith('/slow') ? 503 : 404, { 'Retry-After': '7' });
        response.end('<h1>Hello</h1>');
    });
    stranger.listen(0, '127.0.0.1');
    await once(stranger, 'listening');
    t.after(() => stranger.close());
    const url = `http://127.0.0.1:${stranger.address().port}`;
    await assert.rejects(
        http({ url }).statusOf(1), { status: 404, message: /^HTTP 404: .*\/status\/batch did not answer as an Aglow server does/ });
    await assert.rejects(http({ url: `${url}/slow/` }).statusOf(1), { status: 503, retryAfterSeconds: 7 });
    stranger.closeAllConnections();
    stranger.close();
    await once(stranger, 'close');
    await assert.rejects(
        http({ url }).statusOf(1), { status: 0, title: 'No answer', message: /could not be reached\. Is the server running\?/ });
});
