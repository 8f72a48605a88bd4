/**
 * `./aglow serve` as people run it, for a test: on a free port, on a folder of its own, ended with the test.
 */
import { execFile, spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

// ./test names the native file
const PROGRAM = process.env.TEST_SERVER ?? join(ROOT, 'aglow');

// long, because a machine that builds at the same time is slow
const STARTS_WITHIN_MS = 180_000;
const HAPPENS_WITHIN_MS = 90_000;

/**
 * Heartbeats each second, so the client's timeout of 25 s takes 2.5 s: for tests that wait for it. A busy machine may be silent for as
 * long, so all others use {@link CALM}.
 */
export const QUICK = ['--heartbeat-seconds', '1', '--lease-seconds', '60'];

/** A timeout of 10 s, and a lease that a test can wait for. */
export const CALM = ['--heartbeat-seconds', '4', '--lease-seconds', '12'];

export class AglowServer {
    #process;
    #flags;
    #folder;
    #log = '';
    #keys = 0;

    static async start(...flags) {
        const server = new AglowServer();
        server.#folder = await mkdtemp(join(tmpdir(), 'aglow-client-tests-'));
        server.#flags = flags;
        await server.#run('http://127.0.0.1:0');
        return server;
    }

    /** Adds a key with this scope, which the server takes within a second. */
    async addKey(scope) {
        const { stdout } = await promisify(execFile)(
            PROGRAM, ['keys', 'add', '--data', this.#folder, '--name', `${scope}-${this.#keys++}`, '--scope', scope]);
        const key = stdout.trim();
        const headers = { Authorization: `Bearer ${key}` };
        await until(async () => (await fetch(`${this.url}/status/1`, { headers })).status !== 401, 'the key is taken');
        return key;
    }

    /** Ends it as a crash would. */
    async kill() {
        await this.#end('SIGKILL');
    }

    /** Asks it to stop, and waits until it has. */
    async stop() {
        await this.#end('SIGTERM');
    }

    /** Starts it again where it was, on the same port and folder. */
    async startAgain() {
        await this.#run(this.url);
    }

    async dispose() {
        await this.kill();
        await rm(this.#folder, { recursive: true });
    }

    async #run(urls) {
        const environment = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AGLOW_')));
        this.#process = spawn(PROGRAM, ['serve', '--urls', urls, '--data', this.#folder, ...this.#flags], { env: environment });
        this.#process.stderr.on('data', (text) => (this.#log += text));
        let late;
        try {
            this.url = await new Promise((resolve, reject) => {
                late = setTimeout(() => reject(new Error(`The server did not start: ${this.#log}`)), STARTS_WITHIN_MS);
                this.#process.on('exit', () => reject(new Error(`The server ended: ${this.#log}`)));
                this.#process.stdout.on('data', (text) => {
                    this.#log += text;
                    const ready = /Ready on (https?:\/\/[^ ,]+?)(,|: data)/.exec(this.#log);
                    if (ready)
                        resolve(ready[1]);
                });
            });
        } catch (failure) {
            // what is left would keep the tests from ending
            this.#process.kill('SIGKILL');
            throw failure;
        } finally {
            clearTimeout(late);
        }

        this.#log = '';
    }

    async #end(signal) {
        if (this.#process.exitCode !== null || this.#process.signalCode !== null)
            return;
        this.#process.kill(signal);
        await once(this.#process, 'exit');
    }
}

/** A user's token, as an app's own login would make it. No two are the same. */
export function tokenFor(secret, sub, seconds = 300) {
    const encode = (part) => Buffer.from(JSON.stringify(part)).toString('base64url');
    const now = Date.now() / 1000;
    const content = `${encode({ alg: 'HS256' })}.${encode({ sub, iat: Math.floor(now), exp: Math.floor(now) + seconds, jti: `${now}` })}`;
    return `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`;
}

/** A proxy to the server that can go silent: connections stay open, but carry nothing, and no end hears that the other has closed. */
export class Proxy {
    #server;
    #sockets = new Set();
    #silent = new WeakSet();
    #isLost = false;

    static async start(url) {
        const { hostname, port } = new URL(url);
        const proxy = new Proxy();
        proxy.#server = net.createServer((near) => {
            if (proxy.#isLost) {
                proxy.#sockets.add(near.on('error', () => {}).resume());
                return;
            }

            const far = net.connect(port, hostname);
            for (const [from, to] of [[near, far], [far, near]]) {
                proxy.#sockets.add(from);
                const end = () => proxy.#silent.has(from) || to.destroy();
                from.on('data', (data) => to.write(data));
                from.on('error', end);
                from.on('close', () => {
                    proxy.#sockets.delete(from);
                    end();
                });
            }
        });
        proxy.#server.listen(0, '127.0.0.1');
        await once(proxy.#server, 'listening');
        proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`;
        return proxy;
    }

    /** Silences all open connections; later ones work. */
    swallow() {
        for (const socket of this.#sockets)
            this.#silent.add(socket.removeAllListeners('data').resume());
    }

    /** Silences all open connections and all new ones, until find(). */
    lose() {
        this.#isLost = true;
        this.swallow();
    }

    find() {
        this.#isLost = false;
        this.#sockets.forEach((socket) => socket.destroy());
    }

    async dispose() {
        this.#sockets.forEach((socket) => socket.destroy());
        this.#server.close();
        await once(this.#server, 'close');
    }
}

/** Waits until `holds()` gives something true, and returns it; a test fails that waits for longer than this. */
export async function until(holds, what = holds, withinMs = HAPPENS_WITHIN_MS) {
    const deadline = Date.now() + withinMs;
    for (;;) {
        const value = await holds();
        if (value)
            return value;
        if (Date.now() > deadline)
            throw new Error(`Not within ${withinMs / 1000} s: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}

/** Waits until the connection is in this state. */
export const reach = (connection, state) => until(() => connection.state === state, `state ${state}`);
