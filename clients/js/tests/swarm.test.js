/**
 * Many people, each with this client, while the server is killed, stopped and cut off: nobody is ever shown with a wrong status.
 * AGLOW_PEOPLE and AGLOW_SECONDS set how many people there are and how long it lasts: `AGLOW_PEOPLE=200 AGLOW_SECONDS=300 node
 * --experimental-websocket --test tests/swarm.test.js`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '@aglow/client';
import { AglowServer, Proxy, until } from './server.js';

const PEOPLE = Number(process.env.AGLOW_PEOPLE ?? 30);
const SECONDS = Number(process.env.AGLOW_SECONDS ?? 20);
const FRIENDS = 10;
const STATUSES = ['auto', 'busy', 'away'];
// a lease of 3 s, 2.5 s until the client notices a dead link, and time for a busy machine
const HOLDS_FOR_MS = 10_000;
// this program sends the pongs of all people: if it was stopped for longer than this, leases may have expired
const STOPPED_MS = 1000;
const OPENS_WITHIN_MS = 90_000;

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
        if (this.isOver)
            return;
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
    const server = await AglowServer.start('--heartbeat-seconds', '1', '--lease-seconds', '3');
    t.after(() => server.dispose());
    const proxy = await Proxy.start(server.url);
    t.after(() => proxy.dispose());
    const people = Array.from({ length: PEOPLE }, (_, user) => new Person(user, proxy.url));
    let isOver = false;
    t.after(() => {
        isOver = true;
        for (const person of people) {
            person.isOver = true;
            person.connection.close();
        }
    });
    const allOpen = () => until(() => people.every(({ connection }) => connection.state === 'open'), 'all are open', OPENS_WITHIN_MS);
    await allOpen();

    let looks = 0;
    let lostAt = -Infinity; // while links are lost, and for a lease afterwards, anybody may be offline
    let isFaulty = false;
    let lookedAt = performance.now();
    const keep = setInterval(() => {
        const isStopped = performance.now() - lookedAt > STOPPED_MS;
        lookedAt = performance.now();
        if (isFaulty || isStopped)
            lostAt = Date.now();
    }, 50);
    t.after(() => clearInterval(keep));
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
        isFaulty = true;
        await faults[fault]();
        await sleep(3000);
        await allOpen();
        isFaulty = false;
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
