/** Watching, through real sockets to a real server. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import WebSocketOfWs from 'ws';
import { connect } from '@aglow/client';
import { AglowServer, CALM, reach, tokenFor, until } from './server.js';

const secret = randomBytes(32);
let server;
let guarded; // takes tokens
const connections = [];
before(async () => {
    server = await AglowServer.start(...CALM);
    guarded = await AglowServer.start('--auth', 'token', '--jwt-secret', secret.toString('base64'));
});
after(async () => {
    connections.forEach((connection) => connection.close());
    await server.dispose();
    await guarded.dispose();
});

/**
 * Connects with the given WebSocket, or Node's. Records messages in `connection.sent`, addresses in `connection.addresses`,
 * and offered subprotocols in `connection.offered`.
 */
function join(user, { WebSocket = globalThis.WebSocket, ...options } = {}) {
    const sent = [];
    const addresses = [];
    const offered = [];
    class Recording extends WebSocket {
        constructor(...given) {
            super(...given);
            addresses.push(new URL(given[0]));
            offered.push(given[1]);
        }

        send(message) {
            const { id, ...said } = JSON.parse(message);
            assert.ok(id > 0);
            sent.push(said);
            super.send(message);
        }
    }

    const connection = connect({ url: server.url, user, WebSocket: Recording, ...options });
    connections.push(connection);
    return Object.assign(connection, { sent, addresses, offered });
}

async function open(user, options) {
    const connection = join(user, options);
    await reach(connection, 'open');
    return connection;
}

