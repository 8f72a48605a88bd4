/** The hook where pages are rendered on a server, by the real React. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { connect } from '@aglow/client';
import { PresenceProvider, usePresence } from '@aglow/client/react';

const Dots = ({ users }) =>
    [...usePresence(users).values()].map(({ user_id, status }) => createElement('i', { key: user_id }, `${user_id} ${status}`));

test('On the server everybody is unknown, with a connection and without', () => {
    const connection = connect({ url: 'http://127.0.0.1:1', user: 1 });
    connection.close();
    for (const provided of [connection, null]) {
        const page = createElement(PresenceProvider, { connection: provided }, createElement(Dots, { users: [60, 'bob'] }));
        assert.equal(renderToString(page), '<i>60 unknown</i><i>bob unknown</i>');
    }
});

test('Without a provider the message says what to do', () => {
    assert.throws(() => renderToString(createElement(Dots, { users: [1] })), /usePresence needs a connection: put <PresenceProvider/);
});
