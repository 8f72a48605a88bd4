/** Pages in a real browser, on a real server: tabs that share a connection, and the lifecycle of a page. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '@aglow/client';
import { load, openPage, startBrowser } from './browser.js';
import { AglowServer, CALM, reach, until } from './server.js';

let server;
let browser;
let watcher; // another client, outside the browser
before(async () => {
    // one after the other, so that the first is ended if the second does not start
    server = await AglowServer.start(...CALM);
    browser = await startBrowser();
    watcher = connect({ url: server.url, user: 'watcher' });
    await reach(watcher, 'open');
});
after(async () => {
    watcher?.close();
    await browser?.close();
    await server?.dispose();
});

/** Waits until the server has this many sockets. */
const holds = (sockets) => until(async () => {
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/^aglow_connections (\d+)/m.exec(metrics)[1]) === sockets;
}, `${sockets} sockets`);

/** Connects in a page, and watches. `look` reads the state of the connection and the status of a user. */
const join = (page, user, users, name) =>
    page.evaluate((user, users, name) => {
        globalThis.errors = [];
        globalThis.connection = connect({ user, ...(name && { WebSocket: shareTabs(name) }) });
        connection.onError((problem) => errors.push(`${problem.title}: ${problem.detail}`));
        globalThis.watch = connection.watch(users);
    }, user, users, name);

const look = (page, user) => page.evaluate((user) => `${connection.state} ${watch.get(user)?.status}`, user);
const shows = (page, user, wanted) => until(async () => (await look(page, user)) === wanted, `${user}: ${wanted}`);

for (const [how, without] of [['a SharedWorker', []], ['an elected leader', ['SharedWorker']]]) {
    test(`Three tabs share one connection, through ${how}`, async (t) => {
        const context = await browser.createBrowserContext();
        t.after(() => context.close());
        const me = `tabs of ${how}`;
        const friend = `friend of ${how}`;
        const pages = [];
        for (const users of [[friend], [friend, 'other'], ['other']]) {
            const page = await openPage(context, server.url, { without });
            await join(page, me, users, me);
            pages.push(page);
        }

        await shows(pages[0], friend, 'open offline');
        await shows(pages[1], 'other', 'open offline');
        await shows(pages[2], 'other', 'open offline');
        await holds(2); // the tabs' socket, and the watcher's

        // a change reaches the tabs that watch, and any tab can set the status
        const other = connect({ url: server.url, user: friend });
        t.after(() => other.close());
        await shows(pages[0], friend, 'open online');
        await shows(pages[1], friend, 'open online');
        assert.equal(await pages[2].evaluate(() => connection.setStatus('busy')), 'saved');
        const seen = watcher.watch(me);
        await until(() => seen.get(me).status === 'busy');

        // one tab stops its watch, and the other tabs still receive changes
        await pages[0].evaluate(() => watch.stop());
        await other.setStatus('busy');
        await shows(pages[1], friend, 'open busy');

        // a leave in one of several tabs takes nobody offline; the first tab, which may be the leader, closes
        assert.equal(await pages[0].evaluate(() => connection.leave()), 'left');
        await pages[0].close();
        await shows(pages[1], friend, 'open busy');
        await shows(pages[2], 'other', 'open offline');
        await other.setStatus('away');
        await shows(pages[1], friend, 'open away');
        assert.equal(seen.get(me).status, 'busy');

        // the leave of the last tab takes the person offline
        await pages[1].close();
        await shows(pages[2], 'other', 'open offline');
        assert.equal(await pages[2].evaluate(() => connection.leave()), 'left');
        await until(() => seen.get(me).status === 'offline');
        seen.stop();
    });

    test(`A tab that crashes takes nobody else's connection with it, through ${how}`, async (t) => {
        const context = await browser.createBrowserContext();
        t.after(() => context.close());
        const me = `crash of ${how}`;
        const [first, second] = [await openPage(context, server.url, { without }), await openPage(context, server.url, { without })];
        await join(first, me, ['x'], me);
        await shows(first, 'x', 'open offline');
        await join(second, me, ['y'], me);
        await shows(second, 'y', 'open offline');
        first.goto('chrome://crash').catch(() => {});
        const x = connect({ url: server.url, user: 'y' });
        t.after(() => x.leave());
        await shows(second, 'y', 'open online');
    });
}

