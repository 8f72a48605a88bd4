/** docs/asyncapi.yaml against docs/socket.md, and against what a real server takes, sends and closes with. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import Ajv from 'ajv';
import { Parser } from '@asyncapi/parser';
import yaml from 'js-yaml';
import { AglowServer, CALM, QUICK, ROOT, tokenFor, until } from '../../clients/js/tests/server.js';
import { freePort, newFolder } from './guide.js';

// the JavaScript client's tests have it; Node 20 has no WebSocket of its own that says which page it is of
const { WebSocket } = createRequire(join(ROOT, 'clients/js/package.json'))('ws');
const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const TEXT = read('docs/asyncapi.yaml');
const document = yaml.load(TEXT);
const messages = document.components.messages;
const CLOSE_CODES = Object.keys(document.channels.socket['x-close-codes']).map(Number);
const typeOf = (name) => messages[name].payload.properties.type.const;
const namesIn = (operation) => document.operations[operation].messages.map(({ $ref }) => $ref.split('/').at(-1));
const fromServer = [...new Set([...namesIn('push'), ...document.operations.hear.reply.messages.map(({ $ref }) => $ref.split('/').at(-1))])];

const ajv = new Ajv({ strict: false });
ajv.addSchema(document, 'document');
const schemas = new Map(fromServer.map((name) =>
    [typeOf(name), ajv.compile({ $ref: `document#/components/messages/${name}/payload` })]));

const SECRET = randomBytes(32);
/** A socket as a page opens it: what it heard, and with which code it was closed. Every message is held against its schema. */
class Socket {
    heard = [];
    code = undefined;
    #faults = [];
    #socket;