const follow = async (user, users) => {
    const post = (path, body) =>
        fetch(new URL(path, server.url), { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    assert.equal((await post(`/users/${user}/subscriptions`, { user_ids: users })).status, 200);
};

test('Connecting says what it does, and is being online', async () => {
    const connection = join(1);
    assert.equal(connection.state, 'connecting');
    const states = [];
    const stop = connection.onState((state, previous) => states.push([previous, state]));
    await reach(connection, 'open');
    assert.equal((await connection.statusOf(1)).status, 'online');
    stop();
    connection.close();
    assert.equal(connection.state, 'closed');
    assert.deepEqual(states, [['connecting', 'open']]);
});

test('Two who watch each other see each other come and go', async () => {
    const ann = await open('ann');
    const seen = { ann: [], bob: [] };
    ann.watch('bob', (record, previous) => seen.ann.push([record.status, previous?.status]));
    await until(() => seen.ann.length);
    const bob = await open('bob');
    bob.watch(['ann'], (record) => seen.bob.push(record.status));
    await until(() => seen.ann.length === 2 && seen.bob.length === 1);
    await bob.leave();
    await until(() => seen.ann.length === 3);
    assert.deepEqual(seen.ann, [['offline', undefined], ['online', 'offline'], ['offline', 'online']]);
    assert.deepEqual(seen.bob, ['online', 'unknown']); // bob left, so his client no longer knows
});

test('A watch is a loop over records: first the present ones, then each change', async () => {
    const watcher = await open(20);
    const other = await open(21);
    const seen = [];
    for await (const record of watcher.watch([21, 22])) {
        seen.push([record.user_id, record.status]);
        if (seen.length === 2)
            other.setStatus('busy');
        if (seen.length === 3)
            break;
    }

    assert.deepEqual(seen, [[21, 'online'], [22, 'offline'], [21, 'busy']]);
    await until(() => watcher.sent.some((message) => message.type === 'unwatch'));
    assert.deepEqual(watcher.sent.at(-1).users, [21, 22]);
});

test('Loops end when the connection is closed', async () => {
    const watcher = await open(23);
    const watch = watcher.watch(24);
    await until(() => watch.get(24).status === 'offline');
    watcher.onState(() => assert.equal(watch.get(24).status, 'unknown'));
    setImmediate(() => watcher.close());
    let last;
    for await (const record of watch)
        last = record;
    assert.equal(last.status, 'offline');
    for await (const record of watcher.watch(24))
        assert.fail(`a closed connection heard of ${record.user_id}`);
});

test('Users are told apart and echoed as they were given', async () => {
    const watcher = await open(30);
    const watch = watcher.watch([31, '31', 'ключ "\\ 🟢', 'users']);
    await until(() => [...watch.records.values()].every((record) => record.status === 'offline'));
    assert.deepEqual([...watch.records.keys()], [31, '31', 'ключ "\\ 🟢', 'users']);
    const arrival = await open('ключ "\\ 🟢');
    await until(() => watch.get('ключ "\\ 🟢').is_online);
    arrival.close();
    assert.equal(watch.get('nobody asked'), undefined);
});

test('Two watches of a user cost the server one, and it ends with the second', async () => {
    const watcher = await open(40);
    const first = watcher.watch([41, 42]);
    const heard = [];
    await until(() => first.get(42).status === 'offline');
    const second = watcher.watch([42], (record, previous) => heard.push([record.status, previous]));
    await until(() => heard.length);
    assert.deepEqual(heard, [['offline', undefined]]);
    first.stop();
    await until(() => watcher.sent.length === 2);
    second.stop();
    await until(() => watcher.sent.length === 3);
    assert.deepEqual(watcher.sent, [
        { type: 'watch', users: [41, 42] },
        { type: 'unwatch', users: [41] },
        { type: 'unwatch', users: [42] },
    ]);
});

test('A user who is unwatched is not heard of again, in any watch', async () => {
    const watcher = await open(50);
    const heard = [];
    const watch = watcher.watch([51, 52], (record) => heard.push([record.user_id, record.status]));
    await until(() => heard.length === 2);
    watcher.unwatch(51);
    await until(() => watcher.sent.some((message) => message.type === 'unwatch'));
    await open(51);
    await open(52);
    await until(() => heard.length === 3);
    assert.deepEqual(heard, [[51, 'offline'], [52, 'offline'], [52, 'online']]);
    assert.deepEqual([...watch.records.keys()], [52]);
});

test('Each watch may choose a definition of online', async () => {
    const watcher = await open(60);
    const other = await open(61);
    const chat = watcher.watch(61, { definition: 'chat' });
    const reachable = watcher.watch(61, undefined, { definition: 'reachable' });
    const definitions = new Set();
    watcher.onPresence((record, previous, definition) => definitions.add(definition));
    await until(() => chat.get(61).is_online && reachable.get(61).is_online);
    await other.leave();
    await until(() => chat.get(61).status === 'offline');
    assert.equal(reachable.get(61).status, 'online');
    assert.deepEqual(definitions, new Set([undefined, 'reachable']));
    watcher.unwatch(61, { definition: 'reachable' });
    assert.equal(reachable.get(61), undefined);
    assert.equal(chat.get(61).status, 'offline');
});

test('An error of the server is reported in its words', async () => {
    const watcher = await open(65);
    const problems = [];
    watcher.onError((problem) => problems.push(problem));
    watcher.watch(66, { definition: 'awake' });
    await until(() => problems.length);
    assert.equal(problems[0].title, 'No such definition');
    assert.match(problems[0].detail, /one of: .*chat/);
    assert.equal(watcher.state, 'open');
    watcher.close();
});

test('A problem without a listener is on the console', async (t) => {
    const warn = t.mock.method(console, 'warn', () => {});
    const watcher = await open(67);
    watcher.watch(66, { definition: 'awake' }); // this definition does not exist
    await until(() => warn.mock.callCount());
    assert.match(warn.mock.calls[0].arguments[0], /^aglow: No such definition: "definition" is one of: /);
    watcher.close();
});

test('A status that was chosen is what others see, also where it was chosen before there was a connection', async () => {
    const watcher = await open(70);
    const watch = watcher.watch(71);
    const other = join(71);
    other.setStatus('busy');
    await until(() => watch.get(71).status === 'busy');
    other.setStatus('offline');
    await until(() => watch.get(71).status === 'offline');
    other.setStatus('auto');
    await until(() => watch.get(71).status === 'online');
    assert.throws(() => other.setStatus('asleep'), /"asleep" is not a status to choose: choose one of auto, online, away, busy, offline/);
    for (const name of ['type', 'status', 'id', 'expires_at']) {
        assert.throws(
            () => other.setStatus('away', { text: 'x', [name]: 'leave' }),
            new TypeError(`"${name}" is not a detail to choose: choose one of text, emoji, until, for_seconds, source, priority.`));
    }

});

test('Activity ends being away, and is reported at most every 30 s', async (t) => {
    const own = await AglowServer.start('--heartbeat-seconds', '2', '--lease-seconds', '60', '--away-seconds', '2');
    t.after(() => own.dispose());
    const { url } = own;
    const person = join(80, { url });
    person.active(); // while connecting: the client sends it once it is connected
    await reach(person, 'open');
    // who is active is away again after two seconds, so each change is noted
    const seen = [];
    (await open(83, { url })).watch(80, ({ status }) => seen.push(status));
    await until(() => seen.at(-1) === 'away');
    const changes = seen.length;
    person.active();
    assert.deepEqual(person.sent, [{ type: 'active' }]);
    const now = performance.now();
    t.mock.method(performance, 'now', () => now + 30_001);
    person.active();
    person.active();
    t.mock.restoreAll();
    assert.deepEqual(person.sent, [{ type: 'active' }, { type: 'active' }]);
    await until(() => seen[changes] === 'online');
});

test('In a browser, pointer, keys and the page being shown are activity', async (t) => {
    globalThis.document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
    t.after(() => delete globalThis.document);
    const silent = await open(81, { reportActivity: false });
    const person = await open(82);
    let now = performance.now();
    const clock = t.mock.method(performance, 'now', () => now);
    const reported = () => person.sent.filter(({ type }) => type === 'active').length;
    for (const [kind, reports] of [['visibilitychange', 1], ['pointermove', 2], ['keydown', 3], ['pointerdown', 4]]) {
        document.dispatchEvent(new Event(kind));
        document.dispatchEvent(new Event(kind));
        assert.equal(reported(), reports, kind);
        now += 30_001;
    }

    document.visibilityState = 'hidden';
    document.dispatchEvent(new Event('visibilitychange'));
    assert.equal(reported(), 4);
    assert.ok(silent.sent.every(({ type }) => type !== 'active'));
    person.close();
    document.dispatchEvent(new Event('keydown'));
    clock.mock.restore();
    assert.equal(reported(), 4);
});

test('Leaving is being offline at once, closing is not', async () => {
    const leaver = await open(90);
    const closer = await open(91);
    await leaver.leave();
    closer.close();
    assert.deepEqual([leaver.state, closer.state], ['closed', 'closed']);
    const { statusOf } = leaver;
    assert.equal((await statusOf(90)).status, 'offline');
    assert.equal((await statusOf(91)).status, 'online');
    assert.notEqual((await statusOf(90)).last_seen, null);
    await leaver.leave(); // a second leave does nothing
    await until(async () => (await statusOf(91)).status === 'offline');
});

test('Ten thousand users are watched at once', async () => {
    const watcher = await open(100);
    const users = Array.from({ length: 10_000 }, (_, i) => `a user with a name of some length, number ${i}`);
    const watch = watcher.watch(users);
    await until(() => [...watch.records.values()].every((record) => record.status === 'offline'));
    assert.ok(watcher.sent.length > 1);
    await open(users[9_999]);
    await until(() => watch.get(users[9_999]).is_online);
    assert.throws(() => watcher.watch('one more'), RangeError);
});

test('Followed users are reported without a watch', async () => {
    const followed = await open('followed');
    await open('stranger');
    const who = await open('follower');
    await follow('follower', ['followed', 110]);
    who.close();

    const follower = join('follower');
    const heard = [];
    follower.onPresence((record) => heard.push([record.user_id, record.status]));
    const watch = follower.watch(['followed', 'stranger']);
    await until(() => heard.length === 3 && watch.get('stranger').is_online);
    assert.deepEqual(heard.sort(), [[110, 'offline'], ['followed', 'online'], ['stranger', 'online']]);

    watch.stop();
    await until(() => follower.sent.some((message) => message.type === 'unwatch'));
    assert.deepEqual(follower.sent.at(-1), { type: 'unwatch', users: ['stranger'] });
    followed.setStatus('busy');
    await until(() => heard.length === 4);
    assert.deepEqual(heard.at(-1), ['followed', 'busy']);
});

test('Any WebSocket class will do', async () => {
    const connection = await open(120, { WebSocket: WebSocketOfWs });
    const watch = connection.watch(120);
    await until(() => watch.get(120).is_online);
    await connection.leave();
});

test('A token goes with the connection and the calls, made anew where it is a function', async () => {
    let made = 0;
    const asked = [];
    const connection = await open(121, {
        token: async () => `token-${++made}`,
        fetch: (address, call) => {
            asked.push(call.headers.Authorization);
            return fetch(address, call);
        },
    });
    assert.deepEqual(connection.offered, [['aglow', 'aglow.token.token-1']]);
    await connection.heartbeat();
    assert.deepEqual(asked, ['Bearer token-2']);
});

for (const [whose, WebSocket] of [['Node', globalThis.WebSocket], ['the ws package', WebSocketOfWs]]) {
    test(`A token is in no URL, unless that is asked for: the WebSocket of ${whose}`, async () => {
        const token = tokenFor(secret, 'bea');
        for (const tokenInUrl of [undefined, true]) {
            const connection = await open(undefined, { url: guarded.url, token, tokenInUrl, WebSocket });
            const watch = connection.watch('bea');
            await until(() => watch.get('bea').status === 'online');
            assert.equal(connection.addresses[0].href.includes(token), tokenInUrl === true);
            assert.deepEqual(connection.offered[0], tokenInUrl ? undefined : ['aglow', `aglow.token.${token}`]);
            await connection.leave();
        }
    });
}

test('A socket without a token offers no subprotocol', async () => {
    const connection = await open(123);
    assert.deepEqual(connection.offered, [undefined]);
});

test('A token that cannot be offered is not put into the URL instead', async () => {
    for (const token of ['a token', 'a,b', 'å', '']) {
        const connection = join(undefined, { url: guarded.url, token });
        const problem = await new Promise((resolve) => connection.onError(resolve));
        assert.match(problem.detail, /was not tried: the token is empty, or has a character .* set "tokenInUrl"/);
        assert.deepEqual(connection.addresses, []);
        connection.close();
    }
});

test('A token is made anew before it ends, and the connection goes on', async () => {
    let made = 0;
    const token = () => {
        made++;
        return tokenFor(secret, 'ann', 8);
    };
    const connection = await open(undefined, { url: guarded.url, token });
    const states = [];
    connection.onState((state) => states.push(state));
    await until(() => connection.sent.filter(({ type }) => type === 'token').length >= 3);
    const watch = connection.watch('ann');
    await until(() => watch.get('ann').status === 'online');
    assert.equal(connection.addresses.length, 1);
    assert.deepEqual(states, []);
    assert.ok(made >= 4);
});

test('Callbacks are functions', async () => {
    const connection = await open(122);
    assert.throws(() => connection.watch(1, 'paint'), /callback of watch is a function/);
    assert.throws(() => connection.onState(), /function to call back/);
    assert.throws(() => connection.watch(1, { definition: 7 }), /"definition" is the name of a definition/);
    assert.throws(() => connection.watch([1, -1]), /-1 is not a user/);
});

test('The promises of a status and of a leave say what became of them', async () => {
    const person = await open(130);
    assert.equal(await person.setStatus('busy'), 'saved');
    const [first, second] = await Promise.all([person.setStatus('away'), person.setStatus('auto')]);
    assert.deepEqual([first, second], ['replaced', 'saved']);
    assert.deepEqual(await Promise.all([person.leave(), person.leave()]), ['left', 'left']);
    await assert.rejects(person.setStatus('busy'), { name: 'AglowError', title: 'Closed' });
    assert.equal(await person.leave(), 'left');
    const closed = await open(130);
    closed.close();
    assert.equal(await closed.leave(), 'lease');
});

test('A leave takes the user offline at once, also after a heartbeat over HTTP', async () => {
    const connection = await open(134);
    await connection.heartbeat();
    assert.equal((await connection.statusOf(134)).is_online, true);
    assert.equal(await connection.leave(), 'left');
    assert.equal((await connection.statusOf(134)).is_online, false);
});

test('A user who is unwatched before the first answer and watched again is never shown with an old record', async () => {
    const watcher = await open(131);
    const other = await open(132);
    for (let turn = 0; turn < 20; turn++) {
        const first = watcher.watch(132);
        await new Promise((resolve) => setTimeout(resolve, turn * 10));
        first.stop();
        await new Promise((resolve) => setTimeout(resolve, 120));
        const second = watcher.watch(132);
        const status = turn % 2 ? 'busy' : 'away';
        await other.setStatus(status);
        await until(() => second.get(132).status === status, `turn ${turn}: ${status}`);
        second.stop();
    }
});

test('A token that has ended is final, with the reason of the server', async () => {
    const connection = join(undefined, { url: guarded.url, token: tokenFor(secret, 'ann', -120) });
    const problems = [];
    connection.onError((problem) => problems.push(problem.title));
    await reach(connection, 'refused');
    assert.equal(connection.reason.title, 'Token expired');
    assert.deepEqual(problems, ['Token expired']);
    assert.equal(connection.addresses.length, 1);
    await assert.rejects(connection.setStatus('busy'), { title: 'Token expired' });
});

for (const [whose, token, user, title] of [
    ['a token of another user', () => tokenFor(secret, 'ann'), 'bob', 'Not yours'],
    ['a key without the scope heartbeat', () => guarded.addKey('read'), 'bob', 'Scope missing'],
    ['a key and no user', () => guarded.addKey('heartbeat'), undefined, 'Malformed request'],
]) {
    for (const [kind, WebSocket] of [['Node', globalThis.WebSocket], ['ws', WebSocketOfWs]]) {
        test(`A refused handshake is final, with the reason of the server: ${whose}, the WebSocket of ${kind}`, async () => {
            const connection = join(user, { url: guarded.url, token: await token(), WebSocket });
            const problems = [];
            connection.onError((problem) => problems.push(problem.title));
            await reach(connection, 'refused');
            assert.equal(connection.reason.title, title);
            assert.deepEqual(problems, [title]);
            assert.equal(connection.addresses.length, 1);
        });
    }
}

test('A callback that gives tokens of nobody is asked three times, and again when that is asked for', async () => {
    let isSignedIn = false;
    const token = () => (isSignedIn ? tokenFor(secret, 'ann') : `not.a.token${Math.random()}`);
    const connection = join(undefined, { url: guarded.url, token });
    connection.onError(() => {});
    await reach(connection, 'refused');
    assert.equal(connection.addresses.length, 3);
    isSignedIn = true;
    connection.refresh();
    await reach(connection, 'open');
    assert.equal(connection.reason, undefined);
});

test('A connection that passes its check stays open', async (t) => {
    const connection = await open(133);
    // the answer has two seconds, and a busy machine may need more
    const { setTimeout } = globalThis;
    const timers = t.mock.method(globalThis, 'setTimeout', (callback, ms, ...given) => setTimeout(callback, 10 * ms, ...given));
    connection.resume();
    timers.mock.restore();
    await until(() => connection.sent.length === 1);
    await connection.setStatus('busy'); // answered after the check
    assert.equal(connection.state, 'open');
    assert.equal(connection.addresses.length, 1);
});
