/**
 * The runner of clients/behaviour/*.json, whose README says what each step means. The server is a WebSocket class and a fetch of its own,
 * so time can be virtual.
 */
import assert from 'node:assert/strict';
import { AglowError, connect } from '@aglow/client';
import { Clock } from './clock.js';
import { ScriptedSocket } from './scripted-socket.js';

const WELCOME = { type: 'welcome', user_id: 1, offline_after_seconds: 30, tick_seconds: 10 };
const ADDRESS = 'http://presence.example';
const DEVICE = { id: 'device-1', kind: 'other' };
const PAGE = 'a page of HTML, as proxies send it';

function answerOf({ status = 200, problem, answer, retry_after }) {
    const headers = retry_after === undefined ? {} : { 'Retry-After': `${retry_after}` };
    if (problem)
        return Response.json({ status, ...problem }, { status, headers: { ...headers, 'Content-Type': 'application/problem+json' } });
    return answer ? Response.json(answer, { status, headers }) : new Response(PAGE, { status, headers });
}

/** Runs a scenario; rejects at the first step that fails. */
export async function run(scenario) {
    const script = new Script(scenario);
    try {
        for (const [at, step] of scenario.steps.entries()) {
            try {
                await script.play(step);
            } catch (failure) {
                failure.message = `Step ${at + 1}, ${JSON.stringify(step)}: ${failure.message}`;
                throw failure;
            }
        }
    } finally {
        await script.end();
    }
}

class Script {
    #options;
    #clock = new Clock();
    #random = Math.random;
    #names = new Map();
    #watches = new Map(); // name → { watch, told }
    #promises = new Map();
    #handshakes = []; // handshakes that no step has answered
    #dials = 0;
    #calls = []; // HTTP calls that no step has answered
    #called = 0;
    #tokens = 0;
    #asked = 0; // the number of token calls, which selects the next answer of the callback
    #errors = [];
    #lastError;
    #states = [];
    #socket;
    #refusal; // how the last handshake was refused, and at which host
    #network = 'back'; // or 'lost', 'silent'
    #had = {};

    constructor({ options = {}, steps }) {
        this.#options = options;
        this.#clock.install();
        Math.random = () => options.random ?? 0.5;
        if (steps.some((step) => step.page))
            this.#makePage();
    }

