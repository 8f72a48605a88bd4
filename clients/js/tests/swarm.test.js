/**
 * Many people, each with this client, while the server is killed, stopped and cut off: nobody is ever shown with a wrong status.
 * AGLOW_PEOPLE and AGLOW_SECONDS make it more and longer: `AGLOW_PEOPLE=200 AGLOW_SECONDS=300 node --experimental-websocket --test
 * tests/swarm.test.js`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@aglow/client';
import { AglowServer, Proxy, QUICK, until } from './server.js';

const PEOPLE = Number(process.env.AGLOW_PEOPLE ?? 30);
const SECONDS = Number(process.env.AGLOW_SECONDS ?? 20);
const FRIENDS = 10;
const STATUSES = ['auto', 'busy', 'away'];
// a lease of 3 s, 2.5 s until the client notices a dead link, and time for a busy machine
const HOLDS_FOR_MS = 10_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const random = (n) => Math.floor(Math.random() * n);

/** A person who chooses statuses, leaves and returns, and the statuses that others may see. */
class Person {
    shown = [{ status: 'offline', from: 0, to: Date.now() }];

    constructor(user, url) {
        this.user = user;
        this.url = url;
        this.come();
    }

    come() {
        this.connection = connect({ url: this.url, user: this.user, device: { id: `${this.user}` } });
        this.connection.onError(() => {});
        this.#mayBe('online', this.status ?? 'online');
        const friends = Array.from({ length: FRIENDS }, () => random(PEOPLE));
        this.watch = this.connection.watch(friends);
    }

    // One thing at a time: a leave and what follows it take seconds while the network is lost.
    async act() {
        if (this.isBusy)
            return;
        this.isBusy = true;
        await (random(10) === 0 ? this.leave() : this.choose());
        this.isBusy = false;
    }

    async choose() {
        const status = STATUSES[random(STATUSES.length)];
        const before = this.status ?? 'online';
        const next = status === 'auto' ? 'online' : status;
        // until the server answers, either status may be shown
        const ends = this.#mayBe(before, next);
        if ((await this.connection.setStatus(status).catch(() => 'failed')) !== 'saved')
            return;
        this.status = next;
        ends(next);
    }

    async leave() {
        const ends = this.#mayBe('offline', this.status ?? 'online');
        if ((await this.connection.leave()) === 'left')
            ends('offline');
        this.come();
    }

    // After a lost link the lease expires, so anybody may be offline. That is no fault while the person's connection is not open.
    isTrue(status) {
        const now = Date.now();
        return this.shown.some((fact) => fact.status === status && (fact.to ?? now) > now - HOLDS_FOR_MS);
    }

    #mayBe(...statuses) {
        const now = Date.now();
        this.shown = this.shown.filter(({ to }) => to === undefined || to > now - HOLDS_FOR_MS);
        for (const fact of this.shown)
            fact.to ??= now;
        const facts = statuses.map((status) => ({ status, from: now }));
        this.shown.push(...facts);
        return (status) => {
            for (const fact of facts) {
                if (fact.status !== status)
                    fact.to ??= Date.now();
            }
        };
    }
}

test(`${PEOPLE} people for ${SECONDS} s of faults: nothing false is shown, and all is right afterwards`, async (t) => {
    const server = await AglowServer.start(...QUICK);
    t.after(() => server.dispose());
    const proxy = await Proxy.start(server.url);
    t.after(() => proxy.dispose());
    const people = Array.from({ length: PEOPLE }, (_, user) => new Person(user, proxy.url));
    t.after(() => people.forEach(({ connection }) => connection.close()));
    const allOpen = () => until(() => people.every(({ connection }) => connection.state === 'open'), 'all are open');
    await allOpen();

    let isOver = false;
    let looks = 0;
    let lostAt = -Infinity; // while links are lost, and for a lease afterwards, anybody may be offline
    const lies = [];
    const living = (async () => {
        while (!isOver) {
            const person = people[random(PEOPLE)];
            void person.act();
            await sleep(Math.max(5, 2000 / PEOPLE));
        }
    })();
    const looking = (async () => {
        while (!isOver) {
            for (const { watch, connection } of people) {
                for (const { user_id, status } of watch.records.values()) {
                    looks++;
                    const isExcused = status === 'offline' && Date.now() - lostAt < HOLDS_FOR_MS;
                    if (status !== 'unknown' && !isExcused && !people[user_id].isTrue(status))
                        lies.push({ user_id, status, state: connection.state, shown: people[user_id].shown.map((fact) => fact.status) });
                }
            }

            await sleep(200);
        }
    })();

    const faults = {
        kill: async () => {
            await server.kill();
            await server.startAgain();
        },
        stop: async () => {
            await server.stop();
            await server.startAgain();
        },
        silence: async () => proxy.swallow(),
        cut: async () => {
            proxy.lose();
            await sleep(4000);
            proxy.find();
        },
    };
    const ends = Date.now() + SECONDS * 1000;
    let done = 0;
    while (Date.now() < ends || done < Object.keys(faults).length) {
        const fault = Object.keys(faults)[done++ % Object.keys(faults).length];
        const keep = setInterval(() => (lostAt = Date.now()), 50);
        await faults[fault]();
        await sleep(3000);
        await allOpen();
        clearInterval(keep);
        await sleep(1000);
    }

    isOver = true;
    await Promise.all([living, looking]);
    await until(() => people.every(({ isBusy }) => !isBusy), 'nobody is busy');
    t.diagnostic(`${done} faults, ${looks} records looked at, ${lies.length} false`);
    assert.deepEqual(lies.slice(0, 5), []);

    // everybody settles, and everybody sees it
    await Promise.all(people.map((person) => person.connection.setStatus('busy')));
    const areBusy = ({ watch }) => [...watch.records.values()].every(({ status }) => status === 'busy');
    await until(() => people.every(areBusy), 'all are seen as they are');
});