    constructor(url, protocols = []) {
        const { origin } = new URL(url);
        this.#socket = new WebSocket(url.replace('http', 'ws'), protocols, { origin, headers: { 'Sec-Fetch-Mode': 'websocket' } });
        this.#socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            const validate = schemas.get(message.type);
            if (!validate?.(message))
                this.#faults.push(`${data} ${validate ? ajv.errorsText(validate.errors) : 'has a type that the document lacks'}`);
            this.heard.push(message);
        };
        this.#socket.onclose = ({ code }) => (this.code = code);
    }

    static of(server, user, query = '') {
        return new Socket(`${server.url}/ws${query}`, ['aglow', `aglow.token.${tokenFor(SECRET, user)}`]);
    }

    hears(holds) {
        return until(() => {
            assert.deepEqual(this.#faults, []);
            return this.heard.find(holds);
        }, `${holds}: ${JSON.stringify(this.heard)}`);
    }

    async closes() {
        await until(() => this.code !== undefined, 'it is closed');
        assert.deepEqual(this.#faults, []);
        assert.ok(CLOSE_CODES.includes(this.code), `${this.code} is not in the document`);
        return this.code;
    }

    send = (data) => this.#socket.send(typeof data === 'string' || data instanceof Uint8Array ? data : JSON.stringify(data));
    close = () => this.#socket.close();
}

let server;
before(async () => (server = await AglowServer.start(...QUICK, '--auth', 'token', '--jwt-secret', SECRET.toString('base64'))));
after(() => server.dispose());

test('The document is AsyncAPI without a fault, and examples fit their schemas', async () => {
    const { document: parsed, diagnostics } = await new Parser().parse(TEXT);
    assert.deepEqual(diagnostics.filter(({ severity }) => severity <= 1).map(({ message, path }) => `${path.join('.')}: ${message}`), []);
    assert.ok(parsed);
    for (const [name, { payload, examples }] of Object.entries(messages)) {
        assert.ok(examples.length > 0, name);
        const validate = ajv.compile({ $ref: `document#/components/messages/${name}/payload` });
        for (const { payload: example } of examples)
            assert.ok(validate(example), `${name}: ${ajv.errorsText(validate.errors)}`);
        assert.equal(payload.additionalProperties, false, name);
    }
});

test('It has the messages and close codes of docs/socket.md', () => {
    const page = read('docs/socket.md');
    const described = (side) => {
        const rows = page.matchAll(new RegExp(`^\\| ${side} \\| .\\{"type":"(\\w+)"`, 'gm'));
        return [...new Set([...rows].map(([, type]) => type))];
    };
    assert.deepEqual(namesIn('hear').map(typeOf).sort(), described('client').sort());
    assert.deepEqual(fromServer.map(typeOf).sort(), described('server').sort());
    const codes = [...page.matchAll(/\b(10\d\d|4[45]\d\d)\b/g)].map(([code]) => Number(code));
    assert.deepEqual(CLOSE_CODES.toSorted(), [...new Set(codes)].sort());
});

test('A server has it, with its own version', async () => {
    const answer = await fetch(`${server.url}/docs/asyncapi.yaml`);
    assert.equal(await answer.text(), TEXT);
    assert.equal(document.info.version, (await (await fetch(`${server.url}/openapi/v1.json`)).json()).info.version);
});

test('A server takes every example, and answers as the document says', async () => {
    const socket = Socket.of(server, 'ann', '?device_id=one&device_kind=web');
    await socket.hears(({ type }) => type === 'welcome');
    await socket.hears(({ type }) => type === 'tick');
    let id = 100;
    for (const name of namesIn('hear').toSorted((one) => (one === 'leave' ? 1 : -1))) {
        for (const { payload } of messages[name].examples) {
            // the token in the document is none
            const example = { ...payload, ...(name === 'token' && { token: tokenFor(SECRET, 'ann') }), id: ++id };
            if (name !== 'leave') {
                socket.send({ ...example, id: ++id, unheard_of: 1 });
                assert.equal((await socket.hears((message) => message.id === id)).type, 'error', 'a member that is not in the schema');
                example.id = ++id;
            }

            socket.send(example);
            const answer = await socket.hears((message) => message.id === id);
            assert.equal(answer.type, messages[name]['x-answer'], JSON.stringify([example, answer]));
        }
    }

    assert.equal(await socket.closes(), 1000);
    for (const type of ['welcome', 'tick', 'presence', 'token', 'ok', 'error'])
        assert.ok(socket.heard.some((message) => message.type === type), type);
});

test('A server closes with the codes of the document', async () => {
    const closed = async (socket, ...sent) => {
        if (sent.length > 0)
            await socket.hears(({ type }) => type === 'welcome');
        for (const data of sent)
            socket.send(data);
        return socket.closes();
    };
    const ofBen = () => Socket.of(server, 'ben');
    assert.deepEqual(await Promise.all([
        closed(ofBen(), new Uint8Array(3)), closed(ofBen(), '{'), closed(ofBen(), 'x'.repeat(70_000)),
        closed(new Socket(`${server.url}/ws`)), closed(Socket.of(server, 'ben', '?who=ben')),
        closed(Socket.of(server, 'ben', '?user_id=ann')),
    ]), [1003, 1007, 1009, 4401, 4400, 4403]);
    const many = Array.from({ length: 20 }, () => Socket.of(server, 'eve'));
    await Promise.all(many.map((socket) => socket.hears(({ type }) => type === 'welcome')));
    assert.equal(await Socket.of(server, 'eve').closes(), 4429);
    many.forEach((socket) => socket.close());
});

test('A store that goes away and comes back is stale and fresh, and a stop is a reconnect', async (t) => {
    const port = await freePort();
    const redis = spawn('redis-server', ['--port', `${port}`, '--save', '', '--dir', newFolder('redis')], { stdio: 'ignore' });
    t.after(() => redis.kill('SIGKILL'));
    const listens = () => new Promise((resolve) => {
        const probe = net.connect(port, '127.0.0.1', () => resolve(Boolean(probe.destroy())));
        probe.on('error', () => resolve(false));
    });
    await until(listens, 'Redis listens');
    const node = await AglowServer.start(...CALM, '--redis', `127.0.0.1:${port}`, '--drain-seconds', '1');
    t.after(() => node.dispose());
    const socket = new Socket(`${node.url}/ws?user_id=1`);
    await socket.hears(({ type }) => type === 'welcome');
    socket.send({ type: 'watch', users: [2] });
    await socket.hears(({ type }) => type === 'presence');
    redis.kill('SIGSTOP');
    await socket.hears(({ type }) => type === 'stale');
    redis.kill('SIGCONT');
    await socket.hears(({ type }) => type === 'fresh');
    await Promise.all([node.stop(), socket.hears(({ type }) => type === 'reconnect')]);
    assert.equal(await socket.closes(), 1001);
});
