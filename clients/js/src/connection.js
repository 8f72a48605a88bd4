/**
 * One socket to the server, made anew whenever it is lost. Stands between the server's messages and the {@link Topics}.
 *
 *     connecting ─ welcome ─► open ◄─ stale, fresh ─► stale
 *         ▲                     │ lost, or silent for 2.5 ticks
 *         └──── backoff ────────┘           leave, close ─► closed, from anywhere
 *
 * The server pings, and the browser answers by itself also in a background tab, where timers run once a minute: so no timer here keeps anybody online.
 * Those here only find out that the server is gone.
 */
import { watchPerson } from './activity.js';
import { backoffMs } from './backoff.js';
import { addressOf, http, protocolsOf, tokenOf } from './server.js';
import { Topics } from './topics.js';
import { definitionOf, listOf } from './users.js';
import { tell } from './watch.js';

const MANUAL = ['auto', 'online', 'away', 'busy', 'offline'];
const ACTIVE_INTERVAL_MS = 30_000;
const SILENT_TICKS = 2.5; // two ticks may be missed, not three
const WELCOME_WITHIN_MS = 10_000;
const GOODBYE_WITHIN_MS = 1000;
const RENEW_BEFORE_MS = 30_000; // a token is made anew so long before it ends, or at half of its time
const LONGEST_TIMER_MS = 0x7fffffff;

export function connect(options) {
    return new Connection(options);
}

