/** The hook, in the real React, on a real server. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createElement, StrictMode } from 'react';
import { create } from 'react-test-renderer';
import { connect } from '@aglow/client';
import { PresenceProvider, usePresence } from '@aglow/client/react';
import { AglowServer, CALM, reach, until } from './server.js';

// the renderer always warns that it is deprecated (its successors need a browser), and React 18 warns of two renderers in a process
const SAID_ANYWAY = /react-test-renderer is deprecated|Detected multiple renderers/;
const said = [];
console.error = (...words) => SAID_ANYWAY.test(words.join(' ')) || said.push(words.join(' '));

let server;
const connections = [];
before(async () => (server = await AglowServer.start(...CALM)));
after(async () => {
    connections.forEach((connection) => connection.close());
    await server.dispose();
    assert.deepEqual(said, []);
});

async function open(user) {
    const sent = [];
    class Recording extends WebSocket {
        send(message) {
            const { id, ...said } = JSON.parse(message);
            assert.ok(id > 0);
            sent.push(said);
            super.send(message);
        }
    }

    const connection = connect({ url: server.url, user, WebSocket: Recording, minBackoffMs: 20, maxBackoffMs: 200 });
    connections.push(connection);
    await reach(connection, 'open');
    return Object.assign(connection, { sent });
}

let renderings = 0;
let first; // what the first rendering since it was cleared has shown
function Dots({ users, ...options }) {
    renderings++;
    const records = usePresence(users, options);
    first ??= [...records.values()].map(({ user_id, status }) => `${user_id} ${status}`);
    return [...records.values()].map((record) => createElement('i', { key: String(record.user_id) }, `${record.user_id} ${record.status}`));
}

const Dot = ({ user }) => usePresence(user).status;

const below = (connection, ...children) => createElement(StrictMode, null, createElement(PresenceProvider, { connection }, ...children));
const textOf = (view) => [view.toJSON()].flat().map((node) => node?.children?.join('') ?? node);

async function render(element) {
    const view = create(element);
    await until(() => view.toJSON());
    return view;
}

/** Waits until the view has these texts. */
const reads = (view, ...texts) => until(() => JSON.stringify(textOf(view)) === JSON.stringify(texts), texts);

test('A component shows its users as they come and go', async () => {
    const connection = await open(1);
    first = undefined;
    const view = await render(below(connection, createElement(Dots, { users: [2, 'bob'] })));
    assert.deepEqual(first, ['2 unknown', 'bob unknown']);
    await reads(view, '2 offline', 'bob offline');
    const bob = await open('bob');
    await reads(view, '2 offline', 'bob online');
    await bob.leave();
    await reads(view, '2 offline', 'bob offline');
    view.unmount();
    await until(() => connection.sent.some((message) => message.type === 'unwatch'));
    assert.deepEqual(connection.sent, [{ type: 'watch', users: [2, 'bob'] }, { type: 'unwatch', users: [2, 'bob'] }]);
});

test('A list that is written anew but says the same is not watched anew', async () => {
    const connection = await open(10);
    const view = await render(below(connection, createElement(Dots, { users: [11, 12] })));
    await reads(view, '11 offline', '12 offline');
    renderings = 0;
    view.update(below(connection, createElement(Dots, { users: [11, 12] })));
    await until(() => renderings > 0);
    assert.equal(connection.sent.length, 1);
    view.update(below(connection, createElement(Dots, { users: [12, 13] })));
    await reads(view, '12 offline', '13 offline');
    await until(() => connection.sent.length === 3);
    assert.deepEqual(connection.sent.slice(1), [{ type: 'unwatch', users: [11] }, { type: 'watch', users: [13] }]);
    view.unmount();
});

test('A message about many users is one rendering', async () => {
    const connection = await open(20);
    const users = Array.from({ length: 1000 }, (_, i) => 1000 + i);
    const view = await render(below(connection, createElement(Dots, { users })));
    renderings = 0;
    await reads(view, ...users.map((user) => `${user} offline`));
    assert.ok(renderings <= 4, `${renderings} renderings`); // strict mode doubles each
    view.unmount();
});

test('One user gives one record, and components that show the same user share a watch', async () => {
    const connection = await open(30);
    const view = await render(below(connection, createElement(Dot, { user: 30, key: 1 }), createElement(Dot, { user: 30, key: 2 })));
    await reads(view, 'online', 'online');
    assert.deepEqual(connection.sent, [{ type: 'watch', users: [30] }]);
    view.unmount();
});

test('When the server goes away components show unknown, and what is again when it is back', async () => {
    const connection = await open(40);
    const view = await render(below(connection, createElement(Dots, { users: [40] })));
    await reads(view, '40 online');
    await server.kill();
    await reads(view, '40 unknown');
    await server.startAgain();
    await reads(view, '40 online');
    connection.close();
    await reads(view, '40 unknown');
    view.unmount();
});

test('A definition and a connection may be given to the hook', async () => {
    const connection = await open(50);
    const other = await open(51);
    await other.leave();
    const view = await render(createElement(Dots, { users: [51], connection, definition: 'reachable' }));
    await reads(view, '51 online');
    view.update(createElement(Dots, { users: [51], connection }));
    await reads(view, '51 offline');
    view.unmount();
});

test('Before signing in everybody is unknown', async () => {
    const connection = await open(60);
    const view = await render(below(null, createElement(Dots, { users: [60] })));
    assert.deepEqual(textOf(view), ['60 unknown']);
    view.update(below(connection, createElement(Dots, { users: [60] })));
    await reads(view, '60 online');
    view.unmount();
});

test('Users who are not known yet are unknown, and take nobody else down', async () => {
    const connection = await open(70);
    const wrong = said.length;
    for (const nobody of [undefined, null, '']) {
        const view = await render(below(connection, createElement(Dot, { user: nobody })));
        assert.deepEqual(textOf(view), ['unknown']);
        view.unmount();
    }

    assert.equal(said.length, wrong);
    const view = await render(below(connection, createElement(Dots, { users: [undefined, 70, null, -1, 'x'.repeat(300)] })));
    await until(() => textOf(view).includes('70 online'));
    assert.deepEqual(textOf(view).filter((text) => text.endsWith(' unknown')).length, 4);
    const complaints = said.splice(wrong);
    assert.ok(complaints.length >= 2);
    for (const words of complaints)
        assert.match(words, /^aglow: usePresence: .* is not a user/);
    view.unmount();
});

test('More users than a connection may watch are unknown, and said on the console', async () => {
    const connection = await open(80);
    const users = Array.from({ length: 10_001 }, (_, i) => i);
    const before = said.length;
    const view = await render(below(connection, createElement(Dots, { users })));
    await until(() => said.length > before);
    assert.ok(said.splice(before).every((words) => /usePresence watches nobody: A connection may watch 10000 users/.test(words)));
    assert.equal(textOf(view)[0], '0 unknown');
    view.unmount();
});
