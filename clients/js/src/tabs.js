/**
 * `@aglow/client/tabs`: one connection for all tabs of an origin.
 *
 *     connect({ url, token, WebSocket: shareTabs('ann') })
 *
 * The real socket is in a SharedWorker. Without workers, the tabs elect a leader: the tab that gets the Web Lock of the name. Without
 * locks, each tab has its own socket. Each tab also holds its own lock while its socket is open, so that the others detect a crash.
 */
import { SharedSocket, serve } from './shared-socket.js';

const WORKER_WITHIN_MS = 3000;

/**
 * A WebSocket class that shares one real socket among all tabs that use the same name. Use one name per signed-in user, because tabs of
 * another user need another connection.
 */
export function shareTabs(name) {
    if (typeof name !== 'string' || name === '')
        throw new TypeError('shareTabs needs the name of the signed-in user, such as their ID: '
            + 'tabs with the same name share a connection.');
    const { locks } = globalThis.navigator ?? {};
    if (!locks || !globalThis.BroadcastChannel)
        return globalThis.WebSocket;
    let isWorkerMissing = !globalThis.SharedWorker;

    return class TabSocket extends EventTarget {
        #tab = `aglow tab ${globalThis.crypto?.randomUUID?.() ?? Math.random()}`;
        #post; // sends to the owner of the real socket
        #ends = []; // cleanup functions
        #isOpen = false;
        #isOver = false;

        constructor(address, protocols) {
            super();
            this.#hold(this.#tab).then(() => this.#isOver || this.#start({ kind: 'join', tab: this.#tab, address, protocols }));
        }

        send(text) {
            this.#post({ kind: 'send', tab: this.#tab, text });
        }

        close(code = 1005) {
            if (this.#isOver)
                return;
            this.#post?.({ kind: 'leave', tab: this.#tab });
            this.#end(code, '');
        }

        async #start(join) {
            if (isWorkerMissing || !(await this.#useWorker(join)))
                this.#useLeader(join);
        }

        // Returns false if there is no worker: it may be forbidden, or the bundle lacks its file.
        #useWorker(join) {
            return new Promise((resolve) => {
                const without = () => {
                    isWorkerMissing = true;
                    resolve(false);
                };
                const timer = setTimeout(without, WORKER_WITHIN_MS);
                try {
                    // bundlers recognize only this exact form
                    const worker = new SharedWorker(new URL('./tabs-worker.js', import.meta.url), {
                        type: 'module',
                        name: `aglow ${name}`,
                    });
                    worker.onerror = without;
                    worker.port.onmessage = ({ data }) => {
                        if (data.kind !== 'ready') {
                            this.#receive(data);
                            return;
                        }

                        clearTimeout(timer);
                        resolve(true);
                        if (isWorkerMissing || this.#isOver)
                            return;
                        this.#post = (event) => worker.port.postMessage(event);
                        this.#post(join);
                    };
                } catch {
                    without();
                }
            });
        }

        #useLeader(join) {
            const channel = new BroadcastChannel(`aglow ${name}`);
            this.#ends.push(() => channel.close());
            this.#post = (event) => channel.postMessage(event);
            channel.onmessage = ({ data }) => {
                if (data.to === join.tab)
                    this.#receive(data);
                else if (data.kind === 'leader')
                    this.#post(join);
            };
            this.#post(join);
            this.#hold(`aglow ${name}`).then(() => this.#isOver || this.#lead(channel, join));
        }

        // The previous leader has ended, and its socket with it, or there was none.
        #lead(channel, join) {
            if (this.#isOpen) {
                this.#end(1006, '');
                return;
            }

            const shared = new SharedSocket(WebSocket);
            const posts = new Map();
            const mine = (event) => this.#receive(event);
            this.#post = (event) => serve(shared, locks, mine, event, posts);
            channel.onmessage = ({ data }) => serve(shared, locks, (event) => channel.postMessage({ ...event, to: data.tab }), data, posts);
            this.#ends.unshift(() => {
                for (const post of posts.values()) {
                    if (post !== mine)
                        post({ kind: 'close', code: 1006, reason: '' });
                    shared.leave(post);
                }
            });
            channel.postMessage({ kind: 'leader' });
            this.#post(join);
        }

        #receive({ kind, ...event }) {
            if (this.#isOver)
                return;
            this.#isOpen ||= kind === 'open';
            if (kind === 'close')
                this.#end(event.code, event.reason);
            else
                this.#emit(kind, event);
        }

        #end(code, reason) {
            if (this.#isOver)
                return;
            this.#isOver = true;
            this.#ends.forEach((end) => end());
            this.#emit('close', { code, reason });
        }

        #emit(kind, event) {
            this.dispatchEvent(Object.assign(new Event(kind), event));
        }

        // Resolves when this tab has the lock. The lock is released with the socket.
        #hold(lock) {
            const stop = new AbortController();
            this.#ends.push(() => stop.abort());
            return new Promise((resolve) => {
                const held = () => new Promise((release) => {
                    this.#ends.push(release);
                    if (this.#isOver)
                        release();
                    resolve();
                });
                locks.request(lock, { signal: stop.signal }, held).catch(() => {});
            });
        }
    };
}
