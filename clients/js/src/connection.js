/**
 * One socket to the server, opened again whenever it is lost. It connects the server's messages with the {@link Topics}.
 *
 *     connecting ─ welcome ─► open ◄─ stale, fresh ─► stale            leave, close ─► closed, from anywhere
 *       ▲    ▲                  │ lost, or silent for 2.5 ticks
 *       │    └──── backoff ─────┤
 *       └─── refresh ── refused ┘ the server itself refuses: 4401, 4403, or its own problem document
 *
 * The server pings, and the browser answers, even in a background tab. Timers there run only once a minute, so no timer here keeps the user
 * online. The timers here only detect that the server is gone.
 * Two tries begin at least a second apart, and so do two calls of the token callback, whatever the page and the application do.
 */
import { Asks } from './asks.js';
import { backoffMs } from './backoff.js';
import { Commands } from './commands.js';
import { deviceOf } from './device.js';
import { watchPage } from './page.js';
import { AglowError, addressOf, http, inTime, isOwn, post, protocolsOf, tokenOf } from './server.js';
import { Topics } from './topics.js';
import { definitionOf, listOf } from './users.js';
import { tell } from './watch.js';

const SILENT_TICKS = 2.5; // two ticks may be missed, not three
const WELCOME_WITHIN_MS = 10_000;
const PROOF_WITHIN_MS = 2000; // the server must answer a probe within this time, or the connection is lost
const GOODBYE_WITHIN_MS = 1000;
const OPEN = 1; // WebSocket.OPEN, which not every environment defines
const RENEW_BEFORE_MS = 30_000; // how long before its end a token is renewed, or at half of its time if that is later
const LEAST_RENEWAL_MS = 5000;
const APART_MS = 1000;
const MAX_REFUSALS = 3; // of tokens from a callback: one of them may have been about to end
const LONGEST_TIMER_MS = 0x7fffffff;

const REFUSED = { 4401: 'Not authenticated', 4403: 'Not allowed', 4429: 'Too many connections' };

const CLOSED = { title: 'Closed', detail: 'This connection was closed or left. Open another one.' };

const now = () => performance.now();

const parse = (data) => {
    try {
        return JSON.parse(data) ?? {};
    } catch {
        return undefined;
    }
};

const socketAddress = (url, query) => addressOf(url, '/ws', query).replace(/^http/i, 'ws');

export function connect(options) {
    return new Connection(options);
}

class Connection {
    #options;
    #device;
    #state = 'connecting';
    #refusal; // the server's last refusal
    #socket;
    #asks = new Asks((message) => this.#send(message));
    #topics = new Topics(this.#asks, (...change) => this.#tell('presence', ...change));
    #commands = new Commands(this.#asks);
    #listeners = { state: new Set(), presence: new Set(), error: new Set() };
    #stopWatchingPage;

    #try; // the current try or connection; callbacks of an older one are ignored
    #attempt = 0; // tries since the last tick
    #redial; // the timer of the next try
    #pacedAt = -Infinity; // when the last try began, or the token callback was last called
    #reconnectAt; // when the server asked the client to reconnect
    #reported; // the last failure that was reported

    #heardAt;
    #silenceMs;
    #silence; // the timer that detects silence
    #proof; // the timer of a probe

    #token; // the token that was last sent
    #refusals = 0; // refused tokens since the last welcome
    #endsAt; // when the token ends
    #renewal; // the timer of the next renewal

    constructor(options = {}) {
        const { user, token, reportActivity = true, minBackoffMs = 1000, maxBackoffMs = 30_000 } = options;
        const WebSocket = options.WebSocket ?? globalThis.WebSocket;
        if (user === undefined && (token ?? undefined) === undefined)
            throw new TypeError('Who connects? Give "user" (a server in open mode) or "token".');
        if (!(minBackoffMs >= 0 && maxBackoffMs >= minBackoffMs))
            throw new RangeError(`"minBackoffMs" (${minBackoffMs}) is 0 or more, and "maxBackoffMs" (${maxBackoffMs}) no less than it.`);
        if (!WebSocket)
            throw new TypeError('There is no WebSocket here. Node has one from version 22; in 20 and 21 run '
                + '"node --experimental-websocket", or give the class as "WebSocket" in the options.');
        this.#options = { ...options, WebSocket, minBackoffMs, maxBackoffMs };
        this.#device = deviceOf(options.device);
        Object.assign(this, http(this.#options));
        this.#stopWatchingPage = watchPage({
            appState: options.appState,
            acted: () => reportActivity && this.active(),
            resumed: () => this.resume(),
            paused: () => this.#pause(),
        });
        this.#dial();
    }