    async end() {
        this.connection?.close();
        await this.#clock.settle();
        this.#clock.uninstall();
        Math.random = this.#random;
        Object.entries(this.#had).forEach(([name, value]) => (globalThis[name] = value));
    }

    async play(step) {
        const kind = Object.keys(step)[0];
        const play = this[kind];
        assert.ok(play, `there is no step "${kind}"`);
        await play.call(this, step[kind], step);
        await this.#clock.settle();
    }

    // ---- time ------------------------------------------------------------------------------------------------------------------

    wait(ms) {
        return this.#clock.pass(ms);
    }

    freeze(ms) {
        return this.#clock.jump(ms);
    }

    async #until(holds, ms, what) {
        assert.ok(await this.#clock.pass(ms, holds), `${what} within ${ms} ms`);
    }

    // ---- the server ------------------------------------------------------------------------------------------------------------

    async dial(how, { within = 60_000, ...step }) {
        await this.#until(() => this.#handshakes.length, within, 'no handshake');
        const socket = this.#handshakes.shift();
        if (step.at)
            assert.equal(socket.url.host, step.at);
        if (step.query) {
            for (const [name, value] of Object.entries(step.query))
                assert.equal(socket.url.searchParams.get(name), value, `the query's ${name}`);
        }

        if ('token' in step)
            assert.deepEqual(socket.protocols, step.token === null ? undefined : ['aglow', `aglow.token.${step.token}`]);
        this.#refusal = undefined;
        switch (how) {
            case 'accept':
            case 'welcome':
                this.#socket = socket;
                socket.open();
                if (how === 'welcome')
                    this.say({ ...WELCOME, expires_in_seconds: step.expires_in_seconds });
                break;
            case 'refuse':
                this.#refusal = { ...step, host: socket.url.host, socket };
                socket.end(1006);
                break;
            case 'fail':
                socket.end(1006);
                break;
            case 'never':
                break;
            default:
                assert.fail(`there is no dial "${how}"`);
        }
    }

    say(message) {
        assert.equal(this.#socket.readyState, 1, 'the socket is not open');
        this.#socket.emit('message', { data: typeof message === 'string' ? message : JSON.stringify(this.#fill(message)) });
    }

    async hear(expected, { within = 1000 }) {
        const { sent } = this.#socket;
        if (expected === null) {
            assert.deepEqual(sent, []);
            return;
        }

        const find = () => sent.findIndex(({ type }) => type === expected.type);
        await this.#until(() => find() >= 0, within, `no "${expected.type}" message was heard, but ${JSON.stringify(sent)},`);
        const [message] = sent.splice(find(), 1);
        this.#match(message, expected);
    }

    close(code, { reason }) {
        this.#socket.end(code, reason);
    }

    drop() {
        this.#socket.end(1006);
    }

    mute() {
        this.#socket.isMuted = true;
    }

    async call(line, { within = 1000, body, ...step }) {
        await this.#until(() => this.#calls.length, within, 'no call');
        const call = this.#calls.shift();
        assert.equal(call.line, line);
        if (step.at)
            assert.equal(call.host, step.at);
        if (body)
            this.#match(call.body, body);
        if (step.never)
            return;
        if (step.fail)
            call.reject(new TypeError('fetch failed'));
        else
            call.resolve(answerOf({ answer: { status: 'success' }, ...step }));
    }

    network(how) {
        this.#network = how;
        if (how !== 'back' && this.#socket)
            this.#socket.isMuted = true;
    }

    #fetch(address, { method, headers, body }) {
        const { host, pathname, search } = new URL(address);
        const line = `${method} ${pathname}`;
        // the client makes this call to learn why a handshake failed
        if (line === 'GET /ws')
            return this.#sayRefusal(host, search, headers.Authorization);
        const call = { line, host, body: JSON.parse(body) };
        this.#called++;
        if (this.#network === 'lost')
            return Promise.reject(new TypeError('fetch failed'));
        if (this.#network === 'silent')
            return new Promise(() => {});
        return new Promise((resolve, reject) => this.#calls.push({ ...call, resolve, reject }));
    }

    async #sayRefusal(host, search, authorization) {
        if (this.#refusal?.host !== host)
            throw new TypeError('fetch failed');
        // the question must be that of the handshake
        const { url, protocols } = this.#refusal.socket;
        assert.equal(search, url.search);
        assert.equal(authorization, protocols && `Bearer ${protocols[1].replace('aglow.token.', '')}`);
        return answerOf(this.#refusal);
    }

    // ---- the application -------------------------------------------------------------------------------------------------------

    app(verb, step) {
        const { connection } = this;
        switch (verb) {
            case 'connect':
                this.#connect();
                break;
            case 'watch': {
                const told = [];
                const { definition } = step;
                const watch = connection.watch(step.users, ({ user_id, status }) => told.push([user_id, status]), { definition });
                this.#watches.set(step.as, { watch, told });
                break;
            }

            case 'stop':
                this.#watches.get(step.watch).watch.stop();
                break;
            case 'unwatch':
                connection.unwatch(step.users);
                break;
            case 'heartbeat':
                this.#keep(step.as, connection.heartbeat().then(() => 'sent'));
                break;
            case 'setStatus':
                this.#keep(step.as, connection.setStatus(step.status, step.said));
                break;
            case 'leave':
                this.#keep(step.as, connection.leave());
                break;
            case 'active':
            case 'close':
            case 'refresh':
            case 'resume':
                connection[verb]();
                break;
            default:
                assert.fail(`there is no call "${verb}"`);
        }
    }

    #connect() {
        const { token, user = token === undefined ? 1 : undefined, device = DEVICE, addresses = ADDRESS } = this.#options;
        const script = this;
        class WebSocket extends ScriptedSocket {
            constructor(...given) {
                super(...given);
                script.#dials++;
                if (script.#network === 'back')
                    script.#handshakes.push(this);
                else if (script.#network === 'lost')
                    setTimeout(() => this.end(1006));
            }
        }

        this.connection = connect({
            url: addresses,
            user,
            token: Array.isArray(token) ? () => this.#makeToken() : token,
            device,
            WebSocket,
            fetch: (...call) => this.#fetch(...call),
        });
        this.connection.onState((state) => this.#states.push(state));
        this.connection.onError((problem) => {
            this.#errors.push(problem.title);
            this.#lastError = problem;
        });
    }

    #makeToken() {
        this.#tokens++;
        const { token } = this.#options;
        const does = token[Math.min(this.#asked++, token.length - 1)];
        if (does.never)
            return new Promise(() => {});
        if (does.throws)
            throw new Error(does.throws);
        if (does.after)
            return new Promise((resolve) => setTimeout(resolve, does.after, does.gives));
        return does.gives;
    }

    #keep(name, promise) {
        const kept = { is: 'pending' };
        this.#promises.set(name, kept);
        promise.then(
            (value) => Object.assign(kept, { is: 'done', with: value }),
            (error) => {
                assert.ok(error instanceof AglowError);
                Object.assign(kept, { is: 'failed', with: error.message });
            },
        );
    }

    // ---- the page --------------------------------------------------------------------------------------------------------------

    #makePage() {
        const page = Object.assign(new EventTarget(), { visibilityState: 'visible' });
        const window = new EventTarget();
        const set = (name, value) => {
            this.#had[name] = globalThis[name];
            globalThis[name] = value;
        };
        set('document', page);
        for (const name of ['addEventListener', 'removeEventListener', 'dispatchEvent'])
            set(name, window[name].bind(window));
    }

    page(kind) {
        switch (kind) {
            case 'visible':
            case 'hidden':
                document.visibilityState = kind;
                document.dispatchEvent(new Event('visibilitychange'));
                break;
            case 'freeze':
            case 'resume':
            case 'keydown':
                document.dispatchEvent(new Event(kind));
                break;
            case 'pagehide':
            case 'pageshow':
            case 'online':
            case 'offline':
                globalThis.dispatchEvent(new Event(kind));
                break;
            default:
                assert.fail(`there is no event "${kind}"`);
        }
    }

    // ---- checks ----------------------------------------------------------------------------------------------------------------

    see(what, step) {
        const { connection } = this;
        switch (what) {
            case 'state':
                assert.equal(connection.state, step.is);
                break;
            case 'states':
                assert.deepEqual(this.#states.splice(0), step.are);
                break;
            case 'record': {
                const record = this.#watches.get(step.watch).watch.get(step.user);
                assert.equal(record.status, step.status);
                assert.equal(record.is_online, step.status === 'unknown' ? null : step.status !== 'offline');
                if ('last_seen' in step)
                    assert.equal(record.last_seen, step.last_seen);
                for (const member of ['text', 'emoji', 'until']) {
                    if (member in step)
                        assert.equal(record[member] ?? null, step[member]);
                }

                break;
            }

            case 'told':
                assert.deepEqual(this.#watches.get(step.watch).told.splice(0), step.are);
                break;
            case 'errors': {
                const titles = this.#errors.splice(0);
                const isExpected = titles.length === step.are.length && titles.every((title, i) => title.includes(step.are[i]));
                assert.ok(isExpected, `the errors are ${JSON.stringify(titles)}`);
                break;
            }

            case 'detail':
                assert.ok(this.#lastError?.detail.includes(step.has), `the detail is "${this.#lastError?.detail}"`);
                break;
            case 'reason':
                assert.ok(connection.reason, 'there is no reason');
                for (const member of ['title', 'detail'])
                    assert.ok(connection.reason[member].includes(step[member] ?? ''), JSON.stringify(connection.reason));
                break;
            case 'promise': {
                const kept = this.#promises.get(step.of);
                assert.equal(kept.is, step.is, `it is ${kept.is} with ${kept.with}`);
                if (step.is === 'failed')
                    assert.ok(kept.with.includes(step.with ?? ''), `it failed with "${kept.with}"`);
                else if (step.with !== undefined)
                    assert.equal(kept.with, step.with);
                break;
            }

            case 'dials':
                this.#count(this.#dials, step);
                this.#dials = 0;
                break;
            case 'tokens':
                this.#count(this.#tokens, step);
                this.#tokens = 0;
                break;
            case 'calls':
                this.#count(this.#called, step);
                this.#called = 0;
                break;
            case 'socket':
                assert.equal(this.#socket.readyState >= 2 ? 'closed' : 'open', step.is);
                if ('code' in step)
                    assert.equal(this.#socket.closedWith, step.code);
                break;
            default:
                assert.fail(`there is no check "${what}"`);
        }
    }

    #count(n, { is, from = is, to = is }) {
        assert.ok(n >= from && n <= to, `it is ${n}`);
    }

    // ---- messages --------------------------------------------------------------------------------------------------------------

    #match(actual, expected, path = '') {
        for (const [name, wanted] of Object.entries(expected)) {
            const value = actual?.[name];
            const at = `${path}${name}`;
            if (typeof wanted === 'string' && wanted.startsWith('$')) {
                assert.notEqual(value, undefined, `${at} is missing in ${JSON.stringify(actual)}`);
                if (!this.#names.has(wanted))
                    this.#names.set(wanted, value);
                assert.deepEqual(value, this.#names.get(wanted), at);
            } else if (name === 'users' || name === 'user_ids') {
                assert.deepEqual(new Set(value), new Set(wanted), at);
                assert.equal(value.length, wanted.length, at);
            } else if (typeof wanted === 'object' && wanted !== null && !Array.isArray(wanted)) {
                this.#match(value, wanted, `${at}.`);
            } else {
                assert.deepEqual(value, wanted, at);
            }
        }
    }

    #fill(message) {
        return Object.fromEntries(Object.entries(message).map(([name, value]) => {
            if (typeof value !== 'string' || !value.startsWith('$'))
                return [name, value];
            assert.ok(this.#names.has(value), `${value} stands for nothing`);
            return [name, this.#names.get(value)];
        }));
    }
}
