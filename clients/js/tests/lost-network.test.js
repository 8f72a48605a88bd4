/**
 * Three tabs of a browser lose their network for AGLOW_LOST_SECONDS (default 10), with short-lived tokens. Counts how often they connect,
 * and checks that they never show a wrong status. `AGLOW_LOST_SECONDS=300 node --experimental-websocket --test
 * tests/lost-network.test.js` makes the figure in the documentation.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { connect } from '@aglow/client';
import { openPage, startBrowser } from './browser.js';
import { AglowServer, Proxy, QUICK, reach, tokenFor, until } from './server.js';

const LOST_SECONDS = Number(process.env.AGLOW_LOST_SECONDS ?? 10);
const RENEWALS = 10;
const TABS = 3;
// the client notices silence after 2.5 ticks of a second; a status that is outdated for longer than this is wrong
const HOLDS_FOR_MS = 7000;
// ten renewals take 20 s if the machine does nothing else
const RENEWS_WITHIN_MS = 120_000;

const secret = randomBytes(32);

test(`Three tabs, ${LOST_SECONDS} s without a network, a token renewed ${RENEWALS} times: few connects, and nothing false`, async (t) => {
    const server = await AglowServer.start(...QUICK, '--auth', 'token', '--jwt-secret', secret.toString('base64'));
    t.after(() => server.dispose());
    const proxy = await Proxy.start(server.url);
    t.after(() => proxy.dispose());
    const browser = await startBrowser();
    t.after(() => browser.close());
    const context = await browser.createBrowserContext();

    // A friend who changes status all the time, each with a text of its own, and until when each held. Until the server has answered, the
    // one before may be shown, too.
    const truth = [{ shown: 'online' }];
    const friend = connect({ url: server.url, token: () => tokenFor(secret, 'friend', 300) });
    t.after(() => friend.close());
    friend.onError(() => {});
    await reach(friend, 'open');
    let isOver = false;
    t.after(() => (isOver = true));
    const coming = (async () => {
        for (let turn = 0; !isOver; turn++) {
            const status = ['busy', 'away', 'online'][turn % 3];
            const before = truth.at(-1);
            truth.push({ shown: `${status} ${turn}` });
            await friend.setStatus(status, { text: `${turn}` });
            before.to = Date.now();
            await new Promise((resolve) => setTimeout(resolve, 2000));
        }
    })();
    const wasTrue = (shown, at) => truth.some((fact) => fact.shown === shown && (fact.to ?? Infinity) > at - HOLDS_FOR_MS);

    let tokens = 0;
    const pages = [];
    for (let tab = 0; tab < TABS; tab++) {
        const page = await openPage(context, proxy.url);
        await page.exposeFunction('makeToken', () => {
            tokens++;
            return tokenFor(secret, 'ann', 4);
        });
        await page.evaluate(() => {
            globalThis.dials = 0;
            class Counted extends WebSocket {
                constructor(...given) {
                    super(...given);
                    dials++;
                }
            }

            globalThis.connection = connect({ token: () => makeToken(), WebSocket: Counted });
            connection.onError(() => {});
            globalThis.watch = connection.watch('friend');
        });
        pages.push(page);
    }

    const look = (page) => page.evaluate(() => {
        const { status, text } = watch.get('friend');
        return { state: connection.state, dials, shown: [status, text].filter(Boolean).join(' ') };
    });
    const lies = [];
    let looks = 0;
    const checking = (async () => {
        while (!isOver) {
            for (const page of pages) {
                // the answer may be late, and what it says is of a time in between
                const askedAt = Date.now();
                const { shown } = await look(page);
                looks++;
                if (shown !== 'unknown' && !wasTrue(shown, askedAt))
                    lies.push({ shown, askedAt });
            }

            await new Promise((resolve) => setTimeout(resolve, 100));
        }
    })();
    // where an earlier failure ends the test, these end after it
    for (const loop of [coming, checking])
        loop.catch(() => {});
    const isOpen = async () => (await Promise.all(pages.map(look))).every(({ state }) => state === 'open');

    await until(isOpen, 'all tabs are open');
    proxy.lose();
    await new Promise((resolve) => setTimeout(resolve, LOST_SECONDS * 1000));
    proxy.find();
    await until(isOpen, 'all tabs are open again');
    const renewed = tokens;
    await until(() => tokens >= renewed + TABS * RENEWALS, 'tokens were renewed', RENEWS_WITHIN_MS);
    await until(isOpen, 'all tabs are open still');

    isOver = true;
    await Promise.all([coming, checking]);
    const dials = (await Promise.all(pages.map(look))).map((tab) => tab.dials);
    t.diagnostic(`${dials.join(', ')} connects of ${TABS} tabs, ${tokens} tokens, ${looks} records looked at, ${lies.length} false`);
    assert.deepEqual(lies, []);
    // at most one connect a second on average; token renewals need none
    for (const count of dials)
        assert.ok(count <= LOST_SECONDS + 5, `${count} connects`);
});