    get state() {
        return this.#state;
    }

    get reason() {
        return this.#state === 'refused' ? this.#refusal : undefined;
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

    setStatus(status, said) {
        const kept = this.#commands.setStatus(status, said);
        if (this.#isOver)
            this.#commands.fail(new AglowError(this.reason ?? CLOSED));
        return kept;
    }

    active() {
        this.#commands.active();
    }

    resume() {
        if (this.#state === 'connecting' && !this.#try)
            this.#dialIn(0);
        else if (this.#isWelcome && !this.#proof)
            this.#prove();
    }

    refresh() {
        this.#refusals = 0;
        if (this.#state === 'refused') {
            this.#attempt = 0;
            this.#become('connecting');
            this.#dialIn(0);
        } else if (this.#isWelcome && typeof this.#options.token === 'function') {
            this.#renewIn(0);
        } else {
            this.resume();
        }
    }

    async leave() {
        if (this.#state === 'closed')
            return 'lease';
        const isWelcome = this.#isWelcome;
        const socket = this.#end();
        const isLeft = isWelcome && (await this.#sayGoodbye(socket));
        socket?.close();
        this.#commands.fail(new AglowError(CLOSED));
        return isLeft ? 'left' : this.#leaveByCall();
    }

    close() {
        const socket = this.#end();
        this.#commands.fail(new AglowError(CLOSED));
        socket?.close(1000);
    }

    get #isWelcome() {
        return this.#state === 'open' || this.#state === 'stale';
    }

    get #isOver() {
        return this.#state === 'refused' || this.#state === 'closed';
    }

    get #address() {
        return socketAddress(this.#options.url);
    }

    #sayGoodbye(socket) {
        this.#socket = socket;
        return new Promise((resolve) => {
            const timer = setTimeout(resolve, GOODBYE_WITHIN_MS);
            const settle = (isHeard) => {
                clearTimeout(timer);
                resolve(isHeard);
            };
            socket.addEventListener('close', ({ code }) => settle(code === 1000));
            socket.addEventListener('message', ({ data }) => this.#asks.hear(parse(data)));
            this.#asks.ask({ type: 'leave' }, (answer) => settle(answer?.type === 'ok'));
        });
    }

    // Uses the last token, not a new one: an application that signs a person out may already have ended their session.
    async #leaveByCall() {
        const body = { user_id: this.#options.user, device: this.#device };
        try {
            await inTime(post(this.#options, '/offline', body, { known: this.#token, keepalive: true }), 'the call');
            return 'left';
        } catch {
            return 'lease';
        }
    }

    // ---- the socket: connect, lose, connect again ------------------------------------------------------------------------------

    async #dial() {
        const { url, user, tokenInUrl, WebSocket } = this.#options;
        const { id, kind } = this.#device;
        const current = (this.#try = {});
        const isOurs = () => current === this.#try;
        this.#redial = undefined;
        this.#pacedAt = now();
        let token;
        let socket;
        try {
            token = await tokenOf(this.#options);
            if (!isOurs())
                return;
            // the server would refuse the same token again
            const isKnown = this.#refusals > 0 && token === this.#token;
            this.#token = token;
            if (isKnown) {
                this.#refuse(4401, this.#refusal);
                return;
            }

            const shown = tokenInUrl ? token : undefined;
            const address = socketAddress(url, { user_id: user, device_id: id, device_kind: kind, access_token: shown });
            // a browser cannot set headers on a socket, and proxies log URLs
            const isOffered = token !== undefined && !tokenInUrl;
            socket = isOffered ? new WebSocket(address, protocolsOf(token)) : new WebSocket(address);
        } catch (mistake) {
            // an error of the token callback, or of the browser: a page over https may not connect to http
            if (isOurs())
                this.#lose(`${this.#address} was not tried: ${mistake.message}.`);
            return;
        }

        this.#socket = socket;
        let isMade = false;
        let isLost = false;
        const lost = ({ code, reason }) => {
            if (isLost || !isOurs())
                return;
            isLost = true;
            if (code in REFUSED)
                this.#refuse(code, { title: REFUSED[code], detail: reason || 'The server does not say why.' });
            else if (isMade)
                this.#lose(`${this.#address} closed the connection${code ? ` with code ${code}${reason && `: ${reason}`}` : ''}.`);
            else
                this.#findOut(token);
        };
        socket.addEventListener('open', () => (isMade = true));
        socket.addEventListener('message', ({ data }) => isOurs() && this.#hear(data));
        socket.addEventListener('close', lost);
        socket.addEventListener('error', () => setTimeout(lost, 0, {})); // not every WebSocket closes after it
        this.#listen(WELCOME_WITHIN_MS);
    }

    // The handshake failed, and a WebSocket does not say why. The server sends browsers a close code; elsewhere an HTTP call finds out.
    async #findOut(token) {
        const current = this.#try;
        let why = ' does not answer as an Aglow server does. Is it running, is "url" right, and may this user and this page connect?';
        let refused = {};
        if (!globalThis.document) {
            try {
                await inTime(post(this.#options, '/status/batch', { user_ids: [] }, { known: token }), 'the call');
                why = ' does not connect, but the server answers calls. '
                    + 'Does the proxy before it pass WebSockets on, and has this user too many connections?';
            } catch (failure) {
                refused = failure;
            }
        }

        if (current !== this.#try)
            return;
        if (isOwn(refused) && (refused.status === 401 || refused.status === 403))
            this.#refuse(4000 + refused.status, refused);
        else
            this.#lose(this.#address + why, 1000 * (refused.retryAfterSeconds ?? 0));
    }

    // The server itself refuses.
    #refuse(code, { title, detail }) {
        this.#refusal = { title, detail };
        if (code === 4429) {
            this.#attempt = Infinity;
            this.#lose(this.#refusal);
        } else if (code === 4401 && typeof this.#options.token === 'function' && ++this.#refusals < MAX_REFUSALS) {
            this.#lose();
        } else {
            this.#drop()?.close();
            this.#become('refused');
            this.#commands.fail(new AglowError(this.#refusal));
            this.#report(this.#refusal);
        }
    }

    // The connection is lost, or was never made. Reports `why` once if it was never made.
    #lose(why, leastMs = 0) {
        const wasNone = this.#state === 'connecting';
        const { minBackoffMs, maxBackoffMs } = this.#options;
        const waitMs = this.#reconnectAt === undefined ? backoffMs(this.#attempt++, minBackoffMs, maxBackoffMs) : this.#reconnectAt - now();
        this.#drop()?.close();
        this.#dialIn(Math.max(waitMs, leastMs));
        const problem = typeof why === 'string' ? { title: 'Not connected', detail: `${why} It is tried again until it succeeds.` } : why;
        if (problem && (wasNone || problem === why) && problem.detail !== this.#reported) {
            this.#reported = problem.detail;
            this.#report(problem);
        }

        this.#become('connecting');
    }

    #dialIn(waitMs) {
        clearTimeout(this.#redial);
        this.#redial = setTimeout(() => this.#dial(), this.#paced(waitMs));
    }

    // This wait, but at least until a second after the last try or the last call of the token callback.
    #paced(waitMs) {
        return Math.max(0, waitMs, this.#pacedAt + APART_MS - now());
    }

    // Drops the socket and everything that belongs to it. The socket may be silent, and not closed at all.
    #drop() {
        const socket = this.#socket;
        [this.#silence, this.#redial, this.#renewal, this.#proof].forEach(clearTimeout);
        this.#socket = this.#try = this.#proof = this.#reconnectAt = undefined;
        return socket;
    }

    // The browser freezes the page. Until resume() connects again, nothing renews the lease.
    #pause() {
        if (this.#isOver)
            return;
        this.#drop()?.close();
        this.#become('connecting');
    }

    #end() {
        const socket = this.#drop();
        this.#stopWatchingPage();
        this.#become('closed');
        this.#topics.stop();
        return socket;
    }

    // Sends a probe to find out whether the connection still works; any message is proof.
    #prove() {
        this.#proof = setTimeout(() => this.#lose(), PROOF_WITHIN_MS);
        this.#asks.ask({ type: 'unwatch', users: [] }, () => {});
    }

    #listen(silenceMs) {
        this.#heardAt = now();
        this.#silenceMs = silenceMs;
        this.#checkSilence();
    }

    // One timer for all messages: it checks how long ago the last message came, and waits for the rest.
    #checkSilence() {
        clearTimeout(this.#silence);
        const leftMs = this.#heardAt + this.#silenceMs - now();
        if (leftMs > 0)
            this.#silence = setTimeout(() => this.#checkSilence(), leftMs);
        else
            this.#lose(`${this.#address} said no welcome within ${this.#silenceMs / 1000} s.`);
    }

    #become(state) {
        const previous = this.#state;
        if (previous === state)
            return;
        this.#state = state;
        // updates the users first, so that callers who receive the state see matching records
        if (this.#isWelcome) {
            this.#topics.setStale(state === 'stale');
        } else {
            this.#commands.disconnect();
            this.#topics.disconnect();
        }

        this.#tell('state', state, previous);
    }

    // ---- messages --------------------------------------------------------------------------------------------------------------

    #hear(data) {
        this.#heardAt = now();
        clearTimeout(this.#proof);
        this.#proof = undefined;
        const message = parse(data);
        if (!message) {
            const detail = 'The server sent something that is not JSON. Is "url" that of an Aglow server?';
            this.#report({ title: 'Not a message', detail });
            return;
        }

        const isAnswer = this.#asks.hear(message);
        switch (message.type) {
            case 'welcome':
                this.#welcome(message);
                break;
            case 'presence':
                if (!isAnswer)
                    this.#topics.hear(message);
                break;
            case 'tick':
                this.#attempt = 0; // not at the welcome, so that a server that fails after it gets no flood of retries
                this.#asks.tick();
                break;
            case 'stale':
            case 'fresh':
                this.#become(message.type === 'fresh' ? 'open' : 'stale');
                break;
            case 'error':
                this.#report(message);
                break;
            case 'token':
                this.#renewLater(message);
                break;
            case 'reconnect':
                this.#reconnectAt = now() + message.after_ms; // the server closes by then
                break;
            // a newer server may send other types
        }
    }

    #welcome(welcome) {
        this.#refusals = 0;
        this.#reported = undefined;
        this.#asks.clear();
        this.#renewLater(welcome);
        this.#listen((welcome.tick_seconds ?? 10) * SILENT_TICKS * 1000);
        this.#become('open');
        this.#topics.connect();
        this.#commands.connect();
    }

    // The server closes the connection when the token ends. A token that a callback makes is renewed before.
    #renewLater({ expires_in_seconds: left }) {
        clearTimeout(this.#renewal);
        if (left === undefined)
            return;
        this.#endsAt = now() + left * 1000;
        this.#renewIn(Math.max(left * 1000 - RENEW_BEFORE_MS, left * 500));
    }

    #renewIn(waitMs) {
        clearTimeout(this.#renewal);
        if (typeof this.#options.token === 'function')
            this.#renewal = setTimeout(() => this.#renew(), Math.min(this.#paced(waitMs), LONGEST_TIMER_MS));
    }

    async #renew() {
        const current = this.#try;
        const later = () => {
            const leftMs = this.#endsAt - now();
            if (leftMs > 0)
                this.#renewIn(Math.max(leftMs / 2, LEAST_RENEWAL_MS));
        };
        this.#pacedAt = now();
        try {
            const token = await tokenOf(this.#options);
            if (current !== this.#try)
                return;
            // an application may return the old token while it is valid
            if (token === this.#token)
                later();
            else
                this.#asks.ask({ type: 'token', token: (this.#token = token) }, (answer) => answer?.type === 'token' || later());
        } catch (mistake) {
            if (current !== this.#try)
                return;
            const detail = `${mistake.message}. This connection ends when its token does; then it is tried again.`;
            this.#report({ title: 'No new token', detail });
            later();
        }
    }

    // If the socket is closing, the command is sent again on the next one.
    #send(message) {
        if ((this.#socket.readyState ?? OPEN) === OPEN)
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