test('Without locks each tab has a connection of its own', async (t) => {
    const context = await browser.createBrowserContext();
    t.after(() => context.close());
    const page = await openPage(context, server.url);
    assert.ok(await page.evaluate(() => {
        Object.defineProperty(navigator, 'locks', { value: undefined });
        return shareTabs('ann') === WebSocket;
    }));
});

test('A page that is kept for the back button is not online, and is again when it is back', async (t) => {
    const page = await openPage(await browser.createBrowserContext(), server.url);
    t.after(() => page.browserContext().close());
    await page.evaluate(() => addEventListener('pageshow', ({ persisted }) => (globalThis.wasKept = persisted)));
    await join(page, 'kept', ['kept']);
    await shows(page, 'kept', 'open online');
    const seen = watcher.watch('kept');
    await until(() => seen.get('kept').status === 'online');
    await page.goto(`${server.url}/health/ready`);
    await until(() => seen.get('kept').status === 'offline');
    await page.goBack();
    assert.equal(await until(() => page.evaluate(() => globalThis.wasKept?.toString()), 'the page is shown'), 'true');
    await until(() => seen.get('kept').status === 'online');
    await shows(page, 'kept', 'open online');
    seen.stop();
});

test('A browser remembers its device, for all tabs', async (t) => {
    const context = await browser.createBrowserContext();
    t.after(() => context.close());
    const asked = [];
    for (let tab = 0; tab < 2; tab++) {
        const page = await openPage(context, server.url);
        asked.push(await page.evaluate(() => new Promise((resolve) => {
            class Asked extends EventTarget {
                constructor(address) {
                    super();
                    resolve(new URL(address).searchParams.toString());
                }

                close() {}
            }

            connect({ user: 1, WebSocket: Asked });
        })));
    }

    assert.match(asked[0], /^user_id=1&device_id=[\w-]{20,}&device_kind=web$/);
    assert.equal(asked[0], asked[1]);
});

test('A page leaves while it is unloaded', async (t) => {
    const context = await browser.createBrowserContext();
    t.after(() => context.close());
    const page = await openPage(context, server.url);
    await join(page, 'unloaded', ['unloaded']);
    await shows(page, 'unloaded', 'open online');
    const seen = watcher.watch('unloaded');
    await until(() => seen.get('unloaded').status === 'online');
    await page.evaluate(() => void connection.leave());
    await page.goto('about:blank');
    await until(() => seen.get('unloaded').status === 'offline');
    await load(await openPage(context, server.url));
    seen.stop();
});

test('The twenty-first connection of a person hears which limit it is over, and comes in when there is room', async (t) => {
    const context = await browser.createBrowserContext();
    t.after(() => context.close());
    const page = await openPage(context, server.url);
    await page.evaluate(() => {
        globalThis.others = Array.from({ length: 20 }, () => connect({ user: 'many' }));
    });
    await until(() => page.evaluate(() => others.every(({ state }) => state === 'open')), 'twenty are open');
    await page.evaluate(() => {
        globalThis.errors = [];
        globalThis.late = connect({ user: 'many' });
        late.onError(({ title, detail }) => errors.push(`${title}: ${detail}`));
    });
    await until(() => page.evaluate(() => errors.length > 0), 'the limit is said');
    const [said] = await page.evaluate(() => errors);
    assert.match(said, /^Too many connections: .*20/);
    assert.equal(await page.evaluate(() => late.state), 'connecting');
    await page.evaluate(() => others.forEach((other) => other.close()));
    // the server may have closed none of them yet at the first try, and would then be asked again after up to 30 s
    await until(() => page.evaluate(() => {
        late.resume();
        return late.state === 'open';
    }), 'there is room');
});

test('A page hears why its token is refused', async (t) => {
    const guarded = await AglowServer.start('--auth', 'token', '--jwt-secret', Buffer.alloc(32, 7).toString('base64'));
    t.after(() => guarded.dispose());
    const context = await browser.createBrowserContext();
    t.after(() => context.close());
    const page = await openPage(context, guarded.url);
    await page.evaluate(() => {
        globalThis.connection = connect({ token: 'of.no.body' });
        connection.onError(() => {});
    });
    await until(() => page.evaluate(() => connection.state === 'refused'), 'refused');
    const reason = await page.evaluate(() => connection.reason);
    assert.equal(reason.title, 'Not authenticated');
    assert.match(reason.detail, /^Token refused/);
});