class Connection {
    #options;
    #WebSocket;
    #state = 'connecting';
    #socket;
    #topics = new Topics(
        (message) => this.#send(message),
        (...change) => this.#tell('presence', ...change),
    );

    #listeners = { state: new Set(), presence: new Set(), error: new Set() };
    #attempt = 0; // tries since a connection last held
    #redial; // the timer, while waiting to try again
    #reconnectAt; // what the server asked for before it closes
    #silence; // the timer that finds out
    #silenceMs;
    #heardAt;
    #renewal; // the timer that makes a token anew
    #manual; // a status chosen while there was no connection
    #actedAt = -Infinity; // the person last did something, not reported yet
    #activeAt = -Infinity; // and when it was last reported
    #stopWatchingPerson = () => {};

    constructor(options = {}) {
        const { user, token, reportActivity = true, minBackoffMs = 1000, maxBackoffMs = 30_000 } = options;
        this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
        if (user === undefined && token === undefined)
            throw new TypeError('Who connects? Give "user" (a server in open mode) or "token".');
        if (!(minBackoffMs >= 0 && maxBackoffMs >= minBackoffMs))
            throw new RangeError(`"minBackoffMs" (${minBackoffMs}) is 0 or more, and "maxBackoffMs" (${maxBackoffMs}) no less than it.`);
        if (!this.#WebSocket)
            throw new TypeError('There is no WebSocket here. Node has one from version 22; in 20 and 21 run "node --experimental-websocket", '
                + 'or give the class as "WebSocket" in the options.');
        this.#options = { ...options, minBackoffMs, maxBackoffMs };
        Object.assign(this, http(this.#options));
        if (reportActivity)
            this.#stopWatchingPerson = watchPerson(() => this.active(), () => this.#look());
        this.#dial();
    }

    get state() {
        return this.#state;
    }

    onState(callback) {
        return this.#on('state', callback);
    }

    onPresence(callback) {
        return this.#on('presence', callback);
    }

    onError(callback) {
        return this.#on('error', callback);
    }

    watch(users, callback, options) {
        if (typeof callback === 'object' && callback !== null)
            [callback, options] = [undefined, callback];
        if (callback !== undefined && typeof callback !== 'function')
            throw new TypeError('The callback of watch is a function: watch(users, (record, previous) => …, { definition }).');
        const watch = this.#topics.watch(listOf(users), definitionOf(options), callback);
        if (this.#state === 'closed')
            watch.stop();
        return watch;
    }

    unwatch(users, options) {
        this.#topics.unwatch(listOf(users), definitionOf(options));
    }

    setStatus(status) {
        if (!MANUAL.includes(status))
            throw new TypeError(`"${status}" is not a status to choose: it is one of ${MANUAL.join(', ')}.`);
        if (this.#isWelcome)
            this.#send({ type: 'status', status });
        else
            this.#manual = status;
    }

    active() {
        const now = performance.now();
        if (now - this.#activeAt < ACTIVE_INTERVAL_MS)
            return;
        this.#actedAt = now;
        if (!this.#isWelcome)
            return;
        this.#activeAt = now;
        this.#send({ type: 'active' });
    }

    leave() {
        const socket = this.#socket;
        const isOpen = socket?.readyState === 1;
        if (isOpen)
            this.#send({ type: 'leave' });
        this.#end();
        if (!isOpen) {
            socket?.close();
            return Promise.resolve();
        }

        // the server closes when it has heard
        return new Promise((resolve) => {
            const timer = setTimeout(() => {
                socket.close();
                resolve();
            }, GOODBYE_WITHIN_MS);
            socket.addEventListener('close', () => {
                clearTimeout(timer);
                resolve();
            });
        });
    }

    close() {
        const socket = this.#socket;
        this.#end();
        socket?.close(1000);
    }

    get #isWelcome() {
        return this.#state === 'open' || this.#state === 'stale';
    }

    // ---- the socket: made, lost, made again ------------------------------------------------------------------------------------

    async #dial() {
        this.#redial = undefined;
        const { url, user, tokenInUrl } = this.#options;
        const address = addressOf(url, '/ws');
        address.protocol = address.protocol.replace('http', 'ws');
        const shown = address.href;
        let socket;
        try {
            const token = await tokenOf(this.#options);
            if (this.#state === 'closed')
                return;
            if (user !== undefined)
                address.searchParams.set('user_id', user);
            if (token !== undefined && tokenInUrl)
                address.searchParams.set('access_token', token);
            // no header can be set on a browser's socket, and URLs are logged on their way
            const isOffered = token !== undefined && !tokenInUrl;
            socket = isOffered ? new this.#WebSocket(address.href, protocolsOf(token)) : new this.#WebSocket(address.href);
        } catch (mistake) {
            // of who makes tokens, or of the browser's rules: a page over https connects to no http
            this.#lose(`${shown} was not tried: ${mistake.message}.`);
            return;
        }

        this.#socket = socket;
        const isOurs = () => socket === this.#socket;
        const lost = () => isOurs() && this.#lose(`${shown} does not answer as an Aglow server does. `
            + 'Is it running, is "url" right, and may this user and this page connect?');
        socket.addEventListener('message', ({ data }) => isOurs() && this.#hear(data));
        socket.addEventListener('close', lost);
        socket.addEventListener('error', lost); // not every WebSocket closes after it
        this.#listen(WELCOME_WITHIN_MS);
    }

    // The connection is gone, or there was none. `why` is said once, where there was none.
    #lose(why) {
        const wasNone = this.#state === 'connecting';
        const socket = this.#socket;
        this.#socket = undefined;
        clearTimeout(this.#silence);
        clearTimeout(this.#renewal);
        if (this.#state === 'closed')
            return;
        // it may be silent, and not closed at all
        socket?.close();
        const { minBackoffMs, maxBackoffMs } = this.#options;
        const waitMs =
            this.#reconnectAt === undefined
                ? backoffMs(this.#attempt, minBackoffMs, maxBackoffMs)
                : Math.max(0, this.#reconnectAt - performance.now());
        this.#reconnectAt = undefined;
        this.#attempt++;
        this.#redial = setTimeout(() => this.#dial(), waitMs);
        if (wasNone && this.#attempt === 1)
            this.#report({ title: 'Not connected', detail: `${why} It is tried again until it succeeds.` });
        this.#become('connecting');
    }

    // Somebody looks at the page, or the network is back: no time to wait.
    #look() {
        if (this.#redial !== undefined) {
            clearTimeout(this.#redial);
            this.#dial();
        } else if (this.#isWelcome) {
            this.#checkSilence();
        }
    }

    #listen(silenceMs) {
        this.#heardAt = performance.now();
        this.#silenceMs = silenceMs;
        this.#checkSilence();
    }

    // One timer for all messages: it looks how long ago the last was heard, and waits for the rest.
    #checkSilence() {
        clearTimeout(this.#silence);
        const leftMs = this.#heardAt + this.#silenceMs - performance.now();
        if (leftMs > 0)
            this.#silence = setTimeout(() => this.#checkSilence(), leftMs);
        else
            this.#lose(`There was no welcome for ${this.#silenceMs / 1000} s.`);
    }

    #end() {
        this.#socket = undefined;
        clearTimeout(this.#silence);
        clearTimeout(this.#redial);
        clearTimeout(this.#renewal);
        this.#stopWatchingPerson();
        this.#become('closed');
        this.#topics.stop();
    }

    #become(state) {
        const previous = this.#state;
        if (previous === state)
            return;
        this.#state = state;
        // first what is said of the users, so that whoever is told of the state sees what goes with it
        if (state === 'open' || state === 'stale')
            this.#topics.setCurrent(state === 'open');
        else
            this.#topics.disconnect();
        this.#tell('state', state, previous);
    }

    // ---- messages --------------------------------------------------------------------------------------------------------------

    #hear(data) {
        this.#heardAt = performance.now();
        let message;
        try {
            message = JSON.parse(data);
        } catch {
            this.#report({ title: 'Not a message', detail: 'The server sent something that is not JSON. Is "url" that of an Aglow server?' });
            return;
        }

        switch (message.type) {
            case 'welcome':
                this.#welcome(message);
                break;
            case 'presence':
                this.#topics.hear(message);
                break;
            case 'tick':
                this.#attempt = 0; // not before: a server that welcomes and fails is not stormed
                this.#topics.hearTick();
                break;
            case 'stale':
            case 'fresh':
                this.#become(message.type === 'fresh' ? 'open' : 'stale');
                break;
            case 'error':
                this.#topics.hearError();
                this.#report(message);
                break;
            case 'token':
                this.#renewLater(message);
                break;
            case 'reconnect':
                this.#reconnectAt = performance.now() + message.after_ms; // it closes by then
                break;
            // others are of servers newer than this client
        }
    }

    #welcome(welcome) {
        const { tick_seconds } = welcome;
        this.#renewLater(welcome);
        this.#listen(tick_seconds * SILENT_TICKS * 1000);
        this.#become('open');
        this.#topics.connect();
        if (this.#manual !== undefined)
            this.setStatus(this.#manual);
        this.#manual = undefined;
        if (performance.now() - this.#actedAt < ACTIVE_INTERVAL_MS)
            this.active();
    }

    // The server closes when the token ends; one that can be made anew is shown to it before.
    #renewLater({ expires_in_seconds: left }) {
        clearTimeout(this.#renewal);
        if (left === undefined || typeof this.#options.token !== 'function')
            return;
        const leftMs = left * 1000;
        this.#renewal = setTimeout(() => this.#renew(), Math.min(Math.max(leftMs - RENEW_BEFORE_MS, leftMs / 2), LONGEST_TIMER_MS));
    }

    async #renew() {
        const socket = this.#socket;
        try {
            const token = await tokenOf(this.#options);
            if (socket === this.#socket && this.#isWelcome)
                this.#send({ type: 'token', token });
        } catch (mistake) {
            // the next connection asks again
            this.#report({ title: 'No new token', detail: `${mistake.message}. This connection ends when its token does; then it is tried again.` });
        }
    }

    #send(message) {
        this.#socket.send(JSON.stringify(message));
    }

    // ---- listeners -------------------------------------------------------------------------------------------------------------

    #on(kind, callback) {
        if (typeof callback !== 'function')
            throw new TypeError('A function to call back is needed.');
        const listener = (...told) => tell(callback, ...told);
        this.#listeners[kind].add(listener);
        return () => this.#listeners[kind].delete(listener);
    }

    #tell(kind, ...told) {
        this.#listeners[kind].forEach((listener) => listener(...told));
    }

    #report({ title, detail }) {
        if (this.#listeners.error.size > 0)
            this.#tell('error', { title, detail });
        else
            console.warn(`aglow: ${title}: ${detail}`);
    }
}
