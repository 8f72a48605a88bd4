/** Messages that a healthy single server never sends, from a mock server: store away, lost messages, nonsense. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { WebSocketServer } from 'ws';
import { connect } from '@aglow/client';
import { reach, until } from './server.js';

const WELCOME = { type: 'welcome', user_id: 1, offline_after_seconds: 30, tick_seconds: 10 };
const BOB = { user_id: 'bob', is_online: true, status: 'busy', last_seen: 1763763300 };
let server;
let url;
let sockets;
before(async () => {
    server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
    await once(server, 'listening');
    url = `http://127.0.0.1:${server.address().port}/presence/`;
    server.on('connection', (socket, request) => {
        sockets.push(socket);
        socket.path = request.url;
        socket.heard = [];
        socket.on('message', (data) => socket.heard.push(JSON.parse(data)));
    });
});
after(() => server.close());

/** Connects; returns the connection and the mock server's side of its first socket. */
async function join(t, options) {
    sockets = [];
    const connection = connect({ url, user: 'ann & co', minBackoffMs: 1, maxBackoffMs: 1, ...options });
    t.after(() => connection.close());
    await until(() => sockets.length);
    const [socket] = sockets;
    return { connection, socket, say: (message) => socket.send(typeof message === 'string' ? message : JSON.stringify(message)) };
}

test('The server may live below a path', async (t) => {
    const { socket } = await join(t, { device: { id: 'dévice', kind: 'web' } });
    assert.equal(socket.path, '/presence/ws?user_id=ann%20%26%20co&device_id=d%C3%A9vice&device_kind=web');
});

test('While the store is away everybody is unknown; when it is back they are as they were', async (t) => {
    const { connection, socket, say } = await join(t);
    const told = [];
    connection.watch('bob', (record) => told.push([connection.state, record.status, record.is_online, record.last_seen]));
    say(WELCOME);
    const { id } = await until(() => socket.heard[0]);
    say({ type: 'presence', id, users: [BOB] });
    say({ type: 'stale', as_of: 1763763310 });
    await reach(connection, 'stale');
    say({ type: 'fresh' });
    await reach(connection, 'open');
    const { last_seen } = BOB;
    assert.deepEqual(told.map(([, ...record]) => record), [
        ['busy', true, last_seen],
        ['unknown', null, last_seen],
        ['busy', true, last_seen],
    ]);
});

test('A server that is about to stop says when to come back', async (t) => {
    const { connection, socket, say } = await join(t, { minBackoffMs: 3_600_000, maxBackoffMs: 3_600_000 });
    say(WELCOME);
    await reach(connection, 'open');
    say({ type: 'reconnect', after_ms: 50 });
    socket.close(1001);
    await until(() => sockets.length === 2);
});

test('A message that is not JSON is a problem, and one of an unknown type is ignored', async (t) => {
    const { connection, say } = await join(t);
    const problems = [];
    connection.onError((problem) => problems.push(problem.title));
    say('hello');
    say({ type: 'news of a later version' });
    say(WELCOME);
    await reach(connection, 'open');
    assert.deepEqual(problems, ['Not a message']);
});
